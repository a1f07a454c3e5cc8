"""Finding video files: which are taken, which are passed over, and what is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wordframe.library import VideoEntry, find_videos
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
    alike = VideoEntry("1", "/other.mp4", 3, 1, "0" * 32, 1.0, 64, 64, "h264", "mp4", None, 1)  # so both are hashed
    files, known = [gone, FoundFile(str(there), 3, 1)], {alike.path: alike}
    plan = make_plan(files, known, {}, retry=False, should_stop=lambda: False)
    assert [file.path for file in plan.to_read] == [str(there)]
    assert [entry.reason for entry in plan.unreadable] == [f"{gone.path}: cannot be read (no such file or directory)"]


TRANSPORT = (b"G" + bytes(187)) * 6


@pytest.mark.parametrize(
    ("name", "content", "is_video"),
    [
        ("clip.ts", TRANSPORT, True),
        ("recorded.M2TS", bytes(4) + (b"G" + bytes(191)) * 6, True),
        ("cut.mts", bytes(100) + TRANSPORT, True),
        ("damaged.ts", bytes(3000), True),
        ("program.ts", b"export const wide = (x: number): string => `\xc3\xa9${x}`;\n" * 40, False),
        ("module.mts", b"import a from 'b'\n", False),
        ("qt_de.ts", b'<?xml version="1.0"?>\n<!DOCTYPE TS>\n', False),
        ("windows.ts", "<TS/>".encode("utf-16"), False),
        ("legacy.ts", "// Größe\nexport const x = 1\n".encode("cp1252"), False),
        ("japanese.ts", '<TS encoding="Shift_JIS">\u8a9e</TS>\n'.encode("shift_jis"), False),
        ("empty.ts", b"", False),
        ("camera.mod", b"\x00\x00\x01\xba" + bytes(500), True),
        ("music.mod", b"a song".ljust(1080, b"\x00") + b"M.K.", False),
        *((f"a.{ending}", b"x", True) for ending in "3g2 divx dv m2v mpe qt mp4v 3gpp lrv rm ogm tod h264".split()),
        ("notes.txt", b"x", False),
    ],
)
def test_endings_that_others_use_are_told_by_the_first_bytes(
    tmp_path: Path, name: str, content: bytes, is_video: bool
) -> None:
    path = touch(tmp_path / name, content)
    findings = find_videos([tmp_path])
    assert [file.path for file in findings.files] == ([str(path)] if is_video else [])
    assert not findings.unreadable
    assert not findings.passed_over


def test_a_stream_cut_behind_its_first_bytes_is_no_text(tmp_path: Path) -> None:
    """Two letters and two control characters: told as broken, not passed over in silence."""
    (tmp_path / "cut.ts").write_bytes(b"G@\x11\x10")
    (tmp_path / "coloured.ts").write_bytes(b"// \x1b[1m bold\r\n")
    assert [Path(file.path).name for file in find_videos([tmp_path]).files] == ["cut.ts"]


def test_what_a_letter_cut_through_at_the_end_of_the_head_leaves_is_text(tmp_path: Path) -> None:
    for before in range(4):
        touch(tmp_path / f"{before}.ts", b"x" * before + "\N{GRINNING FACE}".encode() * 400)
    assert found(tmp_path) == []


def test_folders_of_systems_are_passed_over_and_counted(tmp_path: Path) -> None:
    kept = touch(tmp_path / "a" / "film.mp4")
    for folder in ("$RECYCLE.BIN/S-1-5", "#recycle", "a/@eaDir", "b/@eaDir", "System Volume Information", "lost+found"):
        touch(tmp_path / folder / "film.mp4")
    for folder in (".Trash-1000/files", ".Trashes/501", ".cache"):
        touch(tmp_path / folder / "film.mp4")
    for name in ("one.gif", "two.GIF", "three.swf"):
        touch(tmp_path / "a" / name)
    findings = find_videos([tmp_path])
    assert [file.path for file in findings.files] == [str(kept)]
    assert findings.passed_over == {
        "$RECYCLE.BIN/": 1,
        "#recycle/": 1,
        "@eaDir/": 2,
        "System Volume Information/": 1,
        "lost+found/": 1,
        ".Trash-1000/": 1,
        ".Trashes/": 1,
        ".gif": 2,
        ".swf": 1,
    }
    assert found(tmp_path / "#recycle") == [str(tmp_path / "#recycle" / "film.mp4")], "named by the user it is meant"


def test_an_ignore_file_speaks_for_its_folder_as_gits_does(tmp_path: Path) -> None:
    touch(tmp_path / ".wordframeignore", b"# drafts\n*.draft.mp4\n/raw/\nout/*.mp4\n")
    touch(tmp_path / "sub" / ".wordframeignore", b"!good.draft.mp4\nprivate\n")
    kept = [
        touch(tmp_path / name)
        for name in ("film.mp4", "out/film.mkv", "sub/good.draft.mp4", "sub/raw/film.mp4", "x/private.mp4")
    ]
    ignored = [
        touch(tmp_path / name)
        for name in ("a.draft.mp4", "sub/b.draft.mp4", "raw/film.mp4", "out/film.mp4", "sub/private/film.mp4")
    ]
    findings = find_videos([tmp_path])
    assert [file.path for file in findings.files] == sorted(map(str, kept))
    assert findings.passed_over == {".wordframeignore": len(ignored)}  # of a folder only itself is counted
    assert not findings.unreadable


def test_an_ignore_file_that_cannot_be_used_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    film = touch(tmp_path / "film.mp4")
    (tmp_path / ".wordframeignore").mkdir()
    findings = find_videos([tmp_path])
    assert [file.path for file in findings.files] == [str(film)]
    assert list(findings.unreadable) == [str(tmp_path / ".wordframeignore")]
