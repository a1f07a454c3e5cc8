"""From video files to frame features: decoding and encoding at the same time, for many files or one long one."""

from wordframe.extraction.pipeline import Chunk, Failure, Job, extract

__all__ = ["Chunk", "Failure", "Job", "extract"]
