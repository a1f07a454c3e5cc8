"""Real frames: those that the stand-ins are fitted to and that may veto a choice, and those that judge.

The first are the captioned and uncaptioned clips of one folder together with the demo's photographs and footage, which
the demo's queries describe; the second is another folder of captioned clips. Classified once and kept in a folder.
Neighbours: ``stand_ins.py`` takes the mean logits, ``evaluate.py`` measures on both.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from offline_encoder import Clips, sampled
from torch import Tensor

from text_trained.stand_ins import NUM_FRAMES
from wordframe.data import match_videos, read_captions
from wordframe.encoders import OfflineEncoder, SentenceEncoder, load_classifier
from wordframe.video import VIDEO_SUFFIXES

DEMO = Path(__file__).parents[2] / "demo"
FOOTAGE = {"rabbit": "bigbuckbunny.mp4", "man in a car": "carphone_pristine.mp4", "parked bicycle": "bikes.mp4"}
"""The demo's subjects that are seen in footage; the others are names of photographs."""

Frames = Callable[[], NDArray[np.uint8]]


def judging_clips(folder: Path, cache: Path) -> Clips:
    """The captioned clips of ``folder``."""
    matched = match_videos(folder, read_captions(folder / "captions.json"))
    matched.refuse_missing()
    frames = {pair.path.name: _of_clip(pair.path) for pair in matched.pairs}
    captions, owners = matched.queries()
    return _clips(frames, captions, owners, cache / f"{folder.name}.pt")


def fitting_clips(folder: Path, cache: Path) -> Clips:
    """The videos of ``folder`` with the captions it has, and the demo's photographs and footage with its queries."""
    sys.path.insert(0, str(DEMO))
    from films import FILMS  # type: ignore[import-not-found]
    from pictures import footage, open_picture  # type: ignore[import-not-found]
    from queries import QUERIES  # type: ignore[import-not-found]

    frames: dict[str, Frames] = {path.name: _of_clip(path) for path in _videos(folder)}
    for picture in sorted({scene.picture for film in FILMS.values() for scene in film}):
        frames[picture] = lambda name=picture: np.asarray(open_picture(name))[None]  # type: ignore[misc]
    frames |= {name: _of_clip(footage(name)) for name in FOOTAGE.values()}
    places = {name: place for place, name in enumerate(frames)}
    told = read_captions(folder / "captions.json").items()
    queries = [(caption, places[name]) for name, captions in told for caption in captions]
    queries += [(query.text, places[FOOTAGE.get(query.subject, query.subject)]) for query in QUERIES]
    captions, owners = zip(*queries, strict=True)
    return _clips(frames, list(captions), list(owners), cache / f"{folder.name}.pt")


def msvd_names(folder: Path) -> frozenset[str]:
    """The MSVD videos among the clips of ``folder``, whose files are called ``msvd_NAME``."""
    return frozenset(path.stem.removeprefix("msvd_") for path in _videos(folder) if path.stem.startswith("msvd_"))


def mean_logits(clips: Clips) -> Tensor:
    """``(C,)``, every video counting alike."""
    return clips.logits["crop"].mean(dim=(0, 1))


def _videos(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in VIDEO_SUFFIXES)


def _of_clip(path: Path) -> Frames:
    return lambda: sampled(path, NUM_FRAMES)


@torch.inference_mode()
def _clips(frames: dict[str, Frames], captions: list[str], owners: list[int], cache: Path) -> Clips:
    if not cache.exists():
        classifier, crop = load_classifier(), OfflineEncoder(device="cpu").preprocessing
        found = []
        for make in frames.values():
            pixels = crop(make()).contiguous(memory_format=torch.channels_last)
            logits = torch.cat([classifier(batch) for batch in pixels.split(4)])
            found.append(logits.expand(NUM_FRAMES, -1) if len(logits) == 1 else logits)
        cache.parent.mkdir(parents=True, exist_ok=True)
        torch.save(torch.stack(found), cache)
    logits = torch.load(cache, weights_only=True)  # (V, F, C)
    return Clips(logits={"crop": logits}, texts=SentenceEncoder()(captions), owners=torch.tensor(owners))
