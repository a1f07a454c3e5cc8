"""Which videos lay in damaged files, as far as those still tell.

What a flipped bit makes of a file's inner structure may end the process that reads it, so another process reads it:
this module, as a program that is given the library's folder and SQL conditions. It imports little, to begin soon.
Neighbours: ``_verify.py`` asks, for people only; what is mended never depends on the answer.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_SECONDS = 60.0
_AT_MOST = 1000  # a command line has an end


def paths_left(folder: Path, clauses: Sequence[str]) -> set[str]:
    """Paths of the videos of ``segments`` that SQL conditions let through; what can be read of them within a minute."""
    if not clauses:
        return set()
    command = [sys.executable, "-m", __name__, os.fspath(folder), *clauses[:_AT_MOST]]
    try:
        told = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False).stdout
    except subprocess.TimeoutExpired as late:
        told = late.stdout or b""
    return {os.fsdecode(path) for path in told.split(b"\0")[:-1]}


def _main(folder: str, *clauses: str) -> None:
    """Print the paths, each with a zero byte at its end, as they are found."""
    import lancedb

    segments = lancedb.connect(Path(folder, "tables")).open_table("segments")
    for clause in clauses:
        try:
            found = segments.search().where(clause).select(["path_bytes"]).to_arrow()
        except Exception:  # damage makes LanceDB panic, too
            continue
        for path in sorted(set(found["path_bytes"].to_pylist())):
            sys.stdout.buffer.write(path + b"\0")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _main(*sys.argv[1:])
