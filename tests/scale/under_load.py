"""A small library to serve, and callers that go on while one of its servers is killed."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from tests.colours import write_scenes
from wordframe.cli import main

WAIT_SECONDS = 120.0
TOKEN = "a-token-of-the-tests"


def two_films(folder: Path) -> Path:
    """A folder with ``videos``, a red and a green one, and the ``library`` of them."""
    for colour in ("red", "green"):
        write_scenes(folder / "videos" / f"{colour}.mp4", (colour, 3))
    assert main(["index", str(folder / "videos"), "--library", str(folder / "library")]) == 0
    return folder


@contextlib.contextmanager
def served_on_ray(library: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The API's address of ``wordframe serve --ray local``, and the command; it is killed at the end of the block."""
    command = [sys.executable, "-m", "wordframe", "serve", "--library", str(library), "--port", "0", "--ray", "local"]
    command += [*options, "--token", TOKEN]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+?/", line)
        assert found, line or process.communicate()[1]
        yield found[0] + "api/v1", process
    finally:
        process.kill()
        process.wait()


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.1)


def answers_while_one_is_killed(
    ask: Callable[[], tuple[int, int]], replicas: Callable[[], list[psutil.Process]], *, callers: int, some: int
) -> list[tuple[int, int]]:
    """What callers are told: ``some`` answers or more before one of two replicas is killed, and as many after another
    has taken its place. The second one must have lived through it."""
    first, second = replicas()
    over, answers = threading.Event(), list[tuple[int, int]]()

    def call() -> None:
        while not over.is_set():
            answers.append(ask())

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(answers) > some)
    first.kill()
    wait_until(lambda: len(replicas()) == 2 and first not in replicas())
    count = len(answers)
    wait_until(lambda: len(answers) > count + some)
    over.set()
    for thread in threads:
        thread.join()
    assert second.is_running()
    return answers
