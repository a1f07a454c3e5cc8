"""An encoder and videos small enough for tests: frames and sentences are colours.

``D`` = 6: red, green, blue and their opposites.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wordframe.encoders import Encoder, RgbFrames
from wordframe.features import TextFeatures

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
}


def _feature(rgb: Tensor) -> Tensor:
    """``(..., 3)`` in 0..1 → ``(..., 6)``."""
    return torch.cat([rgb, 1 - rgb], dim=-1) - 0.5


class ColourEncoder(Encoder):
    """Knows the words of ``COLOURS``; ``delay_seconds`` makes a batch take time."""

    def __init__(self, *, name: str = "colours", delay_seconds: float = 0.0, fingerprint: str = "colours-1") -> None:
        self.name = name
        self.dimension = 6
        self.short_side = 16
        self.max_words = 16
        self.frames_encoded = 0
        self._delay_seconds = delay_seconds
        self._fingerprint = fingerprint

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    def preprocess(self, frames: RgbFrames) -> Tensor:
        pixels = torch.tensor(frames).permute(0, 3, 1, 2).float() / 255
        return torch.nn.functional.adaptive_avg_pool2d(pixels, 4)

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        time.sleep(self._delay_seconds)
        self.frames_encoded += len(pixels)
        return _feature(pixels.mean(dim=(2, 3)))

    def encode_text(self, sentences: Sequence[str]) -> TextFeatures:
        rows = [[COLOURS[word] for word in sentence.split() if word in COLOURS] for sentence in sentences]
        longest = max(1, *map(len, rows))
        mask = torch.tensor([[True] * max(1, len(row)) + [False] * (longest - max(1, len(row))) for row in rows])
        words = torch.tensor([(row + [(128, 128, 128)] * longest)[:longest] for row in rows]) / 255
        features = _feature(words)
        sentence = (features * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        return TextFeatures(sentence, features, mask)


def write_scenes(path: Path, *scenes: tuple[str, float], rate: int = 10) -> Path:
    """A small video showing each colour for some seconds: ``write_scenes(path, ("red", 2), ("blue", 3))``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(os.fsdecode(path), "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for colour, seconds in scenes:
            rgb = np.broadcast_to(np.array(COLOURS[colour], np.uint8), (48, 64, 3)).copy()
            for _ in range(round(rate * seconds)):
                output.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        output.mux(stream.encode())
    return path


def plain_colour(colour: str) -> bytes:
    """A PNG of one of the colours."""
    content = io.BytesIO()
    Image.new("RGB", (64, 48), COLOURS[colour]).save(content, "PNG")
    return content.getvalue()
