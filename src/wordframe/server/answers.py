"""What the library says, as the objects that go over the wire; no web framework.

The server's routes and the agent's tools of ``wordframe.mcp`` both ask here. Neighbours: ``presentation.py`` shows
single videos and moments, ``wordframe.search`` finds them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

from wordframe.client import schemas as wire
from wordframe.disk import display_path
from wordframe.errors import NotFoundError, WordframeError
from wordframe.features import TextFeatures
from wordframe.library import VideoEntry, ids_clause
from wordframe.search import Filters, Hit, SearchEngine
from wordframe.server.presentation import Presenter
from wordframe.server.served import ServedLibrary, Snapshot


class CursorError(WordframeError):
    """A cursor that does not go on with the list that is asked for."""


@dataclass(frozen=True)
class Query:
    """What somebody looks for: one of a sentence, what looks like a segment, and the bytes of a picture."""

    text: str | None = None
    like: str | None = None
    image: bytes | None = None

    def features(self, engine: SearchEngine) -> tuple[TextFeatures, list[str]]:
        """The query as the model takes it, and the text of each of its positions."""
        if self.like is not None:
            query = engine.like(self.like)
        else:
            query = engine.encode_query(text=self.text, image=self.image)
        return query, engine.words(self.text)


class Answers:
    """Answers from one library.

    Args:
        root_path: what the addresses in the answers begin with, for a server behind a proxy; such as ``/videos``.
        allow_index: what ``library`` says of it.

    Raises:
        WordframeError: from every method, with a line that says what to do.
    """

    def __init__(self, served: ServedLibrary, *, root_path: str = "", allow_index: bool = False) -> None:
        self._served, self._present, self._allow_index = served, Presenter(root_path), allow_index

    def library(self) -> wire.LibraryInfo:
        """The library in a few numbers; zeros while there is none."""
        served, snapshot, engine = self._served, self._served.snapshot(), self._served.engine()
        folders = Counter(os.path.dirname(video.path) for video in snapshot.videos.values())
        return wire.LibraryInfo(
            name=display_path(served.folder.name),
            path=display_path(str(served.folder.absolute())),
            encoder=engine.library.manifest.encoder if engine else "",
            model=display_path(served.model),
            num_videos=len(snapshot.videos),
            num_segments=snapshot.num_segments,
            num_failures=snapshot.num_failures,
            seconds_of_video=round(sum(video.duration_seconds for video in snapshot.videos.values()), 3),
            folders=[wire.Folder(name=display_path(path), num_videos=count) for path, count in sorted(folders.items())],
            explains=_explains(engine) if engine else [],
            allow_index=self._allow_index,
        )

    def search(self, request: wire.SearchRequest, image: bytes | None = None) -> wire.SearchResult:
        """The page of results that ``request`` asks for; with ``image`` the picture is the query."""
        key = _key(request, image)
        offset = _offset(request.cursor, key)
        engine, snapshot = self._served.engine(), self._served.snapshot()
        if engine is None or not snapshot.videos:
            timings = wire.Timings(waiting_ms=0, encoding_ms=0, searching_ms=0)
            return wire.SearchResult(items=[], next_cursor=None, num_videos=0, words=[], timings=timings)
        filters = _filters(snapshot, request.filters)
        began = time.perf_counter()
        asked = Query(image=image) if image is not None else Query(request.text, request.like)
        query, words = asked.features(engine)
        encoded = time.perf_counter()
        hits = engine.find(
            query, top=offset + request.limit + 1, moments=request.moments, filters=filters, exact=request.exact
        )
        snapshot = self._served.snapshot()  # again: what was committed meanwhile may be among the hits
        page = [hit for hit in hits[offset : offset + request.limit] if hit.video_id in snapshot.videos]
        reasons: Sequence[Any] = [None] * len(page)
        if "explanation" in request.include:
            reasons = engine.explain_segments(query, words, [hit.moments[0].segment_id for hit in page])
        weak_below = engine.usual(query).weak_below
        items = [
            self._item(hit, snapshot.videos[hit.video_id], weak_below, reason)
            for hit, reason in zip(page, reasons, strict=True)
        ]
        return wire.SearchResult(
            items=items,
            next_cursor=_cursor(offset + request.limit, key) if len(hits) > offset + request.limit else None,
            num_videos=sum(filters.passes(video) for video in snapshot.videos.values()),
            words=words,
            timings=wire.Timings(
                waiting_ms=0,
                encoding_ms=round(1000 * (encoded - began), 2),
                searching_ms=round(1000 * (time.perf_counter() - encoded), 2),
            ),
        )

    def explain(self, segment_id: str, query: Query) -> wire.Explanation:
        """Why a segment fits a query."""
        engine = self._served.need_engine()
        return wire.Explanation(**engine.explain_segments(*query.features(engine), [segment_id])[0].to_json())

    def heat(self, video_id: str, query: Query) -> wire.Heat:
        """How much each moment of a video answers a query."""
        video, engine = self._served.video(video_id), self._served.need_engine()
        features, words = query.features(engine)
        found, hit = engine.heat(features, words, video_id)
        by_word = found.words and [wire.WordHeat(word=word, values=list(values)) for word, values in found.words]
        return wire.Heat(
            video_id=video_id,
            seconds=list(found.seconds),
            values=list(found.values),
            words=by_word or None,
            moments=[self._present.moment(moment, video) for moment in hit.moments],
        )

    def rank_texts(self, video_id: str, texts: Sequence[str]) -> wire.RankedTexts:
        """Sentences by how well a video answers them."""
        video = self._served.video(video_id)
        ranked = self._served.need_engine().rank_texts(texts, video_id)
        return wire.RankedTexts(
            items=[
                wire.RankedText(
                    rank=rank,
                    place=place,
                    text=texts[place],
                    score=round(hit.score, 6),
                    moment=self._present.moment(hit.moments[0], video),
                )
                for rank, (place, hit) in enumerate(ranked, start=1)
            ]
        )

    def videos(self, filters: wire.Filters, limit: int, cursor: str | None) -> wire.VideoList:
        """A page of the videos that pass the filters, by path."""
        snapshot = self._served.snapshot()
        key = hashlib.sha256(filters.model_dump_json().encode()).hexdigest()[:12]
        offset = _offset(cursor, key)
        chosen = _filters(snapshot, filters)
        passing = [video for video in snapshot.videos.values() if chosen.passes(video)]
        more = len(passing) > offset + limit
        return wire.VideoList(
            items=[self._present.video(video) for video in passing[offset : offset + limit]],
            next_cursor=_cursor(offset + limit, key) if more else None,
            num_videos=len(passing),
        )

    def video(self, video_id: str) -> wire.VideoDetail:
        """A video with its segments."""
        video = self._served.video(video_id)
        columns = ["segment_id", "start_seconds", "end_seconds", "segment_index"]
        rows = self._served.store().select(ids_clause("video_id", [video_id]), columns)
        segments = [
            wire.SegmentInfo(
                segment_id=row["segment_id"],
                start_seconds=round(row["start_seconds"], 3),
                end_seconds=round(row["end_seconds"], 3),
                thumbnail_url=self._present.thumbnail_url(row["segment_id"], video),
            )
            for row in sorted(rows, key=lambda row: int(row["segment_index"]))
        ]
        return wire.VideoDetail(video=self._present.video(video), segments=segments)

    def _item(self, hit: Hit, video: VideoEntry, weak_below: float | None, reason: Any) -> wire.SearchItem:
        plain = hit.to_json()
        same = ("rank", "score", "start_seconds", "end_seconds", "video_id", "duration_seconds")
        return wire.SearchItem(
            **{name: plain[name] for name in same},
            path=display_path(hit.path),
            moments=[self._present.moment(moment, video) for moment in hit.moments],
            video=self._present.video(video),
            weak=weak_below is not None and hit.score < weak_below,
            explanation=None if reason is None else wire.Explanation(**reason.to_json()),
        )


def _explains(engine: SearchEngine) -> list[Literal["sentence", "words", "parts"]]:
    family = engine.model.settings.family
    explained: dict[str, list[Literal["sentence", "words", "parts"]]] = {
        "tcmgc": ["sentence", "words", "parts"],
        "xclip": ["parts"],
        "zero-shot": ["sentence", "words"],
    }
    return explained.get(family, [])


def _filters(snapshot: Snapshot, wanted: wire.Filters) -> Filters:
    """Filters as the search takes them: a folder by the name that the library gives it."""
    folder = None
    if wanted.folder is not None:
        # the name was made for showing and may have lost bytes, so the folder is looked up by it, not taken from it
        folders = {os.path.dirname(video.path) for video in snapshot.videos.values()}
        above = {str(parent) for path in folders for parent in (PurePath(path), *PurePath(path).parents)}
        folder = next((path for path in above if display_path(path) == wanted.folder), None)
        if folder is None:
            raise NotFoundError(f"no video of this library lies in the folder {wanted.folder!r}")
    return Filters(
        folder=folder,
        min_seconds=wanted.min_seconds,
        max_seconds=wanted.max_seconds,
        after=wanted.after,
        before=wanted.before,
    )


def _key(request: wire.SearchRequest, image: bytes | None) -> str:
    """Names a search, so that a cursor cannot go on with another one."""
    same = request.model_dump_json(exclude={"cursor", "limit", "include"})
    return hashlib.sha256(same.encode() + (image or b"")).hexdigest()[:12]


def _cursor(offset: int, key: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([offset, key]).encode()).decode()


def _offset(cursor: str | None, key: str) -> int:
    if cursor is None:
        return 0
    try:
        offset, of = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        if of == key and isinstance(offset, int) and 0 < offset < 1 << 31:
            return offset
    except (ValueError, TypeError, binascii.Error):
        pass
    raise CursorError("this cursor belongs to another list; start again without one")
