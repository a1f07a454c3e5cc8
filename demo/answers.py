"""What a search answered, held against where the subject is really seen.

The right video: the first hit's file shows the subject. The right moment: what the first hit marks and one true scene
overlap by at least half of their union (the usual "R@1, IoU 0.5" of moment retrieval). Files that show one thing from
start to end have no moment to find and are not counted there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from films import Place, places
from queries import Query

from wordframe.search import Hit

ENOUGH_OVERLAP = 0.5


def overlap(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Shared length of two stretches by the length of their union.

    >>> overlap((0, 4), (2, 6)), overlap((0, 1), (2, 3))
    (0.3333333333333333, 0.0)
    """
    shared = max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
    return shared / max(one[1] - one[0] + other[1] - other[0] - shared, 1e-9)


@dataclass(frozen=True)
class Answer:
    """A query, where its subject is seen, and the hits, best first."""

    query: Query
    truth: tuple[Place, ...]
    hits: tuple[Hit, ...]

    @classmethod
    def of(cls, query: Query, hits: Sequence[Hit]) -> Answer:
        """Look up the truth of ``query``."""
        return cls(query, tuple(places(query.subject)), tuple(hits))

    def scenes_in(self, hit: Hit) -> list[Place]:
        """Where the hit's file shows the subject."""
        return [place for place in self.truth if place.file == Path(hit.path).name]

    @property
    def right_video(self) -> bool:
        """Whether the first hit's file shows the subject."""
        return bool(self.hits and self.scenes_in(self.hits[0]))

    @property
    def right_moment(self) -> bool | None:
        """Whether the first hit also marks the scene; None where the subject fills a file of its own."""
        if any(place.whole for place in self.truth):
            return None
        return self.right_video and any(
            overlap((self.hits[0].start_seconds, self.hits[0].end_seconds), (place.start_seconds, place.end_seconds))
            >= ENOUGH_OVERLAP
            for place in self.scenes_in(self.hits[0])
        )

    @property
    def verdict(self) -> str:
        """The two judgements in words."""
        if not self.right_video:
            return "another video came first"
        return {None: "right video", True: "right video, right moment", False: "right video, wrong moment"}[
            self.right_moment
        ]


def count(answers: Sequence[Answer]) -> str:
    """How many came out right, in one line."""
    with_moment = [answer for answer in answers if answer.right_moment is not None]
    return (
        f"{sum(answer.right_video for answer in answers)} of {len(answers)} queries: right video first; "
        f"{sum(answer.right_moment is True for answer in with_moment)} of the {len(with_moment)} "
        "that ask for one scene of several: right moment."
    )
