"""What the library says, as the objects that go over the wire: functions of an opened library, no web framework."""

from __future__ import annotations

import base64
import binascii
import datetime
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
from wordframe.errors import NotFoundError
from wordframe.features import TextFeatures
from wordframe.library import VideoEntry, display_path, ids_clause, read_status
from wordframe.search import Filters, Hit, Moment, SearchEngine
from wordframe.server.indexing import Indexing
from wordframe.server.opened import Opened, Snapshot
from wordframe.server.problems import ProblemError

API = "/api/v1"
_LEAST_SHARE = 0.01
"""What must be done of an indexing run before the time that is left is more than a guess."""
_CODECS = {
    "h264": "avc1.640028",
    "hevc": "hvc1.1.6.L93.B0",
    "av1": "av01.0.05M.08",
    "vp8": "vp8",
    "vp9": "vp9",
    "mpeg4": "mp4v.20.8",
    "theora": "theora",
}
_CONTAINERS = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/mp4",  # browsers play QuickTime files as what they nearly are
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".avi": "video/x-msvideo",
    ".ogv": "video/ogg",
    ".ts": "video/mp2t",
    ".mpg": "video/mpeg",
    ".mpeg": "video/mpeg",
    ".wmv": "video/x-ms-wmv",
    ".flv": "video/x-flv",
    ".3gp": "video/3gpp",
}


@dataclass(frozen=True)
class Asked:
    """What somebody asks for: one of a sentence, what looks like a segment, and the bytes of a picture."""

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


def library_info(opened: Opened, *, allow_index: bool) -> wire.LibraryInfo:
    """The library in a few numbers; zeros while there is none."""
    snapshot, engine = opened.snapshot(), opened.engine()
    folders = Counter(os.path.dirname(video.path) for video in snapshot.videos.values())
    return wire.LibraryInfo(
        name=display_path(opened.folder.name),
        path=display_path(str(opened.folder.absolute())),
        encoder=engine.library.manifest.encoder if engine else "",
        model=display_path(opened.model),
        num_videos=len(snapshot.videos),
        num_segments=snapshot.num_segments,
        num_failures=snapshot.num_failures,
        seconds_of_video=round(sum(video.duration_seconds for video in snapshot.videos.values()), 3),
        folders=[wire.Folder(name=display_path(path), num_videos=count) for path, count in sorted(folders.items())],
        explains=_explains(engine) if engine else [],
        allow_index=allow_index,
    )


def _explains(engine: SearchEngine) -> list[Literal["sentence", "words", "parts"]]:
    known: tuple[Literal["sentence", "words", "parts"], ...] = ("sentence", "words", "parts")
    return [what for what in known if what in engine.model.explains]


def filters_of(snapshot: Snapshot, wanted: wire.Filters) -> Filters:
    """Filters as the search takes them: a folder by the name that the library gives it."""
    folder = None
    if wanted.folder is not None:
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


def search(opened: Opened, request: wire.SearchRequest, image: bytes | None = None) -> wire.SearchResult:
    """The page of results that ``request`` asks for; with ``image`` the picture is the query."""
    key = _key(request, image)
    offset = _offset(request.cursor, key)
    engine, snapshot = opened.engine(), opened.snapshot()
    if engine is None or not snapshot.videos:
        timings = wire.Timings(waiting_ms=0, encoding_ms=0, searching_ms=0)
        return wire.SearchResult(items=[], next_cursor=None, num_videos=0, words=[], timings=timings)
    filters = filters_of(snapshot, request.filters)
    began = time.perf_counter()
    asked = Asked(image=image) if image is not None else Asked(request.text, request.like)
    query, words = asked.features(engine)
    encoded = time.perf_counter()
    hits = engine.find(
        query, top=offset + request.limit + 1, moments=request.moments, filters=filters, exact=request.exact
    )
    snapshot = opened.snapshot()  # again: what was committed meanwhile may be among the hits
    page = [hit for hit in hits[offset : offset + request.limit] if hit.video_id in snapshot.videos]
    reasons: Sequence[Any] = [None] * len(page)
    if "explanation" in request.include:
        reasons = engine.explain_segments(query, words, [hit.moments[0].segment_id for hit in page])
    weak_below = engine.usual(query).weak_below
    items = [
        _item(hit, snapshot.videos[hit.video_id], weak_below, reason) for hit, reason in zip(page, reasons, strict=True)
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


def explain(opened: Opened, segment_id: str, asked: Asked) -> wire.Explanation:
    """Why a segment fits what is asked for."""
    engine = opened.need_engine()
    return wire.Explanation(**engine.explain_segments(*asked.features(engine), [segment_id])[0].to_json())


def heat(opened: Opened, video_id: str, asked: Asked) -> wire.Heat:
    """How much each moment of a video answers what is asked for."""
    video, engine = opened.video(video_id), opened.need_engine()
    query, words = asked.features(engine)
    found, hit = engine.heat(query, words, video_id)
    by_word = found.words and [wire.WordHeat(word=word, values=list(values)) for word, values in found.words]
    return wire.Heat(
        video_id=video_id,
        seconds=list(found.seconds),
        values=list(found.values),
        words=by_word or None,
        moments=[_moment(moment, video) for moment in hit.moments],
    )


def rank_texts(opened: Opened, video_id: str, texts: Sequence[str]) -> wire.RankedTexts:
    """Sentences by how well a video answers them."""
    video = opened.video(video_id)
    ranked = opened.need_engine().rank_texts(texts, video_id)
    return wire.RankedTexts(
        items=[
            wire.RankedText(
                rank=rank,
                place=place,
                text=texts[place],
                score=round(hit.score, 6),
                moment=_moment(hit.moments[0], video),
            )
            for rank, (place, hit) in enumerate(ranked, start=1)
        ]
    )


def video_list(opened: Opened, filters: wire.Filters, limit: int, cursor: str | None) -> wire.VideoList:
    """Videos by path."""
    snapshot = opened.snapshot()
    key = hashlib.sha256(filters.model_dump_json().encode()).hexdigest()[:12]
    offset = _offset(cursor, key)
    chosen = filters_of(snapshot, filters)
    passing = [video for video in snapshot.videos.values() if chosen.passes(video)]
    more = len(passing) > offset + limit
    return wire.VideoList(
        items=[video_summary(video) for video in passing[offset : offset + limit]],
        next_cursor=_cursor(offset + limit, key) if more else None,
        num_videos=len(passing),
    )


def video_detail(opened: Opened, video_id: str) -> wire.VideoDetail:
    """A video with its segments."""
    video = opened.video(video_id)
    columns = ["segment_id", "start_seconds", "end_seconds", "segment_index"]
    rows = opened.store().select(ids_clause("video_id", [video_id]), columns)
    segments = [
        wire.SegmentInfo(
            segment_id=row["segment_id"],
            start_seconds=round(row["start_seconds"], 3),
            end_seconds=round(row["end_seconds"], 3),
            thumbnail_url=_thumbnail_url(row["segment_id"], video),
        )
        for row in sorted(rows, key=lambda row: int(row["segment_index"]))
    ]
    return wire.VideoDetail(video=video_summary(video), segments=segments)


def index_status(opened: Opened, indexing: Indexing) -> wire.IndexStatus:
    """The indexing run that goes on, or the last one; a run of ours that has told nothing yet is running too."""
    by_server = indexing.running  # asked first: a run that is over has told its end
    status = read_status(opened.folder)
    early = not by_server and indexing.ended_early(status)
    ended: Literal["never", "finished", "stopped"] = "stopped"
    if not early and (status is None or status.state == "finished"):
        ended = "never" if status is None else "finished"
    problem = indexing.problem() if early else None
    is_older = early and not indexing.is_of_last(status)
    if status is None or is_older or (by_server and status.state != "running"):
        return wire.IndexStatus(
            state="running" if by_server else ended, by_server=by_server,
            files_done=0, files_total=0, bytes_done=0, bytes_total=0, frames=0, started=None, ended=None,
            remaining_seconds=None, problem=problem, num_failures=0, failures=[], allow_index=indexing.allowed,
        )  # fmt: skip
    running = status.state == "running" and not early
    begun = status.bytes_done >= _LEAST_SHARE * status.bytes_total
    remaining = status.remaining_seconds if running and begun else None
    return wire.IndexStatus(
        state="running" if running else ended,
        by_server=by_server and running,
        files_done=status.files_done,
        files_total=status.files_total,
        bytes_done=status.bytes_done,
        bytes_total=status.bytes_total,
        frames=status.frames,
        started=_date(status.started),
        ended=None if running else _date(status.beat),
        remaining_seconds=None if remaining is None else round(remaining, 1),
        problem=problem,
        num_failures=status.num_failures,
        failures=[
            wire.IndexFailure(path=display_path(path), reason=display_path(reason)) for path, reason in status.failures
        ],
        allow_index=indexing.allowed,
    )


def video_summary(video: VideoEntry) -> wire.VideoSummary:
    """What is known of a video without opening it."""
    return wire.VideoSummary(
        video_id=video.video_id,
        name=display_path(os.path.basename(video.path)),
        path=display_path(video.path),
        folder=display_path(os.path.dirname(video.path)),
        duration_seconds=round(video.duration_seconds, 3),
        width=video.width,
        height=video.height,
        codec=video.codec,
        container=video.container,
        mime=mime_of(video),
        size_bytes=video.size,
        modified=_date(video.modified_ns / 1e9),
        problem=video.problem,
        media_url=f"{API}/videos/{video.video_id}/media",
        thumbnail_url=_thumbnail_url(f"{video.video_id}-00000", video),
    )


def mime_of(video: VideoEntry) -> str:
    """The media type of a video, with its codec where browsers know a name for it."""
    kind = container_type(video)
    codec = _CODECS.get(video.codec)
    return f'{kind}; codecs="{codec}"' if codec else f'{kind}; codecs="{video.codec}"'


def container_type(video: VideoEntry) -> str:
    """The media type of a file by its ending."""
    return _CONTAINERS.get(os.path.splitext(video.path)[1].lower(), "application/octet-stream")


def _item(hit: Hit, video: VideoEntry, weak_below: float | None, reason: Any) -> wire.SearchItem:
    told = hit.to_json()
    kept = {
        name: told[name] for name in ("rank", "score", "start_seconds", "end_seconds", "video_id", "duration_seconds")
    }
    return wire.SearchItem(
        **kept,
        path=display_path(hit.path),
        moments=[_moment(moment, video) for moment in hit.moments],
        video=video_summary(video),
        weak=weak_below is not None and hit.score < weak_below,
        explanation=None if reason is None else wire.Explanation(**reason.to_json()),
    )


def _moment(moment: Moment, video: VideoEntry) -> wire.Moment:
    start, end = round(moment.start_seconds, 3), round(moment.end_seconds, 3)
    return wire.Moment(
        segment_id=moment.segment_id,
        start_seconds=start,
        end_seconds=end,
        peak_seconds=round(moment.peak_seconds, 3),
        score=round(moment.score, 6),
        thumbnail_url=_thumbnail_url(moment.segment_id, video),
        clip_url=f"{API}/segments/{moment.segment_id}/clip?start={start}&end={end}",
    )


def _thumbnail_url(segment_id: str, video: VideoEntry) -> str:
    """A changed file keeps its ids; its pictures get another address, so that a cache may keep the old for good."""
    return f"{API}/segments/{segment_id}/thumbnail?v={picture_version(video.content_hash)}"


def picture_version(content_hash: str) -> str:
    """What the address of a picture names of the content that it shows."""
    return content_hash[:12]


def _date(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def _key(request: wire.SearchRequest, image: bytes | None) -> str:
    """Names a search, so that a cursor cannot go on with another one."""
    told = request.model_dump_json(exclude={"cursor", "limit", "include"})
    return hashlib.sha256(told.encode() + (image or b"")).hexdigest()[:12]


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
    raise ProblemError(400, "this cursor belongs to another list; start again without one")
