"""Finds videos below addresses on object storage: the rules of ``_files.py``, by one listing a prefix.

A listing tells all keys at once, without folders: what lies between two slashes of a key counts as one. Besides it each
``.wordframeignore`` costs a request, and each file whose ending is shared with other things (``.ts``), for its head.
Neighbours: ``_files.py`` calls for what a user gave, ``_objects.py`` asks the store.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable

from pathspec import GitIgnoreSpec

from wordframe.errors import LibraryError
from wordframe.library._files import IGNORE_FILE, Findings, FoundFile, Ignored, is_below, is_system_folder
from wordframe.library._objects import list_objects, look_at, read_range, read_whole
from wordframe.video import PASSED_SUFFIXES, is_taken_for_video


def list_videos(addresses: Iterable[str], findings: Findings, *, leave_out: Collection[str]) -> None:
    """Add to ``findings`` all videos below ``addresses``; an object named directly is taken whatever its suffix."""
    taken: set[str] = set()
    for address in addresses:
        try:
            objects = [found for found in list_objects(address) if not any(is_below(found.path, p) for p in leave_out)]
            if not objects:
                objects, inside = [look_at(address)], False
            else:
                inside = True
        except FileNotFoundError:
            findings.listed.append(address)
            findings.unreadable[address] = "no such object, and none below it"
            continue
        except LibraryError as error:
            findings.unreadable[address] = str(error).removeprefix(f"{address}: ")
            continue
        videos = _Rules(address, objects, findings).videos() if inside else objects
        findings.listed.append(address)
        findings.files += [found for found in videos if found.path not in taken]
        taken |= {found.path for found in videos}
        findings.seen |= {found.path for found in objects}


class _Rules:
    """Which objects of one listing are taken."""

    def __init__(self, start: str, objects: list[FoundFile], findings: Findings) -> None:
        self._objects, self._findings = objects, findings
        patterned = {found.path for found in objects if os.path.basename(found.path) == IGNORE_FILE}
        self._patterns = {os.path.dirname(path): path for path in patterned}
        self._folders: dict[str, tuple[bool, Ignored | None]] = {start: (True, self._read_ignored(start, None))}

    def videos(self) -> list[FoundFile]:
        return [found for found in self._objects if self._is_taken(found)]

    def _is_taken(self, found: FoundFile) -> bool:
        path = found.path
        name, suffix = os.path.basename(path), os.path.splitext(path)[1].lower()
        is_entered, ignored = self._enter(os.path.dirname(path))
        if not is_entered or name.startswith("."):
            return False
        if ignored is not None and ignored.names(path, is_folder=False):
            self._findings.passed_over[IGNORE_FILE] += 1
            return False
        if suffix in PASSED_SUFFIXES:
            self._findings.passed_over[suffix] += 1
            return False
        return is_taken_for_video(path, lambda path, size: _read_head(path, min(size, found.size)))

    def _enter(self, folder: str) -> tuple[bool, Ignored | None]:
        """Whether a folder is looked into, and which patterns hold there."""
        if folder not in self._folders:
            is_entered, above = self._enter(os.path.dirname(folder))
            passed = is_entered and self._is_passed(folder, above)
            is_entered = is_entered and not passed
            self._folders[folder] = (is_entered, self._read_ignored(folder, above) if is_entered else None)
        return self._folders[folder]

    def _is_passed(self, folder: str, above: Ignored | None) -> bool:
        name = os.path.basename(folder)
        if is_system_folder(name):
            self._findings.passed_over[f"{name}/"] += 1
            return True
        if name.startswith("."):
            return True
        if above is not None and above.names(folder, is_folder=True):
            self._findings.passed_over[IGNORE_FILE] += 1
            return True
        return False

    def _read_ignored(self, folder: str, above: Ignored | None) -> Ignored | None:
        path = self._patterns.get(folder)
        if path is None:
            return above
        try:
            text = b"".join(read_whole(path)).decode("utf-8", "surrogateescape")
            return Ignored(folder, GitIgnoreSpec.from_lines(text.splitlines()), above)
        except (OSError, LibraryError) as error:
            self._findings.unreadable[path] = "cannot be read" if isinstance(error, OSError) else str(error)
        except ValueError as error:  # pathspec's, for a pattern that is none
            self._findings.unreadable[path] = f"not a pattern: {error}"
        return above


def _read_head(path: str, size: int) -> bytes:
    try:
        return b"".join(read_range(path, 0, size)[1]) if size else b""
    except LibraryError as error:
        raise OSError(str(error)) from None
