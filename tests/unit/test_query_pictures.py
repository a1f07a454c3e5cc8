"""Pictures to search by: every usual format and depth gives the same pixels, and what is none is told."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, features

from wordframe.errors import WordframeError
from wordframe.search import _picture
from wordframe.search._picture import IMAGE_FORMATS, read_picture

FORMATS = (*IMAGE_FORMATS, *(["AVIF"] if features.check("avif") else []))


def ramp() -> NDArray[np.uint8]:
    """Grey from black to white, ``(40, 64)``."""
    return np.broadcast_to(np.linspace(0, 255, 64).astype(np.uint8), (40, 64)).copy()


def written(image: Any, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_its_pixels(kind: str) -> None:
    lossless: dict[str, Any] = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100}, "JPEG": {"quality": 100}}
    content = written(Image.fromarray(ramp()).convert("RGB"), kind, **lossless.get(kind, {}))
    found = read_picture(content, short_side=16)
    assert (found.shape, found.dtype) == ((40, 64, 3), np.uint8)
    assert np.abs(found.astype(int) - ramp()[..., None]).max() <= 3


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (ramp().astype(np.uint16) * 257, "PNG"),
        (ramp().astype(np.uint16) * 257, "TIFF"),
        (ramp().astype(np.uint16) * 257, "PPM"),
        (ramp().astype(np.int32) * 257, "TIFF"),
        (ramp().astype(np.int32) * (1 << 22), "TIFF"),
        (ramp().astype(np.float32) / 255, "TIFF"),
        (ramp().astype(np.float32) * 100, "TIFF"),
    ],
    ids=["16 bits", "16 bits TIFF", "16 bits PGM", "16 of 32 bits", "32 bits", "shares", "floats"],
)
def test_grey_pictures_keep_their_range(values: NDArray[Any], kind: str) -> None:
    """Pillow's own conversion makes all of them white."""
    found = read_picture(written(Image.fromarray(values), kind), short_side=16)
    assert (found.shape, found.dtype) == ((40, 64, 3), np.uint8)
    assert np.abs(found.astype(int) - ramp()[..., None]).max() <= 1


def test_a_dark_picture_of_16_bits_stays_dark() -> None:
    found = read_picture(written(Image.fromarray(ramp().astype(np.uint16)), "PNG"), short_side=16)
    assert found.max() == 1


@pytest.mark.parametrize("kind", ["WEBP", "GIF", "PNG", *(["AVIF"] if "AVIF" in FORMATS else [])])
def test_animated_pictures_are_told(kind: str) -> None:
    pictures = [Image.new("RGB", (32, 24), colour) for colour in ("red", "green", "blue")]
    content = written(pictures[0], kind, save_all=True, append_images=pictures[1:], duration=100)
    with pytest.raises(WordframeError, match="the picture: is animated, of 3 pictures; search by one of them, or by a"):
        read_picture(content, short_side=16)


def test_what_pillow_warns_of_is_told_in_the_one_line(recwarn: pytest.WarningsRecorder) -> None:
    """A TIFF that is cut amid the values of its tags."""
    content = written(Image.fromarray(ramp().astype(np.uint16)), "TIFF", compression="tiff_lzw")
    with pytest.raises(WordframeError, match="the picture: cannot be read as a picture"):
        read_picture(content[:8] + (20).to_bytes(4, "little") + content[12:60], short_side=16)
    for size in range(8, len(content), 7):
        with contextlib.suppress(WordframeError):
            read_picture(content[:size], short_side=16)
    assert [str(warning.message) for warning in recwarn] == []


def test_the_first_of_several_pages_is_read() -> None:
    pages = [Image.new("RGB", (32, 24), colour) for colour in ("red", "green")]
    found = read_picture(written(pages[0], "TIFF", save_all=True, append_images=pages[1:]), short_side=16)
    assert found[0, 0].tolist() == [255, 0, 0]


def test_what_is_no_picture_is_told_with_the_formats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "photo.heic"
    file.write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    with pytest.raises(WordframeError) as caught:
        read_picture(file, short_side=16)
    assert str(caught.value) == f"{file}: cannot be read as a picture; formats: {', '.join(FORMATS)}"
    monkeypatch.setattr(_picture, "_formats", lambda: IMAGE_FORMATS)  # as where Pillow was built without AVIF
    file.write_bytes(b"\0\0\0\x18ftypavif" + bytes(40))
    with pytest.raises(WordframeError, match=r"formats: JPEG, PNG, WEBP, GIF, BMP, TIFF, PPM$"):
        read_picture(file, short_side=16)


def test_the_pictures_that_were_made_for_this(shared: Path) -> None:
    folder = shared / "hard_files"
    with pytest.raises(WordframeError, match=r"animated\.webp: is animated, of \d+ pictures"):
        read_picture(folder / "animated.webp", short_side=260)
    grey = read_picture(folder / "query_16bit_gray.png", short_side=260)
    assert 20 < grey.std() < 110
    assert (grey == 255).mean() < 0.2
    if "AVIF" in FORMATS:
        photo = read_picture(folder / "query_photo.avif", short_side=260)
        assert photo.shape[-1] == 3
