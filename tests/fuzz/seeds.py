"""What is damaged: small whole files of every kind that wordframe reads, made once into a folder.

Videos in nearly every codec and container that FFmpeg writes, pictures to search by, models and encoders, captions,
recipes, and a library.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, features
from safetensors.torch import save_file

from tests.colours import ColourEncoder, write_scenes
from tests.unit.clip_models import clip_tokenizer, openai_weights
from tests.unit.test_clip_loading import nest
from tests.videos import picture, write_video
from wordframe.library import Library
from wordframe.models import ModelSettings, TextVideoModel

_CRF: dict[str, Any] = {"codec_options": {"preset": "ultrafast", "crf": "35"}}
os.environ.setdefault("SVT_LOG", "0")  # the encoder of AV1 tells its settings otherwise
VIDEOS: dict[str, dict[str, Any]] = {
    "h264.mp4": {**_CRF, "audio_seconds": 2.0},
    "reordered.mp4": {"codec_options": {"bf": "2"}, "keyframe_interval": 4},  # B frames, so an edit list
    "fragments.mp4": {**_CRF, "container_options": {"movflags": "frag_keyframe+empty_moov"}, "keyframe_interval": 3},
    "fast_start.mp4": {**_CRF, "container_options": {"movflags": "faststart"}},
    "turned.mp4": {**_CRF, "rotation_degrees": 90},
    "uneven.mp4": {**_CRF, "seconds": [0.0, 0.1, 0.5, 0.6, 1.9, 2.0, 3.5, 3.6]},
    "hevc.mp4": {"codec": "libx265", "codec_options": {"preset": "ultrafast", "x265-params": "log-level=none"}},
    "av1.mp4": {"codec": "libsvtav1", "codec_options": {"preset": "12", "svtav1-params": "lp=1"}},
    "mpeg4.mp4": {"codec": "mpeg4"},
    "h264.mov": {**_CRF, "audio_seconds": 2.0},
    "prores.mov": {"codec": "prores_ks", "pixel_format": "yuv422p10le", "num_frames": 4},
    "mjpeg.mov": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
    "rle.mov": {"codec": "qtrle", "pixel_format": "rgb24"},
    "png.mov": {"codec": "png", "pixel_format": "rgb24"},
    "h263.3gp": {"codec": "h263", "width": 128, "height": 96},
    "h264.mkv": {**_CRF, "audio_seconds": 2.0},
    "hevc.mkv": {"codec": "libx265", "codec_options": {"preset": "ultrafast", "x265-params": "log-level=none"}},
    "ffv1.mkv": {"codec": "ffv1", "num_frames": 5},
    "snow.mkv": {"codec": "snow", "codec_options": {"strict": "-2"}},
    "utvideo.avi": {"codec": "utvideo", "num_frames": 4},
    "vp8.webm": {"codec": "libvpx", "codec_options": {"deadline": "realtime", "cpu-used": "8"}},
    "vp9.webm": {"codec": "libvpx-vp9", "codec_options": {"deadline": "realtime", "cpu-used": "8"}},
    "av1.webm": {"codec": "libsvtav1", "codec_options": {"preset": "12", "svtav1-params": "lp=1"}},
    "h264.ts": {**_CRF, "audio_seconds": 2.0},
    "mpeg2.ts": {"codec": "mpeg2video", "rate": 25.0},
    "h264.m2ts": {**_CRF, "container": "mpegts", "container_options": {"mpegts_m2ts_mode": "1"}},
    "mpeg4.avi": {"codec": "mpeg4", "audio_seconds": 2.0},
    "mjpeg.avi": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
    "huffyuv.avi": {"codec": "huffyuv", "pixel_format": "yuv422p", "num_frames": 4},
    "cinepak.avi": {"codec": "cinepak", "pixel_format": "rgb24"},
    "zmbv.avi": {"codec": "zmbv", "pixel_format": "bgr0"},
    "msmpeg4.avi": {"codec": "msmpeg4"},
    "raw.avi": {"codec": "rawvideo", "num_frames": 3},
    "flv1.flv": {"codec": "flv"},
    "h264.flv": {**_CRF, "audio_seconds": 2.0},
    "flashsv.flv": {"codec": "flashsv", "pixel_format": "bgr24"},
    "wmv2.wmv": {"codec": "wmv2", "container": "asf"},
    "mpeg2.mpg": {"codec": "mpeg2video", "rate": 25.0, "container": "vob"},
    "mpeg1.mpeg": {"codec": "mpeg1video", "rate": 25.0},
    "mpeg2.mxf": {"codec": "mpeg2video", "rate": 25.0, "container": "mxf"},
    "dv.dv": {"codec": "dvvideo", "rate": 25.0, "width": 720, "height": 576, "num_frames": 2, "container": "dv"},
    "h264.h264": {**_CRF, "container": "h264"},
    "raw.y4m": {"codec": "rawvideo", "container": "yuv4mpegpipe", "num_frames": 3},
}


def write_seeds(folder: Path) -> None:
    """All of them, a folder a kind."""
    for kind, write in WRITERS.items():
        mark = folder / f"{kind}.whole"
        if not mark.exists():
            shutil.rmtree(folder / kind, ignore_errors=True)
            (folder / kind).mkdir(parents=True)
            write(folder / kind)
            mark.touch()


def _write_videos(folder: Path) -> None:
    for name, options in VIDEOS.items():
        write_video(folder / name, **{"num_frames": 12, "rate": 6.0, "width": 64, "height": 48} | options)


def _write_images(folder: Path) -> None:
    rgb = Image.fromarray(picture(3, 64, 48))
    for ending in ("png", "jpg", "webp", "gif", "bmp", "tiff", "ppm", *(["avif"] if features.check("avif") else [])):
        rgb.save(folder / f"colours.{ending}")
    grey = np.broadcast_to(np.linspace(0, 65_535, 64).astype(np.uint16), (48, 64))
    Image.fromarray(grey).save(folder / "deep.png")
    Image.fromarray(grey).save(folder / "deep.tiff")
    Image.fromarray(grey.astype(np.float32)).save(folder / "floats.tiff")
    rgb.convert("P").save(folder / "palette.png", transparency=3)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned
    rgb.save(folder / "turned.jpg", exif=exif, progressive=True)
    rgb.convert("CMYK").save(folder / "cmyk.jpg")
    rgb.save(folder / "two.webp", save_all=True, append_images=[rgb.rotate(90)], duration=100)


def _write_checkpoints(folder: Path) -> None:
    """``authors…`` for ``wordframe convert``, ``clip…`` to index by; ``head…`` stands for a file of our own folder."""
    weights = openai_weights()
    authors = {f"clip.{name}": tensor for name, tensor in weights.items()}
    torch.save(authors, folder / "authors.bin")
    torch.save({"epoch": 3, "state_dict": authors}, folder / "authors.pt")
    save_file(authors, folder / "authors.safetensors")
    torch.save(weights, folder / "clip.pt")
    save_file(weights, folder / "clip.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(nest(weights)), folder / "clip_scripted.pt")
    clip_tokenizer().save_pretrained(folder / "beside")
    settings = {"family": "clip4clip", "sim_header": "seqLSTM", "max_words": 8, "max_frames": 6}
    model = TextVideoModel(settings=ModelSettings.from_dict(settings), dimension=ColourEncoder().dimension)
    model.save(folder / "beside" / "model")
    for name in ("config.json", "model.safetensors"):
        shutil.copy(folder / "beside" / "model" / name, folder / f"head_{name}")


def _write_captions(folder: Path) -> None:
    write_scenes(folder / "beside" / "cat.mp4", ("red", 1.0))
    write_scenes(folder / "beside" / "dog.mp4", ("blue", 1.0))
    (folder / "a.json").write_text('{\n"cat.mp4": "a cat",\n"dog.mp4": ["a dog", "a brown dog, \\u00e4 dog"]\n}\n')
    (folder / "a.jsonl").write_text(
        '{"file": "cat.mp4", "caption": "a cat"}\n{"video": "dog", "captions": ["a dog"]}\n'
    )
    (folder / "a.csv").write_text('file,caption\ncat.mp4,"a cat, asleep"\ndog.mp4,a dog\ndog.mp4,a brown dog\n')
    (folder / "semicolons.csv").write_text("path;caption;more\ncat.mp4;a cat;1\ndog.mp4;a dog;2\n")
    (folder / "tabs.csv").write_text("video\tcaption\ncat.mp4\ta cat\ndog.mp4\ta dog\n")
    (folder / "headless.csv").write_text("cat.mp4,a cat\ndog.mp4,a dog\n")


def _write_recipes(folder: Path) -> None:
    for recipe in resources.files("wordframe.recipes").iterdir():
        if recipe.name.endswith(".yaml"):
            (folder / recipe.name).write_bytes(recipe.read_bytes())
    (folder / "own.yaml").write_text(
        "name: own\nmodel: {preset: zero-shot}\nbackbone: {name: offline, tuned: false}\nepochs: 2\nbatch_size: 8\n"
        "optimizer: {lr: 1.0e-4, warmup: 0.1, betas: [0.9, 0.98]}\nseed: 0\n"
    )


def _write_library(folder: Path) -> None:
    """Of several commits, searched by ``red``; the videos lie beside it."""
    library = Library.open(folder / "library", encoder=ColourEncoder())
    for number, colour in enumerate(("red", "green", "blue")):
        write_scenes(folder / "videos" / f"{colour}.mp4", (colour, 2.0 + number), ("white", 1.0))
        library.index([folder / "videos"])


def _write_requests(folder: Path) -> None:
    """To the server of the library; ``HOST`` stands for its name."""
    rows = Library.open(folder.parent / "library" / "library").snapshot().select("true", ["segment_id", "video_id"])
    segment, video = (f"/api/v1/{kind}s/{rows[0][f'{kind}_id']}" for kind in ("segment", "video"))
    asked = {
        "page": "/", "library": "/api/v1/library", "videos": "/api/v1/videos?limit=2&max_seconds=99", "video": video,
        "health": "/api/v1/health", "index": "/api/v1/index", "clip": f"{segment}/clip",
        "thumbnail": f"{segment}/thumbnail?v=00",
        "part of a clip": f"{segment}/clip?start=0.5&end=1.25", "explain": f"{segment}/explain?q=a%20red%20one",
        "like": f"/api/v1/search?like={rows[0]['segment_id']}", "heat": f"{video}/heat?q=red%20%F0%9F%90%95",
        "words": f"/api/v1/words?q=a+red+one&segment={rows[0]['segment_id']}&segment={rows[-1]['segment_id']}",
        "search": "/api/v1/search?text=a+red+one&limit=3&moments=2&exact=true&include=explanation&min_seconds=0.5",
    }  # fmt: skip
    for name, target in asked.items():
        (folder / f"{name}.http").write_text(f"GET {target} HTTP/1.1\nHost: HOST\nAccept: */*\n\n")
    ranged = f'GET {video}/media HTTP/1.1\nHost: HOST\nRange: bytes=0-9,20-29,-5\nIf-None-Match: "a"\n\n'
    (folder / "media.http").write_text(ranged)
    search = {"text": "a red one", "limit": 3, "moments": 2, "exact": False, "filters": {"after": "2020-01-01"}}
    rank = {"texts": ["red", "a blue one, then white"]}
    for name, target, body in (("search", "/api/v1/search", search), ("rank", f"{video}/rank-texts", rank)):
        head = f"POST {target} HTTP/1.1\nHost: HOST\nContent-Type: application/json\n\n"
        (folder / f"{name} by body.http").write_text(head + json.dumps(body))
    image = (folder.parent / "image" / "colours.png").read_bytes()
    for name, target in (
        ("search", "/api/v1/search?limit=3"),
        ("explain", f"{segment}/explain"),
        ("heat", f"{video}/heat"),
    ):
        head = f"POST {target} HTTP/1.1\nHost: HOST\nContent-Type: image/png\n\n"
        (folder / f"{name} by picture.http").write_bytes(head.encode() + image)


WRITERS: dict[str, Callable[[Path], None]] = {
    "video": _write_videos,
    "image": _write_images,
    "checkpoint": _write_checkpoints,
    "captions": _write_captions,
    "recipe": _write_recipes,
    "library": _write_library,
    "request": _write_requests,
}
