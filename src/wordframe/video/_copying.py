"""The packets of a moment as they are in the file: nothing is decoded, nothing is lost.

Pictures lean on those before them, so a copy starts at the last keyframe not after the wanted start. Times of the
packets are those of the copy: 0 where it starts. Sound is read by itself, wherever in the file it lies.
Neighbours: ``_reader.py`` opens the file, ``_encoding.py`` makes the same tracks anew, ``_joined_sound.py`` reads the
sound of files whose times start anew, ``export.py`` writes them.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from av.stream import Disposition

from wordframe.video._opening import packets_of
from wordframe.video._reader import Reader

ROUNDING_SECONDS = 0.001
"""Wanted times come rounded to this: a picture that is shown for less belongs to the neighbour."""
_MAX_LEAD_SECONDS = 30.0
"""A copy that starts earlier than this before the moment is another moment."""
_SEEK_MARGINS_SECONDS = (0.0, 3.0, _MAX_LEAD_SECONDS)
"""A jump by time lands anywhere in a file without an index, and too late where the index holds decoding times."""
_MAX_HELD_PACKETS = 64
"""More without a decoding time than any codec reorders: the file has none."""
_INTERLEAVED_SECONDS = 1.0
"""Sound lies no further before its picture in the file."""
MISSING_SECONDS = 10.0
"""Sound that has not come when the pictures are this far behind the moment has ended."""
_GENERATE_TIMES = 0x1
"""AVFMT_FLAG_GENPTS, which the reader takes off."""
_FORMATS_OF_PARSED_PICTURES = frozenset({"mpeg", "mpegts"})
"""Only every few pictures have a time there; the library knows from their headers in which order the others come."""


class CannotCopyError(Exception):
    """The packets do not go into another file as they are; the text says why."""


class CopiedPictures:
    """The pictures of ``[start, end)`` seconds from a keyframe on.

    Attributes:
        start_seconds: where the copy starts, on the file's clock: at the keyframe, or at the file's first picture.
        end_seconds: where its last picture ends; known when all packets are taken.

    Raises:
        CannotCopyError: no keyframe lies near before the start, or the file does not say when its pictures are shown.
    """

    def __init__(self, source: Path, start_seconds: float, end_seconds: float) -> None:
        self._reader, self._packets = _from_keyframe(source, start_seconds)
        first = next(self._packets)
        self._packets = itertools.chain([first], self._packets)
        self._origin: int = first.pts
        self._end_seconds = end_seconds - ROUNDING_SECONDS
        self.start_seconds = max(0.0, self._reader.seconds(first.pts))
        self.end_seconds = self.start_seconds
        if first.is_discard or self.start_seconds >= self._end_seconds:
            self.close()
            hidden = "the keyframe before it is hidden by an edit list"
            raise CannotCopyError(hidden if first.is_discard else "its first picture comes after the moment")

    def add_to(self, output: Any) -> None:
        """Add the stream, with the shape and the orientation that the source has."""
        template = self._reader.stream
        # by its decoder: for some codecs there is no encoder, and for AV1 one of another name
        self._stream = output.add_stream_from_template(template, opaque=True)
        if template.codec_context.name == "hevc" and output.format.name in ("mp4", "mov"):
            self._stream.codec_context.codec_tag = "hvc1"  # Apple's players take no other
        if template.sample_aspect_ratio:  # it may stand in the container alone
            self._stream.codec_context.sample_aspect_ratio = template.sample_aspect_ratio

    def packets(self) -> Iterator[Any]:
        """Packets in decoding order, up to the last one that is shown before the end, and those that lie between."""
        seconds = self._reader.seconds
        limit_seconds, held = self._end_seconds, []
        for packet in _with_decoding_times(self._packets):
            # What follows the keyframe and is shown before it leans on what is left out. An edit list hides others.
            if packet.pts < self._origin or packet.is_discard:
                continue
            if seconds(packet.dts) >= limit_seconds:
                break
            held.append(packet)
            if seconds(packet.pts) < limit_seconds:
                # no hole is left before a picture that is needed
                limit_seconds = max(limit_seconds, *(seconds(each.pts) for each in held))
                yield from map(self._shifted, held)
                held = []

    def close(self) -> None:
        """Give the file back."""
        self._reader.container.close()

    def _shifted(self, packet: Any) -> Any:
        stays_seconds = self._reader.in_seconds(packet.duration) or 1 / (self._reader.frame_rate() or 25.0)
        self.end_seconds = max(self.end_seconds, self._reader.seconds(packet.pts) + stays_seconds)
        # The first decoding times become negative where frames are reordered, which containers take.
        packet.pts, packet.dts = packet.pts - self._origin, packet.dts - self._origin
        packet.stream = self._stream
        return packet


class CopiedSound:
    """The packets of the sound that begin within ``[start, end)`` seconds."""

    def __init__(self, source: Path, start_seconds: float, end_seconds: float) -> None:
        self._source = SoundPackets(source, start_seconds, end_seconds)
        self._start_seconds = start_seconds

    def add_to(self, output: Any) -> None:
        """Add the stream."""
        self._stream = output.add_stream_from_template(self._source.stream, opaque=True)

    def packets(self) -> Iterator[Any]:
        """Packets in their order."""
        origin = round((self._source.zero + self._start_seconds) / self._source.stream.time_base)
        last = -1
        for seconds, packet in self._source:
            if seconds >= self._start_seconds:
                stamp = packet.pts if packet.pts is not None else packet.dts
                packet.pts = packet.dts = last = max(last + 1, stamp - origin)  # sound is not reordered
                packet.stream = self._stream
                yield packet

    def close(self) -> None:
        """Give the file back."""
        self._source.close()


@dataclass(frozen=True)
class Stretch:
    """Sound in one piece: what was added to its times, and the seconds on the file's clock between which it counts."""

    shift_seconds: float = 0.0
    start_seconds: float = -math.inf
    end_seconds: float = math.inf


_WHOLE = Stretch()


class SoundPackets:
    """Iterates over (seconds on the file's clock, packet) of a file's sound, from before ``start`` up to ``end``.

    Attributes:
        stream: of the sound, as ``sound_of`` chooses it; there must be one.
        zero: what the file's timestamps say, in seconds, where its clock is 0.
    """

    def __init__(self, source: Path, start_seconds: float, end_seconds: float) -> None:
        self._end_seconds = end_seconds
        for self._reader, _ in _places_before(source, start_seconds - _INTERLEAVED_SECONDS):
            self.stream: Any = sound_of(self._reader)
            self.zero = -self._reader.seconds(0)
            packets = self._until_end()
            first = next(packets, None)
            self._packets = packets if first is None else itertools.chain([first], packets)
            if first is None or first[0] <= start_seconds:
                return

    def __iter__(self) -> Iterator[tuple[float, Any]]:
        return self._packets

    def in_stretches(self) -> Iterator[tuple[Stretch, Any]]:
        """Each packet with its stretch, of which there is one: gaps are kept."""
        return ((_WHOLE, packet) for _, packet in self)

    def close(self) -> None:
        """Give the file back."""
        self._reader.container.close()

    def _until_end(self) -> Iterator[tuple[float, Any]]:
        with contextlib.suppress(av.FFmpegError):  # the rest of a torn file
            for packet in packets_of(self._reader.container, [self._reader.stream, self.stream]):
                stamp = packet.pts if packet.pts is not None else packet.dts
                if not packet.size or stamp is None:
                    continue
                seconds = float(stamp * packet.time_base) - self.zero
                is_sound = packet.stream_index == self.stream.index
                if seconds >= self._end_seconds + (0.0 if is_sound else MISSING_SECONDS):
                    return
                if is_sound:
                    yield seconds, packet


def sound_of(reader: Reader) -> Any | None:
    """The sound of a file: the default one, else the first that can be decoded; None if there is none."""
    streams = [stream for stream in reader.container.streams.audio if stream.codec_context is not None]
    return max(streams, key=lambda stream: bool(stream.disposition & Disposition.default), default=None)


def open_for_export(source: Path) -> Reader:
    """The file with its sound, its display times made complete where the library can."""
    reader = Reader(source, threads=1, keep_sound=True)
    # not over a join: the library would keep a whole part in memory to find a time behind it, and a wrong one
    if reader.container.format.name in _FORMATS_OF_PARSED_PICTURES and not reader.joins:
        reader.container.flags |= _GENERATE_TIMES
    reader.set_origin_near(reader.stream.start_time)
    return reader


def _from_keyframe(source: Path, start_seconds: float) -> tuple[Reader, Iterator[Any]]:
    """A reader and its video packets, from the last keyframe not after the start on; or from the file's first one."""
    latest_seconds = start_seconds + ROUNDING_SECONDS
    for reader, is_beginning in _places_before(source, start_seconds):
        packets = _displayed(reader)
        held: list[Any] = []
        for packet in packets:
            seconds = reader.seconds(packet.pts)
            if packet.is_keyframe and (seconds <= latest_seconds or (is_beginning and not held)):
                held = [packet]
            elif held:
                held.append(packet)
            # no picture before a keyframe in the file is shown after it: none that is still to come is early enough
            if seconds > latest_seconds:
                break
        if held and start_seconds - reader.seconds(held[0].pts) <= _MAX_LEAD_SECONDS:
            return reader, itertools.chain(held, packets)
        if held or is_beginning:
            reader.container.close()
            raise CannotCopyError(f"its keyframes lie more than {_MAX_LEAD_SECONDS:g} s apart there")
    raise AssertionError("the beginning was tried last")


def _places_before(source: Path, seconds: float) -> Iterator[tuple[Reader, bool]]:
    """The open file at ever earlier places, the last one its beginning; and whether it is that."""
    reader = open_for_export(source)
    if seconds > _MAX_LEAD_SECONDS:
        for margin_seconds in _SEEK_MARGINS_SECONDS:
            try:
                reader.container.seek(reader.ticks(seconds - margin_seconds), stream=reader.stream)
            except av.FFmpegError:  # no index, or a damaged one
                break
            yield reader, False
        reader.container.close()
        reader = open_for_export(source)
    yield reader, True


def _displayed(reader: Reader) -> Iterator[Any]:
    """The video packets, each with its display time."""
    is_reordered = reader.codec.has_b_frames
    with contextlib.suppress(av.FFmpegError):  # the rest of a torn file
        for packet in packets_of(reader.container, reader.stream):
            if not packet.size:  # PyAV's mark for the end of a stream
                continue
            if packet.pts is None:
                # an AVI has decoding times alone, which are those of display where no picture waits for another
                if is_reordered or packet.dts is None:
                    raise CannotCopyError("it does not say when each picture is shown")
                packet.pts = packet.dts
            yield packet


def _with_decoding_times(packets: Iterator[Any]) -> Iterator[Any]:
    """Packets with both times. Matroska leaves the first decoding times out: they are counted back from the next."""
    held: list[Any] = []
    for packet in packets:
        if packet.dts is None:
            held.append(packet)
            if len(held) > _MAX_HELD_PACKETS:
                raise CannotCopyError("it has no decoding times")
            continue
        yield from _counted_back(held, packet.dts)
        held = []
        yield packet
    if held:
        yield from _counted_back(held, min(packet.pts for packet in held) + max(1, held[0].duration or 1))


def _counted_back(held: list[Any], next_stamp: int) -> Iterator[Any]:
    for steps_before, earlier in zip(range(len(held), 0, -1), held, strict=True):
        earlier.dts = next_stamp - steps_before * max(1, earlier.duration or 1)
        yield earlier
