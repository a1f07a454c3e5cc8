"""Files whose times start anew on the way: all parts are read, on one clock, and it is told where they were joined."""

from __future__ import annotations

import time
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.videos import plain_frames, write_video
from wordframe.video import index_times, open_frames, open_keyframes, probe
from wordframe.video._opening import open_container
from wordframe.video._other_pictures import has_other_pictures
from wordframe.video._reader import Reader

FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
PARTS: dict[str, dict[str, object]] = {
    "h264.ts": {"codec_options": {"bf": "2"}},
    "h264_no_b.ts": {"codec_options": {"bf": "0"}},
    "h264_open_gop.ts": {"codec_options": {"x264-params": "open-gop=1:bframes=3:b-adapt=0:scenecut=0"}},
    "h265.m2ts": {"codec": "libx265", "codec_options": {"x265-params": "log-level=none"}},
    "mpeg2.ts": {"codec": "mpeg2video", "codec_options": {"bf": "2"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "codec_options": {"bf": "2"}},
    "mpeg2.vob": {"codec": "mpeg2video", "codec_options": {"bf": "2"}},
    "mpeg1.mpg": {"codec": "mpeg1video"},
    "vp8_live.webm": {"codec": "libvpx", "container_options": {"live": "1"}, "codec_options": {"cpu-used": "8"}},
    "h264_live.mkv": {"codec_options": {"bf": "2"}, "container_options": {"live": "1"}},
    "h264.flv": {"codec_options": {"bf": "2"}},
    "flv1.flv": {"codec": "flv"},
    "sound.flv": {"codec_options": {"bf": "2"}, "audio_seconds": 3.0},
    "sound.ts": {"codec_options": {"bf": "2"}, "audio_seconds": 3.0},
    "fragments.mp4": {"codec_options": {"bf": "2"}, "container_options": FRAGMENTS},
}
LENGTHS = (75, 50, 100)
"""Frames of each part; 25 a second."""


def joined(folder: Path, name: str, **settings: object) -> tuple[Path, list[NDArray[np.uint8]]]:
    """Three parts joined byte for byte, and the pictures of one after the other."""
    path, data, pictures = folder / name, b"", []
    for number, length in enumerate(LENGTHS):
        part = folder / f"part{number}.{name.rpartition('.')[2]}"
        write_video(part, num_frames=length, rate=25.0, keyframe_interval=12, **settings)  # type: ignore[arg-type]
        data += part.read_bytes()
        pictures += [rgb for _, rgb in plain_frames(part)]
    path.write_bytes(data)
    assert len(pictures) == sum(LENGTHS)
    return path, pictures


@pytest.mark.parametrize("name", PARTS)
def test_each_second_shows_its_picture(tmp_path: Path, name: str) -> None:
    path, pictures = joined(tmp_path, name, **PARTS[name])
    late = float(
        plain_frames(tmp_path / f"part0.{name.rpartition('.')[2]}")[0][0]
    )  # sound may start before the picture
    times = [late + (number + 0.5) / 25 for number in range(len(pictures))]
    with open_frames(path, times) as frames:
        given = list(frames)
        assert frames.problem is None
        joins = f"its times jump back at {late + 3:.1f} s and {late + 5:.1f} s; what follows is joined on"
        assert frames.note == joins
        assert frames.decoded_until_seconds == pytest.approx(late + 9, abs=0.05)
    assert [frame.seconds for frame in given] == times
    for number, frame in enumerate(given):
        np.testing.assert_array_equal(frame.rgb, pictures[number], err_msg=f"picture {number}")
    with open_frames(path, [4.1, 8.3]) as frames:
        for frame, number in zip(frames, (round((4.1 - late) * 25 - 0.5), round((8.3 - late) * 25 - 0.5)), strict=True):
            np.testing.assert_array_equal(frame.rgb, pictures[number])


@pytest.mark.parametrize("name", ["h264.ts", "mpeg2.mpg", "flv1.flv"])
def test_the_length_is_that_of_all_parts(tmp_path: Path, name: str) -> None:
    path, _ = joined(tmp_path, name, **PARTS[name])
    assert probe(path).duration_seconds == pytest.approx(9.0, abs=1e-6)
    with open_frames(path, index_times) as frames:
        assert [frame.seconds for frame in frames] == [second + 0.5 for second in range(9)]
    with open_keyframes(path) as frames:
        assert [frame.seconds for frame in frames][-1] > 7


def test_a_jump_ahead_holds_no_picture_for_minutes(tmp_path: Path) -> None:
    data, pictures = b"", []
    for start in (0.0, 500.0, 20.0, 90_000.0):
        part = write_video(tmp_path / "part.ts", num_frames=50, rate=25.0, start_seconds=start)
        data += part.read_bytes()
        pictures += [rgb for _, rgb in plain_frames(part)]
    path = tmp_path / "jumps.ts"
    path.write_bytes(data)
    assert probe(path).duration_seconds == pytest.approx(8.0, abs=1e-6)
    with open_frames(path, [(number + 0.5) / 25 for number in range(1000)]) as frames:
        given = list(frames)
        assert frames.note == ("its times jump back at 4.0 s and ahead at 2.0 s and 6.0 s; what follows is joined on")
    assert len(given) == len(pictures)
    for frame, expected in zip(given, pictures, strict=True):
        np.testing.assert_array_equal(frame.rgb, expected)


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "flv", "avi"])
def test_a_slide_that_stays_is_no_jump_where_times_are_meant(tmp_path: Path, suffix: str) -> None:
    seconds = [0.0, 0.5, 1.0, 301.0, 301.5] if suffix != "avi" else [float(number) for number in range(300)]
    path = write_video(tmp_path / f"talk.{suffix}", seconds=seconds, rate=1.0, codec_options={"bf": "0"})
    with open_frames(path, [0.2, 200.0, 299.0]) as frames:
        given = list(frames)
        assert frames.note is None
    number = 2 if suffix != "avi" else 200
    np.testing.assert_array_equal(given[1].rgb, plain_frames(path)[number][1])


def test_slides_of_a_minute_each_are_no_jumps_in_a_stream(tmp_path: Path) -> None:
    path = write_video(tmp_path / "slides.ts", seconds=[60.0 * number for number in range(5)], rate=1 / 60)
    with open_frames(path, [30.0, 90.0, 210.0]) as frames:
        given = list(frames)
        assert frames.note is None
    plain = plain_frames(path)
    for frame, number in zip(given, (0, 1, 3), strict=True):
        np.testing.assert_array_equal(frame.rgb, plain[number][1])


def test_a_stream_whose_times_wrap_is_whole(tmp_path: Path) -> None:
    wraps_at = 2**33 / 90_000
    path = write_video(tmp_path / "wraps.ts", num_frames=100, rate=25.0, start_seconds=wraps_at - 3.4)
    with open_frames(path, [0.02, 1.02, 2.02, 3.98]) as frames:
        given = list(frames)
        assert (frames.problem, frames.note) == (None, None)
    plain = plain_frames(path)
    for frame, number in zip(given, (0, 25, 50, 99), strict=True):
        np.testing.assert_array_equal(frame.rgb, plain[number][1])


def test_a_stream_that_was_cut_is_still_told_where_its_header_says_more(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.flv", num_frames=200, keyframe_interval=10, codec="flv1")
    path = tmp_path / "cut.flv"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    with open_frames(path, index_times) as frames:
        assert 6 <= len(list(frames)) <= 16
        assert frames.note is None
    assert frames.problem is not None
    assert f"ends early: decoded until {frames.decoded_until_seconds:.1f} s of 20.0 s" in frames.problem


def test_an_flv_of_nothing_but_beginnings_ends(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.flv", num_frames=30, codec="flv").read_bytes()
    path = tmp_path / "beginnings.flv"
    path.write_bytes(whole + whole[:13] * 100_000)
    before = time.monotonic()
    with open_frames(path, index_times) as frames:
        assert len(list(frames)) == 8
    assert time.monotonic() - before < 30
    assert frames.problem is not None


@pytest.mark.parametrize(
    ("name", "codec"),
    [("h264.mkv", "libx264"), ("h264.mp4", "libx264"), ("h264.mov", "libx264"), ("b.avi", "mpeg4"), ("b.wmv", "wmv2")],
)
def test_files_with_lengths_are_told_to_be_joined(tmp_path: Path, name: str, codec: str) -> None:
    """FFmpeg reads no further than the first one says it goes."""
    path, pictures = joined(tmp_path, name, codec=codec)
    first = (tmp_path / f"part0{path.suffix}").stat().st_size
    with open_frames(path, [(number + 0.5) / 25 for number in range(len(pictures))]) as frames:
        assert len(list(frames)) == LENGTHS[0]
    unread = f"{path.stat().st_size - first:,}"
    assert frames.problem == f"behind its end {unread} bytes of another file are joined on, which are not read"
    path.write_bytes(path.read_bytes()[:first] + b"padding")
    with open_frames(path, index_times) as frames:
        assert len(list(frames)) > 2
    assert frames.problem is None


def test_many_joins_are_counted(tmp_path: Path) -> None:
    part = write_video(tmp_path / "part.ts", num_frames=30).read_bytes()
    path = tmp_path / "many.ts"
    path.write_bytes(part * 40)
    with open_frames(path, index_times) as frames:
        assert len(list(frames)) == 120
        told = "its times jump back at 3.0 s and 6.0 s and 9.0 s and 36 more places; what follows is joined on"
        assert frames.note == told


def bars_number(rgb: NDArray[np.uint8]) -> int:
    """The number that 12 bars carry, top bit left."""
    columns = np.array_split(rgb.mean(axis=2)[rgb.shape[0] // 4 : 3 * rgb.shape[0] // 4].mean(axis=0), 12)
    return sum((bar[len(bar) // 3 : -len(bar) // 3].mean() > 128) << (11 - at) for at, bar in enumerate(columns))


def test_shared_parts_show_the_right_second(shared: Path) -> None:
    folder = shared / "hard_files"
    for name in ("cat_backward.ts", "cat.mpg"):
        with open_frames(folder / name, index_times) as frames:
            greys = [float(frame.rgb[:, :70].mean()) for frame in frames]
            assert frames.note is not None
            assert "jump back at 6.0 s and 12.0 s" in frames.note
        np.testing.assert_allclose(greys, 20 + 9 * np.arange(18), atol=2)
    with open_frames(folder / "timestamps_restart_mpegts.ts", [number / 10 for number in range(240)]) as frames:
        assert frames.info.duration_seconds == pytest.approx(24.0)
        assert [bars_number(frame.rgb) for frame in frames] == list(range(240))


def test_where_the_parts_of_the_tests_begin() -> None:
    assert list(accumulate(length / 25 for length in LENGTHS)) == [3.0, 5.0, 9.0]


def test_a_file_without_joins_is_read_through_once(tmp_path: Path) -> None:
    path = tmp_path / "plain.ts"
    write_video(path, num_frames=100, rate=10.0)
    read = []
    for _ in range(2):
        before = Reader.packets_ever_read
        reader = Reader(path, threads=1)
        read.append(Reader.packets_ever_read - before)
        assert reader.duration_seconds() == pytest.approx(10, abs=0.2)
        reader.container.close()
    assert read[0] >= 100
    assert read[1] < 5


@pytest.mark.parametrize("middle", [{}, {"mpegts_start_pid": "0x200", "mpegts_pmt_start_pid": "0x1100"}])
def test_a_part_whose_streams_have_other_numbers_is_told(tmp_path: Path, middle: dict[str, str]) -> None:
    """FFmpeg passes it over: it reads on with the streams that it met first."""
    data = b""
    for number, options in enumerate(({}, middle, {})):
        write_video(tmp_path / f"{number}.ts", num_frames=75, rate=25.0, container_options=options)
        data += (tmp_path / f"{number}.ts").read_bytes()
    (tmp_path / "all.ts").write_bytes(data)
    with open_frames(tmp_path / "all.ts", index_times) as frames:
        assert frames.info.duration_seconds == pytest.approx(6.0 if middle else 9.0, abs=0.1)
        assert len(list(frames)) > 0
    assert frames.problem == ("a stream of other pictures begins inside it, which is not read" if middle else None)


def test_one_wrong_number_in_a_transport_stream_is_no_other_stream(tmp_path: Path) -> None:
    write_video(tmp_path / "whole.ts", num_frames=75, rate=25.0)
    data = bytearray((tmp_path / "whole.ts").read_bytes())
    beginnings = [at for at in range(0, len(data), 188) if data[at + 1] & 0x5F == 0x41 and data[at + 2] == 0]
    assert len(beginnings) == 75
    data[beginnings[40] + 1] ^= 0x08
    (tmp_path / "spoilt.ts").write_bytes(data)
    container = open_container(tmp_path / "spoilt.ts")
    assert not has_other_pictures(tmp_path / "spoilt.ts", container)
    container.close()
