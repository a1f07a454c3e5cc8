"""The folder of a run: which run it is, its state for an exact resume, its checkpoints, its log and its report.

    run.json             what makes the run this one; a folder of another run is refused
    state.pt             model, optimizer, random generators of every process, step: written whole or not at all
    best/ last/          checkpoints that ``load_model`` opens
    metrics.jsonl        one line a step, tensorboard/ the same as curves
    curves.png           the log as a picture (``_curves.py``)
    report.json          what came of it
    broken_batch.json    the batch that stopped the run, if one did

Nothing here is ever deleted but what a newer version replaces, and what a killed process left unfinished.
``trainer.py`` says what a state holds, ``loop.py`` when it is written.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

import torch

from wordframe.disk import hold_lock, replacing, sync, write_whole
from wordframe.errors import TrainingError, needs_extra
from wordframe.models import TextVideoModel

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

STATE = "state.pt"
VERSION = 2
"""Of what a recipe and a state mean; 1 had another schedule by the name ``cosine``."""
_NAMED_AT_MOST = 3
_UNFINISHED = re.compile(r"\.\w+\.[\w-]+\.part\.(pt|json|jsonl)")
"""What ``disk.replacing`` leaves of our files where the process was killed."""


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
        # as it will be read back: tuples become lists, so that a folder's own run is equal to itself
        self.identity = json.loads(json.dumps({"version": VERSION, **identity}))
        self._check()
        path.mkdir(parents=True, exist_ok=True)
        self._held = contextlib.ExitStack()
        self._held.enter_context(hold_lock(path / "lock", busy=self._in_use))
        self._tidy()
        self.write_json("run.json", self.identity)

    def close(self) -> None:
        """Let others use the folder."""
        self._held.close()

    def write_json(self, name: str, value: Any) -> None:
        """Write a file of the folder in one step."""
        write_whole(self.path / name, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def read_json(self, name: str) -> Any | None:
        """A file of the folder, None where there is none."""
        path = self.path / name
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Write the state in place of the one before; a run that is killed meanwhile keeps that one."""
        with replacing(self.path / STATE) as unfinished:
            torch.save(dict(state), unfinished)

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
        for file in (*unfinished.iterdir(), unfinished):
            sync(file)
        # A folder cannot be renamed onto one that holds files, so there is a moment without either; ``_tidy`` puts the
        # old one back where a run was killed in it.
        if target.exists():
            target.replace(old)
        unfinished.replace(target)
        sync(self.path)
        shutil.rmtree(old, ignore_errors=True)

    def _in_use(self) -> TrainingError:
        return TrainingError(f"{self.path} is in use by another process; wait for it, or choose another folder")

    def _tidy(self) -> None:
        """Put right what a process that was killed here left; called with the lock held, so nobody is writing."""
        for name in ("best", "last"):
            target, old = self.path / name, self.path / f"{name}.old"
            if old.exists() and not target.exists():
                old.replace(target)
        for file in self.path.iterdir():
            if _UNFINISHED.fullmatch(file.name):
                file.unlink()

    def _check(self) -> None:
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise TrainingError(f"{self.path} is a file; give a folder for the run")
        known = self.read_json("run.json")
        if known is not None:
            known.pop("processes", None)  # earlier versions held a run to the number that it began with
        if known is None:
            others = [item.name for item in self.path.iterdir() if item.name != "lock"]
            others = [name for name in others if not _UNFINISHED.fullmatch(name)]
            if others:
                raise TrainingError(f"{self.path} holds other files ({others[0]} …); choose another folder")
        elif known != self.identity:
            found, wanted = dict(_flat(known)), dict(_flat(self.identity))
            differing = sorted(key for key in {*found, *wanted} if found.get(key) != wanted.get(key))
            named = [
                f"{key} is {found.get(key)!r} there and {wanted.get(key)!r} here" for key in differing[:_NAMED_AT_MOST]
            ]
            raise TrainingError(f"{self.path} holds another run: {'; '.join(named)}; choose another folder")


def read_state(path: Path) -> dict[str, Any] | None:
    """The state in the folder ``path``, on the CPU; None where there is none.

    Raises:
        TrainingError: it cannot be read.
    """
    file = path / STATE
    return load_state(file, file) if file.is_file() else None


def load_state(opened: IO[bytes] | Path, file: Path) -> dict[str, Any]:
    """The state ``opened``, on the CPU; ``file`` is where it came from.

    Raises:
        TrainingError: it cannot be read.
    """
    try:
        state: dict[str, Any] = torch.load(opened, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen unrelated types on a damaged file
        raise TrainingError(
            f"{file} cannot be read ({str(error).splitlines()[0]}); delete it to start the run anew"
        ) from error
    return state


class RunLog:
    """``metrics.jsonl`` and ``tensorboard/`` in the run's ``folder``.

    A resumed run, whose state has ``done`` steps, first drops the lines behind it, so that each step is logged once.
    """

    def __init__(self, folder: Path, *, done: int) -> None:
        self.path = folder / "metrics.jsonl"
        kept = [json.dumps(line) + "\n" for line in read_log(self.path) if line["step"] <= done]
        write_whole(self.path, "".join(kept))
        self._file = self.path.open("a", encoding="utf-8")
        self._curves = _curves(folder / "tensorboard", done)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        self._curves.close()

    def add(self, step: int, values: Mapping[str, Any]) -> None:
        """Log what holds once ``step`` steps are done. Values are numbers, or mappings of them."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()  # who watches the file sees the step, and a kill loses at most this line
        for name, value in _numbers(values):
            self._curves.add_scalar(name, value, step)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a ``metrics.jsonl``; a last one that was cut short by a kill is left out."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")  # what follows the last line's end is not a whole line
    return [json.loads(line) for line in lines[:-1] if line]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _numbers(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            found.append((prefix + name, float(value)))
    return found


def _curves(folder: Path, done: int) -> SummaryWriter:
    with needs_extra("train", "training"):
        from torch.utils.tensorboard import SummaryWriter

    # TensorBoard's files only grow; this tells it to forget what it has from later steps
    return SummaryWriter(str(folder), purge_step=done + 1)
