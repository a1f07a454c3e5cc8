"""Made-up data that a recipe can be trained on: what ``wordframe train --dry-run`` and many tests take.

Words and frames are as many as the recipe's, the numbers in them random, ``D`` and the batch small. Pairs share a
direction, so that a loss has something to go down on. A recipe that tunes its backbone gets a tiny random CLIP.
Neighbours: ``sources.py`` (real data, and ``TrainingSetup.made_up``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wordframe.data import FeatureBatch, PixelBatch
from wordframe.encoders import ClipBackbone
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.train.recipe import Recipe

DIMENSION = 64
PAIRS = 16
BATCH = 4
VOCABULARY = 64
IMAGE = 16


def dry_run_recipe(recipe: Recipe, *, steps: int) -> Recipe:
    """``recipe`` with as small a batch as shows every mechanism it uses, for ``steps`` steps."""
    batch = min(recipe.batch_size, BATCH)  # still with chunks and accumulation where the recipe has them
    accumulation = min(recipe.gradient_accumulation, 2)
    values: dict[str, Any] = {
        "batch_size": batch,
        "gradient_accumulation": accumulation,
        "chunk": None if recipe.chunk is None else min(recipe.chunk, batch // 2),
        "epochs": steps / (PAIRS // (batch * accumulation)),
        "validation": recipe.validation.model_copy(update={"every_steps": max(1, steps)}),
    }
    return recipe.model_copy(update=values)


def tiny_clip(recipe: Recipe) -> ClipBackbone:
    """Both towers of a CLIP with one layer each."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return ClipBackbone(
            dimension=DIMENSION,
            image_size=IMAGE,
            patch_size=IMAGE // 2,
            vision_width=DIMENSION,
            vision_layers=1,
            vision_heads=1,
            vocabulary=VOCABULARY,
            max_words=max(77, recipe.settings.max_words),
            text_width=DIMENSION,
            text_layers=1,
            text_heads=1,
        )


class MadeUpFeatures:
    """A training and validation set of ``PAIRS`` pairs with features; every other text and video is padded."""

    dimension: int | None = DIMENSION
    fingerprint = "made up"

    def __init__(self, recipe: Recipe) -> None:
        generator = torch.Generator().manual_seed(recipe.seed)
        W, F, D = recipe.settings.max_words, recipe.settings.max_frames, DIMENSION
        self.video_of = list(range(PAIRS))
        self.video_ids = [f"made-up-{number}" for number in range(PAIRS)]
        topic = torch.randn(PAIRS, 1, D, generator=generator)
        self.sentence = (topic + torch.randn(PAIRS, 1, D, generator=generator))[:, 0]
        self.words = topic + torch.randn(PAIRS, W, D, generator=generator)
        self.frames = topic + torch.randn(PAIRS, F, D, generator=generator)
        self.word_mask, self.frame_mask = lengths_mask(W), lengths_mask(F)

    def batch(self, captions: Sequence[int]) -> FeatureBatch:
        rows = torch.tensor(captions)
        return FeatureBatch(
            captions=rows,
            videos=rows,
            sentence=self.sentence[rows],
            words=self.words[rows],
            word_mask=self.word_mask[rows],
            frames=self.frames[rows],
            frame_mask=self.frame_mask[rows],
        )

    def all_videos(self) -> VideoFeatures:
        return VideoFeatures(self.frames, self.frames, self.frame_mask)

    def text_blocks(self, size: int) -> Sequence[TextFeatures]:
        texts = TextFeatures(self.sentence, self.words, self.word_mask)
        return [texts[start : start + size] for start in range(0, PAIRS, size)]


class MadeUpPixels:
    """The same for a model with a backbone: token ids and pixels."""

    dimension: int | None = None
    fingerprint = "made up"

    def __init__(self, recipe: Recipe) -> None:
        generator = torch.Generator().manual_seed(recipe.seed)
        W, F = recipe.settings.max_words, recipe.settings.max_frames
        self.video_of = list(range(PAIRS))
        self.video_ids = [f"made-up-{number}" for number in range(PAIRS)]
        self.word_mask, self.frame_mask = lengths_mask(W), lengths_mask(F)
        ids = torch.randint(1, VOCABULARY - 2, (PAIRS, W), generator=generator)
        last = self.word_mask.sum(dim=1) - 1
        ids[torch.arange(PAIRS), last] = VOCABULARY - 1  # EOS, the highest id
        self.input_ids = ids.masked_fill(~self.word_mask, 0)
        self.pixels = torch.randn(PAIRS, F, 3, IMAGE, IMAGE, generator=generator)

    def tokens(self, captions: Sequence[int]) -> tuple[Tensor, Tensor]:
        rows = torch.tensor(captions)
        return self.input_ids[rows], self.word_mask[rows]

    def batch(self, captions: Sequence[int]) -> PixelBatch:
        rows = torch.tensor(captions)
        return PixelBatch(
            captions=rows,
            videos=rows,
            input_ids=self.input_ids[rows],
            word_mask=self.word_mask[rows],
            pixels=self.pixels[rows],
            frame_mask=self.frame_mask[rows],
        )


def lengths_mask(longest: int) -> Tensor:
    """``(PAIRS, longest)``: every other row is full, the others half."""
    lengths = torch.tensor([longest if row % 2 == 0 else max(1, longest // 2) for row in range(PAIRS)])
    return torch.arange(longest) < lengths[:, None]
