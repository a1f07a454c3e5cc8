"""Pictures in a transport stream that FFmpeg passes over: of streams that come up after the file's beginning.

A recorder that is joined on, or an advertisement, may number its streams otherwise. FFmpeg reads on with those that it
met at the beginning, and says nothing of others.
Neighbour: ``decode.py`` tells it at the end of a video.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

from wordframe.video._opening import VideoPath

_SYNC = 0x47
_LENGTHS = (188, 192)
"""Of a packet: in broadcasts, and with a time before each (.m2ts)."""
_CHECKED = 5
_READ_PACKETS, _OF_PACKETS = 350, 5_600
"""So many packets in a row are looked at, of so many: about 64 kB of each MB, which hold a picture's beginning."""
_SMALL_BYTES = 16 << 20
"""A file up to this is looked at whole."""
_FEW_PICTURES = 3
"""Fewer with one number are damage."""


def has_other_pictures(path: VideoPath, container: Any) -> bool:
    """Whether pictures begin in packets whose number (PID) none of the container's streams has."""
    known = {stream.id for stream in container.streams}
    with contextlib.suppress(OSError), open(os.fsdecode(path), "rb") as file:
        counts = Counter(number for number in _numbers_of_pictures(file) if number not in known)
        return max(counts.values(), default=0) >= _FEW_PICTURES
    return False


def _numbers_of_pictures(file: Any) -> Iterator[int]:
    head = file.read(_CHECKED * max(_LENGTHS))
    size = os.fstat(file.fileno()).st_size
    for length in _LENGTHS:
        start = length - _LENGTHS[0]
        if all(head[at : at + 1] == bytes([_SYNC]) for at in range(start, _CHECKED * _LENGTHS[0], length)):
            step = _READ_PACKETS if size <= _SMALL_BYTES else _OF_PACKETS
            for place in range(start, size, step * length):
                file.seek(place)
                block = file.read(_READ_PACKETS * length)
                yield from filter(None, (_number(block[at : at + 188]) for at in range(0, len(block), length)))
            return


def _number(packet: bytes) -> int | None:
    """The number of the stream whose picture begins in a packet (ISO 13818-1, 2.4.3); None if none does.

    >>> _number(bytes.fromhex("47 41 00 10 00 00 01 e0 00")), _number(bytes.fromhex("47 41 01 10 00 00 01 c0 00"))
    (256, None)
    """
    if len(packet) < 9 or packet[0] != _SYNC or not packet[1] & 0x40 or not packet[3] & 0x10:
        return None
    content = 5 + packet[4] if packet[3] & 0x20 else 4  # behind what may lie between
    code = packet[content : content + 4]
    is_picture = code[:3] == b"\x00\x00\x01" and len(code) == 4 and code[3] & 0xF0 == 0xE0
    return int.from_bytes(packet[1:3]) & 0x1FFF if is_picture else None
