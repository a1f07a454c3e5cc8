"""The library's own description of itself: schema version and encoder, in one JSON file.

It is written once, when the library is made, and compared at every opening: features of two encoders never mix.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from wordframe.encoders import Encoder
from wordframe.errors import LibraryError
from wordframe.library.written import write_whole

FILE_NAME = "wordframe.json"
SCHEMA_VERSION = 3


@dataclass(frozen=True)
class Manifest:
    """What every row of the library has in common.

    encoder: the name to load it by; fingerprint: hash of its weights and preprocessing; dimension: ``D``.
    """

    schema_version: int
    encoder: str
    fingerprint: str
    dimension: int

    @classmethod
    def of(cls, encoder: Encoder) -> Manifest:
        """The manifest of a new library made with ``encoder``."""
        return cls(SCHEMA_VERSION, encoder.name, encoder.fingerprint, encoder.dimension)

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """The manifest of the library in ``folder``; None if there is no library.

        Raises:
            LibraryError: the file is damaged, unreadable, or of another schema version.
        """
        path = folder / FILE_NAME
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise LibraryError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
        except ValueError:
            raise LibraryError(f"{path}: damaged; restore it from a backup or index into a new folder") from None
        version = values.get("schema_version") if isinstance(values, dict) else None
        if version != SCHEMA_VERSION:
            raise LibraryError(
                f"{folder}: made with library format {version}, this wordframe reads format {SCHEMA_VERSION}; "
                "use the wordframe it was made with, or index into a new folder"
            )
        try:
            return cls(**values)
        except TypeError:
            raise LibraryError(f"{path}: damaged; restore it from a backup or index into a new folder") from None

    def write(self, folder: Path) -> None:
        """Write into ``folder``, whole or not at all.

        Raises:
            LibraryError: the folder cannot be written, or the disk is full.
        """
        write_whole(folder / FILE_NAME, json.dumps(asdict(self), indent=2) + "\n")

    def check(self, encoder: Encoder, folder: Path) -> None:
        """Raise LibraryError unless ``encoder`` is the one whose features the library holds."""
        if encoder.fingerprint != self.fingerprint:
            raise LibraryError(
                f"{folder}: its features were made with the encoder {self.encoder!r} (fingerprint {self.fingerprint}), "
                f"not with {encoder.name!r} (fingerprint {encoder.fingerprint}); "
                "use that encoder, or index into a new folder"
            )
