"""Where a moment is written: containers by the ending of their files, and what each of them takes.

Neighbours: ``export.py`` writes there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import av
from av.format import Flags

from wordframe.disk import one_line
from wordframe.errors import WordframeError

Way = Literal["copy", "encode", "none"]
"""How pictures, or the sound, get into the target."""

_FORMATS = {
    ".mkv": "matroska",
    **dict.fromkeys((".m4v", ".mp4v", ".lrv"), "mp4"),
    ".qt": "mov",
    ".3gpp": "3gp",
    **dict.fromkeys((".ts", ".mts", ".m2ts", ".m2t", ".tod", ".trp"), "mpegts"),
    **dict.fromkeys((".mpg", ".mpe"), "mpeg"),
    **dict.fromkeys((".mod", ".vro"), "vob"),
    ".divx": "avi",
    ".ogm": "ogg",
    ".wmv": "asf",
    ".y4m": "yuv4mpegpipe",
}
"""Containers by ending, where the library's name for them is another."""
_ENCODERS = {
    "webm": ("libvpx-vp9", "libopus"),
    "avi": ("mpeg4", "libmp3lame"),
    "mpeg": ("libx264", "mp2"),
    "vob": ("libx264", "mp2"),
}
"""Of pictures and of sound, for containers that want others than ``_USUAL_ENCODERS``."""
_USUAL_ENCODERS = ("libx264", "aac")
_TAKE_ENCODED = frozenset("mp4 mov 3gp 3g2 f4v matroska webm mpegts flv avi".split())
"""Containers that play well with what their encoders make; for others another one is chosen where that is allowed."""
_WRITTEN = _TAKE_ENCODED | frozenset("mpeg vob asf ogg ogv nut mxf gxf rm ivf gif apng yuv4mpegpipe".split())
"""Others name further files that they write: playlists and their parts, ``tee``."""
_MISTIMED_SOUND = {"avi": frozenset({"vorbis", "flac"})}
"""Sound that a container takes and then gives out at wrong times: an AVI counts packets of one length."""
_WAYS: tuple[tuple[Way, Way], ...] = (
    ("copy", "copy"),
    ("copy", "encode"),
    ("encode", "encode"),
    ("copy", "none"),
    ("encode", "none"),
)


def places(target: Path, *, other_container: bool) -> Iterator[tuple[Path, list[tuple[Way, Way]]]]:
    """Files to try, the best first, each with its ways for pictures and for sound; ``target`` alone unless others may
    be chosen.

    >>> [place.name for place, _ in places(Path("a.wmv"), other_container=True)]
    ['a.wmv', 'a.mkv', 'a.mp4']
    """
    container = _format_of(target)
    if not other_container:
        yield target, list(_WAYS)
        return
    copies = [way for way in _WAYS if way[0] == "copy"]
    if _is_container(container):
        yield target, list(_WAYS) if container in _TAKE_ENCODED else copies
    if container not in _TAKE_ENCODED:
        yield target.with_suffix(".mkv"), copies
        yield target.with_suffix(".mp4"), list(_WAYS)


def check_target(source: Path, target: Path, *, overwrite: bool) -> None:
    """Whether ``target`` may be written.

    Raises:
        WordframeError: it is there already, has no folder, or its ending names no container.
    """
    if target.exists():
        if source.exists() and target.samefile(source):
            raise WordframeError(f"{one_line(target)} is the source itself; name another target")
        if not overwrite:
            raise WordframeError(f"{one_line(target)} exists already; name another target, or allow overwriting it")
        if target.is_dir():
            raise WordframeError(f"{one_line(target)} is a folder; name a file in it")
    if not target.parent.is_dir():
        raise WordframeError(f"{one_line(target.parent)} is not a folder; make it first")
    if not _is_container(_format_of(target)):
        suffix = one_line(target.suffix)
        raise WordframeError(f"{one_line(target)}: '{suffix}' names no video container; use .mp4 or .mkv")


def encoders(target: Path) -> tuple[str, str]:
    """The encoders of pictures and of sound for a file of this name."""
    return _ENCODERS.get(_format_of(target), _USUAL_ENCODERS)


def keeps_sound(target: Path, codec: str) -> bool:
    """Whether sound of a codec, if a file of this name takes it, stays where it belongs."""
    return codec not in _MISTIMED_SOUND.get(_format_of(target), ())


def open_target(target: Path) -> Any:
    """The file, open for writing, as the container that its ending names."""
    return av.open(f"file:{target.absolute()}", "w", format=_format_of(target))


def _format_of(target: Path) -> str:
    suffix = target.suffix.lower()
    return _FORMATS.get(suffix, suffix[1:])


def _is_container(name: str) -> bool:
    """Whether files of this format can be written and say when each picture is shown."""
    if name not in _WRITTEN:
        return False
    try:
        flags = av.ContainerFormat(name, "w").flags
    except (ValueError, KeyError):
        return False
    return not flags & Flags.no_timestamps.value
