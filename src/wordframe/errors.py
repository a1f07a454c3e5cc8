"""What wordframe raises on bad input: one clear line that says what, where and what to do.

The command line prints the line and ends with status 1; nothing else is caught there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

_SHOWN = 60


def counted(number: int, noun: str) -> str:
    """A number of things, for messages.

    >>> counted(1, "video"), counted(1037, "video")
    ('1 video', '1,037 videos')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


class WordframeError(Exception):
    """Something a user can mend. The message is complete by itself."""


def whole_text(text: str, what: str) -> str:
    """The same text, if each of its characters is whole.

    Python and JSON can hold halves of characters (lone surrogates), and a command line gives its bytes that are no
    UTF-8 as such. No encoder takes them, nor does anything that is sent.

    Raises:
        WordframeError: it names ``what``.

    >>> whole_text("a dog 🐕", "the query")
    'a dog 🐕'
    """
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise WordframeError(
            f"{what} {text[:_SHOWN]!a} holds half a character (a lone surrogate, or a byte that is no UTF-8); "
            "write it anew"
        )
    return text


class VideoError(WordframeError):
    """A file that cannot be read as a video."""


class DecoderError(WordframeError):
    """The process that decodes videos cannot be started: no video's fault."""


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


class RecipeError(WordframeError):
    """A recipe that cannot be read, or asks for what does not go together."""


class TrainingError(WordframeError):
    """A training run that cannot start in its folder, or cannot go on."""


class ProcessError(WordframeError):
    """One of several processes that cannot go on because another one cannot, or is gone."""


class MissingExtraError(WordframeError):
    """A part of wordframe whose libraries an install without its extra leaves out.

    >>> str(MissingExtraError("training", "train"))
    "training needs more than the core of wordframe; install it with: pip install 'wordframe[train]'"
    """

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs more than the core of wordframe; install it with: pip install 'wordframe[{extra}]'"
        )


EXTRAS = {
    "train": {"accelerate", "peft", "tensorboard"},
    "report": {"matplotlib"},
    "mcp": {"mcp"},
    "openvino": {"openvino"},
    "cloud": {"obstore"},
    "ray": {"lance", "ray"},
    "ray-serve": {
        *("aiohttp", "aiohttp_cors", "colorful", "google", "grpc", "grpc_reflection", "jinja2", "mmh3", "opencensus"),
        *("opentelemetry", "prometheus_client", "ray", "requests", "smart_open", "virtualenv", "watchfiles"),
    },
}
"""What each extra brings: the top-level packages whose absence it mends."""


@contextlib.contextmanager
def needs_extra(extra: str, feature: str) -> Iterator[None]:
    """Import what the extra brings within the block: ``with needs_extra("train", "wordframe train"): ...``.

    A missing module of no extra is a broken install, not a choice, and is raised as it is.

    Raises:
        MissingExtraError: a library of ``extra`` is not installed; it begins with ``feature``.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRAS[extra]:
            raise
        raise MissingExtraError(feature, extra) from error
