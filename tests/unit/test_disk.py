"""Files that are there whole or not at all, hashes, locks, and names that any terminal can show."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from wordframe.disk import (
    content_hash,
    display_path,
    hold_lock,
    one_line,
    remove_all_unfinished,
    replacing,
    scratch_file,
    write_whole,
)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.txt"
    write_whole(target, "one")
    write_whole(target, b"two")
    assert target.read_bytes() == b"two"
    assert os.listdir(target.parent) == ["a.txt"]


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail_half_way() -> None:
        with replacing(target) as part:
            part.write_text("ne")
            raise ValueError("half-way")

    with pytest.raises(ValueError, match="half-way"):
        fail_half_way()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".mine.part.json").write_text("a person's own")
    with replacing(tmp_path / "a.json") as part:
        part.write_text("unfinished")
        os.link(part, left := part.with_name(part.name.replace(str(os.getpid()), "123")))
    assert left.exists()
    remove_all_unfinished(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".mine.part.json", "a.json"]


@pytest.mark.skipif(os.name == "nt", reason="nothing there can be killed so")
def test_what_a_killed_process_left_among_temporary_files_goes_with_the_next_and_nothing_else(tmp_path: Path) -> None:
    """One that is still held stays however old it is, and one that was made a moment ago, and what is not ours."""
    killed = (
        "import os, signal; from wordframe.disk import scratch_file\n"
        "with scratch_file('.mp4') as (handle, name):\n"
        "    os.write(handle, b'much'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    waits = (
        "from wordframe.disk import scratch_file\n"
        "with scratch_file() as (handle, name):\n    print(name, flush=True); input()"
    )
    with_folder = os.environ | {"TMPDIR": str(tmp_path)}
    for _ in range(2):
        subprocess.run([sys.executable, "-c", killed], env=with_folder, check=False)
    (tmp_path / "mine.mp4").touch()
    with subprocess.Popen(
        [sys.executable, "-c", waits], env=with_folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as waiting:
        assert waiting.stdout is not None
        held = waiting.stdout.readline().strip()
        left = [path for path in tmp_path.glob("*.mp4") if path.name != "mine.mp4"]
        assert len(left) == 2
        for old in (held, left[0], tmp_path / "mine.mp4"):
            os.utime(old, (1e9, 1e9))
        told = subprocess.run(
            [sys.executable, "-c", waits], env=with_folder, input="\n", capture_output=True, text=True, check=True
        )
        assert sorted(map(str, tmp_path.iterdir())) == sorted([held, str(left[1]), str(tmp_path / "mine.mp4")])
        assert not os.path.exists(told.stdout.strip())
        waiting.communicate("\n")
    assert not os.path.exists(held)


def test_content_and_name_are_synced_around_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, rename = os.fsync, os.replace

    def note_sync(handle: int) -> None:
        calls.append("folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "file")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", lambda *names: (calls.append("rename"), rename(*names)))
    write_whole(tmp_path / "a.txt", "text")
    assert calls == ["file", "rename", "folder"]


def test_hashes_are_those_of_the_content(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"wordframe" * 400_000)
    assert content_hash(file) == hashlib.sha256(file.read_bytes()).hexdigest()
    assert content_hash(file, "blake2b") == hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()


def test_a_lock_keeps_another_thread_out_and_ends_with_its_block(tmp_path: Path) -> None:
    raised: list[BaseException] = []

    def try_it() -> None:
        try:
            with hold_lock(tmp_path / "lock", busy=lambda: RuntimeError("busy")):
                pass
        except RuntimeError as error:
            raised.append(error)

    with hold_lock(tmp_path / "lock", busy=lambda: RuntimeError("busy")):
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
    assert [str(error) for error in raised] == ["busy"]
    try_it()
    assert len(raised) == 1


@pytest.mark.parametrize("name", ["plain", "caf\udce9", "\ud800", "tab\tbell\a", "日本"])
def test_any_name_can_be_shown(name: str) -> None:
    assert display_path(name).encode()
    shown = one_line(name)
    assert shown.isprintable()
    assert shown.encode()


@pytest.mark.parametrize("name", ["a" * 251 + ".txt", "日" * 83 + ".txt"])
def test_the_longest_name_can_be_written(tmp_path: Path, name: str) -> None:
    write_whole(tmp_path / name, "text")
    assert os.listdir(tmp_path) == [name]


def test_two_threads_that_write_one_file_leave_one_of_both_contents(tmp_path: Path) -> None:
    inside = threading.Barrier(2)

    def write(letter: str) -> None:
        with replacing(tmp_path / "a.txt") as part:
            part.write_text(letter * 1000)
            inside.wait(30)
            assert part.read_text() == letter * 1000

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, "ab"))
    assert (tmp_path / "a.txt").read_text() in ("a" * 1000, "b" * 1000)
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_scratch_file_that_the_system_cleared_away_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch_file() as (_, name):
        Path(name).unlink()
