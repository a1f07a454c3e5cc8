"""A moment's pictures and sound made anew, where they cannot be copied: exact from its start to its end.

Each picture that is shown within the moment is encoded once, at its own time: nothing is sampled, so nothing is
repeated or left out, and a variable rate stays one. They come upright and with square pixels. Sound is cut to the
sample; where the source has a gap there is silence, so that it stays with its picture.
Neighbours: ``decode.py`` gives the pictures, ``_copying.py`` and ``_joined_sound.py`` the packets of the sound,
``export.py`` writes them.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.filter import Graph
from av.format import Flags
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from wordframe.video._copying import ROUNDING_SECONDS, SoundPackets, Stretch, open_for_export
from wordframe.video._joined_sound import JoinedSound
from wordframe.video._plan import PlannedPacket
from wordframe.video._reader import NeedsPlainReadingError, Reader
from wordframe.video.decode import open_frames

_TICKS = 90_000
"""A second, of encoded pictures: whole numbers for all usual rates."""
_DEFAULT_RATE = 25.0
_MAX_REORDERED = 64
"""So many packets in a row that are shown after the moment: no earlier one follows."""
_SOUND_BITS_A_CHANNEL = 96_000
_QUALITY_UNITS = 118
"""FF_QP2LAMBDA: one step of MPEG-4's scale."""
_VIDEO_OPTIONS = {
    # without B-frames: an mp4 counts how long pictures stay by the order of decoding
    "libx264": {"crf": "18", "bf": "0", "preset": "veryfast"},
    "mpeg4": {"flags": "+qscale", "global_quality": str(3 * _QUALITY_UNITS)},
    "libvpx-vp9": {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "5", "row-mt": "1"},
}


class EncodedPictures:
    """Each picture shown in ``[start, end)`` seconds, once.

    Attributes:
        start_seconds, end_seconds: as wanted, the end not behind that of the file.
    """

    def __init__(self, source: Path, start_seconds: float, end_seconds: float, encoder: str) -> None:
        self.start_seconds = start_seconds
        self._encoder = encoder
        self._starts: list[float] = []
        self._next_pts = 0
        self._frames = open_frames(source, lambda info: self._plan(source, info.frame_rate, end_seconds))
        duration = self._frames.info.duration_seconds
        self.end_seconds = end_seconds if duration is None else min(end_seconds, duration)

    def add_to(self, output: Any) -> None:
        """Add the stream; even sides and half colour resolution are what every player and browser decodes."""
        info = self._frames.info
        rate = Fraction(info.frame_rate or _DEFAULT_RATE).limit_denominator(1001)  # NTSC's 30000/1001
        self._stream = stream = output.add_stream(self._encoder, rate=rate, options=_VIDEO_OPTIONS.get(self._encoder))
        stream.width, stream.height = max(2, info.width // 2 * 2), max(2, info.height // 2 * 2)
        stream.pix_fmt = "yuv420p"
        # said, since players guess otherwise, and differently for small and large pictures
        stream.colorspace, stream.color_range = Colorspace.ITU709, ColorRange.MPEG
        stream.color_primaries, stream.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        # an AVI knows no times, only numbers of pictures
        self._time_base = 1 / rate if output.format.name == "avi" else Fraction(1, _TICKS)
        stream.codec_context.time_base = self._time_base

    def packets(self) -> Iterator[Any]:
        """Packets in decoding order, with the moment's times."""
        stays: dict[int, int] = {}
        for picture in itertools.chain(self._pictures(), [None]):
            if picture is not None:
                stays[picture.pts] = picture.duration
            for packet in self._stream.encode(picture):
                packet.duration = stays.pop(packet.pts, 0)  # the encoder forgets it; the last picture has no other word
                yield packet

    def close(self) -> None:
        """Give the file back."""
        self._frames.close()

    def _plan(self, source: Path, rate: float | None, end_seconds: float) -> Iterator[float]:
        """Fixes when each picture comes on; gives the middle of the time for which it stays, clear of any rounding."""
        self._starts = _shown_between(source, self.start_seconds, end_seconds, rate or _DEFAULT_RATE)
        return ((start + stop) / 2 for start, stop in zip(self._starts, [*self._starts[1:], end_seconds], strict=True))

    def _pictures(self) -> Iterator[Any]:
        last: tuple[float, Any] | None = None
        for start, frame in zip(self._starts, self._frames, strict=False):
            if last is None or frame.rgb is not last[1]:  # two fields of one picture have two times
                if last is not None:
                    yield self._picture(*last, stop=start)
                last = start, frame.rgb
        if last is not None:
            yield self._picture(*last, stop=self.end_seconds)

    def _picture(self, start: float, rgb: Any, *, stop: float) -> Any:
        picture = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
            self._stream.width,
            self._stream.height,
            "yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )
        first, end = (round((seconds - self.start_seconds) / self._time_base) for seconds in (start, stop))
        first = max(first, self._next_pts)  # an AVI's numbers may be rounded to one for two pictures
        self._next_pts = first + 1
        picture.pts, picture.duration, picture.time_base = first, max(1, end - first), self._time_base
        return picture


class EncodedSound:
    """The sound of ``[start, end)`` seconds, to the sample; ``is_joined``: of a file whose times start anew inside.

    Attributes:
        heard_seconds: for how long there was sound to encode; for the rest there is silence.
    """

    def __init__(
        self, source: Path, start_seconds: float, end_seconds: float, encoder: str, *, is_joined: bool
    ) -> None:
        self._source: JoinedSound | SoundPackets = (JoinedSound if is_joined else SoundPackets)(
            source, start_seconds, end_seconds
        )
        self.heard_seconds = 0.0
        self._num_samples = 0  # encoded so far, silence included
        self._start_seconds, self._end_seconds, self._encoder = start_seconds, end_seconds, encoder

    def add_to(self, output: Any) -> None:
        """Add the stream, at the source's rate where the encoder takes it; more than two channels become two."""
        codec = self._source.stream.codec_context
        rates = av.Codec(self._encoder, "w").audio_rates
        rate = codec.sample_rate if not rates or codec.sample_rate in rates else 48_000
        layout = "mono" if codec.channels == 1 else "stereo"
        self._stream = output.add_stream(self._encoder, rate=rate, layout=layout)
        # What comes before time 0 lets a decoder start. Where no time may be negative, it would make all else late.
        self._keeps_early = bool(output.format.flags & Flags.ts_negative.value)
        self._stream.bit_rate = _SOUND_BITS_A_CHANNEL * (1 if layout == "mono" else 2)

    def packets(self) -> Iterator[Any]:
        """Packets in their order, with the moment's times."""
        graph: Any = None
        made_for: tuple[Any, ...] = ()
        for stretch, frame in self._decoded():
            kind = stretch, frame.sample_rate, frame.format.name, frame.layout.name
            if graph is None or kind != made_for:
                yield from self._emptied(graph)
                graph, made_for = self._graph(frame, stretch), kind
            graph.push(frame)
            yield from self._encoded(graph)
        if graph is not None:
            yield from self._emptied(graph)
            yield from self._stream.encode()

    def close(self) -> None:
        """Give the file back."""
        self._source.close()

    def _decoded(self) -> Iterator[tuple[Stretch, Any]]:
        """Frames with the moment's times, as far as their stretch counts."""
        codec = self._source.stream.codec_context
        zero = self._source.zero + self._start_seconds
        due: int | None = None
        last: Stretch | None = None
        for stretch, packet in self._source.in_stretches():
            if stretch is not last:
                due, last = None, stretch
            end_seconds = min(self._end_seconds, stretch.end_seconds) - self._start_seconds
            try:
                frames = codec.decode(packet)
            except (av.FFmpegError, ValueError):  # a damaged packet; silence takes its place
                continue
            for frame in frames:
                if frame.pts is not None:
                    due = frame.pts - round(zero / frame.time_base)
                # of several in one packet only the first has a time
                if due is not None:
                    frame.pts, due = due, due + round(frame.samples / (frame.sample_rate * frame.time_base))
                    start, stop = float(frame.pts * frame.time_base), float(due * frame.time_base)
                    if start < end_seconds:
                        self.heard_seconds += max(0.0, min(stop, end_seconds) - max(start, 0.0))
                        yield stretch, frame

    def _graph(self, frame: Any, stretch: Stretch) -> Any:
        """Cut to the moment and to what no stretch before took, gaps filled, at the encoder's rate."""
        encoded_seconds = self._num_samples / self._stream.rate
        first = max(encoded_seconds, stretch.start_seconds - self._start_seconds)
        end = min(self._end_seconds, stretch.end_seconds) - self._start_seconds
        first_sample = math.ceil(encoded_seconds * frame.sample_rate)  # counted as they come in
        graph = Graph()
        steps = [
            graph.add_abuffer(
                sample_rate=frame.sample_rate, format=frame.format, layout=frame.layout.name, time_base=frame.time_base
            ),
            graph.add("atrim", f"start={first:.6f}:end={end:.6f}"),
            graph.add("aresample", f"{self._stream.rate}:async=1:first_pts={first_sample}"),
            graph.add("aformat", f"channel_layouts={self._stream.layout.name}"),
            graph.add("abuffersink"),
        ]
        for before, after in itertools.pairwise(steps):
            before.link_to(after)
        graph.configure()
        return graph

    def _emptied(self, graph: Any) -> Iterator[Any]:
        """What a graph still holds, if there is one."""
        if graph is not None:
            graph.push(None)
            yield from self._encoded(graph)

    def _encoded(self, graph: Any) -> Iterator[Any]:
        with contextlib.suppress(av.BlockingIOError, av.EOFError):  # until more is pushed
            while True:
                frame = graph.pull()
                self._num_samples = max(self._num_samples, frame.pts + frame.samples)
                for packet in self._stream.encode(frame):
                    if self._keeps_early or packet.pts >= 0:
                        yield packet


def _shown_between(source: Path, start_seconds: float, end_seconds: float, rate: float) -> list[float]:
    """When each picture that is shown in ``[start, end)`` comes on; the first one at ``start``."""
    times = _display_times(source, start_seconds, end_seconds)
    if times is None:  # a raw stream, or an AVI with B-frames: at its rate, in exact steps
        step = 1 / Fraction(rate).limit_denominator(1001)
        first = int(Fraction(start_seconds) / step)
        times = [float(number * step) for number in range(first, int(Fraction(end_seconds) / step) + 1)]
    later = {seconds for seconds in times if start_seconds < seconds < end_seconds - ROUNDING_SECONDS}
    if any(seconds - start_seconds < ROUNDING_SECONDS for seconds in later):
        later.remove(min(later))
    return [start_seconds, *sorted(later)]


def _display_times(source: Path, start_seconds: float, end_seconds: float) -> list[float] | None:
    """The times of the pictures from about ``start`` to ``end``, unsorted; None where a packet has none."""
    reader = open_for_export(source)
    first = next(reader, None)
    if first is not None and first.seconds is not None and first.seconds < start_seconds:
        try:
            reader.seek_towards(start_seconds, position=first.seconds)
        except NeedsPlainReadingError:
            reader.container.close()
            reader = open_for_export(source)
    times: list[float] = []
    num_behind = 0
    packets = itertools.chain([first] if first is not None else [], reader)
    for planned in _with_display_times(packets, reader) if reader.joins else packets:
        if planned.seconds is None:
            times = []
            break
        num_behind = num_behind + 1 if planned.seconds >= end_seconds else 0
        if num_behind > _MAX_REORDERED:
            break
        if not planned.is_hidden:
            times.append(planned.seconds)
    reader.container.close()
    return times or None


def _with_display_times(packets: Iterator[PlannedPacket], reader: Reader) -> Iterator[PlannedPacket]:
    """Packets of a file with joins, each picture with its display time, in another order.

    Program streams name the times of some pictures only. One that others lean on is shown when the next such one is
    decoded, the last one of a part when all others of it have been; the others are shown as soon as they are decoded.
    """
    waiting: PlannedPacket | None = None
    part, end_seconds = 0, 0.0
    for planned in packets:
        packet, clock = planned.packet, reader.clock
        is_new_part = clock is not None and clock.part != part
        if waiting is not None and packet.dts is not None and (is_new_part or packet.pts != packet.dts):
            yield replace(waiting, seconds=end_seconds if is_new_part else reader.seconds(packet.dts))
            waiting = None
        part = part if clock is None else clock.part
        if packet.dts is not None:
            end_seconds = reader.seconds(packet.dts) + (reader.in_seconds(packet.duration) or _step_of(reader))
        if planned.seconds is None and packet.dts is not None and waiting is None:
            waiting = planned
        else:
            yield planned
    if waiting is not None:
        yield replace(waiting, seconds=end_seconds)


def _step_of(reader: Reader) -> float:
    return 1 / (reader.frame_rate() or _DEFAULT_RATE)
