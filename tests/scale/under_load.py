"""A small library to serve, and callers that go on while one of its servers is killed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
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
