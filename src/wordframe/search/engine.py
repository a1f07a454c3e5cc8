"""Search in a library: query features, shortlist, exact scores, hits.

    engine = wf.SearchEngine(wf.Library.open("my-library"))
    for hit in engine.search("a child laughs", top=5):
        print(hit.path, hit.start_seconds, hit.score)

Stage one (``shortlist.py``) picks candidates by mean vectors, stage two reads their frame features and runs the model;
``exact`` runs the model on everything, in blocks. The default model is the untrained language-video attention.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from wordframe.errors import LibraryError, WordframeError
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.library import Library
from wordframe.models import TextVideoModel, load_model
from wordframe.search.hits import Hit, group_by_video
from wordframe.search.queries import clip_query, image_query, text_query
from wordframe.search.shortlist import DEFAULT_SIZE, Filters, candidates

BLOCK_SEGMENTS = 4096
_COLUMNS = ["segment_id", "video_id", "path_bytes", "duration_seconds", "start_seconds", "end_seconds"]


class SearchEngine:
    """Answers queries over one library; sees what an indexer commits meanwhile.

    Raises:
        LibraryError: there is no library, it is damaged, or its encoder cannot be had.
    """

    def __init__(self, library: Library, model: TextVideoModel | None = None) -> None:
        self.library = library
        self.model = load_model("zero-shot", dimension=library.manifest.dimension) if model is None else model
        self._store = library.store

    @classmethod
    def with_model(cls, library: Library, name: str, *, untrained: bool = False) -> SearchEngine:
        """An engine that scores with a preset, or with a checkpoint's folder or hub id.

        Raises:
            WordframeError: there is no such model, it does not fit the library's features, or its heads need training
                and ``untrained`` does not allow that.
        """
        model = load_model(name, dimension=library.manifest.dimension)
        if not model.trained and not untrained:
            raise WordframeError(
                f"{name!r} is a preset: settings without trained weights; give a checkpoint's folder, "
                "or say --untrained to rank with its starting values"
            )
        return cls(library, model)

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
    ) -> list[Hit]:
        """The ``top`` videos that fit a sentence, a picture or a clip, best first.

        Args:
            text, image, clip: the query; exactly one of them. image and clip are files.
            moments: at most so many moments a video.
            exact: score every segment, not only the shortlist.
            shortlist: how many segments stage one hands to the model; more are taken if they hold too few videos.

        Raises:
            WordframeError: the query is empty, too long or unreadable, or the library is empty.
            ValueError: not exactly one query, or ``top`` below 1.
        """
        if top < 1 or moments < 1 or shortlist < 1:
            raise ValueError(f"top, moments and shortlist must be at least 1, got {top}, {moments}, {shortlist}")
        query = self.encode_query(text=text, image=image, clip=clip)
        self._store.refresh()
        if self._store.count() == 0:
            raise LibraryError(f"{self.library.folder}: the library is empty; index some videos into it first")
        where = None if filters is None else filters.where(self._store)
        total = self._store.count(where)
        size = total if exact else min(shortlist, total)
        while True:
            rows = self.score_segments(query, self._shortlist(query, size, where))
            hits = group_by_video(rows, top=top, moments=moments)
            if len(hits) == top or size >= total:
                return hits
            size = min(4 * size, total)

    def encode_query(
        self, *, text: str | None = None, image: str | Path | None = None, clip: str | Path | None = None
    ) -> TextFeatures:
        """Features of the one query given, ``T = 1``."""
        given = [name for name, value in (("text", text), ("image", image), ("clip", clip)) if value is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of text, image and clip, got {', '.join(given) or 'none'}")
        encoder = self.library.encoder
        if text is not None:
            return text_query(encoder, text)
        if image is not None:
            return image_query(encoder, image)
        assert clip is not None
        return clip_query(encoder, clip)

    def _shortlist(self, query: TextFeatures, size: int, where: str | None) -> Sequence[int]:
        vector = F.normalize(query.sentence[0], dim=0).numpy()
        return candidates(self._store, vector, size=size, where=where)

    @torch.inference_mode()
    def score_segments(self, query: TextFeatures, row_ids: Sequence[int]) -> list[dict[str, Any]]:
        """The facts of each segment with its ``score`` and ``peak_seconds``; blocks keep memory bounded."""
        rows: list[dict[str, Any]] = []
        for start in range(0, len(row_ids), BLOCK_SEGMENTS):
            facts, video = self.library.read_segments(row_ids[start : start + BLOCK_SEGMENTS], _COLUMNS)
            video = self.model.contextualize(video.frames, video.frame_mask, video.seconds)
            scores = self.model.score(query, video).logits[0] / self.model.scale
            for fact, score, peak in zip(facts, scores.tolist(), _peaks(query, video), strict=True):
                path = os.fsdecode(fact.pop("path_bytes"))
                rows.append(fact | {"path": path, "score": score, "peak_seconds": peak})
        if any(row["score"] != row["score"] for row in rows):
            raise WordframeError(f"{self.library.folder}: a score is not a number; the library's features are damaged")
        return rows


def _peaks(query: TextFeatures, video: VideoFeatures) -> list[float]:
    """The time of each segment's frame that is nearest to the sentence, by cosine."""
    assert video.seconds is not None
    cosines = F.normalize(video.frames, dim=-1) @ F.normalize(query.sentence[0], dim=0)  # (V, F)
    best = cosines.masked_fill(~video.frame_mask, -torch.inf).argmax(dim=1, keepdim=True)
    peaks: list[float] = video.seconds.gather(1, best)[:, 0].tolist()
    return peaks
