"""Videos of the library by id: checked against what was indexed, served in ranges, or cut into a clip that plays.

A path never comes from a request. A file is served if, links resolved, it lies in a folder that was given to be
indexed, and is still the file that was: a changed one is told (409), a vanished one too (410).
Neighbour: ``object_media.py`` serves what lies on object storage.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from wordframe.addresses import is_address
from wordframe.errors import NotFoundError
from wordframe.library import Snapshot, VideoEntry, ids_clause, local_copy
from wordframe.server.object_media import check_object, is_known, object_media
from wordframe.server.presentation import container_type, picture_version
from wordframe.server.problems import ProblemError
from wordframe.server.served import ServedLibrary
from wordframe.video import export_moment_apart

MAX_CLIP_SECONDS = 60.0
PLAYABLE_CODECS = ("h264", "av1", "vp9", "aac", "mp3", "opus", "flac")
"""Codecs of pictures and sound that browsers play in an .mp4; others are encoded anew for a clip, and that is told."""
START_HEADER, END_HEADER, NOTES_HEADER = "Clip-Start-Seconds", "Clip-End-Seconds", "Clip-Notes"
"""Of a clip: which seconds of the video it shows, and whatever was done to it beside cutting."""


class RangedFile(FileResponse):
    """A file in ranges; few at once, since each costs a seek."""

    max_ranges = 8


class PassingFile(FileResponse):
    """A file that is gone once it is sent, or once nobody takes it any more."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            os.unlink(self.path)


def media(served: ServedLibrary, video_id: str, known: str | None) -> Response:
    """The file of a video as it is; 304 where the caller has it."""
    snapshot = served.need_snapshot()
    video = snapshot.video(video_id)
    filename = os.path.basename(os.fsencode(video.path)).decode("utf-8", "replace")
    if is_address(video.path):
        return object_media(snapshot, video, known, media_type=container_type(video), filename=filename)
    path, status = servable(snapshot, video)
    response = RangedFile(
        path,
        media_type=container_type(video),
        filename=filename,
        content_disposition_type="inline",
        stat_result=status,
        headers={"Cache-Control": "no-cache"},
    )
    if is_known(response.headers["etag"], known):
        kept = {name: response.headers[name] for name in ("etag", "last-modified", "cache-control")}
        return Response(status_code=304, headers=kept)
    return response


def thumbnail(served: ServedLibrary, segment_id: str, version: str | None, known: str | None) -> Response:
    """The picture of a segment; 304 where the caller has it. One asked for by its ``version`` may be kept for good."""
    row = _segment(served.need_snapshot(), segment_id, ["thumbnail", "content_hash"])
    tag = f'"{row["content_hash"]}"'
    for_good = version == picture_version(row["content_hash"])
    headers = {"ETag": tag, "Cache-Control": "private, max-age=31536000, immutable" if for_good else "no-cache"}
    if is_known(tag, known):
        return Response(status_code=304, headers=headers)
    return Response(row["thumbnail"], media_type="image/jpeg", headers=headers)


def clip(served: ServedLibrary, segment_id: str, start: float | None, end: float | None) -> Response:
    """A moment as an .mp4 that browsers play, of at most a minute: by default the segment itself.

    Its headers tell what it shows: a copy starts at the keyframe before, and what browsers do not play is encoded anew.
    """
    snapshot = served.need_snapshot()
    row = _segment(snapshot, segment_id, ["video_id", "start_seconds", "end_seconds"])
    begin = row["start_seconds"] if start is None else start
    stop = min(row["end_seconds"], begin + MAX_CLIP_SECONDS) if end is None else end
    if not 0 <= begin < stop <= begin + MAX_CLIP_SECONDS:
        raise ProblemError(422, f"a clip needs 0 <= start < end and at most {MAX_CLIP_SECONDS:g} seconds")
    video = snapshot.video(row["video_id"])
    # a whole file and no stream: the index of an .mp4 is written when all else is
    handle, target = tempfile.mkstemp(prefix="wordframe-", suffix=".mp4")
    os.close(handle)
    try:
        with _opened(snapshot, video) as path:
            report = export_moment_apart(path, target, begin, stop, overwrite=True, copy=PLAYABLE_CODECS)
    except BaseException:
        os.unlink(target)
        raise
    stem = Path(os.fsencode(os.path.basename(video.path)).decode("utf-8", "replace")).stem
    headers = {
        START_HEADER: f"{report.start_seconds:.3f}",
        END_HEADER: f"{report.end_seconds:.3f}",
        NOTES_HEADER: "; ".join(report.notes if report.has_sound else (*report.notes, "no sound")),
    }
    return PassingFile(target, media_type="video/mp4", filename=f"{stem}_{begin:g}-{stop:g}s.mp4", headers=headers)


@contextlib.contextmanager
def _opened(snapshot: Snapshot, video: VideoEntry) -> Iterator[str]:
    """A file of this machine with a video's content, for as long as the block lasts; errors as ``servable``."""
    if not is_address(video.path):
        yield servable(snapshot, video)[0]
        return
    check_object(snapshot, video)
    with local_copy(video.path) as (path, _):
        yield path


def servable(snapshot: Snapshot, video: VideoEntry) -> tuple[str, os.stat_result]:
    """The real path of a video's file and its status.

    Raises:
        ProblemError: 410 if it is gone, 409 if it is another than was indexed, 403 if it lies outside of the roots.
    """
    # links are resolved once: the path that is checked is the one that is opened
    real = os.path.realpath(video.path)
    if not snapshot.holds(real):
        raise ProblemError(403, "this file leads out of the folders that were indexed")
    try:
        status = os.stat(real)
    except OSError:
        raise ProblemError(410, "the file is gone; index again to forget it or to find it elsewhere") from None
    # the moments belong to the content that was indexed; size and time stand for it, as for the indexer
    if not stat.S_ISREG(status.st_mode) or (status.st_size, status.st_mtime_ns) != (video.size, video.modified_ns):
        raise ProblemError(409, "the file has changed since it was indexed; index again")
    if not os.access(real, os.R_OK):
        raise ProblemError(403, "the server may not read this file; check its permissions")
    return real, status


def _segment(snapshot: Snapshot, segment_id: str, columns: list[str]) -> dict[str, Any]:
    rows = snapshot.select(ids_clause("segment_id", [segment_id]), columns)
    if not rows:
        raise NotFoundError(f"no segment {segment_id[:64]!r} in this library, or no longer")
    return rows[0]
