"""Several machines write into one library on object storage, and its store has bad days."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.colours import ColourEncoder, write_scenes
from tests.object_server import Environ, Fault, ObjectServer, cut, status_answer
from wordframe.errors import LibraryError
from wordframe.library import Library
from wordframe.library._store import Store

pytestmark = pytest.mark.scale
SECONDS = 600.0  # on a busy machine; nothing waits for its end


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for number, colour in enumerate(["red", "green", "blue", "yellow"]):
        write_scenes(folder / f"{number}.mp4", (colour, 2), ("white", 2))
    return folder


def opened(address: str) -> Library:
    return Library.open(address, encoder=ColourEncoder())


def writer(address: str, videos: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.scale.writer", address, str(videos)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def segments(address: str) -> Counter[tuple[str, int]]:
    """How often each part of each file is in the library."""
    rows = Store(opened(address).place).open_segments().select(None, ["path", "segment_index"]).to_pylist()
    return Counter((row["path"], row["segment_index"]) for row in rows)


def is_whole(address: str, videos: Path, tmp_path: Path) -> bool:
    """Whether the library is the one that a folder would hold."""
    undisturbed = tmp_path / "undisturbed"
    opened(str(undisturbed)).index(videos)
    return segments(address) == segments(str(undisturbed))


def test_of_many_that_begin_at_once_one_writes(on_store: str, videos: Path, tmp_path: Path) -> None:
    runs = [writer(on_store, videos) for _ in range(4)]
    ended = [(run, *run.communicate(timeout=SECONDS)) for run in runs]
    done = [int(out) for run, out, _ in ended if run.returncode == 0]
    # who came when the first had ended found nothing to do
    assert sorted(done)[-1] == 4, ended
    assert sum(done) == 4, ended
    for run, _, error in ended:
        assert run.returncode == 0 or "another run of wordframe (process " in error, error
        assert error.count("\n") <= 1, error
    assert is_whole(on_store, videos, tmp_path)


def test_one_writes_and_all_others_are_told_who(on_store: str, videos: Path) -> None:
    with opened(on_store).locked():
        runs = [writer(on_store, videos) for _ in range(3)]
        for run in runs:
            _, error = run.communicate(timeout=SECONDS)
            assert run.returncode == 1
            assert f"another run of wordframe (process {os.getpid()} on " in error
            assert error.count("\n") == 1


def test_a_holder_that_was_stopped_wakes_up_and_commits_nothing(
    on_store: str, videos: Path, tmp_path: Path, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORDFRAME_LEASE_SECONDS", "2")
    write_scenes(tmp_path / "other" / "other.mp4", ("cyan", 2))
    stopped: list[str] = []

    def stop(environ: Environ, usual: object) -> None:
        if environ["REQUEST_METHOD"] == "PUT" and "/segments.lance/data/" in environ["PATH_INFO"] and not stopped:
            stopped.append(environ["PATH_INFO"])
            os.kill(run.pid, signal.SIGSTOP)

    with object_server.failing(stop):
        run = writer(on_store, videos)
        _until(lambda: bool(stopped))
    _until(lambda: _indexes(on_store, tmp_path / "other"))
    os.kill(run.pid, signal.SIGCONT)
    _, error = run.communicate(timeout=SECONDS)
    assert run.returncode == 1
    assert f"process {os.getpid()} on " in error
    assert "took over the writing, since this run was silent for longer than 2 s" in error
    assert error.count("\n") == 1
    assert {path for path, _ in segments(on_store)} == {str(tmp_path / "other" / "other.mp4")}


def _tried(address: str, videos: Path) -> str:
    """What indexing says that does not get through; empty if it does."""
    try:
        opened(address).index(videos)
    except LibraryError as error:
        return str(error)
    return ""


def _indexes(address: str, videos: Path) -> bool:
    told = _tried(address, videos)
    assert not told or "is writing; wait until it has ended (of one that was killed, " in told
    return not told


def _until(happened: Callable[[], bool]) -> None:
    ends = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_a_writer_that_was_killed_holds_others_up_no_longer_than_its_lease(
    on_store: str, videos: Path, tmp_path: Path, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORDFRAME_LEASE_SECONDS", "2")
    killed: list[str] = []

    def kill(environ: Environ, usual: object) -> None:
        if "/segments.lance/data/" in environ["PATH_INFO"] and not killed:
            killed.append(environ["PATH_INFO"])
            run.kill()

    with object_server.failing(kill):
        run = writer(on_store, videos)
        _until(lambda: bool(killed))
        run.communicate()
    _until(lambda: _indexes(on_store, videos))
    assert is_whole(on_store, videos, tmp_path)


# A store's bad days --------------------------------------------------------------------------------------------------

Usual = Callable[[], Iterable[bytes]]


def busy(chance: random.Random) -> Fault:
    def fault(environ: Environ, usual: Usual) -> Iterable[bytes] | None:
        return status_answer(environ, "503 Slow Down") if chance.random() < 0.2 else None

    return fault


def slow(chance: random.Random) -> Fault:
    def fault(environ: Environ, usual: Usual) -> None:
        time.sleep(chance.choice([0.0, 0.0, 0.1, 0.3]))

    return fault


def cuts_before(chance: random.Random) -> Fault:
    def fault(environ: Environ, usual: Usual) -> Iterable[bytes] | None:
        return cut(environ) if chance.random() < 0.1 else None

    return fault


def loses_answers(chance: random.Random) -> Fault:
    """A write is done and its answer lost, also of conditional ones: the writer cannot know."""

    def fault(environ: Environ, usual: Usual) -> Iterable[bytes] | None:
        if environ["REQUEST_METHOD"] != "PUT" or chance.random() > 0.25:
            return None
        list(usual())
        return cut(environ)

    return fault


def answers_with_errors(chance: random.Random) -> Fault:
    """As ``loses_answers``, with an error in place of the answer, after which clients try again by themselves."""

    def fault(environ: Environ, usual: Usual) -> Iterable[bytes] | None:
        if environ["REQUEST_METHOD"] != "PUT" or chance.random() > 0.25:
            return None
        list(usual())
        return status_answer(environ, "500 Internal Server Error", "<Code>InternalError</Code>")

    return fault


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("bad_day", [busy, slow, cuts_before, loses_answers, answers_with_errors])
def test_whatever_the_store_does_the_library_is_never_wrong(
    bad_day: Callable[[random.Random], Fault],
    seed: int,
    on_store: str,
    videos: Path,
    tmp_path: Path,
    object_server: ObjectServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORDFRAME_LEASE_SECONDS", "3")
    with object_server.failing(bad_day(random.Random(seed))):
        told = _tried(on_store, videos)
    assert not told or told.startswith(f"{on_store}: ")
    assert "\n" not in told
    if opened(on_store).exists:
        assert set(segments(on_store).values()) <= {1}, "a part of a video is in the library twice"
    _until(lambda: _indexes(on_store, videos))
    assert is_whole(on_store, videos, tmp_path)
