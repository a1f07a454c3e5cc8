"""Search in a library: query features, shortlist, exact scores, hits.

    engine = wf.SearchEngine(wf.Library.open("my-library"))
    for hit in engine.search("a child laughs", top=5):
        print(hit.path, hit.start_seconds, hit.score)

Stage one (``shortlist.py``) picks candidates by scene vectors, stage two reads their frame features and runs the model;
``exact`` runs the model on everything, in blocks. A model with one vector a video is searched by that vector alone.
What a model needs beyond the frames is prepared at the first search with it (``library/prepared.py``). The default
model is the untrained language-video attention.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from wordframe.errors import LibraryError, NotFoundError, WordframeError
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.library import Library, Prepared, ids_clause
from wordframe.models import TextVideoModel, fit_text, kept_words, load_model, load_ready, refuse_other_features
from wordframe.search.explain import Reasons, explain_segment
from wordframe.search.heat import Heat, video_heat
from wordframe.search.hits import Hit, group_by_video
from wordframe.search.queries import as_query, clip_query, image_query, text_query
from wordframe.search.shortlist import DEFAULT_SIZE, Filters, candidates
from wordframe.search.usual import Usual, even_sample, usual_scores

BLOCK_SEGMENTS = 4096
_COLUMNS = ["segment_id", "video_id", "path_bytes", "duration_seconds", "start_seconds", "end_seconds"]


class SearchEngine:
    """Answers queries over one library; sees what an indexer commits meanwhile.

    Attributes:
        not_stored: why what the model needs could not be stored at the last search, which then made it on the fly.

    Raises:
        LibraryError: there is no library, it is damaged, or its encoder cannot be had.
        CheckpointError: the model was made for features of another encoder.
    """

    def __init__(self, library: Library, model: TextVideoModel | None = None, *, name: str = "MODEL") -> None:
        manifest = library.manifest
        self.library = library
        self.model = load_model("zero-shot", dimension=manifest.dimension) if model is None else model
        refuse_other_features(
            self.model,
            name,
            encoder=manifest.encoder,
            fingerprint=manifest.fingerprint,
            dimension=manifest.dimension,
            remedy="make a library with it: wordframe index VIDEOS --library NEW_FOLDER --encoder {encoder}",
        )
        self.prepared = Prepared(library, self.model)
        self.not_stored: str | None = None
        self._store = library.store
        self._sample: tuple[int, list[int]] | None = None  # the snapshot it was taken from, and rows
        self._one_snapshot = threading.Lock()  # row ids mean something in one snapshot; queries are encoded outside

    @classmethod
    def with_model(cls, library: Library, name: str, *, untrained: bool = False) -> SearchEngine:
        """An engine that scores with a preset, or with a checkpoint's folder or hub id.

        Raises:
            WordframeError: there is no such model, it does not fit the library's features, or its heads need training
                and ``untrained`` does not allow that.
        """
        model = load_ready(name, dimension=library.manifest.dimension, untrained=untrained)
        return cls(library, model, name=name)

    def search(
        self,
        text: str | None = None,
        *,
        image: str | Path | None = None,
        clip: str | Path | None = None,
        top: int = 10,
        moments: int = 3,
        filters: Filters | None = None,
        exact: bool = False,
        shortlist: int = DEFAULT_SIZE,
        explain: bool = False,
        on_prepare: Callable[[int, int], None] | None = None,
    ) -> list[Hit]:
        """The ``top`` videos that fit a sentence, a picture or a clip, best first.

        Args:
            text, image, clip: the query; exactly one of them. image and clip are files.
            moments: at most so many moments a video.
            exact: score every segment, not only the shortlist.
            shortlist: how many segments stage one hands to the model; more are taken if they hold too few videos.
            explain: say of each hit why its best moment fits.
            on_prepare: called with the segments done and their total while what the model needs is being stored.

        Raises:
            WordframeError: the query is empty, too long or unreadable, or the library is empty.
            ValueError: not exactly one query, or ``top`` below 1.
        """
        query = self.encode_query(text=text, image=image, clip=clip)
        return self.find(
            query,
            words=self.words(text) if explain else None,
            top=top,
            moments=moments,
            filters=filters,
            exact=exact,
            shortlist=shortlist,
            on_prepare=on_prepare,
        )

    def find(
        self,
        query: TextFeatures,
        *,
        words: Sequence[str] | None = None,
        top: int = 10,
        moments: int = 3,
        filters: Filters | None = None,
        exact: bool = False,
        shortlist: int = DEFAULT_SIZE,
        on_prepare: Callable[[int, int], None] | None = None,
    ) -> list[Hit]:
        """As ``search``, for a query that is features already, ``T = 1``.

        Args:
            words: the text of each position of the query, to explain the hits with; None leaves explanations out.
        """
        if top < 1 or moments < 1 or shortlist < 1:
            raise ValueError(f"top, moments and shortlist must be at least 1, got {top}, {moments}, {shortlist}")
        with self._one_snapshot:
            self._store.refresh()
            if self._store.count() == 0:
                raise LibraryError(f"{self.library.folder}: the library is empty; index some videos into it first")
            self._prepare(on_prepare)
            where = None if filters is None else filters.where(self._store)
            total = self._store.count(where)
            size = total if exact else min(shortlist, total)
            while True:
                rows = self.score_segments(query, self.shortlist(query, size, where))
                hits = group_by_video(rows, top=top, moments=moments)
                if len(hits) == top or size >= total:
                    break
                size = min(4 * size, total)
            row_ids = {row["segment_id"]: row["row_id"] for row in rows}
            hits = self._with_peaks(query, hits, row_ids)
            return hits if words is None else self._with_reasons(words, query, hits, row_ids)

    def encode_query(
        self, *, text: str | None = None, image: str | Path | bytes | None = None, clip: str | Path | None = None
    ) -> TextFeatures:
        """Features of the one query given, ``T = 1``, cut to the words that the model takes; an image may be bytes."""
        given = [name for name, value in (("text", text), ("image", image), ("clip", clip)) if value is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of text, image and clip, got {', '.join(given) or 'none'}")
        encoder = self.library.encoder
        if text is not None:
            return fit_text(text_query(encoder, text), self.model.max_words)
        if image is not None:
            return image_query(encoder, image)
        assert clip is not None
        return clip_query(encoder, clip)

    def explain(self, text: str, segment_id: str) -> Reasons:
        """Why a segment of the library fits a sentence, or does not.

        Raises:
            WordframeError: the query is empty or too long, or there is no such segment.
        """
        return self.explain_segments(self.encode_query(text=text), self.words(text), [segment_id])[0]

    def explain_segments(self, query: TextFeatures, words: Sequence[str], segment_ids: Sequence[str]) -> list[Reasons]:
        """As ``explain``, for features, ``T = 1``, and the text of each of their positions."""
        with self._one_snapshot:
            self._store.refresh()
            return [self._explain(query, words, self._row_of(segment_id)) for segment_id in segment_ids]

    def like(self, segment_id: str) -> TextFeatures:
        """A query, ``T = 1``, that asks for what looks like a segment of the library.

        Raises:
            WordframeError: there is no such segment.
        """
        with self._one_snapshot:
            self._store.refresh()
            _, video = self.library.read_segments([self._row_of(segment_id)])
        return as_query(video.frames[0][video.frame_mask[0]])

    def usual(self, query: TextFeatures) -> Usual:
        """The scores that a query gets from an even sample of the library."""
        with self._one_snapshot:
            self._store.refresh()
            return self._usual(query)

    def heat(self, query: TextFeatures, words: Sequence[str], video_id: str) -> tuple[Heat, Hit]:
        """How much each moment of a video answers a query, and the video as a hit with its moments.

        Raises:
            WordframeError: there is no such video.
        """
        with self._one_snapshot:
            self._store.refresh()
            row_ids = self._rows_of_video(video_id)
            _, video = self.prepared.features(row_ids, [])
            heat = video_heat(self.model, query, words, video, usual=self._usual(query).centre)
            rows = self.score_segments(query, row_ids)
            hits = group_by_video(rows, top=1, moments=len(row_ids))
            return heat, self._with_peaks(query, hits, {row["segment_id"]: row["row_id"] for row in rows})[0]

    def rank_texts(self, texts: Sequence[str], video_id: str) -> list[tuple[int, Hit]]:
        """Sentences by how well a video answers them, best first: their places in ``texts``, each with the video.

        Raises:
            WordframeError: a text is empty or too long, or there is no such video.
        """
        queries = [self.encode_query(text=text) for text in texts]
        with self._one_snapshot:
            self._store.refresh()
            row_ids = self._rows_of_video(video_id)
            found = []
            for place, query in enumerate(queries):
                rows = self.score_segments(query, row_ids)
                hits = group_by_video(rows, top=1, moments=1)
                found.append((place, self._with_peaks(query, hits, {r["segment_id"]: r["row_id"] for r in rows})[0]))
        return sorted(found, key=lambda pair: (-pair[1].score, pair[0]))

    def _row_of(self, segment_id: str) -> int:
        found = self._store.row_ids(ids_clause("segment_id", [segment_id]))
        if not found:
            raise NotFoundError(f"{self.library.folder}: no segment {segment_id!r}; take one from a hit's moments")
        return found[0]

    def _rows_of_video(self, video_id: str) -> list[int]:
        found = self._store.row_ids(ids_clause("video_id", [video_id]))
        if not found:
            raise NotFoundError(f"{self.library.folder}: no video {video_id!r}; take one from a hit")
        return found

    def _usual(self, query: TextFeatures) -> Usual:
        if self._sample is None or self._sample[0] != self._store.version():
            self._sample = (self._store.version(), even_sample(self._store.row_ids()))
        scores = [row["score"] for row in self.score_segments(query, self._sample[1])]
        return usual_scores(scores, self._store.count())

    def _prepare(self, on_prepare: Callable[[int, int], None] | None) -> None:
        try:
            self.prepared.prepare(on_prepare)
            self.not_stored = None
        except LibraryError as error:  # a library that cannot be written can still be searched
            self.not_stored = str(error)

    @torch.inference_mode()
    def shortlist(self, query: TextFeatures, size: int, where: str | None = None) -> Sequence[int]:
        """Stage one of a search: row ids of at most ``size`` segments worth an exact score for a query, ``T = 1``."""
        vector = self.model.search_vectors(query)[0].numpy()
        if self.model.one_vector and self._store.count(where) > size:
            return self.prepared.nearest(vector, size, where)
        return candidates(self._store, vector, size=size, where=where)

    @torch.inference_mode()
    def score_segments(self, query: TextFeatures, row_ids: Sequence[int]) -> list[dict[str, Any]]:
        """The facts of each segment with its ``row_id`` and ``score``; blocks keep memory bounded."""
        rows: list[dict[str, Any]] = []
        for start in range(0, len(row_ids), BLOCK_SEGMENTS):
            block = row_ids[start : start + BLOCK_SEGMENTS]
            facts, scores = self._scores(query, block)
            for row_id, fact, value in zip(block, facts, scores.tolist(), strict=True):
                wanted = {name: fact[name] for name in _COLUMNS if name != "path_bytes"}
                rows.append(wanted | {"path": os.fsdecode(fact["path_bytes"]), "row_id": row_id, "score": value})
        if any(row["score"] != row["score"] for row in rows):
            raise WordframeError(f"{self.library.folder}: a score is not a number; the library's features are damaged")
        return rows

    def _scores(self, query: TextFeatures, row_ids: Sequence[int]) -> tuple[list[dict[str, Any]], Tensor]:
        """Facts and scores ``(V,)`` of some segments."""
        if self.model.one_vector:
            facts, vectors = self.prepared.vectors(row_ids, _COLUMNS)
            return facts, vectors @ _unit(query)
        facts, logits = self.prepared.logits(query, row_ids, _COLUMNS)
        return facts, logits[0] / self.model.scale

    def _with_peaks(self, query: TextFeatures, hits: Sequence[Hit], row_ids: dict[str, int]) -> list[Hit]:
        """The hits with the time of each moment's frame that is nearest to the sentence, by cosine."""
        segments = [moment.segment_id for hit in hits for moment in hit.moments]
        _, video = self.library.read_segments([row_ids[segment] for segment in segments])
        peaks = dict(zip(segments, _peaks(query, video), strict=True))
        return [hit.with_peaks(peaks) for hit in hits]

    def _with_reasons(
        self, words: Sequence[str], query: TextFeatures, hits: Sequence[Hit], row_ids: dict[str, int]
    ) -> list[Hit]:
        best = [row_ids[hit.moments[0].segment_id] for hit in hits]
        return [
            replace(hit, explanation=self._explain(query, words, row_id))
            for hit, row_id in zip(hits, best, strict=True)
        ]

    def words(self, text: str | None) -> list[str]:
        """The text of each position of an encoded sentence; one for a picture or a clip, where ``text`` is None."""
        if text is None:
            return ["the query"]
        tokens = self.library.encoder.tokens(text.strip())
        return [tokens[place] for place in kept_words(len(tokens), self.model.max_words)]

    def _explain(self, query: TextFeatures, tokens: Sequence[str], row_id: int) -> Reasons:
        facts, video = self.prepared.features([row_id], ["segment_id"])
        return explain_segment(self.model, query, tokens, video, facts[0]["segment_id"])


def _unit(query: TextFeatures) -> Tensor:
    return F.normalize(query.sentence[0], dim=0)


def _peaks(query: TextFeatures, video: VideoFeatures) -> list[float]:
    assert video.seconds is not None
    cosines = F.normalize(video.frames, dim=-1) @ _unit(query)  # (V, F)
    best = cosines.masked_fill(~video.frame_mask, -torch.inf).argmax(dim=1, keepdim=True)
    peaks: list[float] = video.seconds.gather(1, best)[:, 0].tolist()
    return peaks
