"""Colours of decoded pictures: matrix, range and transfer of what files say and of what they leave open."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from wordframe.video._colours import Rgb

PATCHES = [
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (255, 255, 0),
    (128, 128, 128),
    (200, 120, 40),
    (16, 16, 16),
    (235,) * 3,
]
LUMA = {Colorspace.ITU601: (0.299, 0.114), Colorspace.ITU709: (0.2126, 0.0722), Colorspace.BT2020: (0.2627, 0.0593)}
SIZES = {"sd": (720, 576), "hd": (1280, 720)}


def coded(
    rgb: tuple[float, ...], size: tuple[int, int], matrix: Colorspace, *, full: bool = False, bits: int = 8
) -> av.VideoFrame:
    """An even picture of R'G'B' in 0 to 1, by the equations of BT.601, BT.709 and BT.2020, without tags."""
    red, blue = LUMA[matrix]
    r, g, b = rgb
    y = red * r + (1 - red - blue) * g + blue * b
    cb, cr = (b - y) / (2 * (1 - blue)), (r - y) / (2 * (1 - red))
    scale = 2 ** (bits - 8)
    luma, chroma, floor = (255, 255, 0) if full else (219, 224, 16)
    levels = (floor * scale + luma * scale * y, 128 * scale + chroma * scale * cb, 128 * scale + chroma * scale * cr)
    picture = av.VideoFrame(*size, "yuv420p" if bits == 8 else "yuv420p10le")
    for plane, level in zip(picture.planes, levels, strict=True):
        cells = np.full(
            plane.buffer_size // (1 if bits == 8 else 2),
            min(round(level), 256 * scale - 1),
            np.uint8 if bits == 8 else np.uint16,
        )
        plane.update(cells.tobytes())
    return picture


def shown(picture: av.VideoFrame) -> np.ndarray:
    rgb = Rgb()(picture, 64, 36)
    assert rgb.shape == (36, 64, 3)
    assert rgb.dtype == np.uint8
    np.testing.assert_array_less(np.ptp(rgb.reshape(-1, 3), axis=0), 2)
    return rgb[18, 32].astype(int)


@pytest.mark.parametrize("rgb", PATCHES)
@pytest.mark.parametrize(("size", "matrix"), [("sd", Colorspace.ITU601), ("hd", Colorspace.ITU709)])
def test_a_picture_without_tags_has_the_matrix_of_its_size(rgb: tuple[int, ...], size: str, matrix: Colorspace) -> None:
    picture = coded(tuple(level / 255 for level in rgb), SIZES[size], matrix)
    np.testing.assert_allclose(shown(picture), rgb, atol=3)


@pytest.mark.parametrize("rgb", PATCHES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("matrix", [Colorspace.ITU601, Colorspace.ITU709])
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
def test_a_picture_with_tags_is_taken_at_its_word(
    rgb: tuple[int, ...], size: str, matrix: Colorspace, full: bool
) -> None:
    picture = coded(tuple(level / 255 for level in rgb), SIZES[size], matrix, full=full)
    picture.colorspace = matrix
    picture.color_range = ColorRange.JPEG if full else ColorRange.MPEG
    np.testing.assert_allclose(shown(picture), rgb, atol=3)


def high_range(rgb: tuple[float, ...], transfer: ColorTrc) -> av.VideoFrame:
    picture = coded(rgb, (640, 360), Colorspace.BT2020, bits=10)
    picture.colorspace, picture.color_range = Colorspace.BT2020, ColorRange.MPEG
    picture.color_trc, picture.color_primaries = transfer, ColorPrimaries.BT2020
    return picture


@pytest.mark.parametrize(
    ("code", "nits"),
    [(0.0, 0.0), (0.3765, 25.0), (0.4403, 50.0), (0.5081, 100.0), (0.5807, 203.0), (0.7518, 1000.0), (1.0, 10000.0)],
)
def test_pq_greys_have_their_light(code: float, nits: float) -> None:
    """Code values of BT.2100 and BT.2408 for round luminances; white is 203 cd/m²."""
    level = 255 * min(nits / 203, 1) ** (1 / 2.2)
    np.testing.assert_allclose(shown(high_range((code,) * 3, ColorTrc.SMPTE2084)), [level] * 3, atol=3)


@pytest.mark.parametrize(("code", "nits"), [(0.0, 0.0), (0.38, 26.0), (0.5, 50.7), (0.75, 203.0), (1.0, 1000.0)])
def test_hlg_greys_have_their_light(code: float, nits: float) -> None:
    """On a display of 1,000 cd/m²; BT.2408 has 38 % grey card at 26 and 75 % white at 203."""
    level = 255 * min(nits / 203, 1) ** (1 / 2.2)
    np.testing.assert_allclose(shown(high_range((code,) * 3, ColorTrc.ARIB_STD_B67)), [level] * 3, atol=4)


@pytest.mark.parametrize(
    ("rgb", "light"),
    [
        ((255, 0, 0), (0.6274, 0.0691, 0.0164)),
        ((0, 255, 0), (0.3293, 0.9195, 0.0880)),
        ((0, 0, 255), (0.0433, 0.0114, 0.8956)),
    ],
)
def test_the_primaries_of_standard_screens_come_out_pure(rgb: tuple[int, ...], light: tuple[float, ...]) -> None:
    """Red, green and blue of BT.709 as BT.2087 has them in BT.2020, at standard range."""
    picture = high_range(tuple(each ** (1 / 2.2) for each in light), ColorTrc.BT2020_10)
    np.testing.assert_allclose(shown(picture), rgb, atol=9)  # near black one step of ten bits is as much


def test_of_two_fields_one_is_shown(tmp_path: Path) -> None:
    """A bar that moves 24 pixels between the fields: woven together its edges are combs."""
    path = tmp_path / "fields.mpg"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25, options={"flags": "+ilme+ildct"})
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 320, 240, "yuv420p", 4_000_000
        for number in range(8):
            picture = np.zeros((240, 320, 3), np.uint8)
            picture[::2, 100:160] = picture[1::2, 124:184] = 255
            picture = np.roll(picture, 4 * number, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        pictures = list(container.decode(video=0))
    assert pictures[0].interlaced_frame
    rgb = Rgb()(pictures[0], 320, 240)[..., 0].astype(int)
    assert np.abs(np.diff(rgb[40:200], axis=0)).max() < 40
    np.testing.assert_array_less(180, rgb[40:200, 106:154])
    np.testing.assert_array_less(rgb[40:200, 168:180], 60)


@pytest.mark.parametrize(
    ("name", "levels", "tolerance"),
    [
        ("pqbars.mp4", [(level,) * 3 for level in (0, 51, 89, 128, 166, 204, 230, 255)], 3),
        ("colour_untagged_hd_is_bt709.mp4", PATCHES, 4),
        ("colour_hdr_pq.mp4", PATCHES, 9),
    ],
)
def test_bars_and_patches_of_files(shared: Path, name: str, levels: list[tuple[int, ...]], tolerance: int) -> None:
    with av.open(str(shared / "hard_files" / name)) as container:
        picture = next(container.decode(video=0))
    rgb = Rgb()(picture, 256, 144)
    np.testing.assert_allclose(rgb[72, 16::32].astype(int), levels, atol=tolerance)
