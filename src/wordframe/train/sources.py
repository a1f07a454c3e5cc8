"""What a recipe is trained on: cached features, cached frames, video files, or made-up numbers, with the model for it.

The command ``wordframe train`` chooses one; ``loop.train`` takes what comes of it. Where the validation set comes from
is said in ``about``, which the report keeps.
Neighbours: ``made_up.py`` (the made-up ones); ``build.py`` makes the models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from torch import Tensor
from torch.nn import functional as F

from wordframe.data import (
    ALL_OF_TRAIN,
    BENCHMARKS,
    FeatureDescription,
    FeatureSet,
    FrameCache,
    FrameSet,
    PixelBatch,
    Split,
    TrainingSet,
    VideoSet,
    feature_folder,
    feature_part,
    load_benchmark,
    match_videos,
    read_captions,
)
from wordframe.disk import content_hash, short_hash
from wordframe.encoders import Backbone, SentenceTokenizer, backbone_fingerprint, load_clip
from wordframe.errors import AnnotationError, RecipeError, counted
from wordframe.models import EncoderIdentity, TextVideoModel
from wordframe.train.build import attach_tokenizer, build_model
from wordframe.train.made_up import DIMENSION, MadeUpFeatures, MadeUpPixels, tiny_clip
from wordframe.train.recipe import Recipe
from wordframe.train.validation import ValidationSet
from wordframe.video import FrameRule


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
        chosen_on = recipe.validation.split
        loaded = load_benchmark(
            recipe.data.benchmark,
            annotations,
            splits=("train",) if chosen_on == "none" else ("train", "val"),
            validate_on_test=chosen_on == "test",
            hold_out=chosen_on != "none",
        )
        hashes = {file.name: content_hash(file) for file in loaded.files}
        return cls(loaded.splits["train"], loaded.splits.get("val"), hashes, loaded.problems)

    @classmethod
    def of_files(cls, captions: Path, validation: Path | None, *, held_out: float = 0.0) -> Self:
        """Captions of one's own videos: JSON, JSONL or CSV.

        Args:
            captions: to train on.
            validation: of other videos, to validate on.
            held_out: without those, the share of videos that is kept from training to validate on: the same ones in
                each run, whatever the order of the file, and with all their captions.

        Raises:
            AnnotationError: a file is missing or malformed.
        """
        files = [captions] if validation is None else [captions, validation]
        train, *others = (
            Split(file.name, name, {video: tuple(several) for video, several in read_captions(file).items()})
            for file, name in zip(files, ("train", "val"), strict=False)
        )
        hashes = {file.name: content_hash(file) for file in files}
        if not others and held_out > 0:
            train, kept = _hold_out(train, held_out)
            others = [kept]
        return cls(train, others[0] if others else None, hashes)


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
    def from_features(cls, recipe: Recipe, folder: str | Path, validation: str | Path | None = None) -> Self:
        """Cached features: ``folder`` is the training cache, or holds the caches ``train`` and ``val``.

        Both may be addresses on object storage (``s3://bucket/features``); a local copy of each is made and kept.

        Where the recipe names the CLIP that made them, transformers start from it as if it were part of the model.

        Raises:
            CacheError: a cache is not there or does not fit the recipe, or the two are of different encoders.
            RecipeError: the recipe names another CLIP than the one that made them, or another part of train.
        """
        if (train := feature_part(folder, "train")) is not None:
            validation = validation or feature_part(folder, recipe.validation.split)
            folder = train
        folder = feature_folder(folder)
        validation = None if validation is None else feature_folder(validation)
        if validation is None:
            _refuse_without_validation(recipe)
        words, frames = recipe.settings.max_words, recipe.settings.max_frames
        train_set = FeatureSet.open(
            folder,
            num_words=words,
            num_frames=frames,
            cut=recipe.sampling.cut,
            order=recipe.sampling.order,
            benchmark=recipe.data.benchmark,
        )
        described = FeatureDescription.read(folder)
        assert described is not None
        _refuse_other_part(recipe, described, validation)
        about = {"features": _provenance(described)}
        held_out = None
        if validation is not None:
            held_out = FeatureSet.open(
                validation,
                num_words=words,
                num_frames=frames,
                cut=recipe.sampling.cut,
                encoder_fingerprint=described.fingerprint,
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
            RecipeError: the recipe names no CLIP, or is given captions to validate on that it has no use for.
            WordframeError: the CLIP, the frames or the videos are not there.
        """
        if (cache is None) == (videos is None):
            raise ValueError(f"give one of cache= and videos=, got {cache!r} and {videos!r}")
        if recipe.backbone is None or recipe.backbone.name == "offline":
            raise RecipeError(
                f"{recipe.name}: backbone names no CLIP, which frames and videos need; "
                "name one, or make a feature cache (wordframe cache features) and train on that (--features)"
            )
        _refuse_unused(recipe, captions.validation)
        parts = load_clip(recipe.backbone.name)
        model = build_model(recipe, backbone=parts.towers)
        attach_tokenizer(model, parts)
        # not the encoder's own, which reads up to 77 words: the recipe's max_words cut here as they do in training
        num_words = model.tokens_of_a_text(parts.full_length)
        tokenize = SentenceTokenizer(
            tokenizer=parts.tokenizer,
            model_type=parts.towers.model_type,
            max_words=num_words,
            vocabulary=parts.towers.vocabulary,
        )
        shared: dict[str, Any] = {
            "tokenize": tokenize,
            "preprocessing": parts.preprocessing,
            "num_words": num_words,
            "num_frames": recipe.settings.max_frames,
            "allow_missing": allow_missing,
        }
        rule = captions.train.rule(recipe.sampling.cut)
        train_set = _pixels(captions.train, cache, videos, rule, shared | {"order": recipe.sampling.order})
        left_out, held_out = dict(train_set.left_out), None
        if captions.validation is not None:
            pixels = _pixels(captions.validation, cache, videos, rule, shared)
            left_out |= pixels.left_out
            held_out = HeldOutPixels(pixels, tokenize)
        about = {
            "benchmark": captions.train.benchmark,
            "annotations": dict(captions.files),
            "train_note": captions.train.note,
            "validation_note": "" if captions.validation is None else captions.validation.note,
            "left_out": left_out,
            "frames": "cached" if videos is None else "decoded from videos",
            "sampling": rule.describe(recipe.settings.max_frames),
            "frame_order": recipe.sampling.order,
            "text_cleaning": tokenize.cleaning,
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


def _hold_out(split: Split, share: float) -> tuple[Split, Split]:
    """Training and validation parts, at least one video in each.

    Raises:
        AnnotationError: there is a single video.
    """
    # by a hash of the name: neighbours in a file are often of one scene, and new videos must not move old ones about
    names = sorted(split.captions, key=short_hash)
    if len(names) < 2:
        raise AnnotationError(
            f"{split.benchmark} has captions of {counted(len(names), 'video')}, of which none can be held out to "
            "validate on; add videos, or say --set validation.held_out=0 --set validation.patience=null"
        )
    kept = set(names[: min(max(1, round(share * len(names))), len(names) - 1)])
    note = f"{counted(len(kept), 'video')} of {len(names)} held out by a hash of their names"
    parts = (
        {name: captions for name, captions in split.captions.items() if (name in kept) == validation}
        for validation in (False, True)
    )
    return (
        Split(split.benchmark, "train", next(parts), note=note),
        Split(split.benchmark, "val", next(parts), note=note),
    )


def _pixels(
    split: Split, cache: Path | None, videos: Path | None, rule: FrameRule, shared: Mapping[str, Any]
) -> FrameSet | VideoSet:
    if cache is not None:
        return FrameSet(captions=split.captions, cache=FrameCache.open(cache), rule=rule, **shared)
    assert videos is not None
    matched = match_videos(videos, {video: [*several] for video, several in split.captions.items()})
    paths = {pair.name: pair.path for pair in matched.pairs}
    return VideoSet(captions=split.captions, paths=paths, rule=rule, **shared)


def _refuse_unused(recipe: Recipe, validation: object | None) -> None:
    if recipe.validation.split == "none" and validation is not None:
        raise RecipeError(
            f"{recipe.name}: validation.split is none, so that nothing is validated; leave the validation set out"
        )


def _refuse_without_validation(recipe: Recipe) -> None:
    """What a recipe says of a validation set, where there are features of none."""
    if recipe.validation.held_out > 0:
        raise RecipeError(
            f"{recipe.name}: validation.held_out={recipe.validation.held_out:g} is of captions, and features have none "
            "held out; give a cache of others (--validation), or say --set validation.held_out=0"
        )
    if recipe.validation.split == "test":
        raise RecipeError(
            f"{recipe.name}: validation.split is test, but there are no features of it; put them beside train, "
            "as test, or give their cache (--validation)"
        )


def _refuse_other_part(recipe: Recipe, described: FeatureDescription, validation: Path | None) -> None:
    """Features of train with or without the videos that others hold out, as the recipe says."""
    _refuse_unused(recipe, validation)
    known = BENCHMARKS.get(described.benchmark)
    if known is None or not known.held_out:
        return
    is_whole, wants_whole = described.note == ALL_OF_TRAIN, recipe.validation.split == "none"
    if wants_whole and not is_whole:
        raise RecipeError(
            f"{recipe.name}: validation.split is none, but the features are {described.note}; make them with "
            "wordframe cache features --all-of-train"
        )
    if is_whole and recipe.validation.split == "val":
        raise RecipeError(
            f"{recipe.name}: the features are of {described.note}, so none of {known.name} is left to validate on; "
            "say --set validation.split=none"
        )


def _start(recipe: Recipe, described: FeatureDescription) -> Backbone | None:
    """The CLIP that the recipe names, if it does; it must be the one that made the features."""
    if recipe.tuned or recipe.backbone is None or recipe.backbone.name == "offline":
        return None
    clip = load_clip(recipe.backbone.name).towers
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
