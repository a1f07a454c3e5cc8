"""What a recipe is trained on: cached features, cached frames, video files, or made-up numbers, with the model for it.

The command ``wordframe train`` chooses one; ``loop.train`` takes what comes of it. Where the validation set comes from
is said in ``about``, which the report keeps. ``build.py`` makes the models, ``dry_run.py`` the made-up numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

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
from wordframe.disk import content_hash
from wordframe.encoders import MODEL_TYPES, ClipBackbone, SentenceTokenizer, backbone_fingerprint, load_clip
from wordframe.errors import RecipeError
from wordframe.models import EncoderIdentity, TextVideoModel
from wordframe.train.build import attach_tokenizer, build_model, trainable_backbone
from wordframe.train.dry_run import DIMENSION, MadeUpFeatures, MadeUpPixels, tiny_clip
from wordframe.train.recipe import Recipe
from wordframe.train.validation import ValidationSet


@dataclass(frozen=True)
class CaptionSplits:
    """The splits to train on. files: the annotation files with their hashes; problems: what is odd in them."""

    train: Split
    validation: Split | None
    files: Mapping[str, str]
    problems: tuple[str, ...] = ()

    @classmethod
    def of_benchmark(cls, recipe: Recipe, annotations: Path) -> Self:
        """Train and validation captions of the recipe's benchmark.

        Raises:
            RecipeError: it names none.
            AnnotationError: a file is missing or malformed.
        """
        if recipe.data.benchmark is None:
            raise RecipeError(f"{recipe.name}: data.benchmark is missing: --annotations needs to know what they are of")
        on_test = recipe.validation.split == "test"
        loaded = load_benchmark(recipe.data.benchmark, annotations, splits=("train", "val"), validate_on_test=on_test)
        hashes = {file.name: content_hash(file) for file in loaded.files}
        return cls(loaded.splits["train"], loaded.splits["val"], hashes, loaded.problems)

    @classmethod
    def of_files(cls, captions: Path, validation: Path | None) -> Self:
        """Captions of one's own videos: JSON, JSONL or CSV.

        Raises:
            AnnotationError: a file is missing or malformed.
        """
        files = [captions] if validation is None else [captions, validation]
        train, *held_out = (
            Split(file.name, name, {video: tuple(several) for video, several in read_captions(file).items()})
            for file, name in zip(files, ("train", "val"), strict=False)
        )
        return cls(train, held_out[0] if held_out else None, {file.name: content_hash(file) for file in files})


@dataclass(frozen=True)
class TrainingSetup:
    """A model and what it is trained and validated on. about: what the report says of the data."""

    model: TextVideoModel
    train_set: TrainingSet
    validation: ValidationSet | None
    about: Mapping[str, Any]

    @classmethod
    def made_up(cls, recipe: Recipe) -> Self:
        """Small made-up data of the recipe's shapes: pixels and a tiny CLIP where it tunes one, else features."""
        data = MadeUpPixels(recipe) if recipe.tuned else MadeUpFeatures(recipe)
        backbone = tiny_clip(recipe) if recipe.tuned else None
        model = build_model(recipe, dimension=None if backbone else DIMENSION, backbone=backbone)
        return cls(model, data, data, {"made_up": True})

    @classmethod
    def from_features(cls, recipe: Recipe, folder: Path, validation: Path | None = None) -> Self:
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
        about = {"features": _provenance(described)}
        held_out = None
        if validation is not None:
            held_out = FeatureSet.open(
                validation, num_words=words, num_frames=frames, encoder_fingerprint=described.fingerprint
            )
            of_validation = FeatureDescription.read(validation)
            assert of_validation is not None
            about["validation_features"] = _provenance(of_validation)
        model = build_model(
            recipe,
            dimension=train_set.dimension,
            trained_on=EncoderIdentity(described.encoder, described.fingerprint),
            start=_start(recipe, described),
        )
        return cls(model, train_set, held_out, about)

    @classmethod
    def from_frames(
        cls,
        recipe: Recipe,
        captions: CaptionSplits,
        *,
        cache: Path | None = None,
        videos: Path | None = None,
        allow_missing: bool = False,
    ) -> Self:
        """Pixels for a model with a CLIP of its own, tuned or frozen; the checkpoint brings that CLIP.

        Args:
            recipe: it names the CLIP.
            captions: of the videos.
            cache, videos: where frames come from, one of the two: a frame cache, or a folder of videos.
            allow_missing: leave out videos that are not there; ``about`` names them.

        Raises:
            RecipeError: the recipe names no CLIP.
            WordframeError: the CLIP, the frames or the videos are not there.
        """
        if (cache is None) == (videos is None):
            raise ValueError(f"give one of cache= and videos=, got {cache!r} and {videos!r}")
        if recipe.backbone is None or recipe.backbone.name == "offline":
            raise RecipeError(
                f"{recipe.name}: backbone names no CLIP, which frames and videos need; "
                "name one, or make a feature cache (wordframe cache features) and train on that (--features)"
            )
        parts = load_clip(recipe.backbone.name)
        model = build_model(recipe, backbone=trainable_backbone(parts, recipe.backbone.name))
        attach_tokenizer(model, parts)
        # not the encoder's own, which reads up to 77 words: the recipe's max_words cut here as they do in training
        tokenize = SentenceTokenizer(
            tokenizer=parts.tokenizer,
            model_type=MODEL_TYPES["clip"],
            max_words=recipe.settings.max_words,
            vocabulary=parts.towers.vocabulary,
        )
        shared: dict[str, Any] = {
            "tokenize": tokenize,
            "image_size": parts.preprocessing.height,
            "num_words": recipe.settings.max_words,
            "num_frames": recipe.settings.max_frames,
            "allow_missing": allow_missing,
        }
        train_set = _pixels(captions.train, cache, videos, shared)
        left_out, held_out = dict(train_set.left_out), None
        if captions.validation is not None:
            pixels = _pixels(captions.validation, cache, videos, shared)
            left_out |= pixels.left_out
            held_out = HeldOutPixels(pixels, tokenize)
        about = {
            "benchmark": captions.train.benchmark,
            "annotations": dict(captions.files),
            "train_note": captions.train.note,
            "validation_note": "" if captions.validation is None else captions.validation.note,
            "left_out": left_out,
            "frames": "cached" if videos is None else "decoded from videos",
        }
        return cls(model, train_set, held_out, about)


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
        # each block's longest caption decides its width, but blocks of all processes are put together
        missing = self.pixels.num_words - input_ids.shape[1]
        return F.pad(input_ids, (0, missing)), F.pad(mask, (0, missing))

    def batch(self, captions: Sequence[int]) -> PixelBatch:
        return self.pixels.batch(captions)


def _pixels(split: Split, cache: Path | None, videos: Path | None, shared: Mapping[str, Any]) -> FrameSet | VideoSet:
    if cache is not None:
        return FrameSet(captions=split.captions, cache=FrameCache.open(cache), **shared)
    assert videos is not None
    matched = match_videos(videos, {video: [*several] for video, several in split.captions.items()})
    return VideoSet(captions=split.captions, paths={pair.name: pair.path for pair in matched.pairs}, **shared)


def _start(recipe: Recipe, described: FeatureDescription) -> ClipBackbone | None:
    """The CLIP that the recipe names, if it does; it must be the one that made the features."""
    if recipe.tuned or recipe.backbone is None or recipe.backbone.name == "offline":
        return None
    clip = trainable_backbone(load_clip(recipe.backbone.name), recipe.backbone.name)
    if (found := backbone_fingerprint(clip)) != described.fingerprint:
        raise RecipeError(
            f"{recipe.name}: the features are of {described.encoder} (fingerprint {described.fingerprint}), but "
            f"backbone.name is {recipe.backbone.name} ({found}); name the same one, or say --set backbone=null "
            "to start without it"
        )
    return clip


def _provenance(described: FeatureDescription) -> dict[str, Any]:
    names = ("encoder", "fingerprint", "benchmark", "split", "note", "frames", "num_frames", "annotations", "left_out")
    return {name: getattr(described, name) for name in names}
