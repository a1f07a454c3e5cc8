"""Encoders by name. Only the one asked for is imported."""

from __future__ import annotations

from typing import Any

from wordframe.encoders.base import Encoder
from wordframe.errors import EncoderError


def load_encoder(name: str = "offline", **options: Any) -> Encoder:
    """The encoder called ``name``: ``offline``, else a CLIP-type model.

    That goes by its short name in ``NAMED_ENCODERS``, by hub id (``@revision`` may follow), folder or OpenAI's ``.pt``
    file. A folder may also be one of our checkpoints that brings its own CLIP. Options of all: ``device`` and
    ``runtime`` (what encodes frames: ``auto``, ``torch``, ``openvino`` or ``openvino-bfloat16``); others are those of
    ``ClipEncoder.load``.

    Raises:
        EncoderError: it is not there, or its files cannot be read; the message says what to do.
    """
    if not name:
        raise EncoderError(
            "the encoder's name is empty; use 'offline', a short name (wordframe encoders), a hub id or a folder"
        )
    if name == "offline":
        from wordframe.encoders.offline import OfflineEncoder

        return OfflineEncoder(**options)
    from wordframe.encoders.clip import ClipEncoder

    return ClipEncoder.load(name, **options)
