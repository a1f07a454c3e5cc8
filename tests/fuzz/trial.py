"""The program that meets damaged files: one of the campaign's processes, and what may crash, hang or grow.

    python -m tests.fuzz.trial SEEDS

Each line of input is the JSON of a trial: the ``kind`` and the paths of its ``files``, and its own empty ``folder``;
each is answered by a line: what the commands of ``wordframe`` said, the exception that none of them should let out,
seconds a file, the decoders that died, and the most memory that this process and its decoders ever took. Videos come
many a trial, as in a folder that somebody indexes; files of other kinds come alone. The encoder is that of the tests,
since reading is what is tried.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import resource
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from tests.colours import ColourEncoder
from tests.fuzz.serving import ask, ask_of_video
from wordframe.cli import main
from wordframe.library import Library
from wordframe.video import Decoders, FramesApart

Commands = Iterator[list[str]]
_CLIP_SETTINGS = ("--family", "clip4clip", "--sim-header", "meanP", "--max-words", "8", "--max-frames", "6")


def _video(files: list[Path], folder: Path, seeds: Path) -> Commands:
    yield ["index", str(files[0].parent), "-l", str(folder / "library"), "--json"]


def _image(files: list[Path], folder: Path, seeds: Path) -> Commands:
    yield ["search", "--image", str(files[0]), "-l", str(seeds / "library" / "library"), "--json"]


def _export(files: list[Path], folder: Path, seeds: Path) -> Commands:
    """Copied: an .mkv takes nearly all of the seeds. Encoded: a .webm hardly any."""
    for name in ("copied.mkv", "encoded.webm"):
        yield ["export", str(files[0]), "0.04", "1.2", "--to", str(folder / name)]


def _clip(files: list[Path], folder: Path, seeds: Path) -> Commands:
    yield ["search", "--clip", str(files[0]), "-l", str(seeds / "library" / "library"), "--json"]


def _checkpoint(files: list[Path], folder: Path, seeds: Path) -> Commands:
    file, beside = files[0], seeds / "checkpoint" / "beside"
    if "authors" in file.name:
        yield ["convert", str(file), *_CLIP_SETTINGS, "--to", str(folder / "converted")]
    elif "head_" in file.name:
        shutil.copytree(beside / "model", folder / "model")
        shutil.copy(file, folder / "model" / file.name.partition("head_")[2])
        yield [
            "search",
            "red",
            "-l",
            str(seeds / "library" / "library"),
            "--model",
            str(folder / "model"),
            "--untrained",
        ]
    else:
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(beside / name, folder / name)
        encoder = shutil.copy(file, folder / file.name)
        videos = str(seeds / "captions" / "beside" / "cat.mp4")
        yield ["index", videos, "-l", str(folder / "library"), "--encoder", str(encoder)]


def _captions(files: list[Path], folder: Path, seeds: Path) -> Commands:
    beside = str(seeds / "captions" / "beside")
    yield ["data", "check", "--captions", str(files[0]), "--videos", beside, "--to", str(folder / "found.json")]


def _recipe(files: list[Path], folder: Path, seeds: Path) -> Commands:
    yield ["train", str(files[0]), "--out", str(folder / "run")]  # ends, at the latest, by asking for data


def _library(files: list[Path], folder: Path, seeds: Path) -> Commands:
    """``files``: the damaged library's folder. What a search should give is asked of the whole one, first."""
    yield ["search", "red", "-l", str(seeds / "library" / "library"), "--json"]
    yield ["search", "red", "-l", str(files[0]), "--json"]
    yield ["doctor", "-l", str(files[0])]
    yield ["index", str(seeds / "library" / "videos"), "-l", str(files[0])]


def _served(files: list[Path], folder: Path, seeds: Path) -> list[dict[str, Any]]:
    """Asked of a server where the file gave something to index."""
    told = _run(["index", str(files[0]), "-l", str(folder / "library")])
    if "traceback" in told or not Library.open(folder / "library").videos():
        return [told]
    return ask_of_video(folder / "library")


COMMANDS: dict[str, Callable[[list[Path], Path, Path], Commands]] = {
    "video": _video,
    "image": _image,
    "export": _export,
    "clip": _clip,
    "checkpoint": _checkpoint,
    "captions": _captions,
    "recipe": _recipe,
    "library": _library,
}


class _Watch:
    """Seconds a file from its opening to its end, and each death of a decoder."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.deaths: list[tuple[str, str]] = []
        open_frames, end, mourn = Decoders.open_frames, FramesApart.__exit__, FramesApart._mourn
        watch = self

        def opened(decoders: Decoders, path: Any, *arguments: Any, **options: Any) -> FramesApart:
            began = time.monotonic()
            try:
                stream = open_frames(decoders, path, *arguments, **options)
            finally:
                watch.seconds[os.fsdecode(path)] = time.monotonic() - began
            stream.began = began  # type: ignore[attr-defined]
            return stream

        def ended(stream: FramesApart, *error: Any) -> None:
            watch.seconds[os.fsdecode(stream._path)] = time.monotonic() - stream.began  # type: ignore[attr-defined]
            end(stream, *error)

        def mourned(stream: FramesApart, reason: str) -> None:
            # private, because a death that the second decoder makes up for is told by nothing public
            watch.deaths.append((os.fsdecode(stream._path), reason))
            mourn(stream, reason)

        Decoders.open_frames = opened  # type: ignore[method-assign]
        FramesApart.__exit__ = ended  # type: ignore[method-assign]
        FramesApart._mourn = mourned  # type: ignore[method-assign]

    def take(self) -> dict[str, Any]:
        told = {"seconds": dict(self.seconds), "deaths": list(self.deaths)}
        self.seconds.clear()
        self.deaths.clear()
        return told


def _use_the_tests_encoder() -> None:
    open_library = Library.open

    def opened(folder: Any, *, encoder: Any = None, runtime: str = "auto") -> Library:
        return open_library(folder, encoder=encoder or ColourEncoder(), runtime=runtime)

    Library.open = opened  # type: ignore[method-assign, assignment]
    doctor = importlib.import_module("wordframe.cli.doctor")
    doctor._checks = list  # of the installation: no file's matter


def _run(argv: list[str]) -> dict[str, Any]:
    out, err = io.StringIO(), io.StringIO()
    told: dict[str, Any] = {"argv": argv}
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            told["status"] = main(argv)
        except BaseException:  # Rust's panics are no Exception
            told["traceback"] = traceback.format_exc()
    return told | {"out": out.getvalue(), "err": err.getvalue()}


def _ran(kind: str, files: list[Path], folder: Path, seeds: Path) -> list[dict[str, Any]]:
    if kind == "request":
        return ask(files[0], seeds)
    return (
        _served(files, folder, seeds)
        if kind == "served"
        else [_run(argv) for argv in COMMANDS[kind](files, folder, seeds)]
    )


def _mebibytes() -> int:
    """The most that this process, a decoder that has ended, or one that waits for its next video ever had."""
    ended = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    waiting = (_peak_kibibytes(child.pid) for child in psutil.Process().children())
    return max(*ended, *waiting, 0) // 1024


def _peak_kibibytes(number: int) -> int:
    try:
        status = Path(f"/proc/{number}/status").read_text()
    except OSError:  # ended meanwhile
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)


def _serve(seeds: Path) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not get among the answers
    _use_the_tests_encoder()
    watch = _Watch()
    for line in sys.stdin:
        trial = json.loads(line)
        folder = Path(trial["folder"])
        began = time.monotonic()
        ran = _ran(trial["kind"], list(map(Path, trial["files"])), folder, seeds)
        took = time.monotonic() - began
        answers.write(json.dumps({"ran": ran, "took": took, "mebibytes": _mebibytes()} | watch.take()) + "\n")
        answers.flush()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
