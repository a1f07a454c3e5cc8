"""Reading the packets of a file: checked, silent, bounded, on one clock.

Times are seconds from the start of the file, exact to the file's ticks. Errors of reading are counted and stepped
over; a damaged index can neither loop nor make the reader read more than a small multiple of the file.
Neighbours: ``_opening.py`` opens the file, ``decode.py`` decodes the packets, ``_plan.py`` says which, ``export.py``
copies them.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import av
from av.codec.codec import UnknownCodecError
from av.stream import Discard, Disposition

from wordframe.disk import one_line
from wordframe.errors import VideoError
from wordframe.video._opening import MAX_PIXELS, VideoPath, open_container
from wordframe.video._plan import PlannedPacket

_COMMON_CODECS = "h264 hevc av1 vp8 vp9 mpeg4 mpeg2video mpeg1video mjpeg prores theora wmv3".split()
_MAX_DURATION_SECONDS = 30 * 24 * 3600.0
"""A header that says more is damaged; the length then counts as unknown."""
MAX_GAP_SECONDS = 3600.0
"""A picture that stays longer than this is a damaged timestamp."""
_MAX_READ_ERRORS = 100
"""In a row. After an error the library looks for the next packet by itself; in a torn file that may never come."""
_MAX_EXPANSION = 16
"""A file read to more than this many times its size is read in circles (Matroska may compress its packets)."""
_FORMATS_THAT_SEEK = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"})
"""Their index says where the keyframes are and when. Others have none (MPEG streams) or one without times (AVI)."""
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


def _video_stream(path: VideoPath, container: Any) -> Any:
    """The video of a container: not a cover picture, the default one first, then the largest."""
    still = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [stream for stream in container.streams.video if not stream.disposition & still]
    if not streams:
        raise VideoError(f"{one_line(path)} has no video in it")
    streams = [stream for stream in streams if stream.codec_context is not None]  # PyAV's word for "no decoder"
    if not streams:
        raise VideoError(f"{one_line(path)} holds video of a codec that this build of PyAV cannot decode")

    def preference(stream: Any) -> tuple[bool, int]:
        return bool(stream.disposition & Disposition.default), stream.codec_context.width * stream.codec_context.height

    best = max(streams, key=preference)
    size = best.codec_context.width, best.codec_context.height
    if not 0 < size[0] * size[1] <= MAX_PIXELS:  # the library says 0 × 0 for what it refuses by itself
        told = f"frames of {size[0]} × {size[1]} pixels" if all(size) else "no frame size, or one beyond all bounds"
        raise VideoError(f"{one_line(path)} declares {told}; at most {MAX_PIXELS} pixels are decoded")
    return best


class NeedsPlainReadingError(Exception):
    """A jump did not land on a clean picture."""


class Reader:
    """An open file: its packets in file order, its errors counted, its clock in seconds from the start of the file."""

    def __init__(self, path: VideoPath, *, threads: int, keep_sound: bool = False) -> None:
        self.container = open_container(path)
        try:
            self.stream = _video_stream(path, self.container)
        except BaseException:
            self.container.close()
            raise
        self.codec = self.stream.codec_context
        # Once more, for this decoder: a damaged packet in the middle may declare another size than the header.
        self.codec.options = {"max_pixels": str(MAX_PIXELS)}
        # Not left to PyAV, whose default is a thread for each core in each of the decoders that run side by side.
        self.codec.thread_count = threads
        self.codec.thread_type = "NONE" if threads == 1 else "AUTO"
        self.container.flags &= ~_GENERATE_TIMES
        self.packets_read = 0
        self.read_errors = 0
        self.jump: tuple[float, float] | None = None  # where the times of the file stopped making sense
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
        if self.container.format.name == "matroska,webm":
            self._read_index()
        self.before_seek: Callable[[], None] = lambda: None
        """Called before PyAV throws away what the decoder still holds."""
        self._packets: Iterator[PlannedPacket] = self._demux()

    def _read_index(self) -> None:
        """Matroska keeps its index at the end of the file and reads it at the first seek."""
        with contextlib.suppress(av.FFmpegError):
            self.container.seek(0, stream=self.stream)

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
        duration = None if self.container.duration is None else self.container.duration / av.time_base
        if duration is not None and self.container.format.name == "matroska,webm":
            duration += min(0.0, self.seconds(0))  # its header counts from time 0, not from the first packet
        ends = [end for end in (duration, self.video_end_seconds()) if end is not None]
        return max((end for end in ends if 0 < end <= _MAX_DURATION_SECONDS), default=None)

    def video_end_seconds(self) -> float | None:
        """Where the header says that the video stream ends; None if it speaks of the whole file at most."""
        stream = self.stream
        if stream.duration is None or stream.duration <= 0:
            return None
        end = self.seconds(stream.duration + (stream.start_time if stream.start_time is not None else self.origin or 0))
        rate = self.frame_rate()
        # the library guesses a cut AVI's duration by its size; the number of frames is what the header says
        if self.container.format.name == "avi" and rate is not None:
            end = max(end, stream.frames / rate)
        return end if 0 < end <= _MAX_DURATION_SECONDS else None

    def frame_rate(self) -> float | None:
        """Frames a second, on average, if the file gives a believable figure."""
        rate = self.stream.average_rate or self.stream.guessed_rate
        return float(rate) if rate and 0 < rate <= 1000 else None

    def __iter__(self) -> Iterator[PlannedPacket]:
        return self

    def __next__(self) -> PlannedPacket:
        return next(self._packets)

    def _demux(self) -> Iterator[PlannedPacket]:
        """Packets of the video. Errors are counted and stepped over, within bounds."""
        errors_in_a_row = 0
        bytes_left = _MAX_EXPANSION * max(self.container.size, 1 << 20)
        while errors_in_a_row < _MAX_READ_ERRORS and bytes_left > 0:
            try:
                for packet in self.container.demux():  # after an error: from where the file stands
                    errors_in_a_row = 0
                    bytes_left -= packet.size + 1  # a loop of empty packets ends, too
                    if bytes_left <= 0:
                        self.read_errors += 1
                        break
                    # PyAV ends with an empty packet for each stream, which would empty a decoder that may go on
                    if packet.size and packet.stream_index == self.stream.index:
                        if not self._follows(packet):
                            return
                        yield self._planned(packet)
                    elif packet.size:
                        self._note_end(packet)
                else:
                    return
            except (av.FFmpegError, ValueError):
                errors_in_a_row += 1
                self.read_errors += 1

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
            base = packet.time_base
            end = (stamp + (packet.duration or 0)) * base.numerator / base.denominator + self.seconds(0)
            self._furthest_seconds = max(self._furthest_seconds, end)

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
        if self.container.format.name not in _FORMATS_THAT_SEEK:
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
