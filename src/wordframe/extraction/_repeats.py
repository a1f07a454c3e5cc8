"""Which frames of a video hardly differ from the last one that was encoded, so that they can take its feature.

That is asked of the part of a picture that the encoder looks at. A keepsake goes with the feature, so at the sides that
no encoder sees it may show what was there a few seconds before.

Slides, screens, fixed cameras: most frames of such videos show what is already encoded. Two pictures are compared by
their means over blocks of 8 × 8 pixels, ``a`` of the one that was encoded and ``b`` of the new one, all three colours.
``b`` hardly differs if over all blocks

    sqrt(mean (a - b)²) ≤ std(a) / 25     and     max |a - b| ≤ std(a) / 4,

both shares of the contrast of what was encoded (``std`` over blocks, mean of the colours): in a dark or foggy picture a
few levels are all there is to see. The maximum is what keeps small things that move, which often are what a video is
about; the mean is what keeps slow changes of light. Blocks, because a sensor's noise is gone in a block's mean.
The constants come from ``benchmarks/reuse.py``. Neighbour: ``pipeline.py`` asks this of each decoded frame.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from wordframe.video import Frame, block_means

_BLOCK = 8
_MEAN_SHARE, _MAX_SHARE = 1 / 25, 1 / 4
_LONGEST_SECONDS = 60.0
"""So long one feature may stand for frames that hardly differ; then the next is encoded, whatever it shows. A picture
that the file itself shows on is the same for as long as it lasts."""


class Repeats:
    """Tells frame by frame of one video whether it hardly differs from the last one that did.

    Never from the frame just before: a slow drift would add up. What it says depends on the pictures alone.

    Args:
        region: rows and columns of a picture of a height and width that count; all, if not given.
    """

    def __init__(self, region: Callable[[int, int], tuple[slice, slice]] | None = None) -> None:
        self._region = region
        self._last: Frame | None = None
        self._blocks = np.zeros((0, 0, 3), np.float32)  # of the last

    def is_repeat(self, frame: Frame) -> bool:
        """Whether ``frame`` hardly differs from the last for which this was False; that one is compared with next."""
        if self._last is not None and frame.rgb is self._last.rgb:  # one picture, still shown
            return True
        blocks = self._means(frame.rgb)
        is_soon = self._last is not None and frame.seconds - self._last.seconds <= _LONGEST_SECONDS
        if is_soon and _is_near(self._blocks, blocks):
            return True
        self._last, self._blocks = frame, blocks
        return False

    def _means(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """``(rows, columns, 3)`` means of the blocks."""
        if self._region is not None:
            rgb = rgb[self._region(*rgb.shape[:2])]
        return block_means(rgb, _BLOCK)


def _is_near(before: NDArray[np.float32], after: NDArray[np.float32]) -> bool:
    """Whether the second picture hardly differs from the first, by their blocks ``(rows, columns, 3)``."""
    difference, contrast = after - before, float(before.std(axis=(0, 1)).mean())
    # without contrast the bounds are 0: an even picture repeats only if nothing at all changed
    return bool(
        np.abs(difference).max() <= _MAX_SHARE * contrast
        and np.sqrt(np.square(difference).mean()) <= _MEAN_SHARE * contrast
    )
