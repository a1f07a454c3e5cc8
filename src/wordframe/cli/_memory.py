"""A process that may have little memory (``ulimit -v``, as some batch systems set it): takes less, and says what ended.

Such a limit counts addresses, not what is used: of both, allocators and threads of libraries reserve far more.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys

_ARENAS_OPTION = -8
"""``M_ARENA_MAX`` of glibc's ``mallopt``."""
_SHORTAGES = ("can't start new thread", "bad_alloc", "allocate memory", "failed to map segment", "not enough memory")
"""In what libraries say who got none: of Python's threads, C++, torch, the loader of shared objects, oneDNN."""


def limit_bytes() -> int | None:
    """How many bytes of addresses this process may have; None for as many as it likes."""
    if sys.platform == "win32":
        return None
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def save_memory() -> None:
    """Where memory is limited, let libraries reserve less; before they are loaded.

    glibc reserves 64 MB for each thread, OpenBLAS 32 MB: together more than a gigabyte, of which ``wordframe index``
    uses little. A process in which OpenBLAS gets none is ended by it, with a line of its own.
    """
    if limit_bytes() is None:
        return
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # another allocator reserves of its own, and says so
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's
    if mallopt is not None and "MALLOC_ARENA_MAX" not in os.environ:
        mallopt(_ARENAS_OPTION, 1)


def shortage_line(error: BaseException) -> str | None:
    """What to tell of an error that means that there was no more memory; None of any other.

    >>> shortage_line(RuntimeError("can't start new thread"))
    "memory ran out (can't start new thread): end other programs, or run it on a machine with more"
    >>> shortage_line(RuntimeError("no kernel")) is None
    True
    """
    reason = next(iter(str(error).strip().splitlines()), "") or "none left"
    is_told = isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM
    if not is_told and not any(words in str(error) for words in _SHORTAGES):
        return None
    limit = limit_bytes()
    if limit is None:
        return f"memory ran out ({reason}): end other programs, or run it on a machine with more"
    return f"memory ran out ({reason}): this process may have {limit / 1e9:.1f} GB (ulimit -v); allow it more"
