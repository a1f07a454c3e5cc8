"""Which of a file's video streams is the film.

A cover picture is not, also where nothing marks it as one and where it is larger or the default: it is one picture, or
shorter than the rest by far. Neighbour: ``_reader.py`` reads the stream that is chosen here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import av
from av.stream import Disposition

from wordframe.disk import one_line
from wordframe.errors import VideoError
from wordframe.video._limits import MAX_PIXELS
from wordframe.video._opening import packets_of

_FEW_FRAMES, _SHORT = 1 / 100, 1 / 2
"""A stream with fewer frames than this part of the most, or shorter than this part of the longest, is beside the film.
Angles of one film differ by less."""
_LOOK_PACKETS, _LOOK_BYTES = 2000, 32 << 20
"""How far a file is read whose header says nothing of its streams' lengths."""


@dataclass(frozen=True)
class _Extent:
    """How much of a stream there is, as far as is known."""

    num_frames: int
    seconds: float


def choose_stream(path: str | Any, container: Any) -> tuple[Any, bool]:
    """The film of a container, and whether the container still stands at its start: no packets were read to find it.

    The film is the default stream among those of its length, then the largest.

    Raises:
        VideoError: there is none, or none that can be decoded.
    """
    still = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [stream for stream in container.streams.video if not stream.disposition & still]
    if not streams:
        raise VideoError(f"{one_line(path)} has no video in it")
    streams = [stream for stream in streams if stream.codec_context is not None]  # PyAV's word for "no decoder"
    if not streams:
        raise VideoError(f"{one_line(path)} holds video of a codec that this build of PyAV cannot decode")
    films, is_at_start = _films(container, streams)
    best = max(films, key=lambda stream: (bool(stream.disposition & Disposition.default), _area(stream)))
    size = best.codec_context.width, best.codec_context.height
    if not 0 < size[0] * size[1] <= MAX_PIXELS:  # the library says 0 × 0 for what it refuses by itself
        told = f"frames of {size[0]} × {size[1]} pixels" if all(size) else "no frame size, or one beyond all bounds"
        raise VideoError(f"{one_line(path)} declares {told}; at most {MAX_PIXELS} pixels are decoded")
    return best, is_at_start


def _area(stream: Any) -> int:
    size: int = stream.codec_context.width * stream.codec_context.height
    return size


def _films(container: Any, streams: list[Any]) -> tuple[list[Any], bool]:
    """The streams that last and move; and whether no packets were read."""
    if len(streams) == 1:
        return streams, True
    stated = [_stated(stream) for stream in streams]
    known = [extent for extent in stated if extent is not None]
    is_at_start = len(known) == len(streams)
    extents = known if is_at_start else _read_extents(container, streams)
    most_frames = max(extent.num_frames for extent in extents)
    longest = max(extent.seconds for extent in extents if extent.num_frames >= _FEW_FRAMES * most_frames)
    films = [
        stream
        for stream, extent in zip(streams, extents, strict=True)
        # a single picture is beside the film however long it is shown, as soon as anything else has two
        if extent.num_frames >= max(_FEW_FRAMES * most_frames, min(2, most_frames))
        and extent.seconds >= _SHORT * longest
    ]
    return films, is_at_start


def _stated(stream: Any) -> _Extent | None:
    """What the header says; None if it leaves out either, as only formats with a table of all packets do not."""
    if not stream.frames or not stream.duration or not stream.time_base:
        return None
    return _Extent(stream.frames, float(stream.duration * stream.time_base))


def _read_extents(container: Any, streams: list[Any]) -> list[_Extent]:
    """Counted in the first packets of the file."""
    counts = dict.fromkeys((stream.index for stream in streams), 0)
    spans: dict[int, list[float]] = {stream.index: [] for stream in streams}
    num_packets = num_bytes = 0
    try:
        for packet in packets_of(container, streams):
            if packet.size:
                counts[packet.stream_index] += 1
                if packet.pts is not None:
                    seconds = spans[packet.stream_index]
                    seconds[:] = [*seconds[:1], float(packet.pts * packet.time_base)]
            num_packets, num_bytes = num_packets + 1, num_bytes + packet.size
            if num_packets > _LOOK_PACKETS or num_bytes > _LOOK_BYTES:
                break
    except (av.FFmpegError, ValueError):
        pass  # as far as it could be read
    return [_Extent(counts[index], max(span, default=0.0) - min(span, default=0.0)) for index, span in spans.items()]
