"""Who does the work of a run: this process alone, or others (``_ray.py``). Who plans and commits does not know which.

An executor hands out what became of each file, or of each block of segments for a model; the plan, the commits, the
summary and the status are the indexer's, and those of ``_preparing.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from wordframe.cores import usable_cores
from wordframe.library._claims import Claims

if TYPE_CHECKING:
    from wordframe.library._fragments import TablePlace
    from wordframe.library._lance_index import IndexPart
    from wordframe.library._preparing import Block, Made, Preparing
    from wordframe.library._reading import Event, Settings, VideoJob


class Executor(Protocol):
    """Reads videos, somewhere, and makes what models keep of them.

    writes_fragments: the rows lie beside the table when it tells of them.
    """

    writes_fragments: bool

    def read(
        self, jobs: Sequence[VideoJob], settings: Settings, table: TablePlace, should_stop: Callable[[], bool]
    ) -> Generator[Event, None, None]:
        """What becomes of each file, in any order: one ``Done``, ``Failed`` or ``Twin`` each.

        Args:
            table: where the segments lie, for whoever writes rows beside the table that will hold them.
            should_stop: True ends the iteration early, in order: what is whole comes, the rest does not.
        """
        ...

    def prepare(
        self, blocks: Sequence[Block], asked: Preparing, should_stop: Callable[[], bool]
    ) -> Generator[Made, None, None]:
        """The rows of each block, in any order."""
        ...

    def make_index(self, parts: Sequence[IndexPart]) -> list[Any]:
        """Parts of an index on disk, in the order in which they are given."""
        ...


class LocalExecutor:
    """Reads in this process, on all cores that it may use."""

    writes_fragments = False

    def read(
        self, jobs: Sequence[VideoJob], settings: Settings, table: TablePlace, should_stop: Callable[[], bool]
    ) -> Generator[Event, None, None]:
        from wordframe.library._reading import read_videos  # brings the decoder

        return read_videos(jobs, settings, claim=Claims().claim, should_stop=should_stop, cores=usable_cores())

    def prepare(
        self, blocks: Sequence[Block], asked: Preparing, should_stop: Callable[[], bool]
    ) -> Generator[Made, None, None]:
        from wordframe.library._preparing import prepare_blocks

        return prepare_blocks(blocks, asked, should_stop)

    def make_index(self, parts: Sequence[IndexPart]) -> list[Any]:
        from wordframe.library._lance_index import make_parts_here

        return make_parts_here(parts)
