"""Which decoder reads videos here: another one may give other pixels, so reports carry it."""

from __future__ import annotations

import av


def decoder_version() -> str:
    """PyAV's version and that of the FFmpeg inside it."""
    return f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}"
