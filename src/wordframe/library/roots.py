"""The folders and files that a library was told to index: ``roots.json``.

A server hands out nothing that lies elsewhere, and can bring the library up to date without being told a path.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from wordframe.library.files import is_below
from wordframe.library.written import write_whole

FILE_NAME = "roots.json"


def read_roots(folder: Path, videos: Iterable[str]) -> list[str]:
    """The roots of the library in ``folder``, absolute; of one that kept none, the folders of its ``videos``."""
    try:
        roots = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        return [str(root) for root in roots]
    except (OSError, ValueError):
        return without_nested({os.path.dirname(path) for path in videos})


def add_roots(folder: Path, paths: Sequence[str | Path], videos: Iterable[str]) -> None:
    """Remember ``paths`` beside what is known."""
    known = read_roots(folder, videos)
    roots = without_nested([*known, *(os.path.abspath(path) for path in paths)])
    if roots != known or not (folder / FILE_NAME).exists():
        write_whole(folder / FILE_NAME, json.dumps(roots, indent=2) + "\n")


def without_nested(paths: Iterable[str]) -> list[str]:
    """Sorted, without those that lie in another.

    >>> without_nested(["/a/b", "/a", "/ab"])
    ['/a', '/ab']
    """
    kept: list[str] = []
    for path in sorted(set(paths), key=len):
        if not any(is_below(path, root) for root in kept):
            kept.append(path)
    return sorted(kept)
