"""Videos, encoders and looks at libraries for the tests of many machines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psutil
from torch import Tensor

from tests.colours import COLOURS, ColourEncoder, write_scenes
from wordframe.library import Library

DEADLY = "magenta"


class DeadlyEncoder(ColourEncoder):
    """Kills its process, as a fault of a driver would, when it meets a frame of one colour."""

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        features = super().encode_pixels(pixels)
        if ((features[:, :3] > 0.3).int() == pixels.new_tensor([1, 0, 1]).int()).all(dim=1).any():
            os._exit(1)
        return features


def write_videos(folder: Path, count: int) -> Path:
    """Short videos of two colours each, none of them ``DEADLY``, no two alike."""
    names = [name for name in COLOURS if name != DEADLY]
    for number in range(count):
        scenes = (names[number % 7], 0.6 + 0.1 * (number // 7)), (names[(number * 3 + 1) % 7], 0.8)
        write_scenes(folder / f"{number:03d}.mp4", *scenes)
    return folder


def rows_of(library: Library) -> list[dict[str, Any]]:
    """All that the library holds of its videos, in an order of its own."""
    names = ["segment_id", "path", "size", "modified_ns", "content_hash", "duration_seconds", "num_segments"]
    names += ["segment_index", "start_seconds", "end_seconds", "num_frames", "frames", "seconds", "thumbnail"]
    return sorted(library.snapshot().select("true", names), key=lambda row: row["segment_id"])


def readers() -> list[psutil.Process]:
    """The processes of actors below this one that have begun to read: they have decoders."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::Reader") and process.children():
                found.append(process)
        except psutil.Error:  # it ended meanwhile
            continue
    return found
