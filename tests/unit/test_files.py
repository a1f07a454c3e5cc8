"""Finding video files: which are taken, which are passed over, and what is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wordframe.library import find_videos
from wordframe.library._files import FoundFile
from wordframe.library._plan import make_plan


def touch(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def found(*paths: Path, leave_out: tuple[str, ...] = ()) -> list[str]:
    return [file.path for file in find_videos(paths, leave_out=leave_out).files]


def test_video_suffixes_at_any_depth_and_in_any_case(tmp_path: Path) -> None:
    one, two = touch(tmp_path / "a.mp4"), touch(tmp_path / "deep/er/b.MKV")
    touch(tmp_path / "notes.txt")
    assert found(tmp_path) == [str(one), str(two)]


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path / ".hidden.mp4")
    touch(tmp_path / ".trash/a.mp4")
    assert found(tmp_path) == []


def test_a_file_named_directly_is_taken_whatever_its_suffix(tmp_path: Path) -> None:
    path = touch(tmp_path / "video.data")
    assert found(path) == [str(path)]


def test_a_file_reached_twice_counts_once(tmp_path: Path) -> None:
    path = touch(tmp_path / "a.mp4")
    (tmp_path / "link.mp4").symlink_to(path)
    assert found(tmp_path, path) == [str(path)]


def test_links_to_folders_are_followed_and_loops_end(tmp_path: Path) -> None:
    real = touch(tmp_path / "elsewhere/a.mp4")
    inside = tmp_path / "videos"
    inside.mkdir()
    (inside / "there").symlink_to(real.parent)
    (inside / "again").symlink_to(inside)
    (inside / "itself").symlink_to(inside / "itself")
    assert found(inside) == [str(inside / "there" / "a.mp4")]


def test_the_library_itself_is_left_out(tmp_path: Path) -> None:
    touch(tmp_path / "library/a.mp4")
    assert found(tmp_path, leave_out=(str(tmp_path / "library"),)) == []


@pytest.mark.parametrize("name", ["a b.mp4", "it's.mp4", 'say "hi".mp4', "two\nlines.mp4", "ünï.mp4"])
def test_any_name_is_found(tmp_path: Path, name: str) -> None:
    assert found(tmp_path, touch(tmp_path / name)) == [str(tmp_path / name)]


def test_a_name_that_is_not_utf8_is_found(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.mp4")
    Path(path).write_bytes(b"x")
    assert found(tmp_path) == [path]


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    findings = find_videos([tmp_path / "nowhere"])
    assert findings.unreadable == {str(tmp_path / "nowhere"): "no such file or directory"}


def test_a_file_that_cannot_be_hashed_is_told_and_not_decoded(tmp_path: Path) -> None:
    gone, there = FoundFile(str(tmp_path / "gone.mp4"), 3, 1), touch(tmp_path / "there.mp4", b"abc")
    plan = make_plan([gone, FoundFile(str(there), 3, 1)], {}, {}, retry=False, should_stop=lambda: False)
    assert [job.path for job in plan.jobs(threads=1)] == [str(there)]
    assert [entry.reason for entry in plan.unreadable] == [f"{gone.path}: cannot be read (no such file or directory)"]
    assert (plan.settled_files, plan.settled_bytes) == (1, 3)
