"""The frames of a video that are shown at given times: exact, fast, in bounded memory, from any file.

For each wanted time ``t`` (seconds from the start of the file) the frame being shown then: the last one whose time is
``<= t``, and the first one for a ``t`` before it. Times come from the file's timestamps, never from frame numbers.
Only the packets that wanted frames need are decoded (``_plan.py``), only wanted frames are converted, and they are
scaled while being converted. Should a jump over packets not land on a clean picture, the file is read again from its
start without jumps, so damaged or misdeclared files give the same frames as plain decoding.

Neighbours: ``_reader.py`` (packets of a file), ``_plan.py`` (which of them), ``_picture.py`` (frames, their size and
orientation), ``sampling.py`` (which times), ``export.py`` (writes a moment to a file).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from numpy.typing import NDArray

from wordframe.disk import one_line
from wordframe.errors import VideoError
from wordframe.video import _clock
from wordframe.video._colours import Rgb
from wordframe.video._limits import (
    MAX_FRAMES,
    MAX_GAP_SECONDS,
    MAX_PACKETS_WITHOUT_FRAME,
    MAX_PIXELS,
    Allowance,
    spread,
)
from wordframe.video._opening import VideoPath
from wordframe.video._other_pictures import has_other_pictures
from wordframe.video._picture import Frame, Orientation, VideoInfo, fit_short_side, orientation, shown_size
from wordframe.video._plan import KEYFRAME_SECONDS, DecodePlan, KeyframePlan, Step, WantedTimes
from wordframe.video._reader import NeedsPlainReadingError, Reader

_CODECS_THAT_SKIP_EXACTLY = frozenset({"h264", "hevc", "mpeg4", "mpeg2video", "mpeg1video"})
"""Their decoders leave out, when asked, just the pictures that no other refers to. Others ignore the question."""
_DEFAULT_RATE = 25.0
_ROUNDING_SECONDS = (0.5, 5.0)
"""A length in a header may be off by its hundredth part, but at least and at most this; more missing is a loss."""


def probe(path: VideoPath) -> VideoInfo:
    """What the file says about its video, after decoding its first frame.

    Raises:
        VideoError: the file is not there, cannot be read, or has no video that can be decoded.
    """
    with open_frames(path, ()) as frames:
        return frames.info


def open_frames(
    path: VideoPath,
    times: Iterable[float] | Callable[[VideoInfo], Iterable[float]],
    *,
    short_side: int | None = None,
    threads: int = 1,
    max_repeats: int | None = None,
) -> FrameStream:
    """The frames shown at ``times``, one for each while the video lasts, at least one.

    Args:
        path: a local file.
        times: ascending seconds from the start of the file, possibly endless; or a function that gives them once the
            file's length is known. Times beyond a known length end the stream.
        short_side: pixels; larger frames are scaled down to it (bicubic, same aspect) while they are converted.
        threads: of the decoder. One a video is best where several videos are decoded at once.
        max_repeats: a picture that the file shows on and on is given at no more of its wanted times than this, evenly
            spread, the first and the last among them; None gives it at all.

    Raises:
        VideoError: the file is not there, cannot be read, or has no video that can be decoded.
    """
    return FrameStream(path, times, short_side=short_side, threads=threads, max_repeats=max_repeats)


def open_keyframes(path: VideoPath, *, short_side: int | None = None, threads: int = 1) -> FrameStream:
    """The keyframes of a file at their own times, about one a second at most, at least one; nothing else is decoded.

    Where they stand is the work of whoever made the file: 1 to 10 s apart in most, in some only at its start.
    Arguments and errors as of ``open_frames``.
    """
    return FrameStream(path, None, short_side=short_side, threads=threads)


class FrameStream:
    """Iterates over the frames at the wanted times, or over keyframes if ``times`` is None. Close it, or use it as a
    context. Made by ``open_frames`` and ``open_keyframes``.

    Attributes:
        info: what the file says about its video.
        problem: None, or what is wrong with the file, as far as it was read; the frames given out are good.
        note: None, or what is odd about the file though nothing is missing: its times start anew on the way.
        decoded_until_seconds: the end of the last decoded frame.
    """

    def __init__(
        self,
        path: VideoPath,
        times: Iterable[float] | Callable[[VideoInfo], Iterable[float]] | None,
        *,
        short_side: int | None,
        threads: int,
        max_repeats: int | None = None,
    ) -> None:
        if short_side is not None and short_side < 1:
            raise ValueError(f"short_side must be at least 1 pixel or None, got {short_side}")
        if threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        if max_repeats is not None and max_repeats < 1:
            raise ValueError(f"max_repeats must be at least 1 or None, got {max_repeats}")
        self.problem: str | None = None
        self.decoded_until_seconds = 0.0
        self._path, self._threads, self._only_keyframes = path, threads, times is None
        self._max_repeats, self._num_given = max_repeats, 0
        self._to_rgb = Rgb()
        self._start(Reader(path, threads=threads))
        self._allowance = Allowance(self._reader.container.size)
        # The first picture is decoded here and now: its size and orientation are true where the header's may not be,
        # and a file without any picture is refused before a caller makes plans for it.
        try:
            self._pictures = self._decode_with_jumps()
            with self._allowance:
                first = next(self._pictures, None)
            if first is None:
                raise VideoError(f"{one_line(path)} cannot be read as a video: no frame could be decoded")
            self.info = self._describe(first[1], short_side)
            self._wanted = WantedTimes(times(self.info) if callable(times) else times or ())
        except BaseException:  # nobody else can close the file yet
            self._reader.container.close()
            raise
        if isinstance(self._plan, DecodePlan):
            self._plan.wanted = self._wanted
            self._frames = self._frames_at_wanted_times(*first)
        else:
            self._frames = self._keyframes(*first)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Frame:
        with self._allowance:
            frame = next(self._frames)
        if self._num_given == MAX_FRAMES:
            self._tell(f"at the limit of {MAX_FRAMES:,} frames a video: the rest was not looked at")
            self.close()
            raise StopIteration
        self._num_given += 1
        return frame

    @property
    def note(self) -> str | None:
        return _clock.told(self._reader.joins)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back. The stream ends."""
        self._frames = iter(())
        self._pictures = iter(())
        self._reader.container.close()

    def _start(self, reader: Reader) -> None:
        self._reader = reader
        reader.before_seek = self._empty_decoder
        self._emptied: list[Any] = []  # the last frames before a jump
        self._plan = KeyframePlan(reader) if self._only_keyframes else DecodePlan(reader)
        self._skips_exactly = reader.codec.name in _CODECS_THAT_SKIP_EXACTLY
        self._last_stamp: int | None = None
        self._first_dts: int | None = None
        self._landing_seconds: float | None = None  # the keyframe that a jump must land on
        self._decode_errors = 0
        self._is_broken = False

    def _describe(self, frame: Any, short_side: int | None) -> VideoInfo:
        """Fix the orientation and the size of all frames by the first one."""
        # Frames carry the container's matrix, too, and a stream's own (some phones write it into the H.264).
        matrix = frame.side_data.get("DISPLAYMATRIX")
        self._orientation: Orientation = orientation(None if matrix is None else bytes(matrix))
        # the stream's aspect and not the frame's: where container and codec differ, players follow the container
        aspect = self._reader.stream.sample_aspect_ratio
        width, height = shown_size(frame.width, frame.height, float(aspect) if aspect else None)
        self._size = fit_short_side(width, height, short_side)
        transposed = self._orientation.transposed
        return VideoInfo(
            container=self._reader.container.format.name,
            codec=self._reader.codec.codec.canonical_name,
            width=height if transposed else width,
            height=width if transposed else height,
            rotation_degrees=self._orientation.rotation_degrees,
            duration_seconds=self._reader.duration_seconds(),
            frame_rate=self._reader.frame_rate(),
        )

    def _frames_at_wanted_times(self, shown_from: float, shown: Any) -> Iterator[Frame]:
        """Each wanted time with the picture shown then: a picture is known to have been shown when the next comes."""
        # Between ``shown`` and the next picture may lie some that the plan left out: no wanted time falls into theirs.
        limit = self.info.duration_seconds or math.inf
        is_given = False
        for seconds, picture in self._pictures:
            for frame in self._frames_before(min(seconds, limit), shown):
                is_given = True
                yield frame
            time = self._wanted.peek()
            if time is None or time >= limit:
                break  # the rest of the file is not read, so nothing can be said of it
            shown_from, shown = seconds, picture
        else:
            for frame in self._frames_before(self._end_seconds(), shown):
                is_given = True
                yield frame
        if not is_given and self._wanted.peek() is not None:
            yield Frame(max(0.0, shown_from), self._rgb(shown))
        self._tell_damage()
        self._reader.container.close()

    def _keyframes(self, seconds: float, picture: Any) -> Iterator[Frame]:
        yield Frame(max(0.0, seconds), self._rgb(picture))
        last, limit = seconds, self.info.duration_seconds or math.inf
        for seconds, picture in self._pictures:
            if seconds >= limit:
                break
            # A packet's flag may be wrong: what decodes to no keyframe leans on pictures that were never decoded.
            if picture.key_frame and seconds - max(0.0, last) >= KEYFRAME_SECONDS:
                last = seconds
                yield Frame(seconds, self._rgb(picture))
        self._end_seconds()
        self._tell_damage()
        self._reader.container.close()

    def _frames_before(self, stop: float, picture: Any) -> Iterator[Frame]:
        rgb: NDArray[np.uint8] | None = None  # converted once, however many times it is shown
        times = self._wanted.taken_before(stop)
        for time in times if self._max_repeats is None else spread(list(times), self._max_repeats):
            rgb = self._rgb(picture) if rgb is None else rgb
            yield Frame(time, rgb)

    def _rgb(self, picture: Any) -> NDArray[np.uint8]:
        width, height = self._size
        try:
            rgb = self._to_rgb(picture, width, height)  # no RGB picture of the full size is ever made
        except (av.FFmpegError, ValueError) as error:
            name = picture.format.name
            raise VideoError(f"{one_line(self._path)}: cannot convert pictures of pixel format {name}") from error
        return self._orientation.apply(rgb)

    def _decode_with_jumps(self) -> Iterator[tuple[float, Any]]:
        """Decoded pictures with their times, ascending; read again without jumps where a jump went wrong."""
        try:
            yield from self._decode()
        except NeedsPlainReadingError:
            # The new plan has no wanted times and so decodes everything. Pictures come a second time from the start;
            # their wanted times are gone by then, so none is given out twice.
            self._reader.container.close()
            self._start(Reader(self._path, threads=self._threads))
            yield from self._decode()

    def _decode(self) -> Iterator[tuple[float, Any]]:
        packets_without_frame = 0
        for step in self._plan:
            if step.restart:
                # Frames still inside the decoder, for reordering or in its threads, are shown before the jump.
                self._empty_decoder()
                yield from self._on_clock(self._emptied)
                self._emptied = []
                if self._landing_seconds is not None:  # the jump before this one never landed
                    raise NeedsPlainReadingError
                self._reader.codec.flush_buffers()  # an emptied decoder is at its end and takes no packet without this
                self._landing_seconds = step.planned.seconds
            frames = self._send(step)
            if step.alone:
                frames = self._with_time(step.planned.packet, frames + self._send(None))
                self._reader.codec.flush_buffers()
            yield from self._on_clock(frames)
            packets_without_frame = 0 if frames else packets_without_frame + step.is_wanted
            if self._allowance.is_spent():
                self._tell(f"stopped after {self._allowance.seconds:.0f} s of work, the limit for a file of its size")
                self._is_broken = True
            if packets_without_frame > MAX_PACKETS_WITHOUT_FRAME:
                self._tell(f"damaged: {packets_without_frame} packets in a row gave no frame")
                self._is_broken = True
            if self._is_broken:
                return
        yield from self._on_clock(self._send(None))
        if self._landing_seconds is not None:
            raise NeedsPlainReadingError

    def _with_time(self, packet: Any, frames: list[Any]) -> list[Any]:
        """The frame of a packet that has a decoding time alone, or none at all: then its place among the packets."""
        if packet.dts is None and packet.pts is None:
            number = self._reader.packets_read - 1
            for frame in frames:
                frame.pts = self._reader.ticks(number / (self._reader.frame_rate() or _DEFAULT_RATE))
        elif packet.dts is not None:
            self._first_dts = packet.dts if self._first_dts is None else self._first_dts
            for frame in frames:
                frame.pts = self._reader.ticks(0) + packet.dts - self._first_dts
        return frames

    def _empty_decoder(self) -> None:
        self._emptied += self._send(None)

    def _send(self, step: Step | None) -> list[Any]:
        """Give the decoder a packet, None for its last frames; the frames that it gives back."""
        codec = self._reader.codec
        if step is not None:
            # set for each packet: with threads a packet keeps the word that held when it was sent
            codec.skip_frame = "NONREF" if self._skips_exactly and not step.is_wanted else "DEFAULT"
        try:
            return list(codec.decode(None if step is None else step.planned.packet))
        except (av.FFmpegError, ValueError):  # a damaged packet; decoding goes on with the next
            self._decode_errors += step is not None
            return []

    def _on_clock(self, frames: list[Any]) -> Iterator[tuple[float, Any]]:
        """Frames with their times on the file's clock, never running backwards, checked."""
        for frame in frames:
            if frame.width * frame.height > MAX_PIXELS:
                self._tell(f"damaged: a frame of {frame.width} × {frame.height} pixels")
                self._is_broken = True
            seconds = self._time_of(frame)
            # Clean after a jump is a keyframe at its own time. Pictures shown before it lean on what was left out. A
            # later one first means that the keyframe was none: a recovery point of a rolling refresh, a wrong flag.
            if self._landing_seconds is not None:
                if seconds < self._landing_seconds:
                    continue
                if seconds > self._landing_seconds or not frame.key_frame:
                    raise NeedsPlainReadingError
                self._landing_seconds = None
            if self._is_broken:
                return
            self._decode_errors += frame.is_corrupt  # concealed by the decoder: shown as it is, and told
            end = seconds + min(self._reader.in_seconds(frame.duration), MAX_GAP_SECONDS)
            self.decoded_until_seconds = max(self.decoded_until_seconds, end)
            yield seconds, frame

    def _time_of(self, frame: Any) -> float:
        """From the display time; else from the decoding time, if no frame has a display time; else from the last."""
        reader, last = self._reader, self._last_stamp
        if last is None:
            reader.set_origin_near(frame.pts)
        stamp = frame.pts
        # An AVI has decoding times alone. Frames leave the decoder in the order of display, each with the decoding time
        # of the packet that pushed it out: spaced as they should be, and all late by the decoder's delay, the first's.
        # The library takes those of B-frames for display times, which are as late: so none or all are believed.
        if self._first_dts is not None and not reader.stores_display_times and not self._only_keyframes:
            stamp = None
        if stamp is None and frame.dts is not None and (last is None or self._first_dts is not None):
            self._first_dts = frame.dts if self._first_dts is None else self._first_dts
            stamp = reader.ticks(0) + frame.dts - self._first_dts
        if stamp is None:
            # raw streams have no times at all: at the stated frame rate, else at television's
            step = frame.duration or reader.ticks(1 / (reader.frame_rate() or _DEFAULT_RATE)) - reader.ticks(0)
            stamp = reader.ticks(0) if last is None else last + step
        self._last_stamp = stamp if last is None else max(last, stamp)  # a damaged time must not run backwards
        return reader.seconds(self._last_stamp)

    def _tell(self, problem: str) -> None:
        self.problem = problem if self.problem is None else f"{self.problem}; {problem}"

    def _end_seconds(self) -> float:
        """How long the last picture is shown, once the file is read to its end; says so if the file ends early."""
        duration, rate = self.info.duration_seconds, self.info.frame_rate
        until = self._reader.end_seconds(self.decoded_until_seconds)
        if duration is None:
            return until
        end = self._reader.video_end_seconds() or duration
        rounding = max(_ROUNDING_SECONDS[0], min(0.01 * end, _ROUNDING_SECONDS[1]), 2 / rate if rate else 0.0)
        if end - until <= rounding:
            return duration  # as told beforehand, so that a caller gets the number of frames that it counted on
        self._tell(f"ends early: decoded until {self.decoded_until_seconds:.1f} s of {end:.1f} s")
        return until

    def _tell_damage(self) -> None:
        reader = self._reader
        if reader.jump is not None:
            self._tell(f"damaged: its times jump from {reader.jump[0]:.1f} s to {reader.jump[1]:.1f} s")
        if unread := reader.bytes_unread():
            self._tell(f"behind its end {unread:,} bytes of another file are joined on, which are not read")
        if reader.container.format.name == "mpegts" and has_other_pictures(self._path, reader.container):
            self._tell("a stream of other pictures begins inside it, which is not read")
        errors = reader.read_errors + self._decode_errors
        if errors:
            total = reader.packets_read + reader.read_errors
            self._tell(f"damaged: {errors} of {total} packets could not be read or decoded")
