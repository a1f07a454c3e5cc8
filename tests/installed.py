"""The installed package at work, outside the project's folder and without any extra: ``make wheel-check`` runs it.

It must run by the environment's own Python in isolated mode (``-I``), so that only what pip installed is imported. Two
small videos are made, indexed, searched and served; a command whose extra is missing must say the install line.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

COMMAND = Path(sys.executable).with_name("wordframe")
SECONDS = 4
EXTRAS = ("accelerate", "tensorboard", "matplotlib", "mcp", "openvino")


def main() -> None:
    import wordframe

    place = Path(wordframe.__file__).parent
    assert place.parent.name == "site-packages", f"wordframe is imported from {place}"
    assert wordframe.__version__ == importlib.metadata.version("wordframe")
    assert not [name for name in EXTRAS if importlib.util.find_spec(name)], "an extra is installed"
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        videos = Path("videos")
        videos.mkdir()
        for name, colour in (("red", (220, 30, 30)), ("blue", (30, 30, 220))):
            make_video(videos / f"{name}.mp4", colour)
        check_commands()
        check_missing_extras()
    print(f"wordframe {wordframe.__version__} works where it was installed: {place}")


def check_commands() -> None:
    assert "index" in run("--help")
    assert "tcmgc-msrvtt" in run("models")
    run("index", "videos", "--library", "library")
    hits = json.loads(run("search", "a red wall", "--library", "library", "--json"))
    assert sorted(Path(hit["path"]).name for hit in hits) == ["blue.mp4", "red.mp4"], hits
    assert all(0 <= hit["start_seconds"] < hit["end_seconds"] <= SECONDS + 0.5 for hit in hits), hits
    with served("library") as address:
        assert b"<html" in get(address)
        found = json.loads(get(f"{address}api/v1/search?text=a+red+wall"))
        assert [item["path"] for item in found["items"]] == [hit["path"] for hit in hits]


def check_missing_extras() -> None:
    """A command without its extra ends with the line that installs it, and not with a traceback."""
    for extra, arguments in (
        ("mcp", ("mcp", "--library", "library")),
        ("train", ("train", "tcmgc-msrvtt", "--dry-run", "1")),
    ):
        done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        said = " ".join((done.stdout + done.stderr).split())  # rich breaks lines
        assert done.returncode == 1, f"wordframe {' '.join(arguments)} ended with {done.returncode}: {said}"
        assert "Traceback" not in said, said
        assert f"pip install 'wordframe[{extra}]'" in said, said


def run(*arguments: str) -> str:
    """What the installed command prints; it must end with 0."""
    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"wordframe {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout


@contextlib.contextmanager
def served(library: str) -> Iterator[str]:
    """The address of ``wordframe serve`` on a free port; the server ends with the block."""
    command = [COMMAND, "serve", "--library", library, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            said = ""
            assert server.stdout is not None
            for line in server.stdout:
                said += line
                if found := re.search(r"http://127\.0\.0\.1:\d+/?", said):
                    yield found[0].rstrip("/") + "/"
                    return
            raise AssertionError(f"wordframe serve printed no address: {said}")
        finally:
            server.terminate()


def get(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=60) as answer:
        content: bytes = answer.read()
    return content


def make_video(path: Path, colour: tuple[int, int, int]) -> None:
    """Four seconds of one colour that grows lighter."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number in range(10 * SECONDS):
            picture = np.full((64, 96, 3), colour, np.uint8) + np.uint8(number // 2)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


if __name__ == "__main__":
    main()
