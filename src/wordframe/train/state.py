"""The folder of a run: which run it is, its state for an exact resume, its checkpoints and its report.

    run.json             what makes the run this one; a folder of another run is refused
    state.pt             model, optimizer, random generators of every process, step: written whole or not at all
    best/ last/          checkpoints that ``load_model`` opens
    metrics.jsonl        one line a step (``logs.py``), tensorboard/ the same as curves
    report.json          what came of it
    broken_batch.json    the batch that stopped the run, if one did

Nothing here is ever deleted but what a newer version replaces.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from wordframe.models import TextVideoModel
from wordframe.train.errors import TrainingError

VERSION = 1
_TOLD = 3


class RunFolder:
    """One run's folder, made if it is not there.

    Args:
        path: where it is.
        identity: what makes the run this one, plain values.

    Raises:
        TrainingError: the folder holds another run, or other files, or is in use.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        self.identity = json.loads(json.dumps({"version": VERSION, **identity}))
        self._check()
        path.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(path / "lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise TrainingError(f"{path} is in use by another process; wait for it, or choose another folder") from None
        self.write_json("run.json", self.identity)

    def close(self) -> None:
        """Let others use the folder."""
        self._lock.release()

    def write_json(self, name: str, value: Any) -> None:
        """Write a file of the folder in one step."""
        text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        _replace(self.path / name, text.encode())

    def read_json(self, name: str) -> Any | None:
        """A file of the folder, None where there is none."""
        path = self.path / name
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Write the state in place of the one before; a run that is killed meanwhile keeps that one."""
        unfinished = self.path / "state.pt.part"
        with unfinished.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self.path / "state.pt")

    def save_model(self, model: TextVideoModel, name: str) -> None:
        """Write a checkpoint in place of the one before, marked as trained."""
        unfinished, target, old = (self.path / f"{name}{ending}" for ending in (".part", "", ".old"))
        for leftover in (unfinished, old):
            shutil.rmtree(leftover, ignore_errors=True)
        was_trained, model.trained = model.trained, True
        try:
            model.save(unfinished)
        finally:
            model.trained = was_trained
        if target.exists():
            target.replace(old)
        unfinished.replace(target)
        shutil.rmtree(old, ignore_errors=True)

    def _check(self) -> None:
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise TrainingError(f"{self.path} is a file; give a folder for the run")
        known = self.read_json("run.json")
        if known is None:
            if others := [item.name for item in self.path.iterdir() if item.name != "lock"]:
                raise TrainingError(f"{self.path} holds other files ({others[0]} …); choose another folder")
        elif known != self.identity:
            found, wanted = dict(_flat(known)), dict(_flat(self.identity))
            differing = sorted(key for key in {*found, *wanted} if found.get(key) != wanted.get(key))
            told = [f"{key} is {found.get(key)!r} there and {wanted.get(key)!r} here" for key in differing[:_TOLD]]
            raise TrainingError(f"{self.path} holds another run: {'; '.join(told)}; choose another folder")


def read_state(path: Path) -> dict[str, Any] | None:
    """The state in the folder ``path``, on the CPU; None where there is none.

    Raises:
        TrainingError: it cannot be read.
    """
    file = path / "state.pt"
    if not file.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen unrelated types on a damaged file
        raise TrainingError(
            f"{file} cannot be read ({str(error).splitlines()[0]}); delete it to start the run anew"
        ) from error
    return state


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _replace(path: Path, content: bytes) -> None:
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
