"""Which files of a folder are taken for videos: by their endings, and where these are shared, by their first bytes."""

from __future__ import annotations

import os
from collections.abc import Callable

VIDEO_SUFFIXES = frozenset(
    ".264 .265 .3g2 .3gp .3gpp .asf .avi .divx .dv .f4v .flv .h264 .h265 .hevc .lrv .m1v .m2t .m2ts .m2v .m4v .mkv "
    ".mod .mov .mp4 .mp4v .mpe .mpeg .mpg .mpv .mts .mxf .ogm .ogv .qt .rm .rmvb .tod .trp .ts .vob .vro .webm .wmv "
    ".y4m".split()
)
"""Endings by which a file in a folder is taken for a video."""
PASSED_SUFFIXES = frozenset(".braw .gif .iso .m3u8 .r3d .swf".split())
"""Endings of what others call videos and wordframe does not read: told by their number."""
_SHARED_WITH_TEXTS = frozenset(".m2t .m2ts .mts .trp .ts".split())
"""Transport streams by ending, and programs in TypeScript, translations of Qt, modules of JavaScript."""
_SHARED_WITH_MUSIC = frozenset([".mod"])
"""Camcorders' program streams, and what trackers play."""
_HEAD_BYTES = 1024
_NO_TEXT = frozenset(range(32)) - frozenset(b"\a\b\t\n\f\r\x1b")
_PACK_START = b"\x00\x00\x01\xba"
_SYNC, _PACKET_BYTES = 0x47, (188, 192, 204)


def _read_head(path: str, size: int) -> bytes:
    with open(path, "rb") as file:
        return file.read(size)


def is_taken_for_video(path: str, read_head: Callable[[str, int], bytes] = _read_head) -> bool:
    """By its ending; a file that cannot be looked into is taken, so that the reader says why.

    Args:
        read_head: gives so many bytes of a file's beginning, or raises OSError; default: from the disk.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in VIDEO_SUFFIXES:
        return False
    if suffix not in _SHARED_WITH_TEXTS | _SHARED_WITH_MUSIC:
        return True
    try:
        head = read_head(path, _HEAD_BYTES)
    except OSError:
        return True
    if suffix in _SHARED_WITH_TEXTS:
        return not is_text(head)
    return head.startswith(_PACK_START) or is_transport_stream(head)


def is_text(head: bytes) -> bool:
    """Whether the first bytes of a file are text, in whatever encoding, as those of an empty file are.

    No packet of a transport stream does without the bytes that no text has: they count the packets.

    >>> is_text("<!DOCTYPE TS><TS>ä".encode("cp1252")), is_text(b"G@\\x11\\x10"), is_text("a: 1".encode("utf-16"))
    (True, False, True)
    """
    return head.startswith((b"\xff\xfe", b"\xfe\xff")) or not _NO_TEXT.intersection(head)


def is_transport_stream(head: bytes) -> bool:
    """Whether packets of an MPEG transport stream follow each other in ``head``, behind a part of one at most.

    >>> is_transport_stream((b"G" + bytes(187)) * 5), is_transport_stream(b"G" * 3 + bytes(900))
    (True, False)
    """
    return any(
        all(head[place] == _SYNC for place in range(start, len(head), size)) and start + 2 * size < len(head)
        for size in _PACKET_BYTES
        for start in range(size)
    )
