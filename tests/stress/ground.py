"""What the stress programs share: a folder with everything that a command may be asked for, results that a stopped run
goes on from, and tables."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.colours import write_scenes
from wordframe.disk import write_whole

ROOT = Path(__file__).parents[2]
WORDFRAME = [sys.executable, "-m", "wordframe"]
ODD_NAME = "grün — 緑.mp4"
_RECIPE = (
    "name: small\nmodel: {preset: tcmgc-msrvtt, max_words: 10, max_frames: 4, layers: 1}\nbatch_size: 4\nepochs: 1\n"
)


def environment(**changes: str | None) -> dict[str, str]:
    """This process's, with the package that is tested; None takes a name away."""
    values = dict(os.environ) | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "OMP_WAIT_POLICY": "PASSIVE"}
    values["HF_HUB_OFFLINE"] = "1"
    for name, value in changes.items():
        values.pop(name, None)
        if value is not None:
            values[name] = value
    return values


def make_ground(folder: Path) -> Path:
    """A folder with ``videos``, their ``library``, ``captions.json``, ``picture.png``, ``recipe.yaml`` and ``run``."""
    if (folder / "whole").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    write_scenes(folder / "videos" / "a red one.mp4", ("red", 3))
    write_scenes(folder / "videos" / ODD_NAME, ("green", 2), ("blue", 2))
    captions = {"a red one.mp4": ["a red — picture"], ODD_NAME: ["grün, then blue"]}
    (folder / "captions.json").write_text(json.dumps(captions))
    (folder / "recipe.yaml").write_text(_RECIPE)
    from PIL import Image

    Image.new("RGB", (64, 48), (255, 0, 0)).save(folder / "picture.png")
    for arguments in (
        ["index", "videos", "--library", "library"],
        ["evaluate", "--videos", "videos", "--captions", "captions.json", "--to", "run"],
    ):
        subprocess.run([*WORDFRAME, *arguments], cwd=folder, env=environment(), check=True, stdout=subprocess.DEVNULL)
    (folder / "whole").touch()
    return folder


class Results:
    """What is known so far, by name, in a file; so a stopped run goes on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.known: dict[str, dict[str, object]] = json.loads(path.read_text()) if path.exists() else {}

    def note(self, name: str, values: Mapping[str, object]) -> None:
        self.known[name] = dict(values)
        write_whole(self._path, json.dumps(self.known, indent=1))


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
