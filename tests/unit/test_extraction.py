"""Decoding and encoding at once: every frame's feature at its place, failures told, errors and stops in order."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.colours import COLOURS, ColourEncoder, write_scenes
from wordframe.extraction import Chunk, Failure, Job, extract
from wordframe.video import VideoInfo


def each_half_second(info: VideoInfo) -> list[float]:
    assert info.duration_seconds is not None
    return [0.25 + 0.5 * number for number in range(int(2 * info.duration_seconds))]


@pytest.fixture
def videos(tmp_path: Path) -> dict[str, Path]:
    scenes = {name: [(colour, 1.0) for colour in names] for name, names in ORDERS.items()}
    return {name: write_scenes(tmp_path / f"{name}.mp4", *parts) for name, parts in scenes.items()}


ORDERS = {"a": ["red", "green", "blue"], "b": ["white", "black"], "c": ["cyan"], "d": ["yellow", "red"] * 4}


def expected(name: str) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Which of red, green, blue each half second of a video shows: ``(N, 3)``."""
    return np.repeat(np.array([COLOURS[colour] for colour in ORDERS[name]]) > 127, 2, axis=0)


@pytest.mark.parametrize("chunk_frames", [1, 3, 600])
@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_every_feature_is_at_its_frame(videos: dict[str, Path], chunk_frames: int, batch_size: int) -> None:
    jobs = [Job(name, str(path)) for name, path in videos.items()]
    found: dict[str, list[Chunk]] = {}
    for chunk in extract(
        jobs, ColourEncoder(), times=each_half_second, chunk_frames=chunk_frames, batch_size=batch_size
    ):
        assert isinstance(chunk, Chunk)
        found.setdefault(chunk.key, []).append(chunk)
    assert set(found) == set(videos)
    for name, chunks in found.items():
        chunks.sort(key=lambda chunk: chunk.index)
        assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
        assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        assert all(len(chunk.seconds) == len(chunk.features) <= chunk_frames for chunk in chunks)
        features = np.concatenate([chunk.features for chunk in chunks])
        np.testing.assert_array_equal(features[:, :3] > 0, expected(name))
        seconds = np.concatenate([chunk.seconds for chunk in chunks])
        np.testing.assert_allclose(seconds, 0.25 + 0.5 * np.arange(len(seconds)))


def test_keepsakes_stay_with_their_frames(videos: dict[str, Path]) -> None:
    job = Job("a", str(videos["a"]))
    (chunk,) = extract([job], ColourEncoder(), times=each_half_second, keep=lambda frame: bytes(frame.rgb[8, 8] > 127))
    assert isinstance(chunk, Chunk)
    np.testing.assert_array_equal([list(kept) for kept in chunk.keepsakes], expected("a"))


def test_a_bad_file_is_one_failure_and_the_rest_goes_on(videos: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    jobs = [Job("bad", str(tmp_path / "bad.mp4")), *(Job(name, str(path)) for name, path in videos.items())]
    results = list(extract(jobs, ColourEncoder(), times=each_half_second))
    (failure,) = [result for result in results if isinstance(result, Failure)]
    assert failure.key == "bad"
    assert "bad.mp4" in failure.reason
    assert {result.key for result in results} == {"bad", *videos}


def test_an_error_of_the_encoder_reaches_the_caller(videos: dict[str, Path]) -> None:
    class Broken(ColourEncoder):
        def encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("the device is gone")

    with pytest.raises(RuntimeError, match="the device is gone"):
        list(extract([Job("a", str(videos["a"]))], Broken(), times=each_half_second))


def test_stopping_ends_all_threads(videos: dict[str, Path]) -> None:
    before = threading.active_count()
    jobs = [Job(str(number), str(videos["d"])) for number in range(50)]
    with contextlib.closing(extract(jobs, ColourEncoder(delay_seconds=0.01), times=each_half_second)) as results:
        next(results)
    assert threading.active_count() == before
    drawn = list(extract(jobs, ColourEncoder(delay_seconds=0.01), times=each_half_second, should_stop=lambda: True))
    assert drawn == []
    assert threading.active_count() == before


def test_the_callers_number_of_threads_is_left_as_it_was(videos: dict[str, Path]) -> None:
    before = torch.get_num_threads()
    list(extract([Job("a", str(videos["a"]))], ColourEncoder(), times=each_half_second))
    assert torch.get_num_threads() == before
