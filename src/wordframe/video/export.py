"""Cutting a moment out of a video into a file of its own, without re-encoding where codec and container allow it.

A copy starts at the last keyframe not after the wanted start, so it may start earlier; the report says where. What
cannot be copied (a codec that the target's container does not take, a file without display times) is encoded again,
silent, as H.264 at the source's frame rate. The target appears only when it is complete.
Neighbours: ``_reader.py`` gives the packets to copy, ``decode.py`` the frames to encode.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from wordframe.disk import one_line, replacing
from wordframe.errors import VideoError, WordframeError
from wordframe.video._opening import VideoPath
from wordframe.video._reader import Reader
from wordframe.video.decode import open_frames
from wordframe.video.sampling import per_second

_MAX_HELD_PACKETS = 64
"""More without a decoding time than any codec reorders: the file has none."""
_FRAME_RATES = (25.0, 60.0)
"""Of an encoded moment: where the source names none, and at most."""


@dataclass(frozen=True)
class ExportReport:
    """What was written: ``[start, end)`` of the source in seconds, copied or encoded again, with sound or without."""

    target: Path
    start_seconds: float
    end_seconds: float
    is_copy: bool
    has_sound: bool

    def __post_init__(self) -> None:
        if not 0 <= self.start_seconds < self.end_seconds:
            raise ValueError(
                f"an export needs 0 <= start < end, got [{self.start_seconds}, {self.end_seconds}) seconds"
            )


class _CannotCopyError(Exception):
    """The packets do not go into the target as they are."""


def export_moment(
    source: VideoPath,
    target: VideoPath,
    start_seconds: float,
    end_seconds: float,
    *,
    overwrite: bool = False,
    copy: bool = True,
) -> ExportReport:
    """Write ``[start, end)`` of a video to ``target``, whose suffix names the container (.mp4, .mkv, .mov, .webm …).

    Args:
        copy: copy where it can be done; False encodes in any case.

    Raises:
        VideoError: the source cannot be read, or the moment lies outside of it.
        WordframeError: the target exists (and ``overwrite`` is False), or cannot be written.
    """
    if not 0 <= start_seconds < end_seconds < float("inf"):
        raise WordframeError(f"a moment needs 0 <= start < end, got {start_seconds} s to {end_seconds} s")
    source_path, target_path = Path(os.fsdecode(source)), Path(os.fsdecode(target))
    _check_target(source_path, target_path, overwrite=overwrite)
    try:
        with replacing(target_path) as part:
            try:
                if not copy:
                    raise _CannotCopyError
                report = _copy(source_path, part, start_seconds, end_seconds)
                _check_decodes(part)
            except _CannotCopyError:
                report = _encode(source_path, part, start_seconds, end_seconds)  # over what the copy left of itself
    # in this order: many of the library's errors are errors of the system, too, and then say what the system said
    except OSError as error:
        raise WordframeError(f"{one_line(target)} cannot be written: {error.strerror or error}") from error
    except (ValueError, av.FFmpegError) as error:
        line = f"a {target_path.suffix} file cannot hold this moment, neither copied nor as H.264; use .mp4 or .mkv"
        raise WordframeError(f"{one_line(target)} cannot be written: {line}") from error
    return replace(report, target=target_path)


def _check_target(source: Path, target: Path, *, overwrite: bool) -> None:
    if target.exists():
        if source.exists() and target.samefile(source):
            raise WordframeError(f"{one_line(target)} is the source itself; name another target")
        if not overwrite:
            raise WordframeError(f"{one_line(target)} exists already; name another target, or allow overwriting it")
        if target.is_dir():
            raise WordframeError(f"{one_line(target)} is a folder; name a file in it")
    if not target.parent.is_dir():
        raise WordframeError(f"{one_line(target.parent)} is not a folder; make it first")
    try:
        av.ContainerFormat(_format_of(target), "w")
    except (ValueError, KeyError):
        suffix = one_line(target.suffix)
        raise WordframeError(f"{one_line(target)}: '{suffix}' names no video container; use .mp4 or .mkv") from None


def _format_of(target: Path) -> str:
    names = {".mkv": "matroska", ".m4v": "mp4", ".ts": "mpegts", ".mpg": "mpeg"}
    suffix = target.suffix.lower()
    return names.get(suffix, suffix[1:])


def _open_part(part: Path) -> Any:
    return av.open(f"file:{part.absolute()}", "w", format=_format_of(part))


def _check_decodes(part: Path) -> None:
    # A container may take a codec's packets and drop what the decoder needs to start (headers kept elsewhere): nothing
    # but a decoded frame shows that the copy is good.
    try:
        open_frames(part, ()).close()
    except VideoError as error:
        raise _CannotCopyError from error


def _check_moment(reader: Reader, source: Path, start_seconds: float) -> None:
    duration = reader.duration_seconds()
    if duration is not None and start_seconds >= duration:
        line = f"the moment starts at {start_seconds:g} s, but the video ends at {duration:.3f} s"
        raise VideoError(f"{one_line(source)}: {line}")


def _copy(source: Path, part: Path, start_seconds: float, end_seconds: float) -> ExportReport:
    reader = Reader(source, threads=1, keep_sound=True)
    try:
        _check_moment(reader, source, start_seconds)
        sound = next((stream for stream in reader.container.streams.audio if stream.codec_context is not None), None)
        # a container that does not take the sound's codec may take the video's
        for chosen in (sound, None) if sound is not None else (None,):
            with contextlib.suppress(ValueError, av.FFmpegError):
                return _copy_streams(reader, chosen, part, start_seconds, end_seconds)
        raise _CannotCopyError
    finally:
        reader.container.close()


def _copy_streams(
    reader: Reader, sound: Any | None, part: Path, start_seconds: float, end_seconds: float
) -> ExportReport:
    packets = _packets_of_moment(reader, sound, start_seconds, end_seconds)
    first = next(packets, None)
    if first is None:
        raise _CannotCopyError
    origin = first.pts * first.time_base  # both streams move by the same time, or sound and picture would part
    end = Fraction(0)
    has_sound = False
    with _open_part(part) as output:
        streams = {stream.index: output.add_stream_from_template(stream) for stream in (reader.stream, sound) if stream}
        for packet in itertools.chain([first], packets):
            has_sound |= packet.stream_index != reader.stream.index
            if packet.stream_index == reader.stream.index:
                end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
            # From 0 on. The first decoding times become negative where frames are reordered, which containers take.
            shift = round(origin / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.stream = streams[packet.stream_index]
            output.mux(packet)
    start_of_file = reader.seconds(0)
    return ExportReport(part, max(0.0, float(origin) + start_of_file), float(end) + start_of_file, True, has_sound)


def _packets_of_moment(reader: Reader, sound: Any | None, start_seconds: float, end_seconds: float) -> Iterator[Any]:
    """Video packets from the keyframe at or before the start up to the end, and the sound between; with both times."""
    video, container = reader.stream, reader.container
    container.seek(reader.ticks(start_seconds), stream=video)
    stop = reader.ticks(end_seconds) * video.time_base
    begin: Fraction | None = None
    video_ended = False
    for packet in _with_decoding_times(container.demux([video] if sound is None else [video, sound]), video.index):
        seconds = packet.dts * packet.time_base  # decoding times ascend in the file; display times do not
        if packet.stream_index == video.index:
            if begin is None:
                # The seek went by the file's index, which may be wrong, or hold decoding times and land too late.
                if not packet.is_keyframe or packet.pts > reader.ticks(start_seconds):
                    raise _CannotCopyError
                begin = packet.pts * packet.time_base
            video_ended |= seconds >= stop
            # sound may be stored behind its picture: when that is complete, read on for a second
            if seconds >= stop + 1 or (video_ended and sound is None):
                return
            if not video_ended:
                yield packet
        elif begin is not None and begin <= seconds < stop:
            yield packet


def _with_decoding_times(packets: Iterator[Any], video_index: int) -> Iterator[Any]:
    """Packets with both times. Matroska leaves the first decoding times out: they are counted back from the next."""
    held: list[Any] = []
    for packet in packets:
        if not packet.size:  # PyAV's mark for the end of a stream
            continue
        if packet.pts is None:
            if packet.stream_index == video_index:
                raise _CannotCopyError
            continue
        if packet.stream_index != video_index:
            packet.dts = packet.pts if packet.dts is None else packet.dts  # sound is not reordered
            if not held:  # sound beside held pictures is left out: hundredths of a second, at the start of the file
                yield packet
            continue
        if packet.dts is None:
            held.append(packet)
            if len(held) > _MAX_HELD_PACKETS:
                raise _CannotCopyError
            continue
        for steps_before, earlier in zip(range(len(held), 0, -1), held, strict=True):
            earlier.dts = packet.dts - steps_before * max(1, packet.duration or 1)
            yield earlier
        held = []
        yield packet


def _encode(source: Path, part: Path, start_seconds: float, end_seconds: float) -> ExportReport:
    with open_frames(source, lambda info: _times(info.frame_rate, start_seconds, end_seconds)) as frames:
        duration = frames.info.duration_seconds
        end_seconds = end_seconds if duration is None else min(end_seconds, duration)
        rate = Fraction(min(frames.info.frame_rate or _FRAME_RATES[0], _FRAME_RATES[1])).limit_denominator(
            1001
        )  # NTSC's 30000/1001
        number = 0
        with _open_part(part) as output:
            stream = output.add_stream("libx264", rate=rate, options={"crf": "18"})
            for number, frame in enumerate(frames):
                picture = av.VideoFrame.from_ndarray(frame.rgb, format="rgb24")
                width, height = max(2, picture.width // 2 * 2), max(2, picture.height // 2 * 2)
                if number == 0:
                    # even sides and half colour resolution: what every player and browser decodes
                    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                picture = picture.reformat(width, height, "yuv420p")
                picture.pts, picture.time_base = number, 1 / rate
                output.mux(stream.encode(picture))
            output.mux(stream.encode())
    end = min(end_seconds, start_seconds + float((number + 1) / rate))
    return ExportReport(part, start_seconds, end, False, False)


def _times(frame_rate: float | None, start_seconds: float, end_seconds: float) -> Iterator[float]:
    return per_second(min(frame_rate or _FRAME_RATES[0], _FRAME_RATES[1]), start_seconds, end_seconds)
