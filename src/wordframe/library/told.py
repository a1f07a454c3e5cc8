"""What LanceDB and the disk raise, as one line that a user can act upon."""

from __future__ import annotations

from pathlib import Path

from wordframe.errors import LibraryError

_DISK_LIMITS = {
    "no space left": "the disk is full",
    "os error 28": "the disk is full",
    "os error 122": "the disk quota is used up",
    "os error 27": "a file would be larger than the system allows",
}


class Told:
    """A ``with`` block in which errors of the tables of ``folder`` become LibraryErrors; ``doing`` names the act."""

    def __init__(self, folder: Path, doing: str) -> None:
        self._folder, self._doing = folder, doing

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, (OSError, RuntimeError, ValueError)):  # what LanceDB and Arrow raise
            return
        text = " ".join(str(error).split())
        lower = text.lower()
        for sign, reason in _DISK_LIMITS.items():
            if sign in lower:
                raise LibraryError(f"{self._folder}: {reason}; free some space and run the command again") from None
        if "permission denied" in lower or "read-only file system" in lower:
            raise LibraryError(f"{self._folder}: no permission to {self._doing} the library") from None
        raise LibraryError(f"{self._folder}: cannot {self._doing} the library's tables: {text[:300]}") from error
