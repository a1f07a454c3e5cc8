"""Training sets: numbered captions and videos that give batches of matching pairs.

Axes as in ``batch.py``. Which pairs come together, and in what order, is decided by ``training``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from wordframe.data.batch import Batch


class TrainingSet(Protocol):
    """Captions and their videos by number.

    video_of: the number of each caption's video; video_ids: the name of each video, to tell a person; dimension: ``D``
    of cached features, None where a backbone makes them; fingerprint: short hash of everything the batches depend on.
    """

    @property
    def video_of(self) -> Sequence[int]: ...

    @property
    def video_ids(self) -> Sequence[str]: ...

    @property
    def dimension(self) -> int | None: ...

    @property
    def fingerprint(self) -> str: ...

    def batch(self, captions: Sequence[int]) -> Batch:
        """The captions of these numbers with their videos, in this order. Called from worker threads."""
        ...
