"""Finds video files under folders.

Walks each folder once; links to folders are followed, but no folder is entered twice, so loops end.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from wordframe.video import VIDEO_SUFFIXES


@dataclass(frozen=True)
class FoundFile:
    """A file as the file system describes it now. ``path`` is absolute, links not resolved."""

    path: str
    size: int
    modified_ns: int


@dataclass
class Findings:
    """What a walk met: files, and what could not be looked into, with the reason.

    unreadable: a place given by the user or a folder below it, so that what lies there is unknown, not gone.
    """

    files: list[FoundFile] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)


def expanded(paths: str | Path | Iterable[str | Path]) -> list[str]:
    """One path or several, absolute, with ``~`` and ``..`` resolved but not links.

    A string is one path: a program that forgets the list must not have its letters walked.

    >>> expanded("/a/../b"), expanded(["/c", Path("/d/")])
    (['/b'], ['/c', '/d'])
    """
    several = [paths] if isinstance(paths, (str, Path)) else list(paths)
    return [os.path.abspath(os.path.expanduser(path)) for path in several]


def find_videos(paths: Iterable[str | Path], *, leave_out: Collection[str] = ()) -> Findings:
    """All video files under ``paths``, sorted. A file named directly is taken whatever its suffix.

    Hidden files and folders and the folders in ``leave_out`` (absolute) are passed over; two names of one file (links)
    count once.
    """
    findings = Findings()
    seen: set[tuple[int, int]] = set()
    for path in paths:
        start = os.path.abspath(path)
        try:
            status = os.stat(start)
        except OSError as error:
            findings.unreadable[start] = _reason(error)
            continue
        if os.path.isdir(start):
            for name in _walk(start, seen, findings, frozenset(leave_out)):
                _add(name, seen, findings)
        elif os.path.isfile(start):
            _add(start, seen, findings)
        else:
            findings.unreadable[start] = f"neither a file nor a folder (mode {status.st_mode:o})"
    findings.files.sort(key=lambda file: os.fsencode(file.path))
    return findings


def _walk(start: str, seen: set[tuple[int, int]], findings: Findings, leave_out: frozenset[str]) -> Iterator[str]:
    waiting = [start]
    while waiting:
        folder = waiting.pop()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen or folder in leave_out:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                visible = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: os.fsencode(e.name))
        except OSError as error:
            findings.unreadable[folder] = _reason(error)
            continue
        for entry in visible:
            if _is_folder(entry):
                waiting.append(entry.path)
            elif os.path.splitext(entry.name)[1].lower() in VIDEO_SUFFIXES:
                yield entry.path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads round in a circle
        return False


def _add(path: str, seen: set[tuple[int, int]], findings: Findings) -> None:
    try:
        status = os.stat(path)
    except OSError as error:
        findings.unreadable[path] = _reason(error)
        return
    if (status.st_dev, status.st_ino) not in seen:
        seen.add((status.st_dev, status.st_ino))
        findings.files.append(FoundFile(path, status.st_size, status.st_mtime_ns))


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def is_below(path: str, folder: str) -> bool:
    """Whether ``path`` is ``folder`` or lies in it.

    >>> is_below("/a/b/c.mp4", "/a/b"), is_below("/a/bc.mp4", "/a/b")
    (True, False)
    """
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
