"""Decoding and encoding at once: every frame's feature at its place, each video's trouble its own, stops in order."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.colours import COLOURS, ColourEncoder, write_scenes
from wordframe.cores import usable_cores
from wordframe.encoders import RgbFrames
from wordframe.errors import EncoderError
from wordframe.extraction import Chunk, Failure, Job, extract
from wordframe.video import Frame, VideoInfo


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


def jobs_of(videos: dict[str, Path]) -> list[Job]:
    return [Job(name, str(path)) for name, path in videos.items()]


def is_cyan(rgb: RgbFrames) -> bool:
    """Whether a frame or frames show what the video ``c`` alone shows."""
    return bool((np.abs(rgb.astype(int) - COLOURS["cyan"]) < 20).all())


def check_only_c_fails(results: Iterable[Chunk | Failure], reason: str) -> None:
    """Video ``c`` is one line that names the file; all others are complete."""
    found: dict[str, list[Chunk]] = {}
    failures = []
    for result in results:
        if isinstance(result, Failure):
            failures.append(result)
        else:
            found.setdefault(result.key, []).append(result)
    assert [failure.key for failure in failures] == ["c"]
    assert "c.mp4: " + reason in failures[0].reason
    assert "\n" not in failures[0].reason
    assert set(found) == {"a", "b", "d"}
    for name, chunks in found.items():
        features = np.concatenate([chunk.features for chunk in sorted(chunks, key=lambda chunk: chunk.index)])
        np.testing.assert_array_equal(features[:, :3] > 0, expected(name))


class CyanTrouble(ColourEncoder):
    """Raises for cyan frames, in preprocessing or for the whole batch they are in; without an error their features
    are NaN, or another ``value``."""

    def __init__(
        self,
        *,
        preprocessing: Exception | None = None,
        encoding: Exception | None = None,
        value: float = float("nan"),
    ) -> None:
        super().__init__()
        self._preprocessing, self._encoding, self._value = preprocessing, encoding, value

    def preprocess(self, frames: RgbFrames) -> torch.Tensor:
        if self._preprocessing is not None and is_cyan(frames):
            raise self._preprocessing
        return super().preprocess(frames)

    def encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        red, green, blue = pixels.mean(dim=(2, 3)).unbind(dim=1)
        hit = (red < 0.1) & (green > 0.9) & (blue > 0.9)
        if self._encoding is not None and hit.any():
            raise self._encoding
        features = super().encode_pixels(pixels)
        return features.masked_fill(hit[:, None], self._value) if self._preprocessing is None else features


class TestTroubleOfOneVideo:
    """Whatever goes wrong with one video is one line and not the end of the run."""

    @pytest.mark.parametrize("error", [RuntimeError("no kernel\nat line 3"), MemoryError(), KeyError("x")])
    def test_in_preprocessing(self, videos: dict[str, Path], error: Exception) -> None:
        results = extract(jobs_of(videos), CyanTrouble(preprocessing=error), times=each_half_second)
        told = {RuntimeError: "RuntimeError: no kernel", MemoryError: "MemoryError", KeyError: "KeyError: 'x'"}
        check_only_c_fails(results, told[type(error)])

    def test_in_what_is_kept(self, videos: dict[str, Path]) -> None:
        def keep(frame: Frame) -> bytes:
            if is_cyan(frame.rgb):
                raise ZeroDivisionError("no width")
            return b"kept"

        results = extract(jobs_of(videos), ColourEncoder(), times=each_half_second, keep=keep)
        check_only_c_fails(results, "ZeroDivisionError: no width")

    def test_in_its_times(self, videos: dict[str, Path]) -> None:
        def times(info: VideoInfo) -> Iterator[float]:
            for seconds in each_half_second(info):
                yield seconds
                if info.duration_seconds == 1.0:
                    raise LookupError("this long?")

        check_only_c_fails(extract(jobs_of(videos), ColourEncoder(), times=times), "LookupError: this long?")

    @pytest.mark.parametrize("batch_size", [1, 4, 64])
    def test_in_a_batch_that_it_shares(self, videos: dict[str, Path], batch_size: int) -> None:
        encoder = CyanTrouble(encoding=RuntimeError("bad pixels"))
        results = extract(jobs_of(videos), encoder, times=each_half_second, batch_size=batch_size)
        check_only_c_fails(results, "RuntimeError: bad pixels")

    @pytest.mark.parametrize("batch_size", [1, 4, 64])
    @pytest.mark.parametrize("value", [float("nan"), float("-inf"), 70_000.0])
    def test_in_its_features(self, videos: dict[str, Path], batch_size: int, value: float) -> None:
        """Also where float16, in which they are kept, would make infinity of them."""
        encoder = CyanTrouble(value=value)
        results = extract(jobs_of(videos), encoder, times=each_half_second, batch_size=batch_size)
        check_only_c_fails(results, "the features of the frame at 0.")

    def test_late_in_a_long_video(self, videos: dict[str, Path]) -> None:
        """Chunks that came before do not count, and none comes after; the failure is told once."""
        has_chunk = threading.Event()

        def keep(frame: Frame) -> bytes:
            if frame.seconds > 5:
                assert has_chunk.wait(60)
                raise OSError("the disk is gone")
            return b"kept"

        jobs = [Job("d", str(videos["d"]))]
        results = extract(jobs, ColourEncoder(), times=each_half_second, keep=keep, chunk_frames=3)
        assert isinstance(next(results), Chunk)
        has_chunk.set()
        *chunks, failure = results
        assert isinstance(failure, Failure)
        assert failure.reason.endswith("d.mp4: OSError: the disk is gone")
        assert all(isinstance(chunk, Chunk) and not chunk.last for chunk in chunks)

    def test_no_chunk_that_is_finished_later_follows(self, videos: dict[str, Path]) -> None:
        is_told = threading.Event()

        class HoldsWhite(ColourEncoder):
            """Encodes white frames only once the failure of the black ones is read."""

            def encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
                if pixels.mean() < 0.5:
                    raise RuntimeError("too dark")
                assert is_told.wait(60)
                return super().encode_pixels(pixels)

        jobs = [Job("b", str(videos["b"]))]
        results = extract(jobs, HoldsWhite(), times=lambda info: [0.5, 1.5], chunk_frames=1, batch_size=1, cores=2)
        assert isinstance(next(results), Failure)
        is_told.set()
        assert list(results) == []


class TestTroubleOfAll:
    """An error that strikes every video is told with each of them; what is no video's fault reaches the caller."""

    def check_all_fail(self, results: Iterable[Chunk | Failure], videos: dict[str, Path], reason: str) -> None:
        told = {result.key: result.reason for result in results if isinstance(result, Failure)}
        assert told == {name: f"{path}: {reason}" for name, path in videos.items()}

    def test_weights_that_are_not_numbers(self, videos: dict[str, Path]) -> None:
        class Spoilt(ColourEncoder):
            def encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
                return super().encode_pixels(pixels) * torch.nan

        results = extract(jobs_of(videos), Spoilt(), times=lambda info: [0.0])
        self.check_all_fail(results, videos, "the features of the frame at 0 s are not finite in float16")

    def test_a_broken_encoder(self, videos: dict[str, Path]) -> None:
        class Broken(ColourEncoder):
            def encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
                raise RuntimeError("the device is gone")

        results = extract(jobs_of(videos), Broken(), times=each_half_second)
        self.check_all_fail(results, videos, "RuntimeError: the device is gone")

    def test_an_encoder_of_another_size_than_it_says(self, videos: dict[str, Path]) -> None:
        encoder = ColourEncoder()
        encoder.dimension = 7
        results = extract(jobs_of(videos), encoder, times=each_half_second, batch_size=1)
        reason = "ValueError: the encoder must give features of shape (1, 7), it gave (1, 6)"
        self.check_all_fail(results, videos, reason)

    def test_times_that_are_wrong_for_all(self, videos: dict[str, Path]) -> None:
        def times(info: VideoInfo) -> list[float]:
            raise TypeError("times takes the wrong arguments")

        results = extract(jobs_of(videos), ColourEncoder(), times=times)
        self.check_all_fail(results, videos, "TypeError: times takes the wrong arguments")

    def test_an_encoder_that_cannot_be_loaded(self, videos: dict[str, Path]) -> None:
        class Missing(ColourEncoder):
            def encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
                raise EncoderError("its weights are missing; install them")

        with pytest.raises(EncoderError, match="its weights are missing; install them"):
            list(extract(jobs_of(videos), Missing(), times=each_half_second))

    def test_a_list_of_jobs_that_breaks(self, videos: dict[str, Path]) -> None:
        """What was drawn before is finished and given, then the error is raised."""

        def jobs() -> Iterator[Job]:
            yield Job("a", str(videos["a"]))
            yield Job("d", str(videos["d"]))
            raise OSError("the list ends here")

        results = extract(jobs(), ColourEncoder(), times=each_half_second)
        assert sorted([next(results).key, next(results).key]) == ["a", "d"]
        with pytest.raises(OSError, match="the list ends here"):
            next(results)

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_interrupts_end_the_run(self, videos: dict[str, Path], error: type[BaseException]) -> None:
        def keep(frame: Frame) -> bytes:
            raise error

        before = threading.active_count()
        with pytest.raises(error):
            list(extract(jobs_of(videos), ColourEncoder(), times=each_half_second, keep=keep))
        assert threading.active_count() == before


MANY = 100


class TestTheCaller:
    """A caller may be slow, stop reading, or go away: memory stays bounded, and no thread is left behind or stuck."""

    def unread(self, video: Path, drawn: list[int]) -> Generator[Chunk | Failure, None, None]:
        """Results of many videos, 2 MiB each, by one core; ``drawn`` grows with the jobs that the threads take."""

        def jobs() -> Iterator[Job]:
            for number in range(MANY):
                drawn.append(number)
                yield Job(str(number), str(video))

        return extract(jobs(), ColourEncoder(), times=each_half_second, keep=lambda frame: bytes(1 << 20), cores=1)

    def let_time_pass(self, video: Path) -> None:
        """As much as another run takes for as many videos, all of whose results are read."""
        jobs = [Job(str(number), str(video)) for number in range(MANY)]
        assert sum(1 for _ in extract(jobs, ColourEncoder(), times=each_half_second, cores=1)) == MANY

    def test_who_stops_reading_stops_the_threads_and_may_go_on(self, videos: dict[str, Path]) -> None:
        drawn: list[int] = []
        results = self.unread(videos["c"], drawn)
        keys = [next(results).key]
        self.let_time_pass(videos["c"])
        assert len(drawn) < MANY / 2  # 32 MiB of results, two batches of frames, and what is in the threads' hands
        keys += [result.key for result in results]
        assert sorted(map(int, keys)) == drawn == list(range(MANY))

    @pytest.mark.parametrize("leave", ["close", "forget"])
    def test_who_leaves_while_the_threads_wait_leaves_none_behind(self, videos: dict[str, Path], leave: str) -> None:
        before = threading.active_count()
        results = self.unread(videos["c"], [])
        next(results)
        self.let_time_pass(videos["c"])
        assert threading.active_count() > before
        if leave == "close":
            results.close()
        else:
            del results
            gc.collect()
        assert threading.active_count() == before

    def test_whose_own_error_ends_the_loop_leaves_none_behind(self, videos: dict[str, Path]) -> None:
        def caller() -> None:
            for result in self.unread(videos["c"], []):
                raise ZeroDivisionError(result.key)

        before = threading.active_count()
        with pytest.raises(ZeroDivisionError):
            caller()
        gc.collect()
        assert threading.active_count() == before

    def test_a_result_larger_than_the_bound_still_passes(self, videos: dict[str, Path]) -> None:
        jobs = [Job(str(number), str(videos["c"])) for number in range(3)]
        results = extract(jobs, ColourEncoder(), times=each_half_second, keep=lambda frame: bytes(40 << 20), cores=1)
        assert sorted(result.key for result in results) == ["0", "1", "2"]

    def test_who_stops_gets_nothing_more(self, videos: dict[str, Path]) -> None:
        before = threading.active_count()
        jobs = [Job(str(number), str(videos["d"])) for number in range(50)]
        with contextlib.closing(extract(jobs, ColourEncoder(), times=each_half_second)) as results:
            next(results)
        assert threading.active_count() == before
        assert list(extract(jobs, ColourEncoder(), times=each_half_second, should_stop=lambda: True)) == []
        assert threading.active_count() == before


def test_the_callers_share_of_the_cores_is_how_many_videos_are_decoded_at_once(videos: dict[str, Path]) -> None:
    together = threading.Barrier(3)
    decoders: set[int] = set()

    def keep(frame: Frame) -> bytes:
        if frame.seconds == 0.25:
            together.wait(timeout=60)
        decoders.add(threading.get_ident())
        return b"kept"

    jobs = [Job(str(number), str(videos["c"])) for number in range(3)]
    results = list(extract(jobs, ColourEncoder(), times=each_half_second, keep=keep, cores=3))
    assert [type(result) for result in results] == [Chunk] * 3
    assert len(decoders) == 3
    decoders.clear()
    together = threading.Barrier(1)
    list(extract(jobs, ColourEncoder(), times=each_half_second, keep=keep, cores=1))
    assert len(decoders) == 1


def test_a_process_bound_to_one_core_uses_one() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert 1 <= usable_cores() <= len(allowed)


@pytest.mark.parametrize("name", ["cores", "chunk_frames", "batch_size"])
def test_wrong_values(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got -1"):
        extract([], ColourEncoder(), times=each_half_second, **{name: -1})  # type: ignore[arg-type]


def test_the_callers_number_of_threads_is_left_as_it_was(videos: dict[str, Path]) -> None:
    before = torch.get_num_threads()
    list(extract([Job("a", str(videos["a"]))], ColourEncoder(), times=each_half_second))
    assert torch.get_num_threads() == before
