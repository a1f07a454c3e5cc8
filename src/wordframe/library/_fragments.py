"""Rows that are written by many and committed by one: Lance's fragments.

A worker writes its rows as files beside the table (``write_rows``); nobody sees them until the one who holds the
library's lock makes them a part of the table (``commit_fragments``). This is Lance's own interface, which LanceDB does
not pass on: the extra ``ray`` brings it.
"""

from __future__ import annotations

import datetime
import re
import socket
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from wordframe import __version__
from wordframe.addresses import is_address
from wordframe.disk import one_line
from wordframe.errors import LibraryError, needs_extra
from wordframe.library._rows import SEGMENT_SCHEMA
from wordframe.library._vectors import as_stored

_RUST_PLACE = re.compile(r"lance error: |LanceError\(\w+\): |,? ?/\S+\.rs:\d+(:\d+)?")
_KEPT_VERSIONS = datetime.timedelta(hours=1)


@dataclass(frozen=True)
class TablePlace:
    """Where a Lance table lies, and what its store wants to know.

    wordframe_version: that of the machine which commits.
    """

    uri: str
    storage_options: Mapping[str, str] | None = None
    wordframe_version: str = __version__

    def open(self, version: int | None = None) -> Any:
        """Lance's data set, at its newest version or at another.

        Raises:
            MissingExtraError: Lance's own package is not installed.
        """
        with needs_extra("ray", "writing from many machines"):
            import lance
        options = None if self.storage_options is None else dict(self.storage_options)
        return lance.dataset(self.uri, version=version, storage_options=options)


def without_rust_place(error: BaseException) -> str:
    """What Lance says, in one line, but for where in its own code it arose, which tells a user nothing.

    >>> without_rust_place(OSError("Not found: a.lance, /build/lance/src/io/commit.rs:653:26"))
    'Not found: a.lance'
    """
    return _RUST_PLACE.sub("", " ".join(str(error).split()))


def need_table(place: TablePlace) -> None:
    """Look for the table from a machine that is to write beside it.

    Raises:
        LibraryError: it cannot be read here, or what is here would make other rows.
    """
    if place.wordframe_version != __version__:
        raise LibraryError(
            f"{socket.gethostname()} has wordframe {__version__}, and the machine that commits "
            f"{place.wordframe_version}; give all machines the same version"
        )
    try:
        place.open()
    except (OSError, ValueError) as error:
        raise LibraryError(
            f"{one_line(place.uri)} cannot be read on {socket.gethostname()}: a library must be at the same path on "
            f"all machines, and those of a store need its credentials ({one_line(without_rust_place(error))})"
        ) from None


def write_rows(place: TablePlace, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Write segments beside the table, as fragments that ``commit_fragments`` takes; they can be pickled."""
    dataset = place.open()
    return _write(dataset, as_stored(pa.Table.from_pylist(list(rows), schema=SEGMENT_SCHEMA), dataset))


def write_table(place: TablePlace, rows: pa.Table) -> list[Any]:
    """Write rows with all columns of another table beside it, as ``write_rows`` does."""
    return _write(place.open(), rows)


def _write(dataset: Any, rows: pa.Table) -> list[Any]:
    from lance.fragment import write_fragments

    # told the table and not its address, so that the files are of the version and the field numbers it has
    fragments: list[Any] = write_fragments(rows, dataset, mode="append")
    return fragments


def commit_fragments(dataset: Any, fragments: Sequence[Any], replaced: str | None) -> None:
    """Make fragments a part of the table and remove the rows that ``replaced`` (SQL) lets through, in one commit.

    Args:
        dataset: as ``TablePlace.open`` gives it, opened before it was asked who may write.

    Raises:
        LibraryError: files of a fragment are not there.
    """
    from lance import LanceOperation

    need_files(dataset.uri, [f"data/{file.path}" for fragment in fragments for file in fragment.files])
    operation: Any
    if replaced is None:
        operation = LanceOperation.Append(list(fragments))
    else:
        removed, updated = _without(dataset, replaced)
        operation = LanceOperation.Update(
            removed_fragment_ids=removed, updated_fragments=updated, new_fragments=list(fragments)
        )
    dataset.commit(dataset, operation, read_version=dataset.version)


def need_files(uri: str, paths: Iterable[str]) -> None:
    """Look for what others wrote beside a table: a machine that has another folder at the library's path writes there,
    and says that all is well.

    Raises:
        LibraryError: a file is not there.
    """
    if is_address(uri):  # of a store there is one
        return
    if not all((Path(uri) / path).exists() for path in paths):
        raise LibraryError(
            f"{one_line(uri)}: what another machine wrote is not here, so its folder of this name is another; give all "
            "machines the same one, by a network file system or object storage"
        )


def _without(dataset: Any, condition: str) -> tuple[list[int], list[Any]]:
    """Fragments that the condition empties, by number, and what it leaves of others."""
    addresses = dataset.to_table(columns=["video_id"], filter=condition, with_row_address=True)["_rowaddr"].to_numpy()
    removed, updated = [], []
    for number in Counter((addresses.astype(np.uint64) >> np.uint64(32)).tolist()):
        left = dataset.get_fragment(int(number)).delete(condition)
        if left is None:
            removed.append(int(number))
        else:
            updated.append(left)
    return removed, updated


def drop_unfinished(place: TablePlace) -> None:
    """Remove all files that no version names, and versions older than an hour; only while nobody else writes."""
    place.open().cleanup_old_versions(older_than=_KEPT_VERSIONS, delete_unverified=True)
