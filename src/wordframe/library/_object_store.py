"""A library at a prefix on object storage: small files as objects, and a lease that keeps writers apart.

An object is written whole, is there for all who read after that, and lasts: so there are no copies of small files, no
digests and nothing to sync. What a folder's lock does is done by a lease (``_lease.py``); a fence makes it safe. Before
each commit a writer takes the newest version of the table and then asks whether the lease is still its own. Who takes
the lease of one that did not give it up first commits to every table a restoring of what it holds anyway, and Lance
refuses what was begun before such a commit and comes after it. So a writer that slept through the end of its lease
cannot commit, whatever the clocks say; only when a lease has ended is told by clocks, which must roughly agree.

Neighbours: ``_place.py`` is what a place must do, ``wordframe.object_storage`` opens the store.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from typing import Any

from wordframe.errors import LibraryError
from wordframe.library._lease import LEASE_NAME, Lease, Tag
from wordframe.library._place import IN_A_STORE
from wordframe.object_storage import explain, open_store, options_for_lance, put_if, told

LEASE_SECONDS = "WORDFRAME_LEASE_SECONDS"
"""The variable that says after how long a lease ends that is not renewed; all writers of a library say the same."""
_LEASE_SECONDS = 30.0


class ObjectPrefix:
    """The place of a library that is a prefix, such as ``s3://bucket/films``.

    Raises:
        LibraryError: from every method, in one line without credentials, if the store cannot be reached or says no.
    """

    beat_seconds = 5.0

    def __init__(self, address: str, options: dict[str, str]) -> None:
        self._address, self._options = address, options
        self._lease: Lease | None = None
        # at once, so that a missing obstore or an option that is none is told before anything is done
        self._store = open_store(address, "a library on object storage", LibraryError, options)

    def __str__(self) -> str:
        return self._address

    @property
    def name(self) -> str:
        """The last part of the prefix."""
        return self._address.rpartition("/")[2]

    @property
    def tables(self) -> str:
        """Where LanceDB's tables lie."""
        return f"{self._address}/tables"

    @property
    def storage_options(self) -> dict[str, str]:
        """See ``Place``."""
        return options_for_lance(self._address, self._options)

    def _told(self) -> contextlib.AbstractContextManager[None]:
        return told(self, LibraryError)

    # Small files -----------------------------------------------------------------------------------------------------

    def read(self, name: str) -> str:
        """See ``Place``."""
        with self._told():
            return bytes(self._store.get(name).bytes()).decode("utf-8")

    def read_copy(self, name: str) -> None:
        """See ``Place``; there are none."""

    def write(self, name: str, text: str, *, copied: bool = True) -> None:
        """See ``Place``."""
        with self._told():
            self._store.put(name, text.encode("utf-8"), use_multipart=False)

    def make(self, name: str, text: str) -> None:
        """See ``Place``."""
        with self._told():
            listing = self._store.list_with_delimiter()
        found = [*(entry["path"] for entry in listing["objects"]), *listing["common_prefixes"]]
        strangers = [path for path in found if path != LEASE_NAME]
        if strangers:
            raise LibraryError(f"{self}: holds {strangers[0]!r} but no library; name a new prefix with --library")
        if self.swap(name, text, None) is None:
            raise LibraryError(f"{self}: another run of wordframe made a library here just now; run it again")

    def num_bytes(self) -> int:
        """See ``Place``."""
        with self._told():
            return sum(entry["size"] for page in self._store.list() for entry in page)

    # Who may write ---------------------------------------------------------------------------------------------------

    def read_tagged(self, name: str) -> tuple[str, Tag] | None:
        """The text of an object and the tag of this text; None if it is not there."""
        try:
            with self._told():
                found = self._store.get(name)
                return bytes(found.bytes()).decode("utf-8"), _tag(found.meta)
        except FileNotFoundError:
            return None

    def swap(self, name: str, text: str, tag: Tag | None) -> Tag | None:
        """Write an object if it is as ``tag`` says (None: not there); gives the new tag, or None if it was not so."""
        with self._told():
            answer = put_if(self._store, name, text.encode("utf-8"), tag)
        return None if answer is None else _tag(answer)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """See ``Place``."""
        lease = Lease(self, float(os.environ.get(LEASE_SECONDS) or _LEASE_SECONDS))
        with lease.held(on_taken_over=self._fence):
            self._lease = lease
            try:
                yield
            finally:
                self._lease = None

    def _fence(self) -> None:
        """Make every commit fail that was begun before."""
        from wordframe.library._store import restore_all

        restore_all(self)

    @contextlib.contextmanager
    def commit(self, table: Any | None) -> Iterator[None]:
        """See ``Place``: the lease is asked for after the table's version was taken, and not before."""
        lease = self._lease
        if lease is None:  # a program's mistake; not a RuntimeError, which would be taken for LanceDB's
            raise AssertionError(f"{self}: a commit without the lease; do it within Library.locked()")
        lease.check()
        try:
            yield
        except Exception:
            lease.check()  # if that is why, it says so
            raise

    def state(self, tables: Collection[str]) -> object:
        """See ``Place``: a listing is a request as opening is."""
        return None

    def settle(self) -> None:
        """See ``Place``; nothing is ever put in the place of another here."""

    def explain(self, text: str) -> str | None:
        """See ``Place``; never the text itself, in which a store may quote what it was sent."""
        return explain(text) or f"the object store failed, or they are damaged; run it again, or {IN_A_STORE}"


def _tag(found: Any) -> Tag:
    """What a conditional write takes of an answer."""
    return {name: found[name] for name in ("e_tag", "version") if found.get(name) is not None}
