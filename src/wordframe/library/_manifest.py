"""What a library says of itself beside its tables: ``wordframe.json`` and ``roots.json``.

The manifest (format and encoder) is written once, when the library is made, and compared at every opening: features of
two encoders never mix. The roots are the folders and files that were given to be indexed: a server hands out nothing
that lies elsewhere, and can bring the library up to date without being told a path.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from wordframe.addresses import is_address
from wordframe.disk import shown_command
from wordframe.encoders import Encoder
from wordframe.errors import LibraryError
from wordframe.library._place import IN_A_STORE, Place

MANIFEST_NAME = "wordframe.json"
ROOTS_NAME = "roots.json"
FORMAT = 4
OLDEST_FORMAT = 3
"""``wordframe upgrade`` brings libraries from this format on up to ``FORMAT``."""


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
        return cls(FORMAT, encoder.name, encoder.fingerprint, encoder.dimension)

    @classmethod
    def read(cls, place: Place, *, formats: Iterable[int] = (FORMAT,)) -> Manifest | None:
        """The manifest of the library in ``place``; None if there is no library.

        Raises:
            LibraryError: the file is damaged, unreadable, or of a format that is not among ``formats``.
        """
        path = f"{place}{os.sep}{MANIFEST_NAME}"
        damaged = f"{path}: damaged; {_how_to_mend(place)}"
        try:
            values = json.loads(place.read(MANIFEST_NAME))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise LibraryError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
        except (ValueError, RecursionError):  # brackets by the thousand are JSON, too
            raise LibraryError(damaged) from None
        version = values.get("schema_version") if isinstance(values, dict) else None
        if version not in tuple(formats):
            raise LibraryError(_other_format(place, version))
        try:
            return cls(**values)
        except TypeError:
            raise LibraryError(damaged) from None

    def text(self) -> str:
        """As it is written."""
        return json_text(asdict(self))

    def check(self, encoder: Encoder, place: Place) -> None:
        """Raise LibraryError unless ``encoder`` is the one whose features the library holds."""
        if encoder.fingerprint == self.fingerprint:
            return
        if is_address(str(place)):
            remedy = f"index its videos into a new prefix with --encoder {encoder.name}"
        else:
            command = shown_command("wordframe", "upgrade", "--encoder", encoder.name, "--library", str(place))
            remedy = f"make them anew with: {command}"
        if encoder.name == self.encoder:
            made = f"another version of the encoder {self.encoder!r} (fingerprint {self.fingerprint}) than is here"
        else:
            made = f"the encoder {self.encoder!r} (fingerprint {self.fingerprint}), not with {encoder.name!r}"
        raise LibraryError(f"{place}: its features were made with {made} ({encoder.fingerprint}); {remedy}")


def _how_to_mend(place: Place) -> str:
    if is_address(str(place)):
        return IN_A_STORE
    return f"put it back with: {shown_command('wordframe', 'doctor', '--library', str(place), '--verify', '--mend')}"


def _other_format(place: Place, version: object) -> str:
    found = f"{place}: made with library format {version}, this wordframe reads format {FORMAT}; "
    if isinstance(version, int) and OLDEST_FORMAT <= version < FORMAT:
        return found + f"bring it up to date with: {shown_command('wordframe', 'upgrade', '--library', str(place))}"
    if isinstance(version, int) and version > FORMAT:
        return found + "use a newer wordframe"
    return found + "index its videos into a new folder"


def json_text(values: object) -> str:
    """Plain values as a small file holds them."""
    return json.dumps(values, indent=2) + "\n"


def read_roots(place: Place) -> list[str]:
    """The roots of the library in ``place``, absolute, links not resolved; none where none were kept.

    From the copy where the file is damaged: roots that are written next are these and more.
    """
    with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):
        return [str(root) for root in json.loads(place.read(ROOTS_NAME))]
    return [str(root) for root in json.loads(place.read_copy(ROOTS_NAME) or "[]")]


def add_roots(place: Place, paths: Iterable[str]) -> None:
    """Remember absolute ``paths`` beside what is known."""
    known = read_roots(place)
    roots = without_nested([*known, *paths])
    if roots != known:
        place.write(ROOTS_NAME, json_text(roots))


def without_nested(paths: Iterable[str]) -> list[str]:
    """Sorted, without those that lie in another.

    >>> without_nested(["/a/b", "/a", "/ab", "/a-c", "/"])
    ['/']
    >>> without_nested(["/a/b", "/a", "/ab", "/a-c"])
    ['/a', '/a-c', '/ab']
    """
    kept: list[str] = []
    # with a slash at its end a folder stands right before all that lies in it, so one look back is enough
    for path in sorted({path.rstrip(os.sep) + os.sep for path in paths}):
        if not kept or not path.startswith(kept[-1]):
            kept.append(path)
    return sorted(path.rstrip(os.sep) or os.sep for path in kept)
