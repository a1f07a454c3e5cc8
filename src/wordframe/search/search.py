"""Finding: plain functions of a snapshot and a query, for any number of threads at once.

    snapshot = library.snapshot()
    query = encode(snapshot, Query(text="a child laughs"))
    hits = search(snapshot, query, top=5)
    why = explain(snapshot, query, hits[0].moments[0].segment_id)

Stage one takes candidates by the centroids of the segments' frames (or by the model's one vector a video), stage two
reads their frame features and runs the model; ``exact`` runs the model on everything, in blocks.
Neighbours: ``queries.py`` makes queries, ``results.py`` is what comes back, ``library/snapshot.py`` reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from wordframe.errors import LibraryError
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.library import SegmentFacts, Snapshot, ids_clause
from wordframe.models import fit_text, score
from wordframe.search._everyday import everyday_features
from wordframe.search._grouping import Scores, group_by_video
from wordframe.search._meaning import (
    MIN_SAMPLE,
    BackgroundScores,
    background_scores,
    best_of_others,
    explain_segment,
    video_heat,
)
from wordframe.search._widening import widen_moments
from wordframe.search.filters import Filters
from wordframe.search.queries import EncodedQuery, Query, as_query, encode
from wordframe.search.results import Explanation, Heat, Hit, Moment, RankedText

BLOCK_SEGMENTS = 4096
"""So many segments are scored at once: memory stays bounded however large the library is."""
SHORTLIST = 300
"""What keeps over 99 % of the exact top 10 of 100,000 segments whose scenes differ (``benchmarks/two_stage.py``)."""


def search(
    snapshot: Snapshot,
    query: EncodedQuery,
    *,
    top: int = 10,
    moments: int = 3,
    filters: Filters | None = None,
    exact: bool = False,
    shortlist: int = SHORTLIST,
    explained: bool = False,
) -> list[Hit]:
    """The ``top`` videos that fit a query, best first.

    Args:
        moments: at most so many moments a video, each as long as what it shows lasts (``_widening.py``).
        exact: score every segment, not only the shortlist.
        shortlist: how many segments stage one hands to the model; where they belong to fewer than ``top`` videos, as
            many again of the other videos follow.
        explained: say of each hit why its best moment fits.

    Raises:
        WordframeError: the library is empty or damaged.
        ValueError: a number below 1.
    """
    if top < 1 or moments < 1 or shortlist < 1:
        raise ValueError(f"top, moments and shortlist must be at least 1, got {top}, {moments}, {shortlist}")
    if snapshot.num_segments == 0:
        raise LibraryError(f"{snapshot.place}: the library is empty; index some videos into it first")
    where = None if filters is None else filters.where()
    scores = Scores()
    if exact:
        _score_into(scores, snapshot, query, snapshot.row_ids(where))
    else:
        _score_shortlists(scores, snapshot, query, top=top, size=shortlist, where=where)
    rows = scores.of_best_videos(top)
    facts = snapshot.facts(list(rows))
    hits = group_by_video(facts, list(rows.values()), top=top, moments=moments)
    row_of = dict(zip((fact.segment_id for fact in facts), rows, strict=True))
    hits = widen_moments(snapshot, _with_peaks(snapshot, query, hits, row_of), row_of)
    hits = _with_copies(snapshot, hits, {fact.video_id: fact.content_hash for fact in facts}, where)
    if not explained:
        return hits
    best = [row_of[hit.moments[0].segment_id] for hit in hits]
    return [
        hit.model_copy(update={"explanation": _explain(snapshot, query, row)})
        for hit, row in zip(hits, best, strict=True)
    ]


def _score_shortlists(
    scores: Scores, snapshot: Snapshot, query: EncodedQuery, *, top: int, size: int, where: str | None
) -> None:
    """Score the nearest segments, and then those of videos not met yet, until ``top`` videos or all are there.

    Videos that were met are left out of the next look, so a few long videos cannot fill every shortlist.
    """
    look = where
    while True:
        rows = candidates(snapshot, query, size, look)
        _score_into(scores, snapshot, query, rows)
        if len(rows) < size or scores.num_videos >= top:
            return
        met = f"NOT ({ids_clause('video_id', scores.videos())})"
        look = met if where is None else f"({where}) AND {met}"


@torch.inference_mode()
def candidates(snapshot: Snapshot, query: EncodedQuery, size: int, where: str | None = None) -> list[int]:
    """Stage one: row ids of segments worth a score."""
    return snapshot.candidates(snapshot.model.search_vectors(query.features)[0].numpy(), size, where)


def score_segments(
    snapshot: Snapshot, query: EncodedQuery, row_ids: Sequence[int]
) -> tuple[list[SegmentFacts], NDArray[np.float32]]:
    """Stage two: facts and scores ``(V,)`` of some segments, a few thousand at most."""
    facts, (found,) = _scored(snapshot, query.features, row_ids)
    if found.isnan().any():
        raise LibraryError(f"{snapshot.place}: a score is not a number; the library's features are damaged")
    return facts, found.numpy()


def _score_into(scores: Scores, snapshot: Snapshot, query: EncodedQuery, row_ids: Sequence[int]) -> None:
    for start in range(0, len(row_ids), BLOCK_SEGMENTS):
        block = row_ids[start : start + BLOCK_SEGMENTS]
        facts, found = score_segments(snapshot, query, block)
        scores.add(block, facts, found)


@torch.inference_mode()
def score_block(snapshot: Snapshot, texts: Sequence[TextFeatures], row_ids: Sequence[int]) -> NDArray[np.float32]:
    """Scores ``(T, V)`` of some segments, read and scored once for several queries, each of ``T = 1``."""
    sentences = [text.sentence[0] for text in texts]
    together = TextFeatures.from_ragged(sentences, [text.words[0][text.word_mask[0]] for text in texts])
    return _scored(snapshot, together, row_ids)[1].numpy()


def score_rows(snapshot: Snapshot, texts: TextFeatures, row_ids: Sequence[int]) -> Tensor:
    """Scores ``(T, V)`` of a few segments, in the order of their ids."""
    return _scored(snapshot, texts, row_ids)[1]


@torch.inference_mode()
def _scored(snapshot: Snapshot, text: TextFeatures, row_ids: Sequence[int]) -> tuple[list[SegmentFacts], Tensor]:
    """Facts of some segments, and the scores ``(T, V)`` of texts."""
    model = snapshot.model
    if model.one_vector:
        facts, vectors = snapshot.vectors(row_ids)
        return facts, F.normalize(text.sentence, dim=-1) @ vectors.T
    segments = snapshot.segments(row_ids)
    logits = score(model, text, segments.video, segments.statistics)
    return segments.facts, logits / model.scale


def explain(snapshot: Snapshot, query: EncodedQuery, segment_id: str) -> Explanation:
    """Why a segment of the library fits a query, or does not.

    Raises:
        NotFoundError: there is no such segment.
    """
    return _explain(snapshot, query, snapshot.segment_row(segment_id))


def _explain(snapshot: Snapshot, query: EncodedQuery, row_id: int) -> Explanation:
    segments = snapshot.segments([row_id])
    return explain_segment(snapshot.model, query.features, query.words, segments.video, segments.facts[0].segment_id)


def background(snapshot: Snapshot, query: EncodedQuery) -> BackgroundScores:
    """What scores the query gets from an even sample of the library: the level of chance (``_meaning.py``)."""
    _, found = score_segments(snapshot, query, snapshot.sample)
    level = background_scores(found.tolist(), snapshot.num_segments)
    if 0 < snapshot.num_segments < MIN_SAMPLE:
        return replace(level, best_by_chance=_best_by_others(snapshot, is_sentence=query.text is not None))
    return level


_by_others: WeakKeyDictionary[Snapshot, dict[bool, float | None]] = WeakKeyDictionary()
"""All that is kept here, and it goes with its snapshot."""


def _best_by_others(snapshot: Snapshot, *, is_sentence: bool) -> float | None:
    """What other queries get at best from a small library; once for each of its states."""
    known = _by_others.setdefault(snapshot, {})
    if is_sentence not in known:
        known[is_sentence] = (_best_by_sentences if is_sentence else _best_by_own_segments)(snapshot)
    return known[is_sentence]


def _best_by_sentences(snapshot: Snapshot) -> float | None:
    features = fit_text(everyday_features(snapshot.encoder), snapshot.model.max_words)
    return best_of_others(score_rows(snapshot, features, snapshot.sample).amax(dim=1).numpy())


@torch.inference_mode()
def _best_by_own_segments(snapshot: Snapshot) -> float | None:
    """Each segment as a picture that is asked for, against those of the other videos."""
    rows = snapshot.sample
    video = snapshot.frames(rows)
    queries = [as_query(frames[mask]) for frames, mask in zip(video.frames, video.frame_mask, strict=True)]
    videos = np.array([fact.video_id for fact in snapshot.facts(rows)])
    of_others = score_block(snapshot, queries, rows)[videos[:, None] != videos]
    return background_scores(of_others.tolist(), MIN_SAMPLE).best_by_chance


def heat(snapshot: Snapshot, query: EncodedQuery, video_id: str) -> Heat:
    """How much each moment of a video answers a query, with the video's segments as moments.

    Raises:
        NotFoundError: there is no such video.
    """
    row_ids = snapshot.video_rows(video_id)
    video = snapshot.segments(row_ids).video
    level = background(snapshot, query).median
    strip = video_heat(snapshot.model, query.features, query.words, video, nothing=level)
    hit = _one_video(snapshot, query, row_ids, moments=len(row_ids))
    return Heat(video_id=video_id, seconds=strip.seconds, values=strip.values, words=strip.words, moments=hit.moments)


def moments_in(snapshot: Snapshot, query: EncodedQuery, video_id: str, *, top: int) -> list[Moment]:
    """The ``top`` moments of one video that fit a query, best first, as ``search`` gives them.

    Raises:
        NotFoundError: there is no such video.
    """
    row_ids = snapshot.video_rows(video_id)
    hit = _one_video(snapshot, query, row_ids, moments=len(row_ids))
    row_of = dict(zip((fact.segment_id for fact in snapshot.facts(row_ids)), row_ids, strict=True))
    return list(widen_moments(snapshot, [hit], row_of)[0].moments[:top])


def rank_texts(snapshot: Snapshot, texts: Sequence[str], video_id: str) -> list[RankedText]:
    """Sentences by how well a video answers them, best first.

    Raises:
        WordframeError: a text is empty or too long, or there is no such video.
    """
    queries = [encode(snapshot, Query(text=text)) for text in texts]
    row_ids = snapshot.video_rows(video_id)
    found = [_one_video(snapshot, query, row_ids, moments=1) for query in queries]
    order = sorted(range(len(texts)), key=lambda place: (-found[place].score, place))
    return [
        RankedText(rank=rank, place=place, text=texts[place], score=found[place].score, moment=found[place].moments[0])
        for rank, place in enumerate(order, start=1)
    ]


def _one_video(snapshot: Snapshot, query: EncodedQuery, row_ids: Sequence[int], *, moments: int) -> Hit:
    """A video as a hit."""
    facts, found = score_segments(snapshot, query, row_ids)
    hits = group_by_video(facts, found.tolist(), top=1, moments=moments)
    row_of = dict(zip((fact.segment_id for fact in facts), row_ids, strict=True))
    return _with_peaks(snapshot, query, hits, row_of)[0]


def _with_peaks(snapshot: Snapshot, query: EncodedQuery, hits: Sequence[Hit], row_of: dict[str, int]) -> list[Hit]:
    """The hits with the time of each moment's frame that is nearest to the query, by cosine."""
    segments = [moment.segment_id for hit in hits for moment in hit.moments]
    video = snapshot.frames([row_of[segment] for segment in segments])
    peaks = dict(zip(segments, _peaks(query.features, video), strict=True))
    return [
        hit.model_copy(
            update={
                "moments": tuple(
                    moment.model_copy(update={"peak_seconds": peaks[moment.segment_id]}) for moment in hit.moments
                )
            }
        )
        for hit in hits
    ]


def _with_copies(snapshot: Snapshot, hits: Sequence[Hit], contents: dict[str, str], where: str | None) -> list[Hit]:
    """The hits with where else the same file lies; ``contents``: the hash of each video's content, by its id."""
    wanted = sorted({contents[hit.video_id] for hit in hits} - {""})
    if not wanted:
        return list(hits)
    same = snapshot.copies(wanted, where)
    return [
        hit.model_copy(
            update={
                "copies": tuple(
                    sorted(path for other, path in same.get(contents[hit.video_id], []) if other != hit.video_id)
                )
            }
        )
        for hit in hits
    ]


def _unit(text: TextFeatures) -> Tensor:
    return F.normalize(text.sentence[0], dim=0)


@torch.inference_mode()
def _peaks(text: TextFeatures, video: VideoFeatures) -> list[float]:
    assert video.seconds is not None
    cosines = F.normalize(video.frames, dim=-1) @ _unit(text)  # (V, F)
    best = cosines.masked_fill(~video.frame_mask, -torch.inf).argmax(dim=1, keepdim=True)
    peaks: list[float] = video.seconds.gather(1, best)[:, 0].tolist()
    return peaks
