"""What the library says, as the objects that go over the wire; no web framework.

The server's routes and the agent's tools of ``wordframe.mcp`` both ask here. Neighbours: ``presentation.py`` shows
single videos and moments, ``wordframe.search`` finds them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import PurePath

from wordframe.addresses import is_address
from wordframe.client import schemas as wire
from wordframe.disk import display_path
from wordframe.errors import NotFoundError, WordframeError
from wordframe.library import Snapshot, ids_clause
from wordframe.search import (
    Filters,
    Query,
    background,
    encode,
    explain,
    heat,
    query_note,
    rank_texts,
    search,
    word_shares,
)
from wordframe.server.presentation import Presenter
from wordframe.server.served import ServedLibrary


class CursorError(WordframeError):
    """A cursor that does not go on with the list that is asked for."""


class Answers:
    """Answers from one library. Each takes one snapshot and sees that state from its first look to its last.

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
        served, snapshot = self._served, self._served.snapshot()
        folders = snapshot.folders if snapshot else {}
        return wire.LibraryInfo(
            name=display_path(served.place.name),
            path=display_path(str(served.place)),
            encoder=snapshot.manifest.encoder if snapshot else "",
            model=display_path(served.model_name),
            num_videos=sum(count for count, _ in folders.values()),
            num_segments=snapshot.num_segments if snapshot else 0,
            num_failures=served.num_failures(),
            seconds_of_video=sum(seconds for _, seconds in folders.values()),
            folders=[wire.Folder(name=display_path(path), num_videos=count) for path, (count, _) in folders.items()],
            explains=_explains(snapshot) if snapshot else [],
            allow_index=self._allow_index,
        )

    def search(self, request: wire.SearchRequest, image: bytes | None = None) -> wire.SearchResult:
        """The page of results that ``request`` asks for; with ``image`` the picture is the query."""
        key = _key(request, image)
        offset = _offset(request.cursor, key)
        snapshot = self._served.snapshot()
        if snapshot is None or not snapshot.num_segments:
            timings = wire.Timings(waiting_ms=0, encoding_ms=0, searching_ms=0)
            return wire.SearchResult(items=[], next_cursor=None, num_videos=0, words=[], note=None, timings=timings)
        filters = _filters(snapshot, request.filters)
        began = time.perf_counter()
        wanted = Query(text=request.text, like=request.like) if image is None else Query(image=image)
        query = encode(snapshot, wanted)
        encoded = time.perf_counter()
        end = offset + request.limit
        # one more than the page holds tells whether there is another page
        hits = search(snapshot, query, top=end + 1, moments=request.moments, filters=filters, exact=request.exact)
        page = hits[offset:end]
        if "explanation" in request.include:
            page = [
                hit.model_copy(update={"explanation": explain(snapshot, query, hit.moments[0].segment_id)})
                for hit in page
            ]
        level = background(snapshot, query)
        videos = snapshot.videos_by_id([hit.video_id for hit in page])
        return wire.SearchResult(
            items=[self._present.item(hit, videos[hit.video_id], weak=level.is_weak(hit.score)) for hit in page],
            next_cursor=_cursor(end, key) if len(hits) > end else None,
            num_videos=snapshot.count_videos(filters.where()),
            words=list(query.words),
            note=None if query.text is None else query_note(snapshot.encoder, query.text),
            timings=wire.Timings(
                waiting_ms=0,
                encoding_ms=round(1000 * (encoded - began), 2),
                searching_ms=round(1000 * (time.perf_counter() - encoded), 2),
            ),
        )

    def explain(self, segment_id: str, query: Query) -> wire.Explanation:
        """Why a segment fits a query."""
        snapshot = self._served.need_snapshot()
        return explain(snapshot, encode(snapshot, query), segment_id)

    def found_by(self, text: str, segment_ids: Sequence[str]) -> wire.FoundByList:
        """Which words of a sentence found each segment."""
        snapshot = self._served.need_snapshot()
        shares = word_shares(snapshot, encode(snapshot, Query(text=text)), list(dict.fromkeys(segment_ids)))
        return wire.FoundByList(items=[wire.FoundBy(segment_id=each, words=words) for each, words in shares.items()])

    def heat(self, video_id: str, query: Query) -> wire.Heat:
        """How much each moment of a video answers a query."""
        snapshot = self._served.need_snapshot()
        video = snapshot.video(video_id)
        found = heat(snapshot, encode(snapshot, query), video_id)
        moments = [self._present.moment(moment, video) for moment in found.moments]
        return wire.Heat(**dict(found) | {"moments": moments})

    def rank_texts(self, video_id: str, texts: Sequence[str]) -> wire.RankedTexts:
        """Sentences by how well a video answers them."""
        snapshot = self._served.need_snapshot()
        video = snapshot.video(video_id)
        return wire.RankedTexts(
            items=[
                wire.RankedText(**dict(ranked) | {"moment": self._present.moment(ranked.moment, video)})
                for ranked in rank_texts(snapshot, texts, video_id)
            ]
        )

    def videos(self, filters: wire.Filters, limit: int, cursor: str | None) -> wire.VideoList:
        """A page of the videos that pass the filters, by path."""
        key = hashlib.sha256(filters.model_dump_json().encode()).hexdigest()[:12]
        offset = _offset(cursor, key)
        snapshot = self._served.snapshot()
        page, total = snapshot.video_page(_filters(snapshot, filters).where(), offset, limit) if snapshot else ([], 0)
        return wire.VideoList(
            items=[self._present.video(video) for video in page],
            next_cursor=_cursor(offset + limit, key) if total > offset + limit else None,
            num_videos=total,
        )

    def video(self, video_id: str) -> wire.VideoDetail:
        """A video with its segments."""
        snapshot = self._served.need_snapshot()
        video = snapshot.video(video_id)
        columns = ["segment_id", "start_seconds", "end_seconds", "segment_index"]
        rows = snapshot.select(ids_clause("video_id", [video_id]), columns)
        segments = [
            wire.SegmentInfo(
                segment_id=row["segment_id"],
                start_seconds=row["start_seconds"],
                end_seconds=row["end_seconds"],
                thumbnail_url=self._present.thumbnail_url(row["segment_id"], video),
            )
            for row in sorted(rows, key=lambda row: int(row["segment_index"]))
        ]
        return wire.VideoDetail(video=self._present.video(video), segments=segments)


def _explains(snapshot: Snapshot) -> list[wire.Explains]:
    known: tuple[wire.Explains, ...] = ("sentence", "words", "parts")
    return [what for what in known if what in snapshot.model.explains]


def _filters(snapshot: Snapshot, wanted: wire.Filters) -> Filters:
    """Filters as the search takes them: a folder by the name that the library gives it."""
    values = wanted.model_dump() | {"folder": None if wanted.folder is None else _folder(snapshot, wanted.folder)}
    return Filters(**values)


def _folder(snapshot: Snapshot, name: str) -> str:
    if (name.startswith("/") or is_address(name)) and snapshot.count_videos(Filters(folder=name).where()):
        return name
    # a name with bytes that are not UTF-8 was made for showing and has lost them: found among all, not taken as it is
    above = {str(parent) for path in snapshot.folders for parent in (PurePath(path), *PurePath(path).parents)}
    for path in above:
        if display_path(path) == name:
            return path
    raise NotFoundError(f"no video of this library lies in the folder {name!r}")


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
