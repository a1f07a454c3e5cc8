"""Decodes and encodes videos at the same time, in bounded memory.

    jobs ──► decoder threads ──► frames (bounded queue) ──► encoder threads ──► chunks of features ──► caller
             one video each      across videos              batches

PyAV and torch release the interpreter lock in their loops, so threads are enough. On a CPU there is one decoder and
one encoder thread a core, each running on one core: whichever side is slower gets the machine, and the sum of both is
what the time is spent on. On a GPU one encoder thread feeds the device and the cores decode.
Neighbours: frames come from ``wordframe.video``, features from an ``wordframe.encoders.Encoder``; the library's
indexer and the evaluation of a folder are the callers.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wordframe.encoders import Encoder
from wordframe.errors import VideoError
from wordframe.video import Frame, VideoInfo, open_frames

_POLL_SECONDS = 0.1
_BATCH_WAIT_SECONDS = 0.05


@dataclass(frozen=True)
class Job:
    """One video to read. ``key`` comes back with its results."""

    key: str
    path: str
    threads: int = 1


@dataclass(frozen=True)
class Chunk:
    """Consecutive frames of one video with their features.

    index: 0, 1, … within the video; last: no chunk follows; seconds: ``(N,)``; features: ``(N, D)`` float32;
    keepsakes: what ``keep`` made of each frame; problem: why the video ended early, known on its last chunk.
    """

    key: str
    index: int
    last: bool
    info: VideoInfo
    seconds: NDArray[np.float64]
    features: NDArray[np.float32]
    keepsakes: list[bytes]
    problem: str | None


@dataclass(frozen=True)
class Failure:
    """A video that gave no frame, with the reason in one line."""

    key: str
    reason: str


@dataclass
class _OpenChunk:
    """A chunk under way: frames are added by one decoder thread, features by any encoder thread."""

    key: str
    index: int
    info: VideoInfo
    seconds: list[float] = field(default_factory=list)
    keepsakes: list[bytes] = field(default_factory=list)
    features: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    closed: bool = False
    last: bool = False
    problem: str | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def is_complete(self) -> bool:
        return self.closed and len(self.features) == len(self.seconds)

    def finished(self, dimension: int) -> Chunk:
        rows = [self.features[i] for i in range(len(self.seconds))]
        features = np.stack(rows) if rows else np.zeros((0, dimension), np.float32)
        seconds = np.asarray(self.seconds, np.float64)
        return Chunk(self.key, self.index, self.last, self.info, seconds, features, self.keepsakes, self.problem)


class _CallerGoneError(Exception):
    """The caller went away; threads unwind quietly."""


class _Pipeline:
    """The threads and queues of one ``extract`` call."""

    def __init__(
        self,
        jobs: Iterator[Job],
        encoder: Encoder,
        times: Callable[[VideoInfo], Iterable[float]],
        keep: Callable[[Frame], bytes] | None,
        should_stop: Callable[[], bool],
        *,
        chunk_frames: int,
        batch_size: int,
        decoders: int,
        encoders: int,
    ) -> None:
        self._jobs, self._encoder, self._times, self._keep = jobs, encoder, times, keep
        self._should_stop = should_stop
        self._chunk_frames, self._batch_size, self._encoders = chunk_frames, batch_size, encoders
        self._jobs_lock = threading.Lock()
        self._frames: queue.Queue[tuple[_OpenChunk, int, Tensor] | None] = queue.Queue(2 * batch_size * encoders)
        self._results: queue.Queue[Chunk | Failure | BaseException | None] = queue.Queue()
        self._stop = threading.Event()
        self._decoding = [threading.Thread(target=self._guard, args=(self._decode,)) for _ in range(decoders)]
        self._encoding = [threading.Thread(target=self._guard, args=(self._encode,)) for _ in range(encoders)]

    def run(self) -> Generator[Chunk | Failure, None, None]:
        threads_before = torch.get_num_threads()
        for thread in (*self._decoding, *self._encoding):
            thread.daemon = True
            thread.start()
        closer = threading.Thread(target=self._close_when_done, daemon=True)
        closer.start()
        try:
            while not self._should_stop():
                try:
                    result = self._results.get(timeout=_POLL_SECONDS)
                except queue.Empty:
                    continue
                if result is None:
                    return
                if isinstance(result, BaseException):
                    raise result
                yield result
        finally:
            self._stop.set()
            for thread in (*self._decoding, *self._encoding, closer):
                thread.join()
            torch.set_num_threads(threads_before)

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except _CallerGoneError:
            pass
        except BaseException as error:
            self._results.put(error)
            self._stop.set()

    def _close_when_done(self) -> None:
        for thread in self._decoding:
            thread.join()
        for _ in self._encoding:
            try:
                self._put_frame(None)
            except _CallerGoneError:
                break
        for thread in self._encoding:
            thread.join()
        self._results.put(None)

    # Decoder threads -------------------------------------------------------------------------------------------------

    def _decode(self) -> None:
        torch.set_num_threads(1)  # this thread's share is one core: more would fight over the others
        while not self._stop.is_set():
            with self._jobs_lock:
                job = next(self._jobs, None)
            if job is None:
                return
            try:
                self._decode_video(job)
            except VideoError as error:
                self._results.put(Failure(job.key, str(error)))

    def _decode_video(self, job: Job) -> None:
        with open_frames(job.path, self._times, short_side=self._encoder.short_side, threads=job.threads) as frames:
            chunk = _OpenChunk(job.key, 0, frames.info)
            for frame in frames:
                if len(chunk.seconds) == self._chunk_frames:
                    self._close(chunk, last=False, problem=None)
                    chunk = _OpenChunk(job.key, chunk.index + 1, frames.info)
                pixels = self._encoder.preprocess(frame.rgb[None])[0]
                with chunk.lock:
                    chunk.seconds.append(frame.seconds)
                    if self._keep is not None:
                        chunk.keepsakes.append(self._keep(frame))
                self._put_frame((chunk, len(chunk.seconds) - 1, pixels))
            self._close(chunk, last=True, problem=frames.problem)

    def _put_frame(self, item: tuple[_OpenChunk, int, Tensor] | None) -> None:
        while not self._stop.is_set():
            try:
                return self._frames.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
        raise _CallerGoneError

    def _close(self, chunk: _OpenChunk, *, last: bool, problem: str | None) -> None:
        with chunk.lock:
            chunk.last, chunk.problem, chunk.closed = last, problem, True
            complete = chunk.is_complete()
        if complete:
            self._results.put(chunk.finished(self._encoder.dimension))

    # Encoder threads -------------------------------------------------------------------------------------------------

    def _encode(self) -> None:
        torch.set_num_threads(1)
        ended = False
        while not ended and not self._stop.is_set():
            batch, ended = self._next_batch()
            if batch:
                features = self._encoder.encode_pixels(torch.stack([pixels for _, _, pixels in batch]))
                for (chunk, row, _), feature in zip(batch, features.numpy(), strict=True):
                    self._deliver(chunk, row, feature)

    def _next_batch(self) -> tuple[list[tuple[_OpenChunk, int, Tensor]], bool]:
        """Up to ``batch_size`` frames; a short wait fills a batch, a longer one must not starve the caller."""
        batch: list[tuple[_OpenChunk, int, Tensor]] = []
        while len(batch) < self._batch_size and not self._stop.is_set():
            try:
                item = self._frames.get(timeout=_BATCH_WAIT_SECONDS if batch else _POLL_SECONDS)
            except queue.Empty:
                if batch:
                    break
                continue
            if item is None:
                return batch, True
            batch.append(item)
        return batch, False

    def _deliver(self, chunk: _OpenChunk, row: int, feature: NDArray[np.float32]) -> None:
        with chunk.lock:
            chunk.features[row] = feature
            complete = chunk.is_complete()
        if complete:
            self._results.put(chunk.finished(self._encoder.dimension))


def extract(
    jobs: Iterable[Job],
    encoder: Encoder,
    *,
    times: Callable[[VideoInfo], Iterable[float]],
    keep: Callable[[Frame], bytes] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    chunk_frames: int = 600,
    batch_size: int | None = None,
) -> Generator[Chunk | Failure, None, None]:
    """Frame features of many videos, in the order in which they are done.

    Args:
        jobs: drawn one by one from the decoder threads (under a lock), so it may do a little work of its own.
        times: the wanted seconds of a video, ascending; may be endless.
        keep: makes something small of each decoded frame, such as a thumbnail.
        should_stop: asked ten times a second; True ends the iteration early, in order.
        chunk_frames: a longer video comes in several chunks, so that memory does not grow with its length.
        batch_size: frames an encoder call; default 8 on a CPU, 64 on a GPU.

    Yields:
        For each job either one Failure or its Chunks (indices may come out of order; the one marked ``last`` has the
        highest). Closing the iterator stops all threads.
    """
    cores = os.cpu_count() or 1
    on_cpu = encoder.device.type == "cpu"
    pipeline = _Pipeline(
        iter(jobs),
        encoder,
        times,
        keep,
        should_stop,
        chunk_frames=chunk_frames,
        batch_size=batch_size or (8 if on_cpu else 64),
        decoders=cores,
        encoders=cores if on_cpu else 1,
    )
    return pipeline.run()
