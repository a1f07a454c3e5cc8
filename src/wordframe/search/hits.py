"""What a search returns: one hit a video, with its best moments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from wordframe.search.explain import Reasons


@dataclass(frozen=True)
class Moment:
    """A part ``[start_seconds, end_seconds)`` of a video that answers the query.

    peak_seconds: the frame that answers it most.
    """

    segment_id: str
    start_seconds: float
    end_seconds: float
    peak_seconds: float
    score: float


@dataclass(frozen=True)
class Hit:
    """One video; ``start_seconds``, ``end_seconds`` and ``score`` are those of its best moment, ``moments[0]``.

    explanation: why that moment fits, if it was asked for.
    """

    rank: int
    score: float
    path: str
    video_id: str
    start_seconds: float
    end_seconds: float
    duration_seconds: float
    moments: tuple[Moment, ...]
    explanation: Reasons | None = None

    def with_peaks(self, peaks: Mapping[str, float]) -> Hit:
        """The same hit with the ``peak_seconds`` of its moments, by their segments."""
        return replace(self, moments=tuple(replace(m, peak_seconds=peaks[m.segment_id]) for m in self.moments))

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and strings, times rounded to milliseconds."""
        told = {
            "rank": self.rank,
            "score": round(self.score, 6),
            "path": self.path,
            "start_seconds": round(self.start_seconds, 3),
            "end_seconds": round(self.end_seconds, 3),
            "video_id": self.video_id,
            "duration_seconds": round(self.duration_seconds, 3),
            "moments": [
                {
                    "segment_id": m.segment_id,
                    "start_seconds": round(m.start_seconds, 3),
                    "end_seconds": round(m.end_seconds, 3),
                    "peak_seconds": round(m.peak_seconds, 3),
                    "score": round(m.score, 6),
                }
                for m in self.moments
            ],
        }
        return told if self.explanation is None else told | {"explanation": self.explanation.to_json()}


def group_by_video(rows: Sequence[Mapping[str, Any]], *, top: int, moments: int) -> list[Hit]:
    """Hits from scored segments: videos by their best segment; ties by path, then time.

    Args:
        rows: per segment ``segment_id, video_id, path, duration_seconds, start_seconds, end_seconds, score``. Until
            ``with_peaks``, the peak of a moment is its start.
    """
    ordered = sorted(rows, key=lambda row: (-row["score"], row["path"], row["start_seconds"]))
    by_video: dict[str, list[Mapping[str, Any]]] = {}
    for row in ordered:
        by_video.setdefault(row["video_id"], []).append(row)
    return [_hit(rank, segments, moments) for rank, segments in enumerate(list(by_video.values())[:top], start=1)]


def _hit(rank: int, segments: Sequence[Mapping[str, Any]], moments: int) -> Hit:
    kept: list[Moment] = []
    for row in segments:
        moment = Moment(row["segment_id"], row["start_seconds"], row["end_seconds"], row["start_seconds"], row["score"])
        if not any(_mostly_same(moment, other) for other in kept):
            kept.append(moment)
        if len(kept) == moments:
            break
    best, row = kept[0], segments[0]
    return Hit(
        rank,
        best.score,
        row["path"],
        row["video_id"],
        best.start_seconds,
        best.end_seconds,
        row["duration_seconds"],
        tuple(kept),
    )


def _mostly_same(one: Moment, other: Moment) -> bool:
    """Whether the shorter of two overlapping windows lies half or more in the other."""
    shared = min(one.end_seconds, other.end_seconds) - max(one.start_seconds, other.start_seconds)
    shorter = min(one.end_seconds - one.start_seconds, other.end_seconds - other.start_seconds)
    return shared > 0 and shared >= 0.5 * shorter
