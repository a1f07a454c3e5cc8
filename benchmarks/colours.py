"""What right colours cost a frame, and what wrong ones cost a search.

    python benchmarks/colours.py [--clips FOLDER] [--encoder NAME] [--rounds 30]

Cost: one decoded picture of 1920 × 1080 to RGB with a short side of 288, in one thread, by the thread's own clock; the
best of all rounds, and its ratio to a picture that says all of itself at standard range.

With ``--clips``, a folder of clips with their captions.json: each clip's frames as other colours would have shown them,
encoded, and every caption ranks them all. ``as_pq`` and ``as_hlg``: high dynamic range taken for standard range, which
is what a reader without ``video/_colours.py`` sees; ``mapped``: the same pictures through it; ``wrong_matrix``: high
definition by the matrix of standard definition; ``combs``: two fields of 1/25 s apart in one picture. Beside R@1 and
the mean rank, the cosine of each clip's features with those of the right colours.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from numpy.typing import NDArray
from results import save

from wordframe.encoders import Encoder, load_encoder
from wordframe.video import open_frames, per_second
from wordframe.video._colours import BT2020_TO_BT709, REFERENCE_WHITE, Rgb

Rgb8 = NDArray[np.uint8]
SIZE, SHOWN = (1920, 1080), (512, 288)
FIELD_SECONDS = 0.04


def noisy(bits: int = 8, **tags: int) -> av.VideoFrame:
    """A picture of noise with these tags."""
    picture = av.VideoFrame(*SIZE, "yuv420p" if bits == 8 else "yuv420p10le")
    chance = np.random.default_rng(0)
    for plane in picture.planes:
        kind = np.uint8 if bits == 8 else np.uint16
        count = plane.buffer_size // np.dtype(kind).itemsize
        plane.update(chance.integers(64 * 2 ** (bits - 8), 200 * 2 ** (bits - 8), count, kind).tobytes())
    for name, value in tags.items():
        setattr(picture, name, value)
    return picture


def interlaced() -> av.VideoFrame:
    """A decoded picture of two fields."""
    codec = av.CodecContext.create("mpeg2video", "w")
    codec.width, codec.height, codec.pix_fmt = *SIZE, "yuv420p"
    codec.bit_rate, codec.framerate, codec.options = 20_000_000, 25, {"flags": "+ilme+ildct"}
    packets = [*codec.encode(noisy()), *codec.encode(None)]
    reader = av.CodecContext.create("mpeg2video", "r")
    pictures = [picture for packet in packets for picture in reader.decode(packet)] + reader.decode(None)
    if not pictures[0].interlaced_frame:
        raise SystemExit("the encoder wrote no fields")
    return pictures[0]


def costs(rounds: int) -> dict[str, float]:
    """Milliseconds a picture of each kind."""
    wide = {"colorspace": Colorspace.BT2020, "color_primaries": ColorPrimaries.BT2020}
    standard = {"colorspace": Colorspace.ITU709, "color_range": ColorRange.MPEG}
    kinds = {
        "standard": noisy(**standard),
        "without tags": noisy(),
        "ten bits": noisy(10, **standard),
        "two fields": interlaced(),
        "wide primaries": noisy(10, **wide, color_trc=ColorTrc.BT2020_10),
        "PQ": noisy(10, **wide, color_trc=ColorTrc.SMPTE2084),
        "HLG": noisy(10, **wide, color_trc=ColorTrc.ARIB_STD_B67),
    }
    converters = {name: Rgb() for name in kinds}
    best = dict.fromkeys(kinds, np.inf)
    for _ in range(rounds):
        for name, picture in kinds.items():
            start = time.thread_time()
            converters[name](picture, *SHOWN)
            best[name] = min(best[name], 1000 * (time.thread_time() - start))
    return best


# Ranking --------------------------------------------------------------------------------------------------------------


def in_high_range(rgb: Rgb8, transfer: ColorTrc) -> NDArray[np.float64]:
    """The same light as ``rgb (h, w, 3)``, coded in 0 to 1 by PQ or HLG in the primaries of BT.2020."""
    nits = REFERENCE_WHITE * (rgb / 255.0) ** 2.2 @ np.linalg.inv(BT2020_TO_BT709.astype(np.float64)).T
    nits = np.maximum(nits, 0)
    if transfer == ColorTrc.SMPTE2084:
        power = (nits / 10_000) ** (1305 / 8192)
        coded: NDArray[np.float64] = ((107 / 128 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)
        return coded
    luminance = np.maximum(nits @ np.array([0.2627, 0.6780, 0.0593]), 1e-9)[..., None] / 1000
    light = nits / 1000 * luminance ** (1 / 1.2 - 1)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(light <= 1 / 12, np.sqrt(3 * light), a * np.log(np.maximum(12 * light - b, 1e-9)) + c)


def unmapped(transfer: ColorTrc) -> Callable[[Rgb8], Rgb8]:
    return lambda rgb: np.rint(255 * in_high_range(rgb, transfer)).astype(np.uint8)


def mapped(transfer: ColorTrc) -> Callable[[Rgb8], Rgb8]:
    """Through ten bits of Y'CbCr and back."""

    def there_and_back(rgb: Rgb8) -> Rgb8:
        red, green, blue = np.moveaxis(in_high_range(rgb, transfer), -1, 0)
        luma = 0.2627 * red + 0.6780 * green + 0.0593 * blue
        picture = av.VideoFrame(rgb.shape[1], rgb.shape[0], "yuv444p10le")
        cells = (64 + 876 * luma, 512 + 896 * (blue - luma) / 1.8814, 512 + 896 * (red - luma) / 1.4746)
        for plane, levels in zip(picture.planes, cells, strict=True):
            rows = np.zeros((rgb.shape[0], plane.line_size // 2), np.uint16)
            rows[:, : rgb.shape[1]] = np.rint(levels)
            plane.update(rows.tobytes())
        picture.colorspace, picture.color_range = Colorspace.BT2020, ColorRange.MPEG
        picture.color_trc, picture.color_primaries = transfer, ColorPrimaries.BT2020
        return Rgb()(picture, rgb.shape[1], rgb.shape[0])

    return there_and_back


def wrong_matrix(rgb: Rgb8) -> Rgb8:
    """BT.709 read as BT.601."""
    red, green, blue = np.moveaxis(rgb / 255.0, -1, 0)
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    of_blue, of_red = (blue - luma) / 1.8556, (red - luma) / 1.5748
    wrong = (luma + 1.402 * of_red, luma - 0.344136 * of_blue - 0.714136 * of_red, luma + 1.772 * of_blue)
    return np.rint(255 * np.clip(np.stack(wrong, axis=-1), 0, 1)).astype(np.uint8)


def frames_of(path: Path, shift: float, encoder: Encoder) -> list[Rgb8]:
    with open_frames(path, per_second(1.0, 0.5 + shift), short_side=encoder.short_side) as stream:
        return [frame.rgb for frame in stream]


def ranking(folder: Path, encoder: Encoder) -> dict[str, dict[str, float]]:
    """R@1 (%), mean rank and likeness to the right features of each kind of colours."""
    captions = json.loads((folder / "captions.json").read_text(encoding="utf-8"))
    sentences = [caption if isinstance(caption, str) else caption[0] for caption in captions.values()]
    text = _unit(encoder.encode_text(sentences).sentence.numpy())
    kinds: dict[str, Callable[[Rgb8], Rgb8]] = {
        "right": lambda rgb: rgb,
        "as_pq": unmapped(ColorTrc.SMPTE2084),
        "as_pq mapped": mapped(ColorTrc.SMPTE2084),
        "as_hlg": unmapped(ColorTrc.ARIB_STD_B67),
        "as_hlg mapped": mapped(ColorTrc.ARIB_STD_B67),
        "wrong_matrix": wrong_matrix,
    }
    means: dict[str, list[NDArray[np.float32]]] = {name: [] for name in [*kinds, "combs"]}
    for name in captions:
        frames = frames_of(folder / name, 0.0, encoder)
        for kind, change in kinds.items():
            means[kind].append(_mean(encoder, [change(rgb) for rgb in frames]))
        later = frames_of(folder / name, FIELD_SECONDS, encoder)
        woven = [rgb.copy() for rgb in frames]
        for one, other in zip(woven, later, strict=False):
            one[1::2] = other[1::2]
        means["combs"].append(_mean(encoder, woven))
    right = np.stack(means["right"])
    found = {}
    for kind, rows in means.items():
        similarity = text @ np.stack(rows).T
        ranks = 1 + (similarity > np.diagonal(similarity)[:, None]).sum(axis=1)
        found[kind] = {
            "recall_at_1": 100 * float((ranks == 1).mean()),
            "mean_rank": float(ranks.mean()),
            "cosine": float((right * np.stack(rows)).sum(axis=1).mean()),
        }
    return found


def _mean(encoder: Encoder, frames: Sequence[Rgb8]) -> NDArray[np.float32]:
    features: NDArray[np.float32] = encoder.encode_frames(np.stack(frames)).numpy()
    return _unit(_unit(features).mean(axis=0))


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--encoder", default="offline")
    parser.add_argument("--rounds", type=int, default=30)
    wanted = parser.parse_args()
    taken = costs(wanted.rounds)
    for name, milliseconds in taken.items():
        print(f"{name:16} {milliseconds:6.2f} ms a picture, {milliseconds / taken['standard']:5.2f} ×")
    figures: dict[str, object] = {"milliseconds": taken}
    if wanted.clips is not None:
        figures["ranking"] = found = ranking(wanted.clips, load_encoder(wanted.encoder))
        for kind, row in found.items():
            print(f"{kind:16} R@1 {row['recall_at_1']:5.1f}  MnR {row['mean_rank']:5.2f}  cosine {row['cosine']:.3f}")
    save("colours", figures)


if __name__ == "__main__":
    main()
