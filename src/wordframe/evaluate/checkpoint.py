"""State of a long run in a folder, so that it goes on where it stopped: written whole or not at all, for one run only.

``ranking.py`` and ``ranker.py`` keep their state here. The file is replaced in one step: a run that is cut short at any
moment, by loss of power too, leaves the state before or the state after, never a part.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wordframe.disk import replacing
from wordframe.errors import WordframeError

Arrays = dict[str, NDArray[Any]]


class OtherRunError(WordframeError, ValueError):
    """A folder that holds the state of another run."""


class Checkpoint:
    """One run's state.

    Args:
        folder: made if it is not there.
        run: what makes the run this one (sizes, fingerprints); a state of another run is refused.
        every_seconds: least time between two writes.
    """

    def __init__(self, folder: str | Path, run: Mapping[str, str | int], *, every_seconds: float = 30.0) -> None:
        self.path = Path(folder) / "state.npz"
        self.run = dict(run)
        self.every_seconds = every_seconds
        self._last = time.monotonic()

    def load(self) -> Arrays | None:
        """The state of the last write, or None where there is none.

        Raises:
            OtherRunError: the folder belongs to another run.
        """
        if not self.path.exists():
            return None
        with np.load(self.path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        run = json.loads(str(arrays.pop("run")))
        if run != self.run:
            differing = sorted(name for name in {*run, *self.run} if run.get(name) != self.run.get(name))
            raise OtherRunError(
                f"{self.path.parent} holds the state of another run: {', '.join(differing)} differ; "
                "choose another folder, or delete this one"
            )
        return arrays

    def due(self) -> bool:
        """Whether it is time to write again."""
        return time.monotonic() - self._last >= self.every_seconds

    def save(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write the state in place of the one before."""
        with replacing(self.path) as part:
            np.savez(part, allow_pickle=False, run=np.array(json.dumps(self.run)), **arrays)
        self._last = time.monotonic()


def digest(*tensors: Tensor) -> str:
    """Short hash of the tensors' numbers and shapes."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(str((tensor.dtype, tuple(tensor.shape))).encode())
        # flatten first: a number alone (no axes) cannot be looked at as bytes
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]
