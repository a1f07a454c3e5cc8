"""Encoders: sentences and frames into one space. ``load_encoder`` is the door, ``base.py`` the contract."""

from wordframe.encoders.base import Encoder, RgbFrames
from wordframe.encoders.load import load_encoder

__all__ = ["Encoder", "RgbFrames", "load_encoder"]
