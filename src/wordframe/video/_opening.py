"""The one place where a file is opened: local, regular, in a container that holds its own content.

A playlist, a session description or an image sequence is a small text or a name that makes FFmpeg open other files and
addresses, whatever the file's ending. So two lists say what may happen: the protocols by which FFmpeg may open anything
at all (``file``), and the containers that it may interpret, none of which names other files. QuickTime can (external
data references); FFmpeg follows them only when asked to, and is not asked.
Neighbours: ``_reader.py`` and others read the packets of what is opened here.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import av

from wordframe.disk import one_line
from wordframe.errors import VideoError
from wordframe.video._clock import MP4
from wordframe.video._limits import MAX_PIXELS

CONTAINERS = (
    "mov mp4 matroska webm avi mpegts mpeg mpegvideo asf asf_o flv live_flv kux ogg rm ivr dv mxf mxf_opatom gxf lxf "
    "nut nsv nuv wtv ty pva dhav ifv iv8 yuv4mpegpipe mjpeg mpjpeg smjpeg ivf obu av1 m4v h261 h263 h264 hevc vvc evc "
    "apv vc1 vc1test dirac dnxhd cavsvideo avs2 avs3 gif apng mp3 wav flac aac"
).split()
"""FFmpeg's names of the formats that are read. The last four are sound, so that a song is told as such."""

_FLV_START = re.compile(rb"FLV\x01[\x00-\x05]\x00\x00\x00\x09\x00\x00\x00\x00")
_BLOCK_BYTES = 1 << 20
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_MATROSKA_HEAD_BYTES = 256
_PIECE_HEAD_BYTES, _MAX_PIECES = 24, 10_000
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")

VideoPath = Path | str | bytes


def open_container(path: VideoPath) -> Any:
    """An open PyAV container of a local, regular file; no other file and no address is ever opened on its behalf."""
    name = os.path.abspath(os.fsdecode(path))
    # Asked before the library is: a named pipe would block it for ever, and its own errors say less than the system's.
    try:
        status = os.stat(name)
        if stat.S_ISDIR(status.st_mode):
            raise VideoError(f"{one_line(path)} is a folder, not a video")
        if not stat.S_ISREG(status.st_mode):
            raise VideoError(f"{one_line(path)} is not a regular file")
        if status.st_size == 0:
            raise VideoError(f"{one_line(path)} is empty (0 bytes)")
        with open(name, "rb"):
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VideoError(f"{one_line(path)} cannot be opened: {reason}") from error
    try:
        return av.open(
            f"file:{name}",  # by itself a name may read as a protocol or an option: "http:x.mp4"
            options={"max_pixels": str(MAX_PIXELS)},  # for the decoders that it opens by itself to see what is inside
            container_options={"protocol_whitelist": "file", "format_whitelist": ",".join(CONTAINERS)},
            metadata_errors="replace",  # titles in old encodings are no reason to refuse a video
        )
    except av.ArgumentError as error:  # what the library says of a format that is not on the list
        told = "it is a picture, a text, a playlist or another container that is not read, or damaged"
        raise VideoError(f"{one_line(path)} cannot be read as a video: {told}") from error
    # MemoryError is the library's, for a header that asks for more than there is, not ours
    except (av.FFmpegError, ValueError, OSError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise VideoError(f"{one_line(path)} cannot be read as a video: {reason}") from error


def packets_of(container: Any, *streams: Any) -> Iterator[Any]:
    """As PyAV's ``demux``, to the end also of a file where a stream comes up on the way, such as sound that starts late
    in an FLV: at the end PyAV wants to empty a stream that it does not know, behind the last packet."""
    try:
        yield from container.demux(*streams)
    except IndexError:
        return


def next_part(path: VideoPath, container: Any, place: int) -> int | None:
    """Where the content of the next part begins at or behind ``place``, in a file of parts that were joined byte for
    byte; None if there is none.

    Of FLV alone: FFmpeg takes the header of a part for a packet of megabytes, which ends the file. Streams of MPEG have
    no header, and a Matroska file without lengths is read on by FFmpeg itself.
    """
    if container.format.name != "flv":
        return None
    overlap = 12  # a header has 13 bytes
    with contextlib.suppress(OSError), open(os.fsdecode(path), "rb") as file:  # it may be gone by now
        file.seek(place)
        before = b""
        while block := file.read(_BLOCK_BYTES):
            if found := _FLV_START.search(before + block):
                return place - len(before) + found.end()
            place += len(block)
            before = block[-overlap:]
    return None


def bytes_joined_on(path: VideoPath, container: Any) -> int:
    """How many bytes of a file, whose header says where it ends, follow that end and begin another such file.

    FFmpeg reads none of them, or one part of several without its times, and cannot be sent there.
    """
    find = _FIND_NEXT_FILE.get(container.format.name)
    if find is not None:
        with contextlib.suppress(OSError), open(os.fsdecode(path), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            return size - (find(file, size) or size)
    return 0


def _matroska_behind(file: BinaryIO, _: int) -> int | None:
    head = file.read(_MATROSKA_HEAD_BYTES)
    size, begin = _element_size(head, len(_EBML))
    size, begin = _element_size(head, begin + size + len(_SEGMENT))
    if size < 0:
        return None
    file.seek(begin + size)
    return begin + size if file.read(len(_EBML)) == _EBML else None


def _avi_behind(file: BinaryIO, size: int) -> int | None:
    for place, head in _pieces(file, size, lambda head: 8 + int.from_bytes(head[4:8], "little")):
        if place and head[:4] == b"RIFF" and head[8:12] == b"AVI ":  # a piece that goes on is called AVIX
            return place
    return None


def _mp4_behind(file: BinaryIO, size: int) -> int | None:
    """The second file's first box; None in a file of fragments, which are read on by themselves."""
    kinds: set[bytes] = set()
    for place, head in _pieces(file, size, _box_size):
        kind = head[4:8]
        if kind == b"moof" or (b"moov" in kinds and kind in (b"ftyp", b"moov")):
            return None if kind == b"moof" else place
        kinds.add(kind)
    return None


def _box_size(head: bytes) -> int:
    size = int.from_bytes(head[:4])
    return int.from_bytes(head[8:16]) if size == 1 else size


def _asf_behind(file: BinaryIO, size: int) -> int | None:
    for place, head in _pieces(file, size, lambda head: int.from_bytes(head[16:24], "little")):
        if place and head.startswith(_ASF_HEADER):
            return place
    return None


def _pieces(file: BinaryIO, size: int, size_of: Callable[[bytes], int]) -> Iterator[tuple[int, bytes]]:
    """Where each of a file's outermost pieces begins, and its first bytes, as long as their sizes make sense."""
    place = 0
    for _ in range(_MAX_PIECES):
        file.seek(place)
        head = file.read(_PIECE_HEAD_BYTES)
        yield place, head
        step = size_of(head)
        place += step
        if step < 8 or place >= size:
            return


_FIND_NEXT_FILE: dict[str, Callable[[BinaryIO, int], int | None]] = {
    "matroska,webm": _matroska_behind,
    "avi": _avi_behind,
    MP4: _mp4_behind,
    "asf": _asf_behind,
}


def _element_size(head: bytes, at: int) -> tuple[int, int]:
    """The size that stands at a place, -1 if it is left open or not there, and where the content begins.

    >>> _element_size(bytes([0x85]), 0), _element_size(bytes([0x40, 2]), 0), _element_size(bytes([0xFF]), 0)
    ((5, 1), (2, 2), (-1, 1))
    """
    if at < 0 or at >= len(head) or not head[at]:
        return -1, -1
    length = 9 - head[at].bit_length()
    mask = (1 << 7 * length) - 1
    size = int.from_bytes(head[at : at + length]) & mask
    return -1 if size == mask else size, at + length
