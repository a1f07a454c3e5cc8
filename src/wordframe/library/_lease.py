"""A lease: who writes into a library on object storage, in one small object that is only ever changed conditionally.

``lease.json`` names the holder and until when. It is taken by a conditional write (of many that try, the store lets one
through), renewed by a thread as long as the holder lives, given up at the end, and may be taken by another when it has
not been renewed in time. Whether it has is told by clocks, which must roughly agree; nothing but the waiting depends on
them (``_object_store.py`` says why).
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from wordframe.disk import one_line
from wordframe.errors import LibraryError

LEASE_NAME = "lease.json"
_RENEWALS = 3
"""So many in the time that a lease lasts."""
Tag = dict[str, str]
"""Names one content of an object, for a conditional write."""


class Conditional(Protocol):
    """A store of objects that writes conditionally; see ``ObjectPrefix``."""

    def read_tagged(self, name: str) -> tuple[str, Tag] | None: ...
    def swap(self, name: str, text: str, tag: Tag | None) -> Tag | None: ...


class Lease:
    """The lease on one library, as one writer sees it. ``seconds``: how long it lasts if it is not renewed."""

    def __init__(self, place: Conditional, seconds: float) -> None:
        self._place, self._seconds = place, seconds
        self._id = uuid.uuid4().hex
        self._tag: Tag | None = None
        self._over = threading.Event()

    @contextlib.contextmanager
    def held(self, *, on_taken_over: Callable[[], None]) -> Iterator[None]:
        """Hold the lease within the block.

        Args:
            on_taken_over: called first where the holder before did not give it up.

        Raises:
            LibraryError: another holds it; or at the end of the block, another holds it by now.
        """
        was_given_up = self._take()
        renewing = threading.Thread(target=self._renew, name="lease", daemon=True)
        renewing.start()
        try:
            if not was_given_up:
                on_taken_over()
        except BaseException:  # it runs out by itself, so that the next one does it again
            self._end(renewing)
            raise
        try:
            yield
        except BaseException:
            self._end(renewing)
            with contextlib.suppress(LibraryError):  # what the block says is the reason
                self._give_up()
            raise
        self._end(renewing)
        self._give_up()

    def check(self) -> None:
        """Raise LibraryError unless the lease is still ours, whatever the clock says."""
        found = self._read()
        if found is None or found["id"] != self._id:
            raise LibraryError(
                f"{self._place}: {_holder(found or {})} took over the writing, since this run was silent for longer "
                f"than {self._seconds:g} s; what it had not committed is not kept, run it again"
            )

    def _take(self) -> bool:
        """Take it, or raise; gives whether the holder before had given it up."""
        found = self._place.read_tagged(LEASE_NAME)
        before = {} if found is None else _parsed(found[0])
        given_up = found is None or before.get("until") == 0
        if given_up or before.get("until", 0) < time.time():
            self._tag = self._place.swap(LEASE_NAME, self._text(), None if found is None else found[1])
            if self._tag is not None or self._is_ours():
                return given_up
            before = self._read() or {}
        raise LibraryError(
            f"{self._place}: another run of wordframe ({_holder(before)}) is writing; wait until it has ended "
            f"(of one that was killed, {self._seconds:g} s)"
        )

    def _is_ours(self) -> bool:
        """Whether a write that the store refused was done after all, its answer lost and tried again on the way."""
        found = self._place.read_tagged(LEASE_NAME)
        if found is None or _parsed(found[0]).get("id") != self._id:
            return False
        self._tag = found[1]
        return True

    def _renew(self) -> None:
        while not self._over.wait(self._seconds / _RENEWALS):
            with contextlib.suppress(LibraryError):  # a store that is away: tried again, and each commit asks itself
                tag = self._place.swap(LEASE_NAME, self._text(), self._tag)
                if tag is None and not self._is_ours():
                    return
                self._tag = self._tag if tag is None else tag

    def _end(self, renewing: threading.Thread) -> None:
        self._over.set()
        renewing.join()

    def _give_up(self) -> None:
        if self._place.swap(LEASE_NAME, self._text(until=0), self._tag) is None:
            self.check()  # raises, unless the answer to an earlier write was lost
            if self._is_ours():
                self._place.swap(LEASE_NAME, self._text(until=0), self._tag)

    def _read(self) -> dict[str, Any] | None:
        found = self._place.read_tagged(LEASE_NAME)
        return None if found is None else _parsed(found[0])

    def _text(self, until: float | None = None) -> str:
        ends = time.time() + self._seconds if until is None else until
        return json.dumps({"id": self._id, "process": os.getpid(), "machine": platform.node(), "until": ends})


def _parsed(text: str) -> dict[str, Any]:
    """What the object says; one that is damaged is as one that ran out."""
    with contextlib.suppress(ValueError, RecursionError):
        values = json.loads(text)
        if isinstance(values, dict) and isinstance(values.get("until"), (int, float)):
            return {"id": "", **values}
    return {"id": ""}


def _holder(values: dict[str, Any]) -> str:
    return one_line(f"process {values.get('process', 'unknown')} on {values.get('machine', 'another machine')}"[:100])
