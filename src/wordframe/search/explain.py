"""Why a query and a segment fit: the four parts, how much each counts, and where sentence and words look.

What a model does not have is left out: one with a single vector a video has its score alone, X-CLIP its four parts
(their plain mean is the score), the untrained attention where the sentence looks, TC-MGC all of it. Parts are on the
scale of the score that a user sees, so ``score = Σ weight · part`` where there are weights.
Neighbours: ``heads/base.py`` (``Explanation``, the tensors), ``engine.py`` (asks), ``hits.py`` (carries it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from wordframe.features import TextFeatures, VideoFeatures
from wordframe.models import TextVideoModel


@dataclass(frozen=True)
class WordReasons:
    """A token and how much it looks at each frame, summing to one."""

    word: str
    attention: tuple[float, ...]


@dataclass(frozen=True)
class Reasons:
    """Why a segment fits a query.

    seconds: when each frame is; parts: similarities by name; part_weights: how much each counts, summing to one;
    sentence_attention: how much the sentence looks at each frame, summing to one; words: the same for each token.
    """

    segment_id: str
    score: float
    seconds: tuple[float, ...]
    parts: dict[str, float] = field(default_factory=dict)
    part_weights: dict[str, float] | None = None
    sentence_attention: tuple[float, ...] | None = None
    words: tuple[WordReasons, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and strings; None where the model has nothing to say."""
        words = None
        if self.words is not None:
            words = [
                {
                    "word": word.word,
                    "attention": _rounded(word.attention),
                    "peak_seconds": round(self.strongest(word.attention)[0], 3),
                }
                for word in self.words
            ]
        return {
            "segment_id": self.segment_id,
            "score": round(self.score, 6),
            "seconds": [round(second, 3) for second in self.seconds],
            "parts": {name: round(value, 6) for name, value in self.parts.items()},
            "part_weights": None
            if self.part_weights is None
            else {name: round(value, 6) for name, value in self.part_weights.items()},
            "sentence_attention": None if self.sentence_attention is None else _rounded(self.sentence_attention),
            "words": words,
        }

    def strongest(self, attention: Sequence[float]) -> tuple[float, float]:
        """The second of the frame that is looked at most, and its share."""
        share, place = max((share, -place) for place, share in enumerate(attention))
        return self.seconds[-place], share


@torch.inference_mode()
def explain_segment(
    model: TextVideoModel, query: TextFeatures, tokens: Sequence[str], video: VideoFeatures, segment_id: str
) -> Reasons:
    """Explain one pair.

    Args:
        query: one text, ``T = 1``, its words all real.
        tokens: the text of each of its ``W`` token positions.
        video: one segment as ``model`` scores it, ``V = 1``, with ``seconds``, its frames all real.
    """
    if (len(query), len(video)) != (1, 1) or not (query.word_mask.all() and video.frame_mask.all()):
        raise ValueError(f"one text and one segment without padding are explained, got {len(query)} and {len(video)}")
    if len(tokens) != query.words.shape[1] or video.seconds is None:
        raise ValueError(f"a token is needed for each of {query.words.shape[1]} positions, got {len(tokens)}")
    found = model.explain(query, video)
    parts = {name: part.item() / model.scale for name, part in found.output.parts.items()}
    weights = sentence = words = None
    if found.part_weights is not None:
        weights = dict(zip(parts, found.part_weights[0, 0].tolist(), strict=True))
    if found.sentence_attention is not None:
        sentence = tuple(found.sentence_attention[0, 0].tolist())
    if found.word_attention is not None:
        shares = found.word_attention[0, :, 0].tolist()  # (W, F)
        words = tuple(WordReasons(token, tuple(share)) for token, share in zip(tokens, shares, strict=True))
    return Reasons(
        segment_id=segment_id,
        score=found.output.logits.item() / model.scale,
        seconds=tuple(video.seconds[0].tolist()),
        parts=parts,
        part_weights=weights,
        sentence_attention=sentence,
        words=words,
    )


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 6) for value in values]
