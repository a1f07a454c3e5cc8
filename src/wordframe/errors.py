"""What wordframe raises on bad input: one clear line that says what, where and what to do.

The command line prints the line and ends with status 1; nothing else is caught there.
"""


def counted(number: int, noun: str) -> str:
    """A number of things, for messages.

    >>> counted(1, "video"), counted(1037, "video")
    ('1 video', '1,037 videos')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


class WordframeError(Exception):
    """Something a user can mend. The message is complete by itself."""


class VideoError(WordframeError):
    """A file that cannot be read as a video."""


class LibraryError(WordframeError):
    """A library that cannot be opened, is in use by another indexer, or was made with other settings."""


class NotFoundError(WordframeError):
    """A video or a segment that a library does not hold, or no longer."""


class EncoderError(WordframeError):
    """An encoder that cannot be found or loaded."""


class CheckpointError(WordframeError):
    """A checkpoint that cannot be read or does not fit the model."""


class AnnotationError(WordframeError):
    """Captions or benchmark annotations that are missing or malformed."""
