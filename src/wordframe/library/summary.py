"""What an indexing run tells: progress while it runs, a summary at its end."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """How far a run is. Bytes are those of the files that must be read; frames are encoded frames.

    failed: path and reason of the files that could not be read.
    """

    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int
    frames: int
    seconds_of_video: float
    failed: dict[str, str] = field(default_factory=dict)


@dataclass
class IndexSummary:
    """What a run did, path by path.

    partly: indexed, but the file ends early or is damaged, with the reason; missing: in the library, their files gone;
    failed: could not be read, with the reason; known_failures: could not be read when they were last tried, and have
    not changed since.
    """

    indexed: list[str] = field(default_factory=list)
    partly: dict[str, str] = field(default_factory=dict)
    unchanged: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    copied: list[str] = field(default_factory=list)
    pruned: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    known_failures: dict[str, str] = field(default_factory=dict)
    frames: int = 0
    seconds_of_video: float = 0.0
    seconds_taken: float = 0.0
    interrupted: bool = False

    @property
    def videos_met(self) -> int:
        """How many videos the given paths hold, readable or not."""
        readable = (self.indexed, self.unchanged, self.moved, self.copied)
        return sum(map(len, readable)) + len(self.failed) + len(self.known_failures)
