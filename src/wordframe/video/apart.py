"""Frames as of ``decode.py``, decoded in a process of its own: what kills or stops FFmpeg costs one video.

    program ──► path, times ──► process (``_worker.py``) ──► pictures through a pipe ──► program

A process decodes one video after the other and is kept for the next for some seconds. When it dies or is silent for a
minute, the video is begun again in a new process, and frames that were handed out are passed over; a second death is
the video's error. The pictures are byte for byte those of ``open_frames``. A pipe carries them, not shared memory:
copied twice, a picture of 224 pixels takes less than a hundredth of its decoding, and nothing is left behind when
either side is killed.
Neighbours: ``_process.py`` starts and hears the processes, ``_worker.py`` is what runs in them.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np

from wordframe.disk import one_line, remove_unfinished
from wordframe.errors import VideoError, WordframeError
from wordframe.video._opening import VideoPath
from wordframe.video._picture import Frame, VideoInfo
from wordframe.video._process import DiedError, Process, idle_process, keep_idle
from wordframe.video.export import ExportReport

MEMORY_BYTES = 2 << 30
"""For one video, decoded by one thread; 8K films take about half of it."""
_MEMORY_BYTES_A_THREAD = 256 << 20
"""For each further thread of a decoder, which holds pictures of its own."""
EXPORT_SECONDS = 300.0
_EXPORT_MEMORY_BYTES = 8 << 30
"""Encoders hold dozens of pictures."""
TIMES_AT_ONCE = 10_000
"""Seldom asked for: a process that waits for them works on the file's allowance (``_limits.py``)."""
STALL_SECONDS = 60.0
"""A process that for so long neither gives a frame nor reads a packet hangs."""


def open_frames_apart(
    path: VideoPath,
    times: Iterable[float] | Callable[[VideoInfo], Iterable[float]],
    *,
    short_side: int | None = None,
    threads: int = 1,
) -> FramesApart:
    """As ``open_frames``, in a process of its own: for files that may be anybody's.

    Raises:
        VideoError: the file cannot be read, or killed its decoder twice.
        DecoderError: no process can be started.
    """
    return Decoders().open_frames(path, times, short_side=short_side, threads=threads)


def export_moment_apart(
    source: VideoPath, target: VideoPath, start_seconds: float, end_seconds: float, **options: Any
) -> ExportReport:
    """As ``export_moment``, in a process of its own; one that makes no progress for five minutes is ended.

    Raises:
        VideoError: the source cannot be read, or killed the process.
        WordframeError: as of ``export_moment``.
        DecoderError: no process can be started.
    """
    names = {"source": os.path.abspath(os.fsdecode(source)), "target": os.path.abspath(os.fsdecode(target))}
    moment = {"start_seconds": start_seconds, "end_seconds": end_seconds}
    request = {"export": names | moment | options, "memory_bytes": _EXPORT_MEMORY_BYTES}
    deaths: list[str] = []
    values: dict[str, Any] = {}
    while not values:
        process = idle_process()
        try:
            process.ask(request)
            values, _ = process.answer(EXPORT_SECONDS)
        except DiedError as error:
            remove_unfinished(names["target"], process.number)
            deaths.append(str(error))
            if len(deaths) > 1:
                raise VideoError(f"{one_line(source)} cannot be cut: {_died_twice(deaths)}") from None
        except BaseException:
            process.close()
            raise
    process.close() if values.get("is_last") else keep_idle(process)
    if "error" in values:
        kind = VideoError if values["kind"] == VideoError.__name__ else WordframeError
        raise kind(values["error"])
    report: dict[str, Any] = values["report"]
    report |= {name: tuple(value) for name, value in report.items() if isinstance(value, list)}
    return ExportReport(**report | {"target": Path(report["target"])})


class Decoders:
    """Opens videos in processes of their own; a context, at whose end, from any thread, what is under way is ended.

    Any number of threads may open videos, each in a process of its own. Processes that are done are kept for the next
    video, whoever opens it.
    """

    def __init__(self) -> None:
        self._busy: set[Process] = set()
        self._is_closed = False
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End what is under way: whoever waits for a frame gets a ValueError."""
        with self._lock:
            self._is_closed = True
            for process in self._busy:
                process.kill()

    def open_frames(
        self,
        path: VideoPath,
        times: Iterable[float] | Callable[[VideoInfo], Iterable[float]] | None,
        *,
        short_side: int | None = None,
        threads: int = 1,
        max_repeats: int | None = None,
    ) -> FramesApart:
        """As ``wordframe.video.open_frames``; with ``times=None`` as ``open_keyframes``.

        Raises:
            VideoError: the file cannot be read, or killed its decoder twice.
            DecoderError: no process can be started.
            ValueError: these decoders are closed.
        """
        options = {"short_side": short_side} | ({} if times is None else {"max_repeats": max_repeats})
        return FramesApart(self, path, times, threads=threads, **options)

    def take(self) -> Process:
        """A process for the calling thread alone."""
        self._refuse_closed()
        process = idle_process()
        with self._lock:
            self._busy.add(process)
        try:
            self._refuse_closed()  # meanwhile
        except ValueError:
            self.drop(process)
            raise
        return process

    def _refuse_closed(self) -> None:
        if self._is_closed:
            raise ValueError("these decoders are closed")

    def give_back(self, process: Process) -> None:
        """It waits for its next video."""
        with self._lock:
            self._busy.discard(process)
        keep_idle(process)

    def drop(self, process: Process) -> None:
        """It is in the middle of something, or dead."""
        with self._lock:
            self._busy.discard(process)
        process.close()


class FramesApart:
    """Iterates over frames as ``FrameStream`` does. Close it, or use it as a context. Made by ``Decoders.open_frames``.

    Attributes:
        info: what the file says about its video.
        problem, note: as those of a ``FrameStream``, known behind the last frame.
    """

    def __init__(
        self,
        decoders: Decoders,
        path: VideoPath,
        times: Iterable[float] | Callable[[VideoInfo], Iterable[float]] | None,
        *,
        threads: int,
        **options: Any,
    ) -> None:
        self.problem: str | None = None
        self.note: str | None = None
        self._decoders, self._path = decoders, path
        self._request = {
            "path": os.path.abspath(os.fsdecode(path)),
            "keyframes": times is None,
            "options": options | {"threads": threads},
            "memory_bytes": MEMORY_BYTES + (threads - 1) * _MEMORY_BYTES_A_THREAD,
        }
        self._deaths: list[str] = []
        self._times = _KeptTimes()
        self._num_frames = 0  # handed out
        self._rgb = np.zeros((1, 1, 3), np.uint8)
        self._process: Process | None = None
        try:
            self._begin()
            self.info = VideoInfo(**self._next("info")["info"])
            self._times.source = iter(times(self.info) if callable(times) else times or ())
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Frame:
        if self._process is None:
            raise StopIteration
        values = self._next("seconds", "problem")
        if "problem" in values:
            self.problem, self.note = values["problem"], values["note"]
            self._give_back()
            raise StopIteration
        self._num_frames += 1
        return Frame(values["seconds"], self._rgb)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop decoding. The stream ends."""
        process, self._process = self._process, None
        if process is not None:
            self._decoders.drop(process)

    def _give_back(self) -> None:
        process, self._process = self._process, None
        assert process is not None
        self._decoders.give_back(process)

    def _begin(self) -> None:
        """From the start of the video, in a process that is there or a new one; frames handed out are passed over."""
        while self._process is None:
            self._process = self._decoders.take()
            self._to_pass_over = self._num_frames
            self._times.again()
            try:
                self._process.ask(self._request)
            except DiedError as error:
                self._mourn(str(error))

    def _next(self, *kinds: str) -> dict[str, Any]:
        """The next answer of one of these kinds; a second process takes over from one that dies."""
        while True:
            assert self._process is not None
            try:
                values, rgb = self._process.answer(STALL_SECONDS)
                if "wants_times" in values:
                    self._process.ask(self._times.block())
            except DiedError as error:
                self._mourn(str(error))
                self._begin()
                continue
            if rgb is not None:
                self._rgb = rgb
            if "seconds" in values and self._to_pass_over:
                self._to_pass_over -= 1
            elif "error" in values:
                self.close() if values.get("is_last") else self._give_back()
                raise VideoError(values["error"])
            elif any(kind in values for kind in kinds):
                return values

    def _mourn(self, reason: str) -> None:
        self.close()
        self._deaths.append(reason)
        if len(self._deaths) > 1:
            raise VideoError(f"{one_line(self._path)} cannot be decoded: {_died_twice(self._deaths)}")


def _died_twice(reasons: list[str]) -> str:
    return f"its decoder died twice ({' and then '.join(dict.fromkeys(reasons))})"


class _KeptTimes:
    """Wanted times in blocks, as a worker asks for them; from the first on for a second one."""

    def __init__(self) -> None:
        self.source: Iterator[float] = iter(())
        self._given: list[float] = []
        self._place = 0
        self._error: Exception | None = None

    def again(self) -> None:
        self._place = 0

    def block(self) -> dict[str, Any]:
        """The next times; an error of the source only once those before it are used up."""
        start, self._place = self._place, self._place + TIMES_AT_ONCE
        if self._error is not None and start >= len(self._given):
            raise self._error
        try:
            for time in itertools.islice(self.source, max(0, self._place - len(self._given))):
                self._given.append(float(time))
        except Exception as error:
            if start >= len(self._given):
                raise
            self._error = error
        self._place = min(self._place, len(self._given))
        return {"times": self._given[start : self._place], "are_all": self._error is None and self._place == start}
