"""Cached frames: those of decoding, made once, mended when spoilt, and never a wrong or an empty one in silence."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests.colours import COLOURS, write_scenes
from tests.videos import write_video
from wordframe.data import CacheError, FrameCache, FrameCacheSummary, FrameSettings, build_frame_cache, read_sampled
from wordframe.data._cache_folder import writing
from wordframe.errors import VideoError

EXACT = FrameSettings(num_frames=4, short_side=32, quality=None)


@pytest.fixture
def videos(tmp_path: Path) -> dict[str, Path]:
    return {
        "moving": write_video(tmp_path / "moving.mp4", num_frames=70, rate=10.0),
        "short": write_scenes(tmp_path / "short.mp4", ("red", 1), ("blue", 1)),
    }


def files_of(folder: Path) -> list[Path]:
    return sorted((folder / "videos").rglob("*.safetensors"))


def outcome(summary: FrameCacheSummary) -> tuple[list[str], list[str], list[str], bool]:
    return sorted(summary.made), sorted(summary.kept), sorted(summary.failed), summary.interrupted


def test_exact_frames_are_those_of_decoding_bit_by_bit(videos: dict[str, Path], tmp_path: Path) -> None:
    build_frame_cache(tmp_path / "cache", videos, EXACT)
    cache = FrameCache.open(tmp_path / "cache")
    for video, path in videos.items():
        direct, cached = read_sampled(path, num_frames=4, short_side=32), cache.read(video, 4)
        np.testing.assert_array_equal(cached.rgb, direct.rgb)
        assert cached.seconds.tolist() == direct.seconds.tolist()
    assert cache.read("moving", 2).seconds.tolist() == [0.0, 6.0]


def test_jpeg_frames_are_near_and_several_times_smaller(videos: dict[str, Path], tmp_path: Path) -> None:
    for quality in (None, 90):
        build_frame_cache(tmp_path / str(quality), videos, FrameSettings(num_frames=4, short_side=72, quality=quality))
    exact, near = (FrameCache.open(tmp_path / name) for name in ("None", "90"))
    for video in videos:
        difference = near.read(video, 4).rgb.astype(int) - exact.read(video, 4).rgb
        assert np.abs(difference).mean() < 4
    exact_size, near_size = (sum(file.stat().st_size for file in files_of(tmp_path / name)) for name in ("None", "90"))
    assert near_size < exact_size
    assert np.abs(near.read("short", 4).rgb[0, 0, 0].astype(int) - COLOURS["red"]).max() < 6


def test_a_second_run_makes_nothing_anew(videos: dict[str, Path], tmp_path: Path) -> None:
    first = build_frame_cache(tmp_path / "cache", videos, EXACT)
    assert outcome(first) == (["moving", "short"], [], [], False)
    times = [file.stat().st_mtime_ns for file in files_of(tmp_path / "cache")]
    os.utime(videos["short"])  # the same content, written at another time
    done: list[int] = []
    again = build_frame_cache(tmp_path / "cache", videos, EXACT, on_progress=done.append)
    assert outcome(again) == ([], ["moving", "short"], [], False)
    assert [file.stat().st_mtime_ns for file in files_of(tmp_path / "cache")] == times
    assert done == [1, 2]


def test_another_content_is_read_anew(videos: dict[str, Path], tmp_path: Path) -> None:
    build_frame_cache(tmp_path / "cache", videos, EXACT)
    stamp = FrameCache.open(tmp_path / "cache").stamp("short")
    write_scenes(videos["short"], ("green", 2))
    assert outcome(build_frame_cache(tmp_path / "cache", videos, EXACT))[:2] == (["short"], ["moving"])
    cache = FrameCache.open(tmp_path / "cache")
    assert cache.stamp("short") != stamp
    assert cache.read("short", 1).rgb[0, 0, 0, 1] > 200


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_spoilt_file_is_told_when_read_and_mended_by_the_next_run(
    videos: dict[str, Path], tmp_path: Path, damage: str
) -> None:
    build_frame_cache(tmp_path / "cache", {"moving": videos["moving"]}, EXACT)
    before = FrameCache.open(tmp_path / "cache").read("moving", 4)
    (file,) = files_of(tmp_path / "cache")
    data = bytearray(file.read_bytes())
    data[-2000] ^= 0x10
    file.write_bytes({"flip": bytes(data), "cut": bytes(data[:-100]), "empty": b""}[damage])
    with pytest.raises(VideoError, match=r"moving: its cached frames are damaged .*run wordframe cache frames again"):
        FrameCache.open(tmp_path / "cache").read("moving", 4)
    assert build_frame_cache(tmp_path / "cache", {"moving": videos["moving"]}, EXACT).made == ["moving"]
    np.testing.assert_array_equal(FrameCache.open(tmp_path / "cache").read("moving", 4).rgb, before.rgb)


def test_a_broken_video_is_listed_and_the_rest_is_there(videos: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    everything = {"bad": tmp_path / "bad.mp4", **videos}
    summary = build_frame_cache(tmp_path / "cache", everything, EXACT)
    assert outcome(summary) == (["moving", "short"], [], ["bad"], False)
    assert "bad.mp4" in summary.failed["bad"]
    assert json.loads((tmp_path / "cache" / "problems.json").read_text())["failed"].keys() == {"bad"}
    cache = FrameCache.open(tmp_path / "cache")
    assert ("bad" in cache, "short" in cache) == (False, True)
    with pytest.raises(VideoError, match=r"bad: not in the frame cache .*bad\.mp4"):
        cache.read("bad", 4)
    with pytest.raises(VideoError, match=r"never: not in the frame cache .*not among the videos given"):
        cache.stamp("never")


def test_frames_of_a_video_that_broke_are_forgotten(videos: dict[str, Path], tmp_path: Path) -> None:
    build_frame_cache(tmp_path / "cache", videos, EXACT)
    videos["short"].write_text("no video any more")
    assert build_frame_cache(tmp_path / "cache", videos, EXACT).failed.keys() == {"short"}
    assert "short" not in FrameCache.open(tmp_path / "cache")
    write_scenes(videos["short"], ("red", 1))
    assert build_frame_cache(tmp_path / "cache", videos, EXACT).made == ["short"]
    assert json.loads((tmp_path / "cache" / "problems.json").read_text())["failed"] == {}


def test_a_damaged_video_is_kept_as_far_as_it_goes_and_told_each_time(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mkv", num_frames=200, rate=10.0, keyframe_interval=10)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    for _ in range(2):
        summary = build_frame_cache(tmp_path / "cache", {"cut": cut}, EXACT)
        assert "ends early" in summary.damaged["cut"]
    assert "ends early" in str(FrameCache.open(tmp_path / "cache").read("cut", 4).problem)


def test_a_second_split_adds_to_the_folder(videos: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    build_frame_cache(tmp_path / "cache", {"moving": videos["moving"], "bad": tmp_path / "bad.mp4"}, EXACT)
    build_frame_cache(tmp_path / "cache", {"short": videos["short"]}, EXACT)
    cache = FrameCache.open(tmp_path / "cache")
    assert "moving" in cache
    assert "short" in cache
    assert json.loads((tmp_path / "cache" / "problems.json").read_text())["failed"].keys() == {"bad"}


def test_a_stopped_run_goes_on_from_there(tmp_path: Path) -> None:
    path = write_scenes(tmp_path / "a.mp4", ("red", 1))
    videos = {f"video {number}": path for number in range(60)}
    done: list[int] = []
    first = build_frame_cache(
        tmp_path / "cache", videos, EXACT, should_stop=lambda: len(done) >= 3, on_progress=done.append
    )
    assert first.interrupted
    assert 3 <= len(first.made) < 60
    second = build_frame_cache(tmp_path / "cache", videos, EXACT)
    assert not second.interrupted
    assert len(second.made) + len(second.kept) == 60
    assert set(first.made) <= set(second.kept)


def test_other_settings_are_refused(videos: dict[str, Path], tmp_path: Path) -> None:
    build_frame_cache(tmp_path / "cache", videos, EXACT)
    with pytest.raises(CacheError, match=r"holds 4 frames a video, .*, exact; this run asks for 8 frames .*JPEG"):
        build_frame_cache(tmp_path / "cache", videos, FrameSettings(num_frames=8, short_side=32))
    cache = FrameCache.open(tmp_path / "cache")
    with pytest.raises(CacheError, match="at most 4 frames a video, 12 are wanted; make a cache with --frames 12"):
        cache.read("short", 12)
    with pytest.raises(CacheError, match=r"frames of 32 pixels, the encoder wants 224; .* --short-side 224"):
        cache.refuse_less(short_side=224)


def test_folders_that_are_no_cache_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="there is no frame cache; make one with wordframe cache frames"):
        FrameCache.open(tmp_path / "nothing")
    (tmp_path / "wordframe-frames.json").write_text('{"version": 99}')
    with pytest.raises(CacheError, match="cache format 99, this wordframe reads format 1"):
        FrameCache.open(tmp_path)
    (tmp_path / "wordframe-frames.json").write_text("{")
    with pytest.raises(CacheError, match="damaged; make the cache anew"):
        FrameCache.open(tmp_path)


def test_a_folder_of_videos_is_refused_and_nothing_of_it_removed(videos: dict[str, Path], tmp_path: Path) -> None:
    folder = next(iter(videos.values())).parent
    (folder / ".mine.part.mp4").write_bytes(b"still being copied")
    before = sorted(folder.rglob("*"))
    with pytest.raises(CacheError, match=r"holds videos \('.*'\); name a folder of its own for the cache"):
        build_frame_cache(folder, videos, FrameSettings(num_frames=2))
    assert sorted(folder.rglob("*")) == before


def test_what_a_killed_run_left_is_removed(videos: dict[str, Path], tmp_path: Path) -> None:
    parts = tmp_path / "cache" / "videos" / "ab"
    parts.mkdir(parents=True)
    for name in (".abcd.safetensors.17-4.part", ".abcd.17.part.safetensors"):  # as earlier versions, and as this one
        (parts / name).write_bytes(b"half a file")
    build_frame_cache(tmp_path / "cache", videos, EXACT)
    assert not [path for path in (tmp_path / "cache").rglob("*") if ".part" in path.name]


def test_one_run_writes_at_a_time(videos: dict[str, Path], tmp_path: Path) -> None:
    with writing(tmp_path / "cache"), pytest.raises(CacheError, match="another run of wordframe is writing"):
        build_frame_cache(tmp_path / "cache", videos, EXACT)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"num_frames": 0}, "num_frames must be at least 1, got 0"),
        ({"short_side": 0}, "short_side must be at least 1, got 0"),
        ({"quality": 101}, "quality must be 1 to 100, or None for exact frames, got 101"),
    ],
)
def test_settings_check_themselves(values: dict[str, int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        FrameSettings(**values)
