"""Encoders: sentences and frames into one space. ``load_encoder`` is the door; ``base.py`` holds the contract."""

from wordframe.encoders.base import Encoder, RgbFrames, load_encoder

__all__ = ["Encoder", "RgbFrames", "load_encoder"]
