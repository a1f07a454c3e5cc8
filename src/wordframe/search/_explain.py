"""Why a query and a segment fit: the four parts, how much each counts, and where sentence and words look.

What a model does not have is left out: one with a single vector a video has its score alone, X-CLIP its four parts
(their plain mean is the score), the untrained attention where the sentence looks, TC-MGC all of it. Parts are on the
scale of the score that a user sees, so ``score = Σ weight · part`` where there are weights.
Neighbours: ``wordframe.heads`` (``Explanation``: the tensors), ``search.py`` (asks), ``results.py`` (what it makes).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from wordframe.features import TextFeatures, VideoFeatures
from wordframe.models import TextVideoModel
from wordframe.search.results import Explanation, WordAttention


@torch.inference_mode()
def explain_segment(
    model: TextVideoModel, query: TextFeatures, tokens: Sequence[str], video: VideoFeatures, segment_id: str
) -> Explanation:
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
    seconds = tuple(video.seconds[0].tolist())
    found = model.explain(query, video)
    parts = {name: part.item() / model.scale for name, part in found.output.parts.items()}
    weights = sentence = words = None
    if found.part_weights is not None:
        weights = dict(zip(parts, found.part_weights[0, 0].tolist(), strict=True))
    if found.sentence_attention is not None:
        sentence = tuple(found.sentence_attention[0, 0].tolist())
    if found.word_attention is not None:
        shares = found.word_attention[0, :, 0].tolist()  # (W, F)
        words = tuple(_word(token, share, seconds) for token, share in zip(tokens, shares, strict=True))
    return Explanation(
        segment_id=segment_id,
        score=found.output.logits.item() / model.scale,
        seconds=seconds,
        parts=parts,
        part_weights=weights,
        sentence_attention=sentence,
        words=words,
    )


def _word(token: str, attention: Sequence[float], seconds: Sequence[float]) -> WordAttention:
    strongest = max(range(len(attention)), key=attention.__getitem__)
    return WordAttention(word=token, attention=tuple(attention), peak_seconds=seconds[strongest])
