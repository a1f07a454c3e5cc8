"""Reading the packets of a file: checked, silent, bounded, on one clock.

Times are seconds from the start of the file, exact to the file's ticks. Errors of reading are counted and stepped
over; a damaged index can neither loop nor make the reader read more than a small multiple of the file. Where a format's
times may start anew inside a file, it is read through for its times alone first, and all are put on one clock.
Neighbours: ``decode.py`` decodes the packets, ``_plan.py`` says which, ``export.py`` copies them. ``_opening.py`` opens
the file, ``_stored.py`` reads on behind errors and ends of parts, ``_streams.py`` chooses the film, ``_clock.py`` joins
times, ``_limits.py`` bounds all of it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import av
from av.codec.codec import UnknownCodecError
from av.format import Flags
from av.stream import Discard
from cachetools import LRUCache

from wordframe.disk import one_line
from wordframe.errors import VideoError
from wordframe.video._clock import MP4, Clock, Join, clock_of
from wordframe.video._limits import MAX_DURATION_SECONDS, MAX_FRAME_RATE, MAX_GAP_SECONDS, MAX_PIXELS
from wordframe.video._opening import VideoPath, bytes_joined_on, open_container, packets_of
from wordframe.video._plan import PlannedPacket
from wordframe.video._stored import stored_packets
from wordframe.video._streams import choose_stream

_COMMON_CODECS = "h264 hevc av1 vp8 vp9 mpeg4 mpeg2video mpeg1video mjpeg prores theora wmv3".split()
_FORMATS_THAT_SEEK = frozenset({MP4, "matroska,webm"})
"""Their index says where the keyframes are and when. Others have none (MPEG streams) or one without times (AVI)."""
_FORMATS_WITHOUT_DISPLAY_TIMES = frozenset({"avi", "asf"})
_MAX_WITHOUT_TIME = 256
"""Packets at the start of a file without a time; more, and it has none."""
_SEEK_MARGINS_SECONDS = (1.0, 10.0)
_GENERATE_TIMES = 0x1
"""AVFMT_FLAG_GENPTS, which PyAV sets: it takes the order of storage for the order of display, so an AVI with B-frames
would be shown out of order. Without it such packets have no display time, and the decoder puts the frames in order."""


def available_decoders() -> dict[str, bool]:
    """Whether the installed decoding library reads each of the codecs that people's videos use."""
    found = {}
    for name in _COMMON_CODECS:
        try:
            found[name] = av.Codec(name, "r").is_decoder
        except UnknownCodecError:
            found[name] = False
    return found


def decoder_version() -> str:
    """PyAV's version and that of the FFmpeg inside it: another one may give other pixels, so reports carry it."""
    return f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}"


def _open_film(path: VideoPath) -> tuple[Any, Any]:
    """A container that stands at its start, and the stream in it that is the film."""
    container = open_container(path)
    try:
        container.flags &= ~_GENERATE_TIMES
        stream, is_at_start = choose_stream(path, container)
        if is_at_start and container.format.name == "matroska,webm":
            is_at_start = _read_index(container, stream)
        if not is_at_start:
            index = stream.index
            container.close()
            container = open_container(path)
            container.flags &= ~_GENERATE_TIMES
            stream = container.streams[index]
    except BaseException:
        container.close()
        raise
    return container, stream


def _read_index(container: Any, stream: Any) -> bool:
    """Matroska keeps its index at the end of the file and reads it at the first seek. Whether that leads to the start:
    the index has no negative times, so that pictures with such times would be passed over."""
    with contextlib.suppress(av.FFmpegError, ValueError):
        before = _next_place(container, stream)
        container.seek(0, stream=stream)
        after = _next_place(container, stream)
        container.seek(0, stream=stream)
        return before == after
    return False


def _next_place(container: Any, stream: Any) -> int | None:
    """Where the next packet of a stream lies in the file; None if there is none."""
    return next((packet.pos for packet in packets_of(container, stream) if packet.size), None)


@dataclass(frozen=True)
class _Times:
    """What reading a file for its times alone gave: where its video ends, its joins, and where its clock starts."""

    end_seconds: float
    joins: tuple[Join, ...]
    origin: int | None


_times_read: LRUCache[tuple[int, int, int, int], _Times] = LRUCache(1024)
"""Of the files that this process read last: an export opens a file often."""
_times_read_lock = threading.Lock()


class NeedsPlainReadingError(Exception):
    """A jump did not land on a clean picture."""


class Reader:
    """An open file: its packets in file order, its errors counted, its clock in seconds from the start of the file."""

    packets_ever_read = 0
    """By all readers of this process: who watches a file being opened sees that it goes on, although reading its times
    may take minutes. Counted without a lock: with several threads it grows, which is all that is asked of it."""

    def __init__(self, path: VideoPath, *, threads: int, keep_sound: bool = False) -> None:
        self._path, self._threads = path, threads
        self._open()
        # a stream without times: its packets' are counted out by the library
        self._is_raw = bool(self.container.format.flags & Flags.no_timestamps.value)
        self.stores_display_times = (
            not self._is_raw and self.container.format.name not in _FORMATS_WITHOUT_DISPLAY_TIMES
        )
        self._is_matroska = self.container.format.name == "matroska,webm"
        self._is_mp4 = self.container.format.name == MP4
        self.packets_read = 0
        self.read_errors = 0
        self.jump: tuple[float, float] | None = None  # where the times of the file stopped making sense
        self.joins: list[Join] = []
        """Where the times of the file start anew and are joined on: all, where the file states a length; else those
        met so far. What PyAV's own seek and packets not given out by this reader say are then other times."""
        self._last_seconds: float | None = None
        self._furthest_seconds = 0.0
        base = self.stream.time_base
        self._num: int = base.numerator if base else 1
        self._den: int = base.denominator if base else 90_000
        # The clock starts with the file's first stream: at 0 in an mp4, hours later in a recorded broadcast.
        start = self.container.start_time
        self.origin: int | None = None if start is None else round(start * self._den / (av.time_base * self._num))
        # An mp4's discarded packets are not even read from the disk. But where the header does not say when the video
        # ends, the other streams' packets tell how far the file reaches.
        if self.stream.duration is not None and not keep_sound:
            for other in self.container.streams:
                if other.index != self.stream.index:
                    other.discard = Discard.all
        self.before_seek: Callable[[], None] = lambda: None
        """Called before PyAV throws away what the decoder still holds."""
        self._knows_joins = False
        self._read_end = 0.0  # where the video ends, if all its times were read
        self.clock = self._new_clock()
        """What moves the pictures; None where the file's times are believed."""
        # a recording without a length is read but once, unless its sound is to be moved as its pictures are
        if self.clock is not None and (keep_sound or self.container.duration is not None):
            self._find_joins()
            self.clock = self._new_clock()
        self._packets: Iterator[PlannedPacket] = self._demux()
        if self._is_matroska:
            self._packets = self._with_times_at_the_start(self._packets)

    def _open(self) -> None:
        self.container, self.stream = _open_film(self._path)
        self.codec = self.stream.codec_context
        # Once more, for this decoder: a damaged packet in the middle may declare another size than the header.
        self.codec.options = {"max_pixels": str(MAX_PIXELS)}
        # Not left to PyAV, whose default is a thread for each core in each of the decoders that run side by side.
        self.codec.thread_count = self._threads
        self.codec.thread_type = "NONE" if self._threads == 1 else "AUTO"

    def _new_clock(self) -> Clock | None:
        # an mp4 in fragments has no table of all its packets, and its first part alone may state a length
        has_index = bool(self.stream.frames) if self._is_mp4 else self.container.duration is not None
        return clock_of(self.container.format.name, self._den / self._num, has_index=has_index)

    def _find_joins(self) -> None:
        """Find all joins, since the length of a file with joins is not what its header or its last packet says."""
        status = os.stat(self._path)
        identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        with _times_read_lock:
            known = _times_read.get(identity)
        if known is None:
            self._read_times()
            known = _Times(self._read_end, tuple(self.joins), self.origin)
            with _times_read_lock:
                _times_read[identity] = known
        self._read_end, self.joins, self.origin = known.end_seconds, list(known.joins), known.origin
        self._knows_joins = True

    def _read_times(self) -> None:
        """Reads all packets of the video and decodes none: about a hundredth of what decoding takes."""
        discarded = [(other, other.discard) for other in self.container.streams if other.index != self.stream.index]
        for other, _ in discarded:
            other.discard = Discard.all
        is_first = True
        for planned in self._demux():
            if is_first:  # as the first frame will
                self.set_origin_near(planned.packet.pts)
            is_first = False
        for other, discard in discarded:
            other.discard = discard
        self._read_end = 0.0 if is_first or self.clock is None else self.seconds(self.clock.end)
        self.packets_read = self.read_errors = 0
        self.jump, self._last_seconds, self._furthest_seconds = None, None, 0.0
        if self._is_matroska or self._is_mp4:  # they take no seek by bytes, and without an index none by time
            self.container.close()
            self._open()
            return
        # to the first byte: a seek by time would look for it among times that are not in order
        try:
            self.container.seek(0, unsupported_byte_offset=True)
        except av.FFmpegError as error:
            self.container.close()
            raise VideoError(f"{one_line(self._path)} cannot be read a second time: {error.strerror}") from error

    def seconds(self, stamp: int) -> float:
        """A timestamp of the video stream on the file's clock."""
        # whole numbers until the one division: rounded once, so that 2 s into the file is 2.0 in any time base
        return (stamp - (self.origin or 0)) * self._num / self._den

    def in_seconds(self, ticks: int | None) -> float:
        """A duration of the video stream; 0 where the file does not say."""
        return (ticks or 0) * self._num / self._den

    def set_origin_near(self, first_stamp: int | None) -> None:
        """Start the clock at the first frame if the file names no start, or one that lies absurdly far away."""
        if first_stamp is not None and (self.origin is None or abs(self.seconds(first_stamp)) > MAX_GAP_SECONDS):
            self.origin = first_stamp

    def ticks(self, seconds: float) -> int:
        """The timestamp of the video stream at a time on the file's clock."""
        return round(seconds * self._den / self._num) + (self.origin or 0)

    def duration_seconds(self) -> float | None:
        """How long the file plays: to the end of the longest stream, at least to ``video_end_seconds``."""
        if self._read_end and self.joins:
            return self._read_end if self._read_end <= MAX_DURATION_SECONDS else None
        duration = None if self.container.duration is None else self.container.duration / av.time_base
        if duration is not None and self._is_matroska:
            duration += self.seconds(0)  # its header counts from time 0, not from the first packet
        # what a stream's header says of its length is guessed by its last packets, and may be short of them
        ends = [end for end in (duration, self.video_end_seconds(), self._read_end) if end is not None]
        return max((end for end in ends if 0 < end <= MAX_DURATION_SECONDS), default=None)

    def video_end_seconds(self) -> float | None:
        """Where the header says that the video stream ends; None if it speaks of the whole file at most."""
        if self._read_end and self.joins:
            return self._read_end if self._read_end <= MAX_DURATION_SECONDS else None
        stream = self.stream
        if stream.duration is None or stream.duration <= 0:
            return None
        end = self.seconds(stream.duration + (stream.start_time if stream.start_time is not None else self.origin or 0))
        rate = self.frame_rate()
        # the library guesses a cut AVI's duration by its size; the number of frames is what the header says
        if self.container.format.name == "avi" and rate is not None:
            end = max(end, stream.frames / rate)
        return end if 0 < end <= MAX_DURATION_SECONDS else None

    def frame_rate(self) -> float | None:
        """Frames a second, on average, if the file gives a believable figure."""
        # of a raw stream the average is the library's guess: 25, whatever the codec's header says
        rate = self.stream.guessed_rate if self._is_raw else self.stream.average_rate or self.stream.guessed_rate
        return float(rate) if rate and 0 < rate <= MAX_FRAME_RATE else None

    def __iter__(self) -> Iterator[PlannedPacket]:
        return self

    def __next__(self) -> PlannedPacket:
        return next(self._packets)

    def _demux(self) -> Iterator[PlannedPacket]:
        """Packets of the video, as long as their times are believable."""
        for packet in self.stored():
            if packet.stream_index == self.stream.index:
                if not self._follows(packet):
                    return
                yield self._planned(packet)
            elif not self.joins:  # sound keeps the file's own times
                self._note_end(packet)

    def stored(self) -> Iterator[Any]:
        """The packets of all streams, in the order of the file: those of the video on the one clock, others with the
        file's own times."""
        for packet in stored_packets(self._path, self.container, self._count_error):
            Reader.packets_ever_read += 1
            if packet.stream_index == self.stream.index:
                self._put_on_clock(packet)
            yield packet

    def _count_error(self) -> None:
        self.read_errors += 1

    def _with_times_at_the_start(self, packets: Iterator[PlannedPacket]) -> Iterator[PlannedPacket]:
        """Negative times, which a first cluster may have, are withheld by the library: they are counted back from the
        first that is told, or those pictures would be shown in the place of the first ones."""
        held: list[PlannedPacket] = []
        for planned in packets:
            held.append(planned)
            if planned.seconds is not None or len(held) > _MAX_WITHOUT_TIME:
                break
        told = held[-1].packet if held and held[-1].seconds is not None else None
        for steps, early in zip(range(len(held) - 1, 0, -1), held, strict=False):
            if told is not None:
                early.packet.pts = told.pts - steps * max(1, told.duration or 1)
                early = replace(early, seconds=self.seconds(early.packet.pts))
            yield early
        yield from held[-1:]
        yield from packets

    def _put_on_clock(self, packet: Any) -> None:
        if self.clock is None:
            return
        # Matroska stores display times and durations alone, the other formats decoding times and no durations
        times = (None, packet.pts, packet.duration or 0) if self._is_matroska else (packet.dts, packet.pts)
        shift, jump = self.clock.shift_of(*times)
        if shift:
            packet.dts = None if packet.dts is None else packet.dts + shift
            packet.pts = None if packet.pts is None else packet.pts + shift
        if jump and not self._knows_joins:
            stamp = packet.dts if packet.pts is None else packet.pts
            self.joins.append(Join(self.seconds(stamp), jump * self._num / self._den))

    def _follows(self, packet: Any) -> bool:
        """Whether a video packet's time is believable after the one before it."""
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None:
            seconds = self.seconds(stamp)
            # believed, the picture before the gap would answer every wanted time in it: thousands of copies
            if self._last_seconds is not None and seconds - self._last_seconds > MAX_GAP_SECONDS:
                self.jump = (self._last_seconds, seconds)
                return False
            self._last_seconds = seconds
        self._note_end(packet)
        return True

    def _note_end(self, packet: Any) -> None:
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None and packet.time_base:  # any stream's: sound has a time base of its own
            self._furthest_seconds = max(self._furthest_seconds, self._end_of(packet))

    def _end_of(self, packet: Any) -> float:
        stamp, base = packet.dts if packet.pts is None else packet.pts, packet.time_base
        if stamp is None or not base:
            return 0.0
        return float((stamp + (packet.duration or 0)) * base.numerator / base.denominator + self.seconds(0))

    def bytes_unread(self) -> int:
        """How many bytes are another file that was joined on, and cannot be had."""
        return bytes_joined_on(self._path, self.container)

    def end_seconds(self, decoded_until_seconds: float) -> float:
        """Where the file ends, as far as it was read: with its sound, unless the sound's times make no sense."""
        if self._furthest_seconds - decoded_until_seconds > MAX_GAP_SECONDS:
            return decoded_until_seconds
        return max(decoded_until_seconds, self._furthest_seconds)

    def _planned(self, packet: Any) -> PlannedPacket:
        self.packets_read += 1
        # No decoding time stands in for a missing display time: with B-frames it is another frame's. A packet to be
        # discarded is one that an edit list cuts off: later frames lean on it, and it is never shown.
        seconds = None if packet.pts is None else self.seconds(packet.pts)
        return PlannedPacket(seconds, packet.is_keyframe, packet.is_discard, packet.size, packet)

    def seek_towards(self, seconds: float, *, position: float) -> bool:
        """Move to a keyframe after ``position`` and not after ``seconds``; False, and no move, if there is none.

        The file's index is asked first. It may hold decoding times (an mp4's does), which run ahead of the display:
        hence the margins, and the look at the first packet, whose display time decides.

        Raises:
            NeedsPlainReadingError: the file is not where its index says; what was passed over cannot be told any more.
        """
        if self.container.format.name not in _FORMATS_THAT_SEEK or self.joins:
            return False
        index = self.stream.index_entries
        for margin in _SEEK_MARGINS_SECONDS:
            target = self.ticks(seconds - margin)
            entry = index.search_timestamp(target)
            if entry < 0 or self.seconds(index[entry].timestamp) <= position:
                return False
            self.before_seek()
            try:
                self.container.seek(target, stream=self.stream)
            except av.FFmpegError:
                break
            self._packets = self._demux()
            self._last_seconds = None  # the jump is ours, no gap of the file
            first = next(self._packets, None)
            if first is not None and first.is_key and first.seconds is not None and position < first.seconds <= seconds:
                self._packets = itertools.chain([first], self._packets)
                return True
        raise NeedsPlainReadingError
