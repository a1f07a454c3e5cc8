"""Frames made of captions: what the classifier might answer to a scene that people describe so.

Logits of a scene = what its captions call for + what else is in the picture + errors of the classifier, then through
the offline encoder's own mixture, ``softmax(z / 2) · class directions``:

- a caption calls for class ``c`` by ``strength · max(a_c, 0)² · e_c``; ``a`` are the products of sentence and class
  directions, standardised over the classes; ``e ~ Exp(1)``, since a class that fits fires strongly or not at all;
- another scene's caption does the same: something else is in the picture;
- errors are correlated as the classifier's last layer makes them, ``W h`` with ``h`` normal: one draw a scene (what it
  keeps mistaking), one a frame; on top of the mean logits of real frames.

The form and the sizes were read off real frames that are no part of any measurement of quality here (``real_logits``):
docs/text-trained.md has the figures side by side.
Neighbours: ``captions.py`` (the scenes), ``train.py`` (draws batches).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from text_trained.captions import Captions
from wordframe.encoders import load_directions, read_classifier
from wordframe.features import TextFeatures, VideoFeatures

NUM_FRAMES = 12
TEMPERATURE = 2.0
"""Of the offline encoder's mixture."""
MOST_SCENES = 4
_SOURCES = 3
"""Captions whose mean says what a scene shows, where there are as many besides the query."""
_BANK = 4096


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How strongly each cause moves the logits."""

    strength: float = 0.16
    distractor: float = 0.08
    scene_error: float = 0.7
    frame_error: float = 1.0


@dataclass(frozen=True)
class Pairs:
    """Row ``i`` of the texts describes one scene of video ``i``."""

    text: TextFeatures
    video: VideoFeatures


class StandIns:
    """Draws matching pairs of captions and stand-in videos.

    Args:
        captions: what there is to draw from.
        scenes: numbers of the scenes to use; scenes of one video stay together.
        mean_logits: ``(C,)`` of real frames.
        seed: the same seed gives the same pairs.
    """

    def __init__(
        self,
        captions: Captions,
        scenes: NDArray[np.int64],
        *,
        mean_logits: Tensor,
        seed: int,
        sizes: Sizes | None = None,
    ) -> None:
        self.captions, self.scenes, self.mean_logits = captions, scenes, mean_logits
        self.sizes = sizes or Sizes()
        self.random = np.random.default_rng(seed)
        self.noise = torch.Generator().manual_seed(seed)
        self.directions = load_directions()
        self.bank = _errors(self.noise)
        self.of_video: dict[int, list[int]] = {}
        for scene in scenes:
            self.of_video.setdefault(captions.scenes[scene].video, []).append(int(scene))
        sources = {video: captions.scenes[mine[0]].source for video, mine in self.of_video.items()}
        self.videos = {name: [v for v, source in sources.items() if source == name] for name in set(sources.values())}

    def draw(self, number: int, *, source: str, joined: float = 0.5) -> Pairs:
        """``number`` videos of ``source``, one query each; ``joined``: share of those of one scene that get
        scenes of others."""
        videos = self.random.choice(self.videos[source], number, replace=False)
        queries, content, scene_of = [], [], []
        for video in videos:
            mine, asked = self._scenes_of(int(video), source, joined)
            vectors = []
            for at, scene in enumerate(mine):
                query, vector = self._content(scene, keep_query=at == asked)
                queries += [query] if at == asked else []
                vectors.append(vector)
            content.append(torch.stack(vectors + vectors[-1:] * (MOST_SCENES - len(vectors))))
            scene_of.append(np.arange(NUM_FRAMES) * len(mine) // NUM_FRAMES)
        frames = self.frames(torch.stack(content), torch.from_numpy(np.stack(scene_of)))
        mask = torch.ones(frames.shape[:2], dtype=torch.bool)
        return Pairs(self.captions.text(np.array(queries)), VideoFeatures(frames, frames, mask))

    def frames(self, content: Tensor, scene_of: Tensor) -> Tensor:
        """Frames ``(V, F, D)`` of what scenes show, sentences ``(V, S, D)``; ``scene_of (V, F)`` of each frame."""
        V, S, D = content.shape
        other = self.captions.sentence[torch.from_numpy(self._random_captions(V * S))].view(V, S, D)
        scenes = self.mean_logits + self.sizes.strength * self._calls(content)  # (V, S, C)
        scenes = scenes + self.sizes.distractor * self._calls(other)
        scenes = scenes + self.sizes.scene_error * self._draw_errors(V * S).view(V, S, -1)
        logits = scenes.gather(1, scene_of[..., None].expand(-1, -1, scenes.shape[-1]))  # (V, F, C)
        logits = logits + self.sizes.frame_error * self._draw_errors(V * NUM_FRAMES).view(logits.shape)
        return (logits / TEMPERATURE).softmax(dim=-1) @ self.directions

    def _calls(self, sentences: Tensor) -> Tensor:
        fit = sentences @ self.directions.T
        fit = (fit - fit.mean(dim=-1, keepdim=True)) / fit.std(dim=-1, keepdim=True)
        return fit.clamp(min=0.0).square() * torch.empty_like(fit).exponential_(generator=self.noise)

    def _draw_errors(self, number: int) -> Tensor:
        """``(N, C)``: sums of two of the bank, so that there are more of them than it holds."""
        rows = torch.randint(len(self.bank), (2, number), generator=self.noise)
        return (self.bank[rows[0]] + self.bank[rows[1]]) / 2**0.5

    def _scenes_of(self, video: int, source: str, joined: float) -> tuple[list[int], int]:
        """At most ``MOST_SCENES`` scenes in their order, and the place of the one that is asked for."""
        mine = self.of_video[video]
        if source == "activitynet":
            first = self.random.integers(max(1, len(mine) - MOST_SCENES + 1))
            mine = mine[first : first + MOST_SCENES]
            return mine, int(self.random.integers(len(mine)))
        if self.random.random() >= joined:
            return mine, 0
        others = self.random.choice(self.videos[source], self.random.integers(1, MOST_SCENES), replace=False)
        mixed = [*mine, *(self.of_video[other][0] for other in others if other != video)]
        mixed = [mixed[place] for place in self.random.permutation(len(mixed))]
        return mixed, mixed.index(mine[0])

    def _content(self, scene: int, *, keep_query: bool) -> tuple[int, Tensor]:
        """A caption to ask with, and the sentence that says what the scene shows, made of others where there are."""
        order = self.captions.first[scene] + self.random.permutation(len(self.captions.scenes[scene].captions))
        shown = order[1 : 1 + _SOURCES] if keep_query and len(order) > 1 else order[:_SOURCES]
        return int(order[0]), F.normalize(self.captions.sentence[torch.from_numpy(shown)], dim=-1).mean(dim=0)

    def _random_captions(self, number: int) -> NDArray[np.int64]:
        first = self.captions.first[self.random.choice(self.scenes, number)]
        return np.asarray(first)


def _errors(noise: torch.Generator) -> Tensor:
    """``(N, C)`` answers of the classifier's last layer to normal features, each class of variance 1."""
    weight = read_classifier()._fc.weight.detach()  # type: ignore[union-attr, operator]
    weight = F.normalize(weight - weight.mean(dim=0), dim=1)
    return torch.randn(_BANK, weight.shape[1], generator=noise) @ weight.T
