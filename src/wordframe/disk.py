"""Files and folders on disk, done safely, once for all packages: written whole, hashed, locked, and shown to people.

A file that must never be seen half-written is written beside its place, brought to the disk, and renamed: a reader,
a killed process and a loss of power all find the old content or the new one.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = [
    "content_hash",
    "display_path",
    "failure_line",
    "hold_lock",
    "one_line",
    "remove_abandoned",
    "remove_all_unfinished",
    "remove_unfinished",
    "replacing",
    "short_hash",
    "shown_command",
    "sync",
    "write_whole",
]


_KEPT_OF_NAME = 32
"""Characters: a file system takes 255 bytes, and a character may be four."""
_MAX_LINE = 300
_UNFINISHED = "part"
_SCRATCH = "wordframe-scratch-"
_WRITTEN_SECONDS = 60.0
"""A file that nothing was written to for so long is not being written."""


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Write to the path given in the block; at its end the file is synced and takes the place of ``path``.

    If the block raises, ``path`` stays as it was and nothing is left behind. The unfinished file is hidden, beside its
    place (a rename is whole only within one file system), keeps the ending (writers choose the format by it) and names
    process and thread, so that two writers never share one; of a long name it keeps the beginning.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{_beginning(path, os.getpid())}{threading.get_ident():x}.{_UNFINISHED}{path.suffix}")
    try:
        yield part
        sync(part)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    # Without this a power cut can undo the rename although the content is safe.
    sync(path.parent)


def _beginning(path: Path, process: int) -> str:
    return f".{path.stem[:_KEPT_OF_NAME]}.{process}-"


def remove_unfinished(path: str | Path, process: int) -> None:
    """Remove what a process that died left beside ``path``, which it was ``replacing``."""
    path = Path(path)
    beginning = _beginning(path, process)
    with contextlib.suppress(OSError):
        for left in [each for each in path.parent.iterdir() if each.name.startswith(beginning)]:
            left.unlink(missing_ok=True)


def remove_abandoned(path: str | Path) -> None:
    """Remove what processes that were killed left beside ``path`` while they were ``replacing`` it.

    A process of such a number that runs here, and one of another machine that writes, keep what they have.
    """
    path = Path(path)
    named = re.compile(
        rf"{re.escape(f'.{path.stem[:_KEPT_OF_NAME]}.')}(\d+)-[0-9a-f]+\.{_UNFINISHED}{re.escape(path.suffix)}"
    )
    with contextlib.suppress(OSError):
        for left in path.parent.iterdir():
            found = named.fullmatch(left.name)
            if found and not _runs(int(found[1])) and time.time() - left.stat().st_mtime > _WRITTEN_SECONDS:
                left.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    """Whether a process of this number may run on this machine."""
    if os.name == "nt":  # where asking would end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass
    return True


def remove_all_unfinished(folder: Path) -> None:
    """Remove what killed processes left of ``replacing`` in a folder that the caller alone writes into.

    Raises:
        OSError: the folder cannot be read or written.
    """
    for part in folder.glob(f".*.*-*.{_UNFINISHED}*"):
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def scratch_file(suffix: str = "") -> Iterator[tuple[int, str]]:
    """An empty file among the temporary ones, by its open handle and its name; removed at the end of the block.

    The handle stays with the block. What processes that were killed within theirs left behind is removed by the next
    one that makes such a file: whoever has one holds a lock on it, which the system drops with the process.

    Raises:
        OSError: there is no folder for temporary files, or it cannot be written.
    """
    _remove_left_scratch(tempfile.gettempdir())
    handle, name = tempfile.mkstemp(prefix=_SCRATCH, suffix=suffix)
    try:
        with contextlib.suppress(OSError):  # where there are no locks, nobody removes what is left
            _lock_scratch(handle)
        yield handle, name
    finally:
        os.close(handle)
        with contextlib.suppress(FileNotFoundError):  # systems clear the folder of what is old
            os.unlink(name)


def _lock_scratch(handle: int) -> None:
    """Raise OSError if another process has it. Windows has no such lock, and removes no file that is open."""
    if os.name != "nt":
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


@functools.cache
def _remove_left_scratch(folder: str) -> None:
    """Once a process. What is younger may not have its lock yet."""
    for left in Path(folder).glob(f"{_SCRATCH}*"):
        with contextlib.suppress(OSError):
            if time.time() - left.lstat().st_mtime < _WRITTEN_SECONDS:
                continue
            handle = os.open(left, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
            try:
                _lock_scratch(handle)
                is_left = True
            except OSError:
                is_left = False
            finally:
                os.close(handle)
            if is_left:
                left.unlink()


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Put ``content`` (text as UTF-8) into ``path``, whole or not at all.

    Raises:
        OSError: as ``replacing``.
    """
    with replacing(path) as part:
        part.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def sync(path: str | Path) -> None:
    """Bring a file's content, or a folder's list of names, to the disk.

    Some systems (Windows, some network mounts) cannot open or sync a folder: there a rename is as durable as it gets.
    """
    is_folder = os.path.isdir(path)
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        if is_folder:
            return
        raise
    try:
        os.fsync(handle)
    except OSError:
        if not is_folder:
            raise
    finally:
        os.close(handle)


def content_hash(path: str | Path, algorithm: str = "sha256") -> str:
    """Hash of all of a file's bytes, in hex: ``sha256``, or ``blake2b`` (128 bits, twice as fast) for videos.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb", buffering=0) as file:
        if algorithm == "blake2b":
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        return hashlib.file_digest(file, algorithm).hexdigest()


def short_hash(*values: object) -> str:
    """16 hex digits that change with any of some plain values (what JSON can hold); order counts.

    >>> short_hash("a", 1) == short_hash("a", 1), short_hash("ab") == short_hash("a", "b")
    (True, False)
    """
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


@contextlib.contextmanager
def hold_lock(path: str | Path, *, busy: Callable[[], Exception]) -> Iterator[None]:
    """Hold the lock file ``path`` within the block. The system drops it when the process dies, however it dies.

    Args:
        busy: makes what is raised, at once, where another process or thread holds it.

    Raises:
        OSError: the lock cannot be made there.
    """
    from filelock import FileLock, Timeout  # here: who only reads needs none

    # not a singleton and not shared by a process: two threads must keep each other out, too
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise busy() from None
    try:
        yield
    finally:
        lock.release()


def in_utf8(text: str) -> str:
    """What the system gave (a name, an argument) and its locale could not read, read as UTF-8, which nearly all of them
    write; other text as it is. Not a name to open a file by."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # lone surrogates, by which Python holds bytes that it could not read
        with contextlib.suppress(UnicodeEncodeError):
            return os.fsencode(text).decode("utf-8", "surrogateescape")
    return text


def display_path(path: str | bytes | Path) -> str:
    """A path as text that can be sent and stored anywhere: each byte that is not UTF-8 becomes one �.

    >>> display_path(b"caf\\xe9.mp4"), display_path("caf\\udce9.mp4")
    ('caf�.mp4', 'caf�.mp4')
    """
    # Python holds such bytes as lone surrogates, which no encoder takes
    return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in in_utf8(os.fsdecode(path)))


def one_line(text: str | bytes | Path) -> str:
    """Text that cannot disturb a terminal: as ``display_path``, and control characters escaped.

    >>> one_line("two\\nlines.mp4")
    'two\\\\nlines.mp4'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in display_path(text))


def shown_command(*words: str | Path) -> str:
    """A command that somebody may copy into a shell, whatever stands in its words.

    >>> shown_command("wordframe", "search", "a dog", "--library", "my library")
    "wordframe search 'a dog' --library 'my library'"
    """
    texts = [str(word) for word in words]
    return one_line(subprocess.list2cmdline(texts) if os.name == "nt" else shlex.join(texts))


def failure_line(path: str | bytes | Path, error: BaseException) -> str:
    """One line that names the file and the error.

    >>> failure_line("a.mp4", RuntimeError("out of memory\\nat frame 3")), failure_line("a.mp4", MemoryError())
    ('a.mp4: RuntimeError: out of memory', 'a.mp4: MemoryError')
    """
    line = next(iter(str(error).strip().splitlines()), "")
    told = f": {one_line(line)}" if line else ""
    reason = f"{one_line(path)}: {type(error).__name__}{told}"
    return reason if len(reason) <= _MAX_LINE else f"{reason[:_MAX_LINE]}…"
