"""Captions to train on, grouped by scene and video, as features of the offline encoder's sentence side.

MSVD's train list: one scene a video, described by many people. ActivityNet Captions' train file: several scenes a
video, one sentence each. No caption of any benchmark's validation or test part is read, nor those of ``left_out``
videos. Encoded once and kept in a folder, since it takes minutes.
Neighbours: ``written.py`` has captions of our own, ``stand_ins.py`` makes frames of scenes, ``train.py`` takes captions
as queries.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wordframe.encoders import SentenceEncoder
from wordframe.features import TextFeatures

MAX_WORDS = 32
"""Token positions of the published MSR-VTT and VATEX settings; a sentence keeps its leading ones and the last."""
MSVD_CAPTIONS = 16
"""Captions taken of an MSVD video, the first different ones: more say the same again."""
HELD_OUT = 0.1
"""Share of the videos of either data set that only choose."""
_AT_ONCE = 512


@dataclass(frozen=True)
class Scene:
    """What people wrote about one scene. video: counted over both data sets; source: ``msvd``,
    ``activitynet`` or ``written``."""

    video: int
    source: str
    captions: tuple[str, ...]


def read_scenes(annotations: Path, *, left_out: frozenset[str]) -> list[Scene]:
    """All scenes of both train parts but those of the MSVD videos named in ``left_out``."""
    listed = (annotations / "msvd_train_list.txt").read_text().split()
    msvd = json.loads((annotations / "msvd_captions.json").read_text())
    scenes = []
    for video, name in enumerate(name for name in listed if name not in left_out):
        captions = tuple(dict.fromkeys(caption.strip() for caption in msvd[name]))[:MSVD_CAPTIONS]
        scenes.append(Scene(video, "msvd", captions))
    first = len(scenes)
    activitynet = json.loads((annotations / "activitynet_train.json").read_text())
    for video, described in enumerate(activitynet.values(), start=first):
        scenes += [Scene(video, "activitynet", (text.strip(),)) for text in described["sentences"] if text.strip()]
    return scenes


def split(scenes: list[Scene]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Scenes to train on and scenes to choose by, split by whole videos; the same at every start."""
    videos = np.array([scene.video for scene in scenes])
    held = np.random.default_rng(0).random(videos.max() + 1) < HELD_OUT
    return np.flatnonzero(~held[videos]), np.flatnonzero(held[videos])


@dataclass(frozen=True, kw_only=True)
class Captions:
    """Encoded captions of scenes.

    scenes: ``(S,)``; sentence: ``(N, D)``; words: ``(all words, D)`` float16, those of caption ``n`` are
    ``[starts[n], starts[n + 1])``; first: ``(S + 1,)``, captions of scene ``s`` are ``[first[s], first[s + 1])``.
    """

    scenes: list[Scene]
    sentence: Tensor
    words: NDArray[np.float16]
    starts: NDArray[np.int64]
    first: NDArray[np.int64]

    def text(self, captions: NDArray[np.int64]) -> TextFeatures:
        """These captions as queries, padded to the longest."""
        lengths = self.starts[captions + 1] - self.starts[captions]
        words = np.zeros((len(captions), lengths.max(), self.words.shape[1]), np.float32)
        for row, (caption, length) in enumerate(zip(captions, lengths, strict=True)):
            words[row, :length] = self.words[self.starts[caption] : self.starts[caption] + length]
        mask = torch.arange(int(lengths.max())) < torch.from_numpy(lengths)[:, None]
        return TextFeatures(self.sentence[torch.from_numpy(captions)], torch.from_numpy(words), mask)


def encoded(scenes: list[Scene], folder: Path) -> Captions:
    """The features of every caption, from ``folder`` if they are there."""
    first = np.cumsum([0] + [len(scene.captions) for scene in scenes])
    if not (folder / "starts.npy").exists():
        _encode([caption for scene in scenes for caption in scene.captions], folder)
    starts = np.load(folder / "starts.npy")
    if len(starts) != first[-1] + 1:
        raise SystemExit(f"{folder} holds the features of other captions; delete it, or choose another with --cache")
    sentence = torch.from_numpy(np.load(folder / "sentence.npy")).float()
    words = np.load(folder / "words.npy", mmap_mode="r")
    return Captions(scenes=scenes, sentence=sentence, words=words, starts=starts, first=first)


def _encode(captions: list[str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    sentences, words, lengths = [], [], []
    for sentence, rows in _features(captions):
        sentences.append(sentence)
        words += rows
        lengths += [len(row) for row in rows]
    np.save(folder / "sentence.npy", np.concatenate(sentences))
    np.save(folder / "words.npy", np.concatenate(words))
    np.save(folder / "starts.npy", np.cumsum([0, *lengths]))


def _features(captions: list[str]) -> Iterator[tuple[NDArray[np.float16], list[NDArray[np.float16]]]]:
    """Sentences ``(N, D)`` and each one's words ``(W, D)``, a block at a time."""
    encode = SentenceEncoder()
    for start in range(0, len(captions), _AT_ONCE):
        text = encode(captions[start : start + _AT_ONCE])
        states = [row[mask] for row, mask in zip(text.words, text.word_mask, strict=True)]
        kept = [torch.cat([row[: MAX_WORDS - 1], row[-1:]]) if len(row) > MAX_WORDS else row for row in states]
        yield text.sentence.half().numpy(), [row.half().numpy() for row in kept]
