"""A folder of videos with captions: anybody's own benchmark.

``match_videos`` finds the video each caption speaks of. Nothing is dropped in silence: a caption whose video is not
there is listed, and so is a video without a caption; a name that could mean two videos is refused.
Neighbours: ``captions.py`` reads the captions; ``evaluation`` takes the queries and their videos as numbers.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from wordframe.errors import AnnotationError
from wordframe.video import VIDEO_SUFFIXES

_NAMED_AT_MOST = 5


@dataclass(frozen=True)
class CaptionedVideo:
    """A video that is there, the name its captions gave it, and the captions."""

    path: Path
    name: str
    captions: tuple[str, ...]


@dataclass(frozen=True)
class MatchedVideos:
    """What came of bringing a folder and its captions together.

    Attributes:
        pairs: the videos to evaluate, in the order of the captions.
        missing: names of which the folder has no file. Leaving them out makes the gallery smaller and the task easier.
        without_caption: videos of the folder nobody speaks of. They are not in the gallery.
    """

    pairs: tuple[CaptionedVideo, ...]
    missing: tuple[str, ...]
    without_caption: tuple[Path, ...]

    def queries(self) -> tuple[list[str], list[int]]:
        """Every caption, and the place in ``pairs`` of the video it was written for."""
        queries = [(caption, video) for video, pair in enumerate(self.pairs) for caption in pair.captions]
        return [caption for caption, _ in queries], [video for _, video in queries]

    def refuse_missing(self) -> None:
        """Raise AnnotationError if a captioned video is not there."""
        if self.missing:
            total = len(self.missing) + len(self.pairs)
            raise AnnotationError(
                f"{len(self.missing)} of {total} captioned videos are not in the folder: {_listed(self.missing)}; "
                "without them the gallery is smaller and the numbers look better. "
                "Add the videos, or say --allow-missing to evaluate the others"
            )


def match_videos(folder: str | os.PathLike[str], captions: Mapping[str, list[str]]) -> MatchedVideos:
    """Find the video of each captioned name in ``folder`` and the folders below it, hidden ones left out.

    A name is first a path relative to ``folder``; else a file name; else a file name without its ending (``video7``
    finds ``video7.mp4``, and so does ``video7.avi``). A file that one name gives as a path is taken from the others.

    Raises:
        AnnotationError: the folder is not there; a name fits several files; several names fit one file.
    """
    root = Path(folder)
    if not root.is_dir():
        raise AnnotationError(f"{root} is not a folder; give the folder that holds the videos")
    files = sorted(_files(root))
    by_path = {path.as_posix(): path for path in files}
    relative = {name: name if name in by_path else _relative(name, root.absolute()) for name in captions}
    found = {name: by_path[path] for name, path in relative.items() if path in by_path}
    exact = set(found.values())
    rest = [path for path in files if path not in exact]
    found |= _by_name(rest, [name for name in captions if name not in found])
    _refuse_shared(found)
    taken = set(found.values())
    return MatchedVideos(
        pairs=tuple(
            CaptionedVideo(path=root / found[name], name=name, captions=tuple(captions[name]))
            for name in captions
            if name in found
        ),
        missing=tuple(name for name in captions if name not in found),
        without_caption=tuple(root / path for path in files if _is_video(path) and path not in taken),
    )


def _files(root: Path) -> Iterator[Path]:
    """Paths of all files relative to ``root``; links to folders are not followed, so a loop of them does no harm."""
    for parent, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name).relative_to(root) for name in names if not name.startswith("."))


def _relative(name: str, root: Path) -> str:
    """A captioned name as a path under ``root``, with forward slashes."""
    path = Path(os.path.normpath(name.replace("\\", "/")))
    return path.relative_to(root).as_posix() if path.is_absolute() and path.is_relative_to(root) else path.as_posix()


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _by_name(files: list[Path], names: list[str]) -> dict[str, Path]:
    """The file of each name by file name, else by stem, where there is exactly one."""
    by_name, by_stem = defaultdict(list), defaultdict(list)
    for path in files:
        by_name[path.name].append(path)
        if _is_video(path):
            by_stem[path.stem].append(path)
    found: dict[str, Path] = {}
    several: list[str] = []
    for name in names:
        last = PurePosixPath(name.replace("\\", "/"))
        stem = last.stem if last.suffix.lower() in VIDEO_SUFFIXES else last.name
        fitting = by_name.get(last.name) or by_stem.get(stem) or []
        if len(fitting) > 1:
            several.append(f"{name!r} could be {_listed(path.as_posix() for path in fitting)}")
        elif fitting:
            found[name] = fitting[0]
    if several:
        raise AnnotationError(
            f"{len(several)} names fit several videos: {'; '.join(several[:_NAMED_AT_MOST])}; "
            "name each video by its path relative to the folder"
        )
    return found


def _refuse_shared(found: dict[str, Path]) -> None:
    """Two names for one video would make it two candidates with the same frames."""
    names: dict[Path, list[str]] = defaultdict(list)
    for name, path in found.items():
        names[path].append(name)
    shared = [
        f"{path.as_posix()!r} is meant by {_listed(several)}" for path, several in names.items() if len(several) > 1
    ]
    if shared:
        raise AnnotationError(
            f"{len(shared)} videos are named in several ways: {'; '.join(shared[:_NAMED_AT_MOST])}; "
            "give all captions of a video under one name"
        )


def _listed(names: Iterable[str]) -> str:
    listed = [repr(name) for name in names]
    more = len(listed) - _NAMED_AT_MOST
    return ", ".join(listed[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
