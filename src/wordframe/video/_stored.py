"""The packets of a file one after the other, as they are stored: read on behind errors, and on to parts joined on.

All within bounds: neither damage nor a file of nothing but beginnings makes the reading endless.
Neighbours: ``_opening.py`` opens the file and finds its parts, ``_reader.py`` puts the pictures on one clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import av

from wordframe.video._clock import MP4
from wordframe.video._limits import MAX_EXPANSION, MAX_READ_ERRORS
from wordframe.video._opening import VideoPath, next_part, open_container, packets_of

_OPENING_BYTES = 1 << 16
"""What it costs to read on at a part that was joined on, so that a file of nothing but beginnings ends, too."""


def stored_packets(path: VideoPath, container: Any, on_error: Callable[[], None]) -> Iterator[Any]:
    """Packets of all streams that are not discarded, from where the container stands; those of a part that was joined
    on may belong to another container, with the same streams."""
    errors_in_a_row = 0
    bytes_left = MAX_EXPANSION * max(container.size, 1 << 20)
    source, place = container, 0  # where packets come from, and where in the file the last one lay
    has_fragments = container.format.name == MP4 and not any(stream.frames for stream in container.streams)
    while errors_in_a_row < MAX_READ_ERRORS and bytes_left > 0:
        try:
            for packet in packets_of(source):  # after an error: from where the file stands
                errors_in_a_row = 0
                bytes_left -= packet.size + 1  # a loop of empty packets ends, too
                place = max(place, packet.pos or 0)
                if bytes_left <= 0:
                    on_error()
                    break
                # PyAV ends with an empty packet for each stream, which would empty a decoder that may go on
                if packet.size:
                    yield _shown(packet) if has_fragments and packet.is_discard else packet
            else:
                part = next_part(path, container, place)
                if part is None:
                    return
                # opened again: a seek of the container that the decoder belongs to empties the decoder
                source, place = open_container(path), part
                bytes_left -= _OPENING_BYTES
                if bytes_left <= 0:
                    on_error()
                source.seek(part, unsupported_byte_offset=True)
        except (av.FFmpegError, ValueError):
            errors_in_a_row += 1
            on_error()


def _shown(packet: Any) -> Any:
    """The same packet to be shown. FFmpeg takes a fragment whose times go back for one that is there twice, and has it
    decoded for nothing; an edit list, which hides pictures too, speaks of no fragment."""
    copy = av.Packet(bytes(packet))
    copy.stream, copy.time_base, copy.duration = packet.stream, packet.time_base, packet.duration
    copy.pts, copy.dts, copy.is_keyframe = packet.pts, packet.dts, packet.is_keyframe
    return copy
