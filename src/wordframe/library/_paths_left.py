"""Which videos lay in damaged files, as far as those still tell.

What a flipped bit makes of a file's inner structure may end the process that reads it, so another process reads it:
this module, as a program that is given the library's folder and numbers of groups.
Neighbours: ``_verify.py`` asks, for people only; what is mended never depends on the answer.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_SECONDS = 60.0
_GROUPS_AT_MOST = 1000


def paths_left(folder: Path, groups: Sequence[int]) -> set[str]:
    """Paths of the videos in some groups of rows of ``segments``; what can be read of them within a minute."""
    if not groups:
        return set()
    numbers = map(str, groups[:_GROUPS_AT_MOST])
    command = [sys.executable, "-m", __name__, os.fspath(folder), *numbers]
    try:
        told = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False).stdout
    except subprocess.TimeoutExpired as late:
        told = late.stdout or b""
    return {os.fsdecode(path) for path in told.split(b"\0")[:-1]}


def _main(folder: str, *groups: str) -> None:
    """Print the paths, each with a zero byte at its end, as they are found."""
    import lancedb

    from wordframe.library._rescue import groups_clause

    segments = lancedb.connect(Path(folder, "tables")).open_table("segments")
    for group in groups:
        try:
            found = segments.search().where(groups_clause([int(group)])).select(["path_bytes"]).to_arrow()
        except (OSError, RuntimeError, ValueError):
            continue
        for path in sorted(set(found["path_bytes"].to_pylist())):
            sys.stdout.buffer.write(path + b"\0")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _main(*sys.argv[1:])
