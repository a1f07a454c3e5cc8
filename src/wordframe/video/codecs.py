"""Which formats videos come in, and which of them can be decoded here."""

from __future__ import annotations

VIDEO_SUFFIXES = frozenset(
    ".3gp .asf .avi .f4v .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .mxf .ogv .ts .vob .webm .wmv .y4m".split()
)
"""Endings by which a file in a folder is taken for a video."""

_COMMON = "h264 hevc av1 vp8 vp9 mpeg4 mpeg2video mpeg1video mjpeg prores theora wmv3".split()


def available_decoders() -> dict[str, bool]:
    """Whether the installed decoding library reads each of the codecs that people's videos use."""
    from av.codec import Codec
    from av.codec.codec import UnknownCodecError

    found = {}
    for name in _COMMON:
        try:
            found[name] = Codec(name, "r").is_decoder
        except UnknownCodecError:
            found[name] = False
    return found
