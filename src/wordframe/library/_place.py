"""Where a library lies: a folder of this machine, or a prefix on object storage.

A place knows the library's small files, where its tables are, who may write, and what makes a commit safe there. All
else is the same code for both. Its ``str`` is the address, as it is shown to people and given to ``--library``; it
never holds credentials.
Neighbours: ``_local.py`` is the folder, ``_object_store.py`` the prefix.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

from wordframe.addresses import parse_address
from wordframe.errors import LibraryError
from wordframe.object_storage import options_of_environment

IN_A_STORE = "bring back older versions of its objects, if the bucket keeps them, or index its videos into a new prefix"
"""What to do about damage on object storage, where nothing is kept twice."""


class Place(Protocol):
    """Where one library lies.

    Attributes:
        name: the last part of the address. tables, storage_options: what LanceDB connects to.
        beat_seconds: how often a run writes its status.
    """

    @property
    def name(self) -> str: ...
    @property
    def tables(self) -> str: ...
    @property
    def storage_options(self) -> dict[str, str]: ...
    @property
    def beat_seconds(self) -> float: ...

    def read(self, name: str) -> str:
        """The text of a small file; FileNotFoundError if it is not there, else OSError or LibraryError."""

    def read_copy(self, name: str) -> str | None:
        """The copy that is kept of a small file, in case it is damaged; None where there is none."""

    def write(self, name: str, text: str, *, copied: bool = True) -> None:
        """Write a small file, whole or not at all; ``copied``: with a copy by which damage is seen. Or LibraryError."""

    def make(self, name: str, text: str) -> None:
        """Write the file that makes a library of this place; LibraryError if it holds something else."""

    def num_bytes(self) -> int:
        """How many bytes all of the library takes."""

    def writing(self) -> contextlib.AbstractContextManager[None]:
        """Keep all others out who write, within the block; LibraryError if another writes."""

    def commit(self, table: Any | None) -> contextlib.AbstractContextManager[None]:
        """Within the block one commit is made, to a table that is at its newest version; at its end it will last."""

    def state(self, tables: Collection[str]) -> object:
        """What is another after every commit to these tables, and costs less than opening them; None if nothing is."""

    def settle(self) -> None:
        """Do what is left of a change of encoder that was cut short."""

    def explain(self, text: str) -> str | None:
        """What an error of the place means, in plain words; None for one that it does not know."""


def place_of(where: str | Path | Place, storage_options: Mapping[str, str] | None = None) -> Place:
    """The place that an address or a path names.

    Args:
        storage_options: of the object store, by object_store's names (``aws_endpoint`` …); default: those of the
            environment variable ``WORDFRAME_STORAGE_OPTIONS``. What is in neither is read from the usual variables.

    Raises:
        LibraryError: object storage of another kind, or an address that cannot be one.
        MissingExtraError: it lies on object storage, and ``wordframe[cloud]`` is not installed.
    """
    if not isinstance(where, (str, Path)):
        return where
    address = parse_address(where, "a library lies in a folder", LibraryError)
    if address is None:
        from wordframe.library._local import LocalFolder

        return LocalFolder(Path(os.path.abspath(Path(where).expanduser())))
    from wordframe.library._object_store import ObjectPrefix

    return ObjectPrefix(address, options_of_environment(LibraryError) | dict(storage_options or {}))


def local_folder(where: str | Path | Place, doing: str) -> Path:
    """The folder of a library, for what only a folder can have.

    Raises:
        LibraryError: it lies on object storage; ``doing`` says what is not done there.
    """
    from wordframe.library._local import LocalFolder

    place = place_of(where)
    if isinstance(place, LocalFolder):
        return place.folder
    raise LibraryError(f"{place}: {doing}")
