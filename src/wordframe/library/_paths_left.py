"""Which videos lay in damaged files, as far as those still tell.

What a flipped bit makes of a file's inner structure may end the process that reads it, so another process reads it:
this module, as a program that is told a library's folder and SQL conditions on its standard input, one question a line.
It takes seconds to begin, so it waits a while for the next question.
Neighbours: ``_verify.py`` asks, for people only; what is mended never depends on the answer.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

_SECONDS = 60.0
_IDLE_SECONDS = 60.0
_reader: subprocess.Popen[bytes] | None = None
_asking = threading.Lock()


def paths_left(folder: Path, clauses: Sequence[str]) -> set[str]:
    """Paths of the videos of ``segments`` that SQL conditions let through; what can be read of them within a minute."""
    global _reader
    if not clauses:
        return set()
    with _asking:
        while True:
            is_new = _reader is None
            reader = _reader = _reader or _begun()
            found, is_whole = _ask(reader, folder, clauses)
            if is_whole:
                return found
            _end(reader)
            _reader = None
            if found or is_new:  # else it had ended before it was asked
                return found


def _begun() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", __name__]
    reader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    # whoever waits for it takes it off the system's list when it ends by itself
    threading.Thread(target=reader.wait, daemon=True).start()
    return reader


def _ask(reader: subprocess.Popen[bytes], folder: Path, clauses: Sequence[str]) -> tuple[set[str], bool]:
    """What a reader tells, and whether it came to the end."""
    assert reader.stdin is not None
    assert reader.stdout is not None
    found: set[str] = set()
    late = threading.Timer(_SECONDS, reader.kill)
    late.start()
    try:
        reader.stdin.write(json.dumps([os.fspath(folder), *clauses]).encode() + b"\n")
        reader.stdin.flush()
        while (line := reader.stdout.readline()).endswith(b"\n"):
            if line == b"\n":
                return found, True
            found.add(os.fsdecode(bytes.fromhex(line.decode())))
    except OSError:  # it is gone
        pass
    finally:
        late.cancel()
    return found, False


def _end(reader: subprocess.Popen[bytes]) -> None:
    reader.kill()
    with contextlib.suppress(OSError):  # what it could not be told
        reader.communicate()


def _main() -> None:
    """Answer questions: each path in hexadecimal digits, a line each, as they are found, and an empty line behind."""
    import lancedb

    idle = _ending_when_idle()
    for question in sys.stdin:
        idle.cancel()
        folder, *clauses = json.loads(question)
        segments = lancedb.connect(Path(folder, "tables")).open_table("segments")
        for clause in clauses:
            try:
                found = segments.search().where(clause).select(["path_bytes"]).to_arrow()
            except Exception:  # damage makes LanceDB panic, too
                continue
            for path in sorted(set(found["path_bytes"].to_pylist())):
                print(path.hex())
            sys.stdout.flush()
        print(flush=True)
        idle = _ending_when_idle()


def _ending_when_idle() -> threading.Timer:
    timer = threading.Timer(_IDLE_SECONDS, os._exit, [0])
    timer.daemon = True
    timer.start()
    return timer


if __name__ == "__main__":
    _main()
