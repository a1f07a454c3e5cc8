"""Decoded pictures as RGB that screens and encoders expect: the right matrix, standard range, and no combs.

A picture says how its numbers are meant, and where it says nothing the rule of players holds: the matrix of BT.709 for
what is larger than standard definition, that of BT.601 for the rest. High dynamic range (BT.2100: PQ and HLG, in the
primaries of BT.2020) becomes standard range: to light, to the primaries of BT.709, and to the code values of a screen
whose white is the reference white of 203 cd/m² (BT.2408); what is brighter is white. Where two fields of different
times lie in one picture, one of them is shown.
``benchmarks/colours.py`` measures what each costs. Neighbour: ``decode.py`` calls it for each picture that is wanted.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc, VideoReformatter
from numpy.typing import NDArray

_LARGEST_STANDARD_DEFINITION = (1279, 576)
_UNSPECIFIED = 2
REFERENCE_WHITE = 203.0  # cd/m²
_HLG_PEAK = 1000.0
_HLG_SYSTEM_GAMMA = 1.2
_SCREEN_GAMMA = 2.2
BT2020_TO_BT709 = np.array(
    [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]], np.float32
)
_BT2020_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)
_STEPS, _WHITE = 4096, 4080
"""Of 12 bits; the scaler's white is 65,283 in 16 bits, not 65,535."""
_HDR = frozenset({ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67})


class Rgb:
    """Turns the pictures of one video into RGB; it keeps the scaler between them.

    Raises:
        av.FFmpegError, ValueError: from a call, when pictures of this format cannot be converted.
    """

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._one_field: tuple[tuple[Any, ...], av.filter.Graph] | None = None

    def __call__(self, picture: av.VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
        """The picture scaled to ``(height, width, 3)`` uint8, scaled and converted in one step."""
        matrix = _assumed_matrix(picture)
        transfer = picture.color_trc
        wide = picture.color_primaries == ColorPrimaries.BT2020
        light = transfer in _HDR or (wide and not picture.format.is_rgb)
        if picture.interlaced_frame:
            picture = self._field(picture)
        # In one thread: the scaler's own would fight over the cores with the other videos' decoders.
        scaled = self._reformatter.reformat(
            picture,
            width,
            height,
            format="rgb48le" if light else "rgb24",
            src_colorspace=matrix,
            interpolation="BICUBIC",
            threads=1,
        )
        rgb: NDArray[Any] = scaled.to_ndarray()
        return _to_standard(rgb, transfer) if light else rgb

    def _field(self, picture: av.VideoFrame) -> av.VideoFrame:
        """The upper field: every other line, without a copy."""
        kind = (picture.width, picture.height, picture.format.name)
        if self._one_field is None or self._one_field[0] != kind:
            graph = av.filter.Graph()
            source = graph.add_buffer(
                width=picture.width, height=picture.height, format=picture.format, time_base=picture.time_base
            )
            graph.link_nodes(source, graph.add("field", "top"), graph.add("buffersink")).configure()
            self._one_field = (kind, graph)
        graph = self._one_field[1]
        graph.push(picture)
        field: Any = graph.pull()
        return field


def _assumed_matrix(picture: av.VideoFrame) -> Colorspace | None:
    """The matrix of a picture that does not name its own; None = as it says."""
    if picture.colorspace != _UNSPECIFIED or picture.format.is_rgb:
        return None
    width, height = _LARGEST_STANDARD_DEFINITION
    large = picture.width > width or picture.height > height
    return Colorspace.ITU709 if large else Colorspace.ITU601


def _to_standard(coded: NDArray[np.uint16], transfer: int) -> NDArray[np.uint8]:
    """``(h, w, 3)`` coded in BT.2020 primaries, of high or of standard range, as a screen of BT.709 takes it."""
    light = _light_of(transfer)[coded >> 4]
    if transfer == ColorTrc.ARIB_STD_B67:  # the light of the scene; a display brightens it by its luminance
        light *= (light @ _BT2020_LUMINANCE)[..., None] ** np.float32(_HLG_SYSTEM_GAMMA - 1)
        light *= np.float32(_HLG_PEAK / REFERENCE_WHITE)
    shown = np.clip(light @ BT2020_TO_BT709.T, 0, 1) ** np.float32(1 / _SCREEN_GAMMA)
    rounded: NDArray[np.uint8] = np.rint(shown * 255).astype(np.uint8)
    return rounded


@cache
def _light_of(transfer: int) -> NDArray[np.float32]:
    """Light of each code value, reference white 1: BT.2100's inverse for PQ and HLG, a screen's for others."""
    code = np.minimum(np.arange(_STEPS) / _WHITE, 1)
    if transfer == ColorTrc.SMPTE2084:
        root = code ** (32 / 2523)
        light = (np.maximum(root - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * root)) ** (8192 / 1305)
        light = light * 10_000 / REFERENCE_WHITE
    elif transfer == ColorTrc.ARIB_STD_B67:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
    else:
        light = code**_SCREEN_GAMMA
    return light.astype(np.float32)
