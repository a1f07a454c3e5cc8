"""Stage one of a large library: an index on disk, in LanceDB, of one bit a number, read whole.

The exact scan of ``_vector_index.py`` holds one byte a number in memory, 1.5 GB a million segments, which is what a
library may grow to and no more. From ``LARGE_SEGMENTS`` on each row has its directions as numbers, too (``vectors``,
float16, one or more a segment), and over them lies an index of RaBitQ codes. They are compared all: where sentences and
pictures lie apart, looking into some partitions alone loses answers, and codes read whole do not. Then twice as many
rows as are wanted are compared exactly. Rows that came in since the index was brought up to date are compared exactly
beside it. How much is read stands with the column; ``wordframe doctor --recall`` measures and changes it.

Which of the two a library has is decided by its writer, when it tidies up: a reader looks whether the column is there.
With it come indexes over ids and what filters ask for, so that no look-up reads the whole table.
Neighbours: ``_store.py`` calls ``keep_indexes``; ``snapshot.py`` asks; ``_vectors.py`` makes the column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import pyarrow as pa
from lancedb.index import Bitmap, BTree, IvfRq
from numpy.typing import NDArray

from wordframe.addresses import is_address
from wordframe.library._fragments import TablePlace, need_files
from wordframe.library._vector_index import row_ids_of
from wordframe.library._vectors import VECTORS, is_large, vectors_type, with_vectors

LOOKED_UP_SEGMENTS = 10_000
"""From here on a look-up takes longer in the table than in an index."""
LARGE_SEGMENTS = 250_000
"""From here on codes in memory would take more than about 400 MB (three of 512 numbers a segment)."""
LOOSE_ROWS = 20_000
"""So many rows outside the index cost a search about as much as all the codes of a million segments."""
_FILLED_AT_ONCE = 4_000
"""Rows to be merged are held in memory by LanceDB, several times over and within 300 MB."""
_SEGMENTS_A_PARTITION = 25_000
"""Few partitions, since all are read: each costs a search something of its own."""
_SEGMENTS_A_PART = 1_000_000
"""A part of the index is what one shard of a server may have (``_shards.py``). It has at least a group of rows, and
merging makes groups of one to two million."""
_LOOK_UPS: Mapping[str, BTree | Bitmap] = {
    "segment_id": BTree(),
    "key": BTree(),
    "video_id": BTree(),
    "content_hash": BTree(),
    "path": BTree(),
    "duration_seconds": BTree(),
    "modified_ns": BTree(),
    "segment_index": Bitmap(),
}
_REFINES = ((5_000_000, 8), (1_500_000, 4))
"""From so many rows on so many times the wanted ones are compared exactly: of ten million made-up segments 96 % of the
exact answers are found so, where twice as many give 90."""
_SPARE = 1.25
_KEPT_UNDER, _GROUPS = b"wordframe.", b"wordframe.groups"


@dataclass(frozen=True)
class Effort:
    """How much a search reads. partitions: of the index, at most; refine: so many times the wanted rows are compared
    exactly, 1 for none."""

    partitions: int = 2**20
    refine: int = 2


def has_lance() -> bool:
    """Whether Lance's own package is installed, which gives a library an index on disk; reading one needs nothing."""
    return find_spec("lance") is not None


def lacks_index(table: Any) -> bool:
    """Whether a table has a size at which the index belongs on disk, and this install cannot make it."""
    return not (is_large(table) or has_lance()) and int(table.count_rows()) >= LARGE_SEGMENTS


class LanceIndex:
    """The index over a column at a table's version. Any number of threads may ask."""

    def __init__(self, table: Any, effort: Effort, column: str = VECTORS) -> None:
        self.table, self.effort, self._column = table, effort, column

    @property
    def num_partitions(self) -> int:
        """Of how many partitions it is, at most."""
        return _partitions(self.table.count_rows())

    def by(self, effort: Effort) -> LanceIndex:
        """The same, reading so much."""
        return LanceIndex(self.table, effort)

    def nearest(self, query: NDArray[np.float32], limit: int, where: str | None = None) -> list[int]:
        """Ids of the ``limit`` rows with the largest cosine of any of their vectors with ``query (D,)``, best first.

        Args:
            where: an SQL condition that they must pass; it is worked out first, so it does not thin them out.
        """
        look = self.table.search(query, vector_column_name=self._column).distance_type("cosine").limit(limit)
        look = look.nprobes(self.effort.partitions)
        if self.effort.refine > 1:
            look = look.refine_factor(self.effort.refine)
        if where is not None:
            look = look.where(where, prefilter=True)
        rows: list[int] = look.select(["_distance"]).with_row_id(True).to_arrow()["_rowid"].to_pylist()
        return rows


OpenIndex = Callable[[Any, Effort, str], LanceIndex]
"""Gives the index over a column of a table at its version."""


def rows_clause(row_ids: Sequence[int]) -> str:
    """An SQL condition: a row is one of these.

    >>> rows_clause([3, 5])
    '_rowid IN (3, 5)'
    """
    return f"_rowid IN ({', '.join(map(str, row_ids))})" if row_ids else "false"


def widened(look: Callable[[int], list[int]], size: int, share: float, most: int) -> list[int]:
    """The best ``size`` of what passes a test that an index cannot make, about a ``share`` of all.

    Args:
        look: gives those of the best so many that pass it, best first.
        most: how many there are in all.
    """
    limit = min(most, round(size / max(share, 1e-9) * _SPARE))
    while True:
        found = look(limit)
        if len(found) >= size or limit >= most:
            return found[:size]
        limit = min(most, 4 * limit)


# Kept with the library -----------------------------------------------------------------------------------------------


def effort_of(table: Any) -> Effort:
    """What was chosen for a table, or what its size asks for."""
    kept = table.schema.field(VECTORS).metadata or {}
    names = {name.removeprefix(_KEPT_UNDER).decode(): int(value) for name, value in kept.items() if _is_ours(name)}
    return Effort(**names) if names else usual_effort(table)


def usual_effort(table: Any) -> Effort:
    """What is read of a table of which nothing was measured. Among more rows more stand before the best by their codes
    alone; on a disk it costs little to compare these, too, and on object storage a request for nearly each."""
    if is_address(str(table.uri)):
        return Effort()
    rows = int(table.count_rows())
    return Effort(refine=next((refine for least, refine in _REFINES if rows >= least), Effort().refine))


def keep_effort(table: Any, effort: Effort) -> None:
    """Keep it with the column, for all who search from the next version on."""
    kept = {(_KEPT_UNDER + name.encode()).decode(): str(value) for name, value in asdict(effort).items()}
    table.update_field_metadata({"path": VECTORS, "metadata": kept})


def _is_ours(name: bytes) -> bool:
    return name.startswith(_KEPT_UNDER) and name != _GROUPS


def noted_groups(table: Any, column: str) -> int | None:
    """Up to which group of rows a column was seen to be complete: below that number; None where nobody noted it."""
    noted = (table.schema.field(column).metadata or {}).get(_GROUPS)
    return None if noted is None else int(noted)


def note_groups(table: Any, column: str, groups: int) -> None:
    """Note it, unless that is known."""
    if noted_groups(table, column) != groups:
        table.update_field_metadata({"path": column, "metadata": {_GROUPS.decode(): str(groups)}})


def rows_by_group(table: Any) -> dict[int, int]:
    """The file groups of a table by number, and how many rows each has: as Lance notes it, or counted without its
    package. New rows are always in groups with higher numbers; a row's id has its group's in the upper 32 bits."""
    if has_lance():
        return rows_of_data_set(table.to_lance())
    numbers, counts = np.unique(row_ids_of(table) >> 32, return_counts=True)
    return dict(zip(numbers.tolist(), counts.tolist(), strict=True))


def rows_of_data_set(data_set: Any) -> dict[int, int]:
    """The same, of a table as Lance's package opens it."""
    return {group.fragment_id: group.count_rows() for group in data_set.get_fragments()}


def num_groups(table: Any) -> int:
    """One more than the highest number of a table's file groups."""
    return max(rows_by_group(table), default=-1) + 1


# Writing -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class IndexPart:
    """A part of an index that is to be made, anywhere: over a column of some groups of rows of a table's version."""

    table: TablePlace
    version: int
    column: str
    groups: tuple[int, ...]
    num_rows: int


MakeParts = Callable[[Sequence[IndexPart]], list[Any]]
"""Makes parts of an index, in any order of time; what it gives for each can be pickled, and is committed together."""


def make_part(part: IndexPart) -> Any:
    """Make a part, as files beside the table that nobody sees before they are committed."""
    return part.table.open(part.version).create_index_uncommitted(
        part.column,
        "IVF_RQ",
        name=f"{part.column}_idx",
        metric="cosine",
        num_bits=1,
        num_partitions=_partitions(part.num_rows),
        fragment_ids=list(part.groups),
    )


def make_parts_here(parts: Sequence[IndexPart]) -> list[Any]:
    """Make them in this process, one after the other."""
    return [make_part(part) for part in parts]


def keep_indexes(table: Any, large_from: int, make_parts: MakeParts = make_parts_here) -> None:
    """Give a table the indexes that its size asks for, as far as it has them not."""
    count = table.count_rows()
    if count >= min(LOOKED_UP_SEGMENTS, large_from):
        make_look_ups(table)
    if is_large(table) or (count >= large_from and has_lance() and takes(_dimension(table))):
        make_large(table, make_parts)


def takes(dimension: int) -> bool:
    """Whether the index can be made over vectors of so many numbers: its codes are whole bytes of bits."""
    return dimension % 8 == 0


def _dimension(table: Any) -> int:
    """Of the features of a table of segments, which has some."""
    (row,) = table.search().select(["frames", "num_frames"]).limit(1).to_list()
    return len(row["frames"]) // (2 * int(row["num_frames"]))


def make_look_ups(table: Any) -> None:
    """Make the indexes over ids and what filters ask for that a table has not yet."""
    known = {config.columns[0] for config in table.list_indices()}
    for column, kind in _LOOK_UPS.items():
        if column in table.schema.names and column not in known:
            table.create_index(column, config=kind)


def index_vectors(table: Any, column: str, make_parts: MakeParts = make_parts_here) -> None:
    """Make the index over a column of vectors unless there is one: of one part, or of one for each so many rows."""
    if any(config.columns == [column] for config in table.list_indices()):
        return
    parts = _parts(rows_by_group(table)) if has_lance() else []
    if len(parts) < 2:
        config = IvfRq(distance_type="cosine", num_bits=1, num_partitions=_partitions(table.count_rows()))
        table.create_index(column, config=config)
        return
    place = TablePlace(table.uri, table.latest_storage_options())
    wanted = [IndexPart(place, int(table.version), column, tuple(part), sum(part.values())) for part in parts]
    made = make_parts(wanted)
    need_files(table.uri, [f"_indices/{part.uuid}/{file.path}" for part in made for file in part.files or ()])
    table.to_lance().commit_existing_index_segments(f"{column}_idx", column, made)
    table.checkout_latest()


def _parts(groups: Mapping[int, int]) -> list[dict[int, int]]:
    """Groups of rows, by number, in parts of at most ``_SEGMENTS_A_PART`` rows, or of one group."""
    parts: list[dict[int, int]] = []
    for number, rows in groups.items():
        if not parts or sum(parts[-1].values()) + rows > _SEGMENTS_A_PART:
            parts.append({})
        parts[-1][number] = rows
    return parts


def make_large(table: Any, make_parts: MakeParts = make_parts_here) -> None:
    """Give a table the index on disk, as far as it is missing. What was cut short goes on from there."""
    if not is_large(table):
        _add_vectors(table)
    _fill(table)
    index_vectors(table, VECTORS, make_parts)


def _partitions(rows: int) -> int:
    return max(1, int(rows) // _SEGMENTS_A_PARTITION)


def _add_vectors(table: Any) -> None:
    """Write the column beside the others, in one commit: no row moves, and a reader sees all vectors or none."""
    from lance import batch_udf  # LanceDB itself fills a new column only by writing all others again

    type_ = vectors_type(_dimension(table))

    @batch_udf(output_schema=pa.schema([pa.field(VECTORS, type_)]))  # type: ignore[untyped-decorator]
    def vectors(batch: pa.RecordBatch) -> pa.RecordBatch:
        made = with_vectors(pa.Table.from_batches([batch]), type_).select([VECTORS]).combine_chunks()
        return made.to_batches()[0]

    table.to_lance().add_columns(vectors, read_columns=["centroids"], batch_size=_FILLED_AT_ONCE)
    table.checkout_latest()


def _fill(table: Any) -> None:
    """Make the vectors of rows that came without, from a writer that knows nothing of them. Rows are looked at once."""
    first = (noted_groups(table, VECTORS) or 0) << 32
    looked_at = table.search().where(f"_rowid >= {first}").select([VECTORS]).with_row_id(True)
    rows = [row for batch in looked_at.to_batches(_FILLED_AT_ONCE) for row in _without_vectors(batch)]
    type_ = table.schema.field(VECTORS).type
    for start in range(0, len(rows), _FILLED_AT_ONCE):
        some = rows[start : start + _FILLED_AT_ONCE]
        cells = table.take_row_ids(some).select(["segment_id", "centroids"]).to_arrow()
        made = with_vectors(cells, type_).select(["segment_id", VECTORS])
        table.merge_insert("segment_id").when_matched_update_all().execute(made)
    note_groups(table, VECTORS, num_groups(table))


def _without_vectors(batch: pa.RecordBatch) -> list[int]:
    rows: list[int] = batch["_rowid"].filter(batch[VECTORS].is_null()).to_pylist()
    return rows
