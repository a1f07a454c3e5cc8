"""Cutting a moment out of a video into a file of its own, without re-encoding where codec and container allow it.

A copy starts at the last keyframe not after the wanted start, so it may start earlier; the report says where. Pictures
and sound go each its own way: what the container does not take as it is is encoded anew. A copy counts only if its
first packet gives a clean picture of the source's shape and orientation. The target appears only when it is complete.
Neighbours: ``_copying.py`` and ``_encoding.py`` give the packets, ``_targets.py`` knows the containers.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av

from wordframe.disk import one_line, remove_abandoned, replacing
from wordframe.errors import VideoError, WordframeError
from wordframe.video._copying import CannotCopyError, CopiedPictures, CopiedSound, open_for_export, sound_of
from wordframe.video._encoding import EncodedPictures, EncodedSound
from wordframe.video._opening import VideoPath
from wordframe.video._picture import VideoInfo
from wordframe.video._reader import Reader
from wordframe.video._targets import Way, check_target, encoders, keeps_sound, open_target, places
from wordframe.video.decode import probe

_CODEC_NAMES = {
    "libx264": "H.264",
    "libvpx-vp9": "VP9",
    "aac": "AAC",
    "libopus": "Opus",
    "libmp3lame": "MP3",
    "mp2": "MP2",
    "mpeg4": "MPEG-4",
}
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO, errno.EROFS})
"""No other way of writing helps against these."""
_SILENCE_SECONDS = 1.0
"""Shorter silence, of sound that begins or ends a little beside its pictures, is not told."""


@dataclass(frozen=True)
class ExportReport:
    """What was written: ``[start, end)`` of the source in seconds. Time 0 of the target is ``start_seconds``.

    is_copy: the pictures are the source's, bit for bit. notes: in words, whatever was done to it beside cutting.
    """

    target: Path
    start_seconds: float
    end_seconds: float
    is_copy: bool
    has_sound: bool
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.start_seconds < self.end_seconds:
            raise ValueError(
                f"an export needs 0 <= start < end, got [{self.start_seconds}, {self.end_seconds}) seconds"
            )


@dataclass(frozen=True)
class _Moment:
    """What is asked for, and what the source has: codecs by name, ``sound`` None if there is none; ``is_joined``: its
    times start anew inside, perhaps with other settings of its codecs, so that nothing is copied."""

    source: Path
    start_seconds: float
    end_seconds: float
    info: VideoInfo
    codec: str
    sound: str | None
    is_joined: bool


class _CannotHoldError(Exception):
    """No way leads into this container."""


def export_moment(
    source: VideoPath,
    target: VideoPath,
    start_seconds: float,
    end_seconds: float,
    *,
    overwrite: bool = False,
    copy: bool | Collection[str] = True,
    other_container: bool = False,
) -> ExportReport:
    """Write ``[start, end)`` of a video to ``target``, whose suffix names the container (.mp4, .mkv, .mov, .webm …).

    Args:
        copy: copy where it can be done; False encodes in any case; names of codecs: only these are copied.
        other_container: where that of ``target`` cannot hold the moment well, write an .mkv or .mp4 beside it; the
            report has its name.

    Raises:
        VideoError: the source cannot be read, or the moment lies outside of it.
        WordframeError: the target exists (and ``overwrite`` is False), or cannot be written.
    """
    if not 0 <= start_seconds < end_seconds < float("inf"):
        raise WordframeError(f"a moment needs 0 <= start < end, got {start_seconds} s to {end_seconds} s")
    source_path, wanted = Path(os.fsdecode(source)), Path(os.fsdecode(target))
    moment: _Moment | None = None
    for place, ways in places(wanted, other_container=other_container):
        check_target(source_path, place, overwrite=overwrite)
        moment = moment or _moment(source_path, start_seconds, end_seconds)
        remove_abandoned(place)
        try:
            with replacing(place) as part:
                report = _written(moment, part, [way for way in ways if _is_open(way, moment, place, copy)])
        except _CannotHoldError:
            continue
        except (OSError, av.FFmpegError) as error:
            raise WordframeError(f"{one_line(place)} cannot be written: {error.strerror or error}") from error
        if place != wanted:
            moved = f"an {place.suffix} since a {one_line(wanted.suffix)} file cannot hold it"
            report = replace(report, notes=(moved, *report.notes))
        return replace(report, target=place)
    line = f"a {one_line(wanted.suffix)} file cannot hold this moment, neither copied nor encoded anew"
    raise WordframeError(f"{one_line(target)} cannot be written: {line}; use .mp4 or .mkv")


def _moment(source: Path, start_seconds: float, end_seconds: float) -> _Moment:
    info = probe(source)
    duration = info.duration_seconds
    if duration is not None and start_seconds >= duration:
        line = f"the moment starts at {start_seconds:g} s, but the video ends at {duration:.3f} s"
        raise VideoError(f"{one_line(source)}: {line}")
    reader = open_for_export(source)
    sound = sound_of(reader)
    codec, sound_codec = reader.codec.codec.canonical_name, None if sound is None else sound.codec.canonical_name
    is_joined = bool(reader.joins)
    reader.container.close()
    return _Moment(source, start_seconds, end_seconds, info, codec, sound_codec, is_joined)


def _is_open(way: tuple[Way, Way], moment: _Moment, place: Path, copy: bool | Collection[str]) -> bool:
    """Whether pictures and sound may go this way."""
    if moment.is_joined and "copy" in way:
        return False
    if way[1] == "copy" and moment.sound is not None and not keeps_sound(place, moment.sound):
        return False
    for codec, taken in zip((moment.codec, moment.sound), way, strict=True):
        if codec is None and taken != "none":
            return False
        if taken == "copy" and (copy is False or (copy is not True and codec not in copy)):
            return False
    return True


def _written(moment: _Moment, part: Path, ways: list[tuple[Way, Way]]) -> ExportReport:
    """The best way that works; each writes over what the one before left of itself."""
    cannot_copy = ": its times start anew inside the file" if moment.is_joined else ""
    for pictures, sound in ways:
        if pictures == "copy" and cannot_copy:
            continue
        try:
            report = _cut(moment, part, pictures, sound)
            if pictures == "copy":
                _check_copy(part, moment.info)
        except CannotCopyError as error:
            cannot_copy = f": {error}"
        except (OSError, ValueError, av.FFmpegError) as error:  # a codec that the container does not take
            if getattr(error, "errno", None) in _DISK_ERRORS:
                raise
        else:
            notes = _notes(moment, part, pictures, sound if report.has_sound else "none", cannot_copy)
            return replace(report, notes=(*notes, *report.notes))
    raise _CannotHoldError


def _notes(moment: _Moment, part: Path, pictures: Way, sound: Way, reason: str) -> tuple[str, ...]:
    encoder, sound_encoder = (_CODEC_NAMES.get(name, name) for name in encoders(part))
    notes = []
    if pictures == "encode":
        notes.append(f"pictures encoded anew from {moment.codec} as {encoder}{reason}")
    if sound == "encode":
        notes.append(f"sound encoded anew from {moment.sound} as {sound_encoder}")
    if sound == "none" and moment.sound is not None:
        notes.append(f"of its sound ({moment.sound}) nothing can be read there")
    return tuple(notes)


def _cut(moment: _Moment, part: Path, pictures_way: Way, sound_way: Way) -> ExportReport:
    with contextlib.ExitStack() as files:
        span = moment.start_seconds, moment.end_seconds
        pictures: CopiedPictures | EncodedPictures
        if pictures_way == "copy":
            pictures = CopiedPictures(moment.source, *span)
        else:
            pictures = EncodedPictures(moment.source, *span, encoders(part)[0])
        files.callback(pictures.close)
        tracks: list[Any] = [pictures]
        if sound_way != "none":
            span = pictures.start_seconds, moment.end_seconds
            sound: CopiedSound | EncodedSound
            if sound_way == "copy":
                sound = CopiedSound(moment.source, *span)
            else:
                sound = EncodedSound(moment.source, *span, encoders(part)[1], is_joined=moment.is_joined)
            files.callback(sound.close)
            tracks.append(sound)
        has_sound = _mux(tracks, part)
        span = pictures.start_seconds, pictures.end_seconds
        notes = tuple(_silence(track, *span) for track in tracks if has_sound and isinstance(track, EncodedSound))
        return ExportReport(part, *span, pictures_way == "copy", has_sound, tuple(filter(None, notes)))


def _silence(sound: EncodedSound, start_seconds: float, end_seconds: float) -> str:
    """What to tell of the seconds for which there was nothing to encode; empty for few."""
    silent_seconds = end_seconds - start_seconds - sound.heard_seconds
    return "" if silent_seconds < _SILENCE_SECONDS else f"silent for {silent_seconds:.1f} s: no sound to be read there"


def _mux(tracks: list[Any], part: Path) -> bool:
    """Write all packets in the order of their decoding; whether there was sound among them."""
    has_sound = False
    with open_target(part) as output:
        for track in tracks:
            track.add_to(output)
        output.start_encoding()
        for packet in heapq.merge(*(track.packets() for track in tracks), key=_decoded_at):
            has_sound |= packet.stream.type == "audio"
            output.mux(packet)
    return has_sound


def _decoded_at(packet: Any) -> float:
    return float((packet.dts if packet.dts is not None else packet.pts or 0) * packet.time_base)


def _check_copy(part: Path, source: VideoInfo) -> None:
    """Decode the first picture: nothing else shows what a container dropped, or that a keyframe was none.

    Raises:
        CannotCopyError: the copy does not begin with a clean picture, or has another shape or orientation.
    """
    try:
        info = probe(part)
    except VideoError as error:
        raise CannotCopyError("a copy of it cannot be decoded") from error
    if info.rotation_degrees != source.rotation_degrees:
        raise CannotCopyError("the container does not say which way is up")
    if max(abs(info.width - source.width), abs(info.height - source.height)) > 1:  # rounded, each in its own way
        raise CannotCopyError("the container does not keep the shape of its pixels")
    reader = Reader(part, threads=1)
    try:
        stamps: list[int | None] = []
        for planned in reader:
            stamps.append(planned.packet.pts)
            if frames := reader.codec.decode(planned.packet):
                break
        else:
            frames = reader.codec.decode(None)
        # with a rolling refresh of the picture the decoder holds back what is not whole yet
        if not frames or not frames[0].key_frame or (frames[0].pts is not None and frames[0].pts != stamps[0]):
            raise CannotCopyError("its keyframes are no whole pictures")
    finally:
        reader.container.close()
