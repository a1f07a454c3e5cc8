"""The parts that files are made of, as far as one needs them to damage a file where it hurts.

Boxes of MP4 and AVIF, elements of Matroska, packets of transport streams, chunks of AVI, WebP and PNG, tags of FLV,
segments of JPEG, the header of safetensors. Each reader gives what it understands of a file and stops, without an
error, where it does not: the file may have been damaged before.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """Bytes ``[start, stop)`` of a file, its content from ``body``.

    size_at, size_bytes: where its size stands, 0 bytes where it has none; counts_from: what the size counts, from here
    on; coding: ``big``, ``little`` or ``vint`` (EBML); trailer: bytes behind the content that the size leaves out.
    """

    name: str
    start: int
    body: int
    stop: int
    size_at: int = 0
    size_bytes: int = 0
    counts_from: int = 0
    coding: str = "big"
    trailer: int = 0

    @property
    def size(self) -> int:
        return self.stop - self.trailer - self.counts_from

    def holds(self, other: Part) -> bool:
        return self is not other and self.body <= other.start and other.stop <= self.stop


Reader = Callable[[bytes], Iterator[Part]]


def write_size(data: bytearray, part: Part, size: int) -> None:
    """Let ``part`` say that it has another size; as much of the number as its place holds."""
    if not part.size_bytes:
        return
    bits = 7 * part.size_bytes if part.coding == "vint" else 8 * part.size_bytes
    number = size % (1 << bits)
    if part.coding == "vint":
        number |= 1 << bits
    order = "little" if part.coding == "little" else "big"
    data[part.size_at : part.size_at + part.size_bytes] = number.to_bytes(part.size_bytes, order)  # type: ignore[arg-type]


def _number(data: bytes, at: int, count: int, order: str = "big") -> int:
    return int.from_bytes(data[at : at + count], order)  # type: ignore[arg-type]


# MP4, MOV, AVIF -------------------------------------------------------------------------------------------------------

_SKIPPED = dict.fromkeys("moov trak mdia minf stbl edts dinf udta mvex moof traf mfra iprp ipco ilst".split(), 0)
_SKIPPED |= {"meta": 4, "stsd": 8, "dref": 8, "iinf": 6}
_SKIPPED |= dict.fromkeys(
    "avc1 hvc1 hev1 mp4v av01 vp09 apch apcn jpeg s263 mjp2 rle  AVdn dvc  FFV1 png ".split(" "), 78
)
"""Boxes that hold boxes, and the bytes before these."""


def mp4_parts(data: bytes, start: int = 0, stop: int | None = None) -> Iterator[Part]:
    stop = len(data) if stop is None else stop
    while start + 8 <= stop:
        name, size, header = data[start + 4 : start + 8].decode("latin1"), _number(data, start, 4), 8
        size_at, size_bytes = start, 4
        if size == 1:
            size, header, size_at, size_bytes = _number(data, start + 8, 8), 16, start + 8, 8
        end = start + size if size else stop
        if end < start + header or end > stop:
            return
        yield Part(name, start, start + header, end, size_at, size_bytes, start)
        if name in _SKIPPED:
            yield from mp4_parts(data, start + header + _SKIPPED[name], end)
        start = end


# Matroska -------------------------------------------------------------------------------------------------------------

_EBML_HOLDERS = frozenset(
    "18538067 1f43b675 1654ae6b ae e0 e1 1549a966 1c53bb6b bb b7 a0 114d9b74 4dbb 1a45dfa3 6d80 6240 1254c367 7373 "
    "67c8 1043a770 55b0 7670".split()
)


def ebml_parts(data: bytes, start: int = 0, stop: int | None = None) -> Iterator[Part]:
    stop = len(data) if stop is None else stop
    while start + 2 <= stop and data[start]:
        id_bytes = 9 - data[start].bit_length()
        size_at = start + id_bytes
        if size_at >= stop or not data[size_at]:
            return
        size_bytes = 9 - data[size_at].bit_length()
        body = size_at + size_bytes
        unknown = (1 << 7 * size_bytes) - 1
        size = _number(data, size_at, size_bytes) & unknown
        end = stop if size == unknown else body + size
        if end > stop:
            return
        name = data[start:size_at].hex()
        yield Part(name, start, body, end, size_at, size_bytes, body, "vint")
        if name in _EBML_HOLDERS:
            yield from ebml_parts(data, body, end)
        start = end


# Packets, chunks, tags, segments --------------------------------------------------------------------------------------


def ts_parts(data: bytes) -> Iterator[Part]:
    """Of 188 bytes, or of 192 with a time before each."""
    length = 192 if data[4:5] == b"G" and data[196:197] == b"G" else 188
    for start in range(0, len(data) - length + 1, length):
        sync = start + length - 188
        adaptation = 1 + data[sync + 4] if data[sync + 3] & 0x20 else 0
        name = f"pid {_number(data, sync + 1, 2) & 0x1FFF}"
        yield Part(name, start, min(sync + 4 + adaptation, start + length), start + length, sync + 4, bool(adaptation))


def riff_parts(data: bytes, start: int = 0, stop: int | None = None) -> Iterator[Part]:
    stop = len(data) if stop is None else stop
    while start + 8 <= stop:
        name, size = data[start : start + 4].decode("latin1"), _number(data, start + 4, 4, "little")
        end = start + 8 + size
        if end > stop:
            return
        yield Part(name, start, start + 8, end, start + 4, 4, start + 8, "little")
        if name in ("RIFF", "LIST"):
            yield from riff_parts(data, start + 12, end)
        start = end + size % 2


def png_parts(data: bytes) -> Iterator[Part]:
    start = 8
    while start + 12 <= len(data):
        size = _number(data, start, 4)
        end = start + 12 + size
        if end > len(data):
            return
        yield Part(data[start + 4 : start + 8].decode("latin1"), start, start + 8, end, start, 4, start + 8, trailer=4)
        start = end


def mend_png(data: bytearray) -> None:
    """Right checksums, without which a reader looks no further."""
    for part in list(png_parts(data)):
        end = part.stop - part.trailer
        data[end : part.stop] = zlib.crc32(data[part.start + 4 : end]).to_bytes(4, "big")


def flv_parts(data: bytes) -> Iterator[Part]:
    start = 13
    while start + 15 <= len(data):
        end = start + 11 + _number(data, start + 1, 3) + 4
        if end > len(data):
            return
        yield Part(f"tag {data[start]}", start, start + 11, end, start + 1, 3, start + 11, trailer=4)
        start = end


def jpeg_parts(data: bytes) -> Iterator[Part]:
    start = 2
    while start + 4 <= len(data) and data[start] == 0xFF:
        end = start + 2 + _number(data, start + 2, 2)
        if end > len(data):
            return
        yield Part(data[start : start + 2].hex(), start, start + 4, end, start + 2, 2, start + 2)
        start = end


def safetensors_parts(data: bytes) -> Iterator[Part]:
    end = 8 + _number(data, 0, 8, "little")
    if end <= len(data):
        yield Part("header", 0, 8, end, 0, 8, 8, "little")


READERS: dict[str, Reader] = {
    **dict.fromkeys((".mp4", ".mov", ".m4v", ".3gp", ".avif"), mp4_parts),
    **dict.fromkeys((".mkv", ".webm"), ebml_parts),
    **dict.fromkeys((".ts", ".m2ts"), ts_parts),
    **dict.fromkeys((".avi", ".webp"), riff_parts),
    ".png": png_parts,
    ".flv": flv_parts,
    **dict.fromkeys((".jpg", ".jpeg"), jpeg_parts),
    ".safetensors": safetensors_parts,
}
"""By ending; files of others are damaged blindly."""
