"""Finds video files under folders, and below addresses on object storage (``_listing.py``), by the same rules.

Walks each folder once; links to folders are followed, but no folder is entered twice, so loops end. Passed over are
hidden files and folders, folders that systems and NAS boxes make for themselves, and what a ``.wordframeignore`` says:
patterns as in git's ``.gitignore``, of the folder that holds it and those below, the nearest file deciding.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from wordframe.addresses import is_address, parse_address
from wordframe.errors import LibraryError
from wordframe.video import PASSED_SUFFIXES, is_taken_for_video

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE_FILE = ".wordframeignore"
SYSTEM_FOLDERS = frozenset(
    "$recycle.bin recycler #recycle @recycle #snapshot @recently-snapshot @eadir lost+found found.000".split()
) | {"system volume information"}
"""In lower case: bins, snapshots and thumbnails of Windows, Synology and QNAP, and what a check of a disk saved."""
_HIDDEN_BIN = ".trash"
"""How the names of bins begin that Linux and macOS make, in lower case."""


@dataclass(frozen=True)
class FoundFile:
    """A file as the file system describes it now, or an object as its store does.

    ``path`` is absolute, links not resolved, or an address such as ``s3://bucket/videos/a.mp4``. Stores' times have
    whole seconds; the digits of an object's ``modified_ns`` below the second stand for its etag.
    """

    path: str
    size: int
    modified_ns: int


@dataclass
class Findings:
    """What a walk met: files, and what could not be looked into, with the reason.

    unreadable: a place given by the user or a folder below it, so that what lies there is unknown, not gone;
    passed_over: how many of what: ``.gif`` files, ``@eaDir/`` folders, what a ``.wordframeignore`` names;
    listed: addresses below which all objects are known; seen: these objects, whether taken or not.
    """

    files: list[FoundFile] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    passed_over: Counter[str] = field(default_factory=Counter)
    listed: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def is_there(self, path: str) -> bool:
        """Whether something is there, on the disk or by the listings; below other addresses all counts as there."""
        if not is_address(path):
            return os.path.exists(path)
        return path in self.seen or not any(is_below(path, place) for place in self.listed)


def expanded(paths: str | Path | Iterable[str | Path]) -> list[str]:
    """One path or several, absolute, with ``~`` and ``..`` resolved but not links; addresses end with no slash.

    A string is one path: a program that forgets the list must not have its letters walked.

    Raises:
        LibraryError: an address of no known kind, or one that holds more than a bucket and a key.

    >>> expanded("/a/../b"), expanded(["/c", Path("/d/")]), expanded(Path("s3://bucket/videos"))
    (['/b'], ['/c', '/d'], ['s3://bucket/videos'])
    """
    several = [paths] if isinstance(paths, (str, Path)) else list(paths)
    return [
        parse_address(path, "videos lie in folders", LibraryError, is_any_key=True)
        or os.path.abspath(os.path.expanduser(path))
        for path in several
    ]


def find_videos(paths: Sequence[str | Path], *, leave_out: Collection[str] = ()) -> Findings:
    """All video files under ``paths``, folders or addresses, sorted.

    A file named directly is taken whatever its suffix.
    Hidden files and folders and the folders in ``leave_out`` (absolute) are passed over; two names of one file (links)
    count once.
    """
    findings = Findings()
    seen: set[tuple[int, int]] = set()
    addresses = [path for path in map(str, paths) if is_address(path)]
    if addresses:
        from wordframe.library._listing import list_videos  # asks a store; most libraries have none

        list_videos(addresses, findings, leave_out=leave_out)
    for path in paths:
        if is_address(str(path)):
            continue
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


@dataclass(frozen=True)
class Ignored:
    """The patterns of a folder's ``.wordframeignore``, and those of the folders above it."""

    folder: str
    patterns: GitIgnoreSpec
    above: Ignored | None

    def names(self, path: str, *, is_folder: bool) -> bool:
        inside = path[len(self.folder.rstrip(os.sep)) + 1 :]
        told = self.patterns.check_file(inside + ("/" if is_folder else "")).include
        if told is None:
            return self.above is not None and self.above.names(path, is_folder=is_folder)
        return told


def _walk(start: str, seen: set[tuple[int, int]], findings: Findings, leave_out: frozenset[str]) -> Iterator[str]:
    waiting: list[tuple[str, Ignored | None]] = [(start, None)]
    while waiting:
        folder, above = waiting.pop()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen or folder in leave_out:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                known = [entry for entry in entries if is_system_folder(entry.name) or not entry.name.startswith(".")]
        except OSError as error:
            findings.unreadable[folder] = _reason(error)
            continue
        ignored = _read_ignored(folder, above, findings)
        for entry in sorted(known, key=lambda entry: os.fsencode(entry.name)):
            is_folder, suffix = _is_folder(entry), os.path.splitext(entry.name)[1].lower()
            if is_folder and is_system_folder(entry.name):
                findings.passed_over[f"{entry.name}/"] += 1
            elif entry.name.startswith("."):
                continue
            elif ignored is not None and ignored.names(entry.path, is_folder=is_folder):
                findings.passed_over[IGNORE_FILE] += 1
            elif is_folder:
                waiting.append((entry.path, ignored))
            elif suffix in PASSED_SUFFIXES:
                findings.passed_over[suffix] += 1
            elif is_taken_for_video(entry.path):
                yield entry.path


def is_system_folder(name: str) -> bool:
    """Whether a folder of this name is made by a system for itself, so that it is passed over and counted.

    >>> [is_system_folder(name) for name in ("@eaDir", ".Trash-1000", ".cache", "Holiday")]
    [True, True, False, False]
    """
    return name.lower() in SYSTEM_FOLDERS or name.lower().startswith(_HIDDEN_BIN)


def _read_ignored(folder: str, above: Ignored | None, findings: Findings) -> Ignored | None:
    path = os.path.join(folder, IGNORE_FILE)
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            from pathspec import GitIgnoreSpec

            return Ignored(folder, GitIgnoreSpec.from_lines(file), above)
    except FileNotFoundError:
        return above
    except (OSError, ValueError) as error:  # pathspec raises ValueError for a pattern that is none
        findings.unreadable[path] = _reason(error) if isinstance(error, OSError) else f"not a pattern: {error}"
        return above


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


def vacated(path: str, root: str) -> str | None:
    """The folder that a missing file's absence may be due to: the nearest that is there, from the file up to ``root``,
    if it is empty but for what systems put there. So looks the place of a drive that is not mounted."""
    if is_address(path):
        return None
    folder = os.path.dirname(path)
    while not os.path.lexists(folder) and folder != root and is_below(folder, root):
        folder = os.path.dirname(folder)
    try:
        with os.scandir(folder) as entries:
            kept = any(not each.name.startswith(".") and not is_system_folder(each.name) for each in entries)
    except OSError:  # gone itself, or not to be looked into: the walk has told so
        return None
    return None if kept or not is_below(folder, root) else folder
