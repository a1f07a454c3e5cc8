"""Decoded frames on disk, so that decoding is paid once: a file a video, JPEG or exact.

    folder/wordframe-frames.json        frames a video, pixels, quality: the same for all that is in it
    folder/problems.json                videos that could not be read, and those that are damaged
    folder/videos/ab/abc….safetensors   the pictures one behind the other, where each ends, its checksum, its second

A file is named by the hash of its video's name, carries the size, time of change and content hash of the video it was
made of, and is made anew when these no longer hold or a checksum fails. ``sampled.py`` says which frames are kept.
Frames keep their whole aspect at a short side that encoders want, so a crop is left to the encoder's preprocessing:
with ``quality=None`` what comes out are the pixels of the decoder, bit by bit.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from wordframe.data._cache_folder import (
    CacheError,
    read_description,
    read_metadata,
    write_description,
    write_json,
    write_tensors,
    writing,
)
from wordframe.data._copied import address_of, copied_frames
from wordframe.data.captions import CaptionedVideo, MatchedVideos
from wordframe.data.sampled import SampledFrames, VideoFiles, file_stamp, in_order
from wordframe.disk import content_hash
from wordframe.errors import VideoError, counted
from wordframe.video import WHOLE_VIDEO, Cut, FrameRule, compress, decompress

_KIND = "frames"
QUALITY = 90
"""Above it a JPEG grows by a larger share than the error of its features shrinks (benchmarks/frame_cache.py)."""
_SHORT_SIDE = 224
_PROBLEMS = "problems.json"


@dataclass(frozen=True, kw_only=True)
class FrameSettings:
    """What all videos of a cache have in common.

    num_frames: at most, a video; short_side: pixels, frames are never enlarged; quality: of JPEG, None for exact;
    last_second, cut: as in ``FrameRule``; a cache from before there was a choice has the defaults.
    """

    num_frames: int = 12
    short_side: int = _SHORT_SIDE
    quality: int | None = QUALITY
    last_second: int | None = None
    cut: Cut = "uniform"

    @property
    def rule(self) -> FrameRule:
        """Which frames of a video are kept."""
        return FrameRule(last_second=self.last_second, cut=self.cut)

    def __post_init__(self) -> None:
        for name in ("num_frames", "short_side"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise ValueError(f"quality must be 1 to 100, or None for exact frames, got {self.quality}")

    def __str__(self) -> str:
        # feature caches keep this text and go on only where it is the same: other words would refuse older ones
        coding = "exact" if self.quality is None else f"JPEG of quality {self.quality}"
        told = f"{self.num_frames} frames a video, short side {self.short_side} pixels, {coding}"
        return told if self.rule == WHOLE_VIDEO else f"{told}, {self.rule.describe(self.num_frames)}"


def match_cached(cache: FrameCache, captions: Mapping[str, Sequence[str]]) -> MatchedVideos:
    """The captioned videos whose frames are in a cache, as ``match_videos`` finds them in a folder."""
    return MatchedVideos(
        pairs=tuple(
            CaptionedVideo(path=cache.folder, name=name, captions=tuple(several))
            for name, several in captions.items()
            if name in cache
        ),
        missing=tuple(name for name in captions if name not in cache),
        without_caption=(),
    )


@dataclass
class FrameCacheSummary:
    """What a run did, by the videos' names.

    made, kept: in the cache now; damaged: those of them whose files have a fault; failed: those that could not be read.
    """

    made: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False


class FrameCache:
    """Reads cached frames; a ``FrameSource``. Made by ``FrameCache.open``. Thread-safe."""

    def __init__(self, folder: Path, settings: FrameSettings) -> None:
        self.folder, self.settings = folder, settings

    @classmethod
    def open(cls, folder: str | Path) -> FrameCache:
        """The cache in ``folder``; of one at an address, such as ``s3://bucket/frames``, the copy on this machine.

        Raises:
            CacheError: there is none, or it is damaged or of another version; the store cannot be reached.
            MissingExtraError: ``wordframe[cloud]`` is not installed.
        """
        address = address_of(folder)
        place = Path(folder) if address is None else copied_frames(address, f"wordframe-{_KIND}.json", _PROBLEMS)
        described = read_description(place, _KIND)
        if described is None:
            raise CacheError(f"{folder}: there is no frame cache; make one with wordframe cache frames --to {folder}")
        return cls(place, _settings(described))

    def __contains__(self, video: str) -> bool:
        return self._file(video).is_file()

    def read(self, video: str, num_frames: int) -> SampledFrames:
        """At most ``num_frames`` frames of a video; of more cached ones those that the cache's rule keeps.

        Raises:
            CacheError: the cache was made with fewer frames a video.
            VideoError: the video is not in the cache, or its file there is damaged.
        """
        self.refuse_less(num_frames=num_frames)
        try:
            with safe_open(self._there(video), framework="numpy") as file:
                ends = file.get_tensor("ends").tolist()
                checksums, seconds = file.get_tensor("checksums").tolist(), file.get_tensor("seconds")
                pictures = file.get_slice("pictures")
                rows = self.rule.indices(len(ends), num_frames)
                frames = [_picture(pictures, [0, *ends][row], ends[row], checksums[row]) for row in rows]
                return SampledFrames(np.stack(frames), seconds[rows], read_metadata(file)["problem"])
        except (OSError, SafetensorError, ValueError) as error:
            raise VideoError(
                f"{video}: its cached frames are damaged ({error}); run wordframe cache frames again to mend them"
            ) from error

    @property
    def rule(self) -> FrameRule:
        return self.settings.rule

    @property
    def description(self) -> str:
        return f"cached frames: {self.settings}"

    def stamp(self, video: str) -> str:
        """The content hash of the video that the frames are of. VideoError: it is not there."""
        return str(_read_metadata(self._there(video))["content"])

    def refuse_less(self, *, num_frames: int = 1, short_side: int = 1) -> None:
        """Raise CacheError if videos were cut to fewer than ``num_frames`` frames, or frames are smaller."""
        there = self.settings
        if num_frames > there.num_frames:
            raise CacheError(
                f"{self.folder}: holds at most {counted(there.num_frames, 'frame')} a video, {num_frames} are wanted; "
                f"make a cache with --frames {num_frames}"
            )
        if short_side > there.short_side:
            raise CacheError(
                f"{self.folder}: holds frames of {there.short_side} pixels, the encoder wants {short_side}; "
                f"make a cache with --short-side {short_side}"
            )

    def refuse_other_rule(self, rule: FrameRule) -> None:
        """Raise CacheError if the frames were chosen by another rule, as DiDeMo's of whole videos were."""
        # even a cache of more frames will not do: of frames spread over a video the first ones are not its first
        if self.rule != rule:
            few = self.settings.num_frames
            raise CacheError(
                f"{self.folder}: holds frames chosen otherwise ({self.rule.describe(few)}; wanted: "
                f"{rule.describe(few)}); make another cache with wordframe cache frames"
                + ("" if rule.cut == "uniform" else f" --cut {rule.cut}")
            )

    def _there(self, video: str) -> Path:
        file = self._file(video)
        if not file.is_file():
            reason = _read_problems(self.folder)["failed"].get(video, "it was not among the videos given")
            raise VideoError(f"{video}: not in the frame cache {self.folder} ({reason})")
        return file

    def _file(self, video: str) -> Path:
        # a hash, since a name may hold anything, slashes and 300 letters included; surrogateescape keeps broken bytes
        name = hashlib.blake2b(video.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
        return self.folder / "videos" / name[:2] / f"{name}.safetensors"


def build_frame_cache(
    folder: str | Path,
    videos: Mapping[str, Path],
    settings: FrameSettings,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[int], None] = lambda done: None,
) -> FrameCacheSummary:
    """Bring the cache in ``folder`` up to date with ``videos``, files by name. What is sound and current stays.

    All that is there is read and its checksums compared, so a run also finds and mends what a disk has spoilt.

    Args:
        should_stop: asked after each video; True ends the run in order, and the next one goes on from there.
        on_progress: called with the number of videos done.

    Raises:
        CacheError: the folder holds frames of other settings or cannot be written.
    """
    place, summary = Path(folder), FrameCacheSummary()
    with writing(place):
        described = read_description(place, _KIND)
        if described is not None and (there := _settings(described)) != settings:
            raise CacheError(f"{place}: holds {there}; this run asks for {settings}; use another folder")
        write_description(place, _KIND, asdict(settings))
        cache = FrameCache(place, settings)
        results = in_order(lambda video: _cached(cache, video, videos[video]), videos, should_stop=should_stop)
        # fewer results than videos where the run was stopped
        for done, (video, outcome) in enumerate(zip(videos, results, strict=False), start=1):
            outcome.add_to(summary, video)
            on_progress(done)
        summary.interrupted = len(summary.made) + len(summary.kept) + len(summary.failed) < len(videos)
        _write_problems(place, summary)
    return summary


@dataclass(frozen=True)
class _Outcome:
    is_made: bool = False
    damage: str | None = None
    failure: str | None = None

    def add_to(self, summary: FrameCacheSummary, video: str) -> None:
        if self.failure is not None:
            summary.failed[video] = self.failure
            return
        (summary.made if self.is_made else summary.kept).append(video)
        if self.damage:
            summary.damaged[video] = self.damage


def _cached(cache: FrameCache, video: str, path: Path) -> _Outcome:
    """Make the file of one video unless a sound, current one is there."""
    file = cache._file(video)
    try:
        source = file_stamp(path)  # before reading: a file changed meanwhile is then read again next time
        kept = _kept(file, source, path)
        if kept is not None:
            return _Outcome(damage=kept["problem"])
        frames = VideoFiles({video: path}, cache.settings.short_side, cache.rule).read(video, cache.settings.num_frames)
        content = _content_hash(path)
    except VideoError as error:
        file.unlink(missing_ok=True)  # frames of a content that is no longer there
        return _Outcome(failure=str(error))
    # a checksum a picture, so that reading two frames of a video need not read the whole file to trust them
    pictures = [compress(rgb, cache.settings.quality) for rgb in frames.rgb]
    tensors = {
        "pictures": np.frombuffer(b"".join(pictures), np.uint8),
        "ends": np.cumsum([len(picture) for picture in pictures]),
        "checksums": np.array([zlib.crc32(picture) for picture in pictures]),
        "seconds": frames.seconds,
    }
    metadata = {"video": video, "source": source, "content": content, "problem": frames.problem}
    write_tensors(file, tensors, metadata)
    return _Outcome(is_made=True, damage=frames.problem)


def _kept(file: Path, source: str, path: Path) -> dict[str, Any] | None:
    """The metadata of a file that is sound and made of this very video, else None."""
    try:
        with safe_open(file, framework="numpy") as opened:
            metadata = read_metadata(opened)
            ends, checksums = opened.get_tensor("ends").tolist(), opened.get_tensor("checksums").tolist()
            pictures = opened.get_tensor("pictures")
    except (OSError, SafetensorError, ValueError):
        return None
    starts = [0, *ends[:-1]]
    if any(zlib.crc32(pictures[a:b]) != found for a, b, found in zip(starts, ends, checksums, strict=True)):
        return None
    # size and time first: the content is read only where these have changed, as after a copy of the folder
    is_same = metadata["source"] == source or metadata["content"] == _content_hash(path)
    return metadata if is_same else None


def _picture(pictures: Any, start: int, end: int, checksum: int) -> Any:
    data = pictures[start:end].tobytes()
    if zlib.crc32(data) != checksum:
        raise ValueError("a checksum fails")
    return decompress(data)


def _read_metadata(file: Path) -> dict[str, Any]:
    try:
        with safe_open(file, framework="numpy") as opened:
            return read_metadata(opened)
    except (OSError, SafetensorError, ValueError) as error:
        raise VideoError(f"{file}: damaged ({error}); run wordframe cache frames again to mend it") from error


def _content_hash(path: Path) -> str:
    try:
        return content_hash(path, "blake2b")
    except OSError as error:
        raise VideoError(f"{path}: {(error.strerror or str(error)).lower()}") from error


def _settings(described: Mapping[str, Any]) -> FrameSettings:
    return FrameSettings(**{name: value for name, value in described.items() if name != "version"})


def _read_problems(folder: Path) -> dict[str, dict[str, str]]:
    try:
        problems: dict[str, dict[str, str]] = json.loads((folder / _PROBLEMS).read_text(encoding="utf-8"))
        return problems
    except (OSError, ValueError):
        return {"failed": {}, "damaged": {}}


def _write_problems(folder: Path, summary: FrameCacheSummary) -> None:
    """Those of this run, and of earlier runs those of other videos: a folder may hold several splits."""
    before, met = _read_problems(folder), {*summary.made, *summary.kept, *summary.failed}
    now = {"failed": summary.failed, "damaged": summary.damaged}
    others = {kind: {video: why for video, why in before[kind].items() if video not in met} for kind in now}
    write_json(folder / _PROBLEMS, {kind: others[kind] | now[kind] for kind in now})
