"""Frames that hardly differ take the feature of the last encoded one: which do, and that nothing else changes."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.colours import ColourEncoder
from tests.videos import write_video
from wordframe.encoders import RgbFrames
from wordframe.extraction import Chunk, Failure, Job, Repeats, extract
from wordframe.video import Frame, VideoInfo

Picture = NDArray[np.uint8]
HEIGHT, WIDTH = 96, 160


def textured(seed: int = 0, contrast: float = 50.0) -> NDArray[np.float64]:
    """Random patches of 16 × 16 pixels around middle grey."""
    patches = np.random.default_rng(seed).normal(0, contrast, (HEIGHT // 16, WIDTH // 16, 3))
    return 128 + patches.repeat(16, axis=0).repeat(16, axis=1)


def shown(picture: NDArray[np.float64]) -> Picture:
    return picture.round().clip(0, 255).astype(np.uint8)


def noisy(picture: NDArray[np.float64], seed: int, deviation: float = 4.0) -> Picture:
    return shown(picture + np.random.default_rng(seed).normal(0, deviation, picture.shape))


def new_ones(pictures: list[Picture], repeats: Repeats | None = None) -> list[int]:
    """Which of the pictures, a second each, are no repetitions."""
    repeats = repeats or Repeats()
    return [number for number, rgb in enumerate(pictures) if not repeats.is_repeat(Frame(float(number), rgb))]


class TestWhatIsARepetition:
    def test_a_still_picture_with_noise_is(self) -> None:
        assert new_ones([noisy(textured(), seed) for seed in range(10)]) == [0]

    def test_a_cut_is_not(self) -> None:
        pictures = [noisy(textured(number // 5), number) for number in range(15)]
        assert new_ones(pictures) == [0, 5, 10]

    def test_a_cut_to_a_colour_as_bright_is_not(self) -> None:
        """Both of luma 100, without contrast."""
        red, green = (np.broadcast_to(np.uint8(colour), (HEIGHT, WIDTH, 3)) for colour in ([255, 0, 208], [0, 170, 0]))
        assert new_ones([red, red.copy(), green, green.copy(), red.copy()]) == [0, 2, 4]

    def test_a_cut_in_the_dark_is_not(self) -> None:
        pictures = [shown(textured(number // 3, contrast=3.0) - 110) for number in range(6)]
        assert np.abs(pictures[0].astype(int) - pictures[3]).mean() < 5
        assert new_ones(pictures) == [0, 3]

    def test_something_small_that_moves_is_not(self) -> None:
        """A faint spot of one block, a 240th of the picture: nothing in the mean."""
        pictures = [shown(textured(contrast=40.0)) for _ in range(4)]
        for number, picture in enumerate(pictures):
            picture[40:48, 24 + 16 * number : 32 + 16 * number] += np.uint8(16)
        assert new_ones(pictures) == [0, 1, 2, 3]

    def test_a_slow_drift_does_not_add_up(self) -> None:
        """Each is near the one before, and 100 of them lead far away: no two that share a feature may be far."""
        start, end = textured(0), textured(1)
        pictures = [shown(start + (end - start) * number / 300) for number in range(100)]
        for before, after in itertools.pairwise(pictures):
            assert new_ones([before, after]) == [0]
        new = new_ones(pictures)
        assert len(new) > 10
        for first, last in zip(new, [*new[1:], len(pictures)], strict=True):
            assert np.abs(pictures[first].astype(int) - pictures[last - 1]).max() <= 50 / 4

    def test_the_longest_run_is_bounded(self) -> None:
        pictures = [noisy(textured(), seed) for seed in range(150)]
        new = new_ones(pictures)
        assert new == [0, 61, 122]
        assert max(np.diff(new)) - 1 == 60

    def test_one_picture_that_the_file_shows_on_is_for_as_long_as_it_lasts(self) -> None:
        assert new_ones([noisy(textured(), 0)] * 3600) == [0]

    def test_what_lies_outside_the_region_does_not_count(self) -> None:
        pictures = [shown(textured()) for _ in range(3)]
        for number, picture in enumerate(pictures):
            picture[:, 128:] = 100 * number
        region = lambda height, width: (slice(0, height), slice(0, 128))  # noqa: E731
        assert new_ones(pictures, Repeats(region)) == [0]
        assert new_ones(pictures) == [0, 1, 2]


def each_second(info: VideoInfo) -> list[float]:
    assert info.duration_seconds is not None
    return [0.5 + number for number in range(int(info.duration_seconds))]


class TallyEncoder(ColourEncoder):
    """Looks at the left half; the feature is that of the picture, and no two pictures' are the same."""

    def view(self, height: int, width: int) -> tuple[slice, slice]:
        return slice(0, height), slice(0, width // 2)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Test pictures, 1 to 12 s each, as often as one picture is looked at: the picture shown changes all over."""
    folder = tmp_path_factory.mktemp("repeats")
    times = {
        "a": [0.0, 3.0, 5.0, 6.0, 17.0, 18.0],
        "b": [float(number) for number in range(12)],
        "c": [0.0, 12.0, 13.0],
    }
    return {name: write_video(folder / f"{name}.mkv", seconds=seconds) for name, seconds in times.items()}


def features_of(
    videos: dict[str, Path], encoder: ColourEncoder, *, reuse: bool = True, chunk_frames: int = 600, **options: int
) -> tuple[dict[str, NDArray[np.float32]], int]:
    """Each video's features, and how many frames were reused."""
    jobs = [Job(name, str(path)) for name, path in videos.items()]
    found: dict[str, list[Chunk]] = {}
    for chunk in extract(jobs, encoder, times=each_second, reuse=reuse, chunk_frames=chunk_frames, **options):
        assert isinstance(chunk, Chunk)
        found.setdefault(chunk.key, []).append(chunk)
    whole = {
        name: np.concatenate([chunk.features for chunk in sorted(chunks, key=lambda chunk: chunk.index)])
        for name, chunks in found.items()
    }
    return whole, sum(chunk.num_reused for chunks in found.values() for chunk in chunks)


def test_a_shown_picture_is_encoded_once_even_across_chunks(videos: dict[str, Path]) -> None:
    every, repeated = ColourEncoder(), ColourEncoder()
    exact, none = features_of(videos, every, reuse=False)
    for chunk_frames in (1, 7, 600):
        repeated.frames_encoded = 0
        found, reused = features_of(videos, repeated, chunk_frames=chunk_frames)
        assert repeated.frames_encoded == 5 + 11 + 2  # the last picture of each ends before its half second
        assert repeated.frames_encoded + reused == every.frames_encoded
        for name in videos:
            np.testing.assert_array_equal(found[name], exact[name])
    assert none == 0


def test_the_same_whatever_the_batches_and_threads(videos: dict[str, Path]) -> None:
    expected, count = features_of(videos, TallyEncoder(), batch_size=1, cores=1)
    for options in ({"batch_size": 3, "cores": 2}, {"batch_size": 64, "cores": 3}, {"batch_size": 1, "cores": 3}):
        found, reused = features_of(videos, TallyEncoder(), chunk_frames=5, **options)
        assert reused == count
        for name in videos:
            np.testing.assert_array_equal(found[name], expected[name])


def test_off_every_frame_is_encoded(videos: dict[str, Path]) -> None:
    encoder = ColourEncoder()
    found, reused = features_of(videos, encoder, reuse=False)
    assert reused == 0
    assert encoder.frames_encoded == sum(map(len, found.values()))


def test_a_keepsake_goes_with_its_feature(tmp_path: Path) -> None:
    """The encoder sees a strip in which little changes."""

    class SeesLittle(ColourEncoder):
        def view(self, height: int, width: int) -> tuple[slice, slice]:
            return slice(0, height), slice(width // 2, width * 5 // 8)

    path = write_video(tmp_path / "v.mkv", seconds=[0.0, 1.0, 2.0, 3.0, 9.0])
    encoder, kept = SeesLittle(), 0

    def keep(frame: Frame) -> bytes:
        nonlocal kept
        kept += 1
        return bytes(frame.rgb[4, :3].reshape(-1))

    (chunk,) = extract([Job("v", str(path))], encoder, times=each_second, keep=keep, reuse=True)
    assert isinstance(chunk, Chunk)
    assert 1 <= encoder.frames_encoded == kept < len(chunk.seconds) == len(chunk.keepsakes)
    assert len(set(map(id, chunk.keepsakes))) == kept  # the same bytes, not copies
    assert len(np.unique(chunk.features, axis=0)) == kept == len(chunk.seconds) - chunk.num_reused


def test_a_failure_of_a_frame_that_others_repeat_is_told_once(videos: dict[str, Path]) -> None:
    class Broken(ColourEncoder):
        def preprocess(self, frames: RgbFrames) -> object:  # type: ignore[override]
            raise RuntimeError("no pixels")

    results = list(extract([Job("c", str(videos["c"]))], Broken(), times=each_second, reuse=True))
    assert [type(result) for result in results] == [Failure]
