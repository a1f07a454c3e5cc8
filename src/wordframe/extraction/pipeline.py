"""Decodes and encodes videos at the same time, in bounded memory; what goes wrong with one costs that one alone.

    jobs ──► decoder threads ──► frames (bounded) ──► encoder threads ──► chunks of features (bounded) ──► caller
               │      ▲          across videos        batches
               ▼      │
             a process each, which reads the files

FFmpeg runs in processes of its own, one a decoder thread (``wordframe.video.Decoders``), so a file that makes it crash
or loop is one Failure. All else is done by threads: torch releases the interpreter lock in its loops. On a CPU there is
one decoder and one encoder thread a core, each running on one core: whichever side is slower gets the machine, and the
sum of both is what the time is spent on. On a GPU one encoder thread feeds the device and the cores decode. Frames that
hardly differ from an encoded one may take its feature; that is decided before preprocessing, so it saves this, too, and
does not depend on batches and threads.
Neighbours: ``_results.py`` (what comes out, and how it waits), ``_repeats.py`` (which frames hardly differ); frames
come from ``wordframe.video``, features from a ``wordframe.encoders.Encoder``; the library's indexer and the evaluation
of a folder are the callers.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray

from wordframe.cores import usable_cores
from wordframe.disk import failure_line, one_line
from wordframe.encoders import Encoder
from wordframe.errors import DecoderError, EncoderError, VideoError
from wordframe.extraction._repeats import Repeats
from wordframe.extraction._results import (
    CallerGoneError,
    Chunk,
    Encoding,
    End,
    Failure,
    Job,
    OpenChunk,
    Results,
    Video,
    WaitingFrame,
)
from wordframe.video import MAX_REPEATS, Decoders, Frame, FramesApart, VideoInfo

_POLL_SECONDS = 0.1
_BATCH_WAIT_SECONDS = 0.05
_RESULT_BYTES = 32 << 20
"""Results a core that wait for the caller: seconds of work, as much as a commit of the library takes."""
_LARGEST = float(np.finfo(np.float16).max)
"""Features are kept in float16, where larger numbers are infinite."""


class _Pipeline:
    """The threads and queues of one ``extract`` call."""

    def __init__(
        self,
        jobs: Iterator[Job],
        encoder: Encoder,
        times: Callable[[VideoInfo], Iterable[float]] | None,
        keep: Callable[[Frame], bytes] | None,
        opening: Callable[[Job], AbstractContextManager[str]],
        should_stop: Callable[[], bool],
        *,
        reuse: bool,
        chunk_frames: int,
        batch_size: int,
        decoders: int,
        encoders: int,
    ) -> None:
        self._jobs, self._encoder, self._times, self._keep = jobs, encoder, times, keep
        self._opening, self._should_stop, self._reuse = opening, should_stop, reuse
        self._chunk_frames, self._batch_size = chunk_frames, batch_size
        self._jobs_lock = threading.Lock()
        self._jobs_error: Exception | None = None
        # twice what is being encoded: a batch waits ready whenever one is done
        self._frames: queue.Queue[WaitingFrame | None] = queue.Queue(2 * batch_size * encoders)
        self._results = Results(_RESULT_BYTES * decoders)
        self._decoders = Decoders()
        self._stop = threading.Event()
        # daemons: a program that ends while its iterator is open must not hang on them
        self._decoding = [self._thread(self._decode) for _ in range(decoders)]
        self._encoding = [self._thread(self._encode) for _ in range(encoders)]
        self._closing = self._thread(self._end_when_done)

    def _thread(self, work: Callable[[], None]) -> threading.Thread:
        return threading.Thread(target=self._guard, args=(work,), daemon=True)

    def run(self) -> Generator[Chunk | Failure, None, None]:
        threads_before = torch.get_num_threads()
        started: list[threading.Thread] = []
        try:
            for thread in (*self._decoding, *self._encoding, self._closing):
                thread.start()
                started.append(thread)
            while not self._should_stop():
                item = self._results.get(_POLL_SECONDS)
                if isinstance(item, End):
                    if item.error is not None:
                        raise item.error
                    return
                if item is None:
                    continue
                video, result = item
                # Threads finish in any order. That no chunk follows a video's failure is seen to here, where all meet.
                if isinstance(result, Failure) or not video.has_failed:
                    yield result
        finally:
            self._stop.set()
            self._results.close()
            self._decoders.close()  # a thread may be waiting for a frame that never comes
            for thread in started:
                thread.join()
            torch.set_num_threads(threads_before)  # a part of what the threads set is the whole process's (MKL)

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except CallerGoneError:
            pass
        except BaseException as error:  # an interrupt, an exit, no encoder, a fault of this module: they end the run
            self._results.end(error)
            self._stop.set()

    def _end_when_done(self) -> None:
        for thread in self._decoding:
            thread.join()
        for _ in self._encoding:
            self._put_frame(None)
        for thread in self._encoding:
            thread.join()
        self._results.end(self._jobs_error)

    def _fail(self, video: Video, reason: str) -> None:
        if video.fail():
            self._results.put(video, Failure(video.job.key, reason))

    # Decoder threads -------------------------------------------------------------------------------------------------

    def _decode(self) -> None:
        torch.set_num_threads(1)  # this thread's share is one core: more would fight over the others
        while not self._stop.is_set():
            job = self._next_job()
            if job is None:
                return
            video = Video(job)
            try:
                self._decode_video(video)
            except (CallerGoneError, EncoderError, DecoderError):
                raise
            except VideoError as error:
                self._fail(video, str(error))  # complete by itself
            except Exception as error:
                self._fail(video, failure_line(job.path, error))

    def _next_job(self) -> Job | None:
        with self._jobs_lock:
            if self._jobs_error is not None:
                return None
            try:
                return next(self._jobs, None)
            except Exception as error:  # no video's fault: what is under way is finished, then the caller is told
                self._jobs_error = error
                return None

    def _open(self, path: str, job: Job) -> FramesApart:
        # one picture that stays costs once: neither its features nor its thumbnails are worth storing 3,600 times
        most = MAX_REPEATS if self._reuse else None
        short_side = self._encoder.short_side
        return self._decoders.open_frames(
            path, self._times, short_side=short_side, threads=job.threads, max_repeats=most
        )

    def _decode_video(self, video: Video) -> None:
        job, encoder = video.job, self._encoder
        with self._opening(job) as path, self._open(path, job) as frames:
            chunk = OpenChunk(video, 0, frames.info, encoder.dimension)
            repeats = Repeats(encoder.view)
            encoding, keepsake = Encoding(video, 0.0), None
            for frame in frames:
                if video.has_failed:
                    return
                if len(chunk.seconds) == self._chunk_frames:
                    self._put_result(video, chunk.close())
                    chunk = OpenChunk(video, chunk.index + 1, frames.info, encoder.dimension)
                is_new = not (self._reuse and repeats.is_repeat(frame))
                if is_new:
                    # here and not with the encoder: preprocessing is the cores' work on a GPU, too
                    pixels = encoder.preprocess(frame.rgb[None])[0]
                    encoding = Encoding(video, frame.seconds)
                    if self._keep is not None:
                        keepsake = self._keep(frame)
                encoding.stand_at(chunk, chunk.add(frame.seconds, keepsake))
                if is_new:
                    self._put_frame(WaitingFrame(encoding, pixels))
                else:
                    chunk.num_reused += 1
            problem, note = frames.problem, frames.note
        # when the file is closed, so that no failure can follow a video's last chunk
        self._put_result(video, chunk.close(is_last=True, problem=problem, note=note))

    def _put_frame(self, frame: WaitingFrame | None) -> None:
        while not self._stop.is_set():
            try:
                return self._frames.put(frame, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
        raise CallerGoneError

    def _put_result(self, video: Video, chunk: Chunk | None) -> None:
        if chunk is not None:
            self._results.put(video, chunk)

    # Encoder threads -------------------------------------------------------------------------------------------------

    def _encode(self) -> None:
        torch.set_num_threads(1)
        is_ended = False
        while not is_ended and not self._stop.is_set():
            batch, is_ended = self._next_batch()
            self._encode_batch(batch)

    def _next_batch(self) -> tuple[list[WaitingFrame], bool]:
        """Up to ``batch_size`` frames; a short wait fills a batch, a longer one must not starve the caller."""
        batch: list[WaitingFrame] = []
        while len(batch) < self._batch_size and not self._stop.is_set():
            try:
                frame = self._frames.get(timeout=_BATCH_WAIT_SECONDS if batch else _POLL_SECONDS)
            except queue.Empty:
                if batch:
                    break
                continue
            if frame is None:
                return batch, True
            batch.append(frame)
        return batch, False

    def _encode_batch(self, batch: list[WaitingFrame]) -> None:
        batch = [frame for frame in batch if not frame.encoding.video.has_failed]
        if not batch:
            return
        try:
            features = self._features(batch)
        except EncoderError:  # there is no encoder: no video's fault, and each would only say the same
            raise
        except Exception as error:
            if len(batch) == 1:
                video = batch[0].encoding.video
                return self._fail(video, failure_line(video.job.path, error))
            for frame in batch:  # a batch is of many videos: alone each frame shows whether it is at fault
                self._encode_batch([frame])
            return
        for frame, feature in zip(batch, features, strict=True):
            video = frame.encoding.video
            if (np.abs(feature) <= _LARGEST).all():  # what is not a number is not, either
                for chunk in frame.encoding.deliver(feature):
                    self._put_result(video, chunk)
            else:
                told = f"the features of the frame at {frame.encoding.seconds:g} s are not finite in float16"
                self._fail(video, f"{one_line(video.job.path)}: {told}")

    def _features(self, batch: list[WaitingFrame]) -> NDArray[np.float32]:
        """``(N, D)``, checked."""
        given = self._encoder.encode_pixels(torch.stack([frame.pixels for frame in batch]))
        if given.shape != (len(batch), self._encoder.dimension):
            wanted = (len(batch), self._encoder.dimension)
            raise ValueError(f"the encoder must give features of shape {wanted}, it gave {tuple(given.shape)}")
        return np.asarray(given.numpy(), np.float32)


def extract(
    jobs: Iterable[Job],
    encoder: Encoder,
    *,
    times: Callable[[VideoInfo], Iterable[float]] | None,
    keep: Callable[[Frame], bytes] | None = None,
    opening: Callable[[Job], AbstractContextManager[str]] = lambda job: nullcontext(job.path),
    should_stop: Callable[[], bool] = lambda: False,
    reuse: bool = False,
    chunk_frames: int = 600,
    batch_size: int | None = None,
    cores: int | None = None,
) -> Generator[Chunk | Failure, None, None]:
    """Frame features of many videos, in the order in which they are done.

    Whatever goes wrong with one video (reading it, ``times``, ``keep``, preprocessing, encoding, features that are not
    finite in float16) is its Failure; the others go on. An error of the encoder or of the caller's functions that
    strikes every video therefore comes as a Failure of each. An error of ``jobs`` is raised once the videos drawn
    before are done. Ctrl-C, an exit and an encoder that cannot be loaded end the run: what is finished comes, then they
    are raised.

    Args:
        jobs: drawn one by one from the decoder threads (under a lock), so it may do a little work of its own.
        times: the wanted seconds of a video, ascending; may be endless. None: its keyframes (``open_keyframes``).
        keep: makes something small of each decoded frame, such as a thumbnail.
        opening: gives the path that a video is decoded from, for as long as that takes; entered by a decoder thread,
            many at a time; what it raises is the video's Failure.
        should_stop: asked ten times a second; True ends the iteration early, in order.
        reuse: frames that hardly differ from an encoded one take its feature and keepsake (``_repeats.py`` says which);
            the same ones whatever the other arguments. One picture that a file shows on and on is looked at no more
            than ``MAX_REPEATS`` times.
        chunk_frames: a longer video comes in several chunks, so that memory does not grow with its length.
        batch_size: frames an encoder call; default 8 on a CPU, 64 on a GPU.
        cores: the caller's share of the machine; default ``usable_cores()``.

    Yields:
        For each job either its Chunks (indices may come out of order; the one marked ``last`` has the highest) or one
        Failure: some Chunks may come before it, and then do not count; nothing of that video follows. A caller that is
        slow makes the threads wait, so memory stays bounded. Closing the iterator stops all threads.
    """
    cores = usable_cores() if cores is None else cores
    for name, value in (("cores", cores), ("chunk_frames", chunk_frames), ("batch_size", batch_size or 1)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    on_cpu = encoder.device.type == "cpu"
    pipeline = _Pipeline(
        iter(jobs),
        encoder,
        times,
        keep,
        opening,
        should_stop,
        reuse=reuse,
        chunk_frames=chunk_frames,
        batch_size=batch_size or (8 if on_cpu else 64),
        decoders=cores,
        encoders=cores if on_cpu else 1,
    )
    return pipeline.run()
