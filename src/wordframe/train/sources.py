"""What a recipe is trained on: cached features, cached frames, video files, or made-up numbers, with the model for it.

The command ``wordframe train`` chooses one; ``loop.train`` takes what comes of it. Where the validation set comes from
is told in ``about``, which the report keeps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from wordframe.data import (
    FeatureDescription,
    FeatureSet,
    FrameCache,
    FrameSet,
    PixelBatch,
    Split,
    TrainingSet,
    VideoSet,
    load_benchmark,
    match_videos,
    read_captions,
)
from wordframe.encoders import FAMILIES, ClipBackbone, SentenceTokenizer, backbone_fingerprint
from wordframe.models import TextVideoModel
from wordframe.train.build import attach_tokenizer, build_model, load_clip, trainable
from wordframe.train.config import Recipe
from wordframe.train.errors import RecipeError
from wordframe.train.made_up import DIMENSION, MadeUpFeatures, MadeUpPixels, tiny_clip
from wordframe.train.run import ValidationSet


@dataclass(frozen=True)
class Sources:
    """A model and what it is trained and validated on. about: told in the report."""

    model: TextVideoModel
    train_set: TrainingSet
    validation: ValidationSet | None
    about: Mapping[str, Any]


@dataclass(frozen=True)
class HeldOutPixels:
    """A set of pixels whose captions are read without their videos, which many of them share."""

    pixels: FrameSet | VideoSet
    tokenize: SentenceTokenizer

    @property
    def video_of(self) -> Sequence[int]:
        return self.pixels.video_of

    @property
    def fingerprint(self) -> str:
        return self.pixels.fingerprint

    def tokens(self, captions: Sequence[int]) -> tuple[Tensor, Tensor]:
        input_ids, mask = self.tokenize([self.pixels.captions[caption] for caption in captions])
        missing = self.pixels.num_words - input_ids.shape[1]
        return F.pad(input_ids, (0, missing)), F.pad(mask, (0, missing))

    def batch(self, captions: Sequence[int]) -> PixelBatch:
        return self.pixels.batch(captions)


@dataclass(frozen=True)
class Captions:
    """The splits to train on. files: the annotation files with their hashes; problems: what is odd in them."""

    train: Split
    validation: Split | None
    files: Mapping[str, str]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class FrameSource:
    """Where frames come from, one of the two: a frame cache, or a folder of videos."""

    cache: Path | None = None
    videos: Path | None = None
    allow_missing: bool = field(default=False, kw_only=True)


def made_up(recipe: Recipe) -> Sources:
    """Small made-up data of the recipe's shapes: pixels and a tiny CLIP where it tunes its backbone, else features."""
    data = MadeUpPixels(recipe) if recipe.tuned else MadeUpFeatures(recipe)
    backbone = tiny_clip(recipe) if recipe.tuned else None
    model = build_model(recipe, dimension=None if backbone else DIMENSION, backbone=backbone)
    return Sources(model, data, data, {"made_up": True})


def from_features(recipe: Recipe, folder: Path, validation: Path | None) -> Sources:
    """Cached features: ``folder`` is the training cache, or holds the caches ``train`` and ``val``.

    Where the recipe names the CLIP that made them, transformers start from it as if it were part of the model.

    Raises:
        CacheError: a cache is not there or does not fit the recipe, or the two are of different encoders.
        RecipeError: the recipe names another CLIP than the one that made them.
    """
    if (folder / "train").is_dir():
        val = folder / recipe.validation.split
        validation = validation or (val if val.is_dir() else None)
        folder = folder / "train"
    words, frames = recipe.settings.max_words, recipe.settings.max_frames
    train_set = FeatureSet.open(folder, num_words=words, num_frames=frames, benchmark=recipe.data.benchmark)
    described = FeatureDescription.read(folder)
    assert described is not None
    about = {"features": _told(described)}
    held_out = None
    if validation is not None:
        held_out = FeatureSet.open(
            validation, num_words=words, num_frames=frames, encoder_fingerprint=described.fingerprint
        )
        of_validation = FeatureDescription.read(validation)
        assert of_validation is not None
        about["validation_features"] = _told(of_validation)
    model = build_model(recipe, dimension=train_set.dimension, start=_start(recipe, described))
    return Sources(model, train_set, held_out, about)


def read_benchmark(recipe: Recipe, annotations: Path) -> Captions:
    """Train and validation captions of the recipe's benchmark.

    Raises:
        RecipeError: it names none.
        AnnotationError: a file is missing or malformed.
    """
    if recipe.data.benchmark is None:
        raise RecipeError(f"{recipe.name}: data.benchmark is missing: --annotations needs to know what they are of")
    on_test = recipe.validation.split == "test"
    loaded = load_benchmark(recipe.data.benchmark, annotations, splits=("train", "val"), validate_on_test=on_test)
    hashes = {file.name: _digest(file) for file in loaded.files}
    return Captions(loaded.splits["train"], loaded.splits["val"], hashes, loaded.problems)


def read_own(captions: Path, validation: Path | None) -> Captions:
    """Captions of one's own videos: JSON, JSONL or CSV.

    Raises:
        AnnotationError: a file is missing or malformed.
    """
    files = [captions] if validation is None else [captions, validation]
    train, *held_out = (
        Split(file.name, name, {video: tuple(several) for video, several in read_captions(file).items()})
        for file, name in zip(files, ("train", "val"), strict=False)
    )
    return Captions(train, held_out[0] if held_out else None, {file.name: _digest(file) for file in files})


def from_frames(recipe: Recipe, captions: Captions, source: FrameSource) -> Sources:
    """Pixels for a model with a CLIP of its own, tuned or frozen.

    Raises:
        RecipeError: the recipe names no CLIP.
        WordframeError: the CLIP, the frames or the videos are not there.
    """
    if recipe.backbone is None or recipe.backbone.name == "offline":
        raise RecipeError(
            f"{recipe.name}: backbone names no CLIP, which frames and videos need; "
            "name one, or make a feature cache (wordframe cache features) and train on that (--features)"
        )
    parts = load_clip(recipe.backbone.name)
    model = build_model(recipe, backbone=trainable(parts, recipe.backbone.name))
    attach_tokenizer(model, parts)
    tokenize = SentenceTokenizer(
        tokenizer=parts.tokenizer,
        family=FAMILIES["clip"],
        max_words=recipe.settings.max_words,
        vocabulary=parts.towers.vocabulary,
    )
    train_set = _pixels(recipe, captions.train, source, tokenize, parts.preprocessing.height)
    left_out, held_out = dict(train_set.left_out), None
    if captions.validation is not None:
        pixels = _pixels(recipe, captions.validation, source, tokenize, parts.preprocessing.height)
        left_out |= pixels.left_out
        held_out = HeldOutPixels(pixels, tokenize)
    about = {
        "benchmark": captions.train.benchmark,
        "annotations": dict(captions.files),
        "train_note": captions.train.note,
        "validation_note": "" if captions.validation is None else captions.validation.note,
        "left_out": left_out,
        "frames": "cached" if source.videos is None else "decoded from videos",
    }
    return Sources(model, train_set, held_out, about)


def _pixels(
    recipe: Recipe, split: Split, source: FrameSource, tokenize: SentenceTokenizer, image_size: int
) -> FrameSet | VideoSet:
    shared: dict[str, Any] = {
        "captions": split.captions,
        "tokenize": tokenize,
        "image_size": image_size,
        "num_words": recipe.settings.max_words,
        "num_frames": recipe.settings.max_frames,
        "allow_missing": source.allow_missing,
    }
    if source.cache is not None:
        return FrameSet(cache=FrameCache.open(source.cache), **shared)
    assert source.videos is not None
    matched = match_videos(source.videos, {video: [*several] for video, several in split.captions.items()})
    return VideoSet(paths={pair.name: pair.path for pair in matched.pairs}, **shared)


def _start(recipe: Recipe, described: FeatureDescription) -> ClipBackbone | None:
    """The CLIP that the recipe names, if it does; it must be the one that made the features."""
    if recipe.tuned or recipe.backbone is None or recipe.backbone.name == "offline":
        return None
    clip = trainable(load_clip(recipe.backbone.name), recipe.backbone.name)
    if (found := backbone_fingerprint(clip)) != described.fingerprint:
        raise RecipeError(
            f"{recipe.name}: the features are of {described.encoder} (fingerprint {described.fingerprint}), but "
            f"backbone.name is {recipe.backbone.name} ({found}); name the same one, or say --set backbone=null "
            "to start without it"
        )
    return clip


def _told(described: FeatureDescription) -> dict[str, Any]:
    names = ("encoder", "fingerprint", "benchmark", "split", "note", "frames", "num_frames", "annotations", "left_out")
    return {name: getattr(described, name) for name in names}


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
