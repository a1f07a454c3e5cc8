"""Which words of a sentence carried a match: leave one out.

The sentence is encoded again without each of its words, and the match is scored by each of these: what a word carried
is by how much the score falls without it. Falls are shown as shares of their sum; a word without which the score does
not fall has none. So it tells what this model did with this match, nothing of what is to be seen: a word may carry a
wrong match, and of two words that say the same each may go without loss.

It costs ``W + 1`` sentences to encode, about as much as a search of a small library. So a search leaves it out, and the
page asks for it when the results are there.
Neighbours: ``search.py`` finds the matches, ``_meaning.py`` tells where in a match the words look.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from wordframe.library import Snapshot
from wordframe.models import fit_text
from wordframe.search.queries import EncodedQuery
from wordframe.search.results import WordShare
from wordframe.search.search import score_rows

MAX_SHARED_WORDS = 16
"""In longer sentences no word counts for much, and each costs another sentence."""


@torch.inference_mode()
def word_shares(
    snapshot: Snapshot, query: EncodedQuery, segment_ids: Sequence[str]
) -> dict[str, tuple[WordShare, ...]]:
    """For each segment the query's words in their order, with shares that sum to one.

    Empty for a segment whose score no single word raises. Of a picture, of one word and of more than 16 there is
    nothing to tell: an empty dictionary.

    Raises:
        NotFoundError: there is no such segment.
    """
    rows = [snapshot.segment_row(segment_id) for segment_id in segment_ids]
    words = (query.text or "").split()
    if not 2 <= len(words) <= MAX_SHARED_WORDS or not rows:
        return {}
    sentences = [" ".join(words)] + [" ".join(words[:place] + words[place + 1 :]) for place in range(len(words))]
    # together, the whole one as well: falls are small, and encoders round by the length of a batch
    texts = fit_text(snapshot.encoder.encode_text(sentences), snapshot.model.max_words)
    scores = score_rows(snapshot, texts, rows)  # (1 + W, V)
    falls = (scores[0] - scores[1:]).clamp(min=0)  # (W, V)
    shares = torch.nan_to_num(falls / falls.sum(dim=0)).T.tolist()
    return {
        segment_id: tuple(WordShare(word=word, share=share) for word, share in zip(words, line, strict=True))
        if any(line)
        else ()
        for segment_id, line in zip(segment_ids, shares, strict=True)
    }
