"""Videos and moments as the wire shows them: names that can be sent, media types, and addresses on this server.

Neighbours: ``answers.py`` puts them into answers, ``media.py`` serves what the addresses name.
"""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass

from wordframe.client import schemas as wire
from wordframe.disk import display_path
from wordframe.library import VideoEntry
from wordframe.search import Hit, Moment

API = "/api/v1"
# A browser says whether it plays a file by the codec's name with profile and level. The library does not know these of
# a file, so each codec stands with the ones that nearly every file of it has.
_CODECS = {
    "h264": "avc1.640028",
    "hevc": "hvc1.1.6.L93.B0",
    "av1": "av01.0.05M.08",
    "libdav1d": "av01.0.05M.08",  # its decoder, which older libraries name
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
class Presenter:
    """Makes the wire's objects; their addresses begin with ``root_path``, such as ``/videos``, or with nothing."""

    root_path: str = ""

    def video(self, video: VideoEntry) -> wire.VideoSummary:
        """What is known of a video without opening it."""
        return wire.VideoSummary(
            video_id=video.video_id,
            name=display_path(os.path.basename(video.path)),
            path=display_path(video.path),
            folder=display_path(os.path.dirname(video.path)),
            duration_seconds=video.duration_seconds,
            width=video.width,
            height=video.height,
            codec=video.codec,
            container=video.container,
            mime=mime_of(video),
            size_bytes=video.size,
            modified=as_date(video.modified_ns / 1e9),
            problem=video.problem,
            media_url=f"{self.root_path}{API}/videos/{video.video_id}/media",
            thumbnail_url=self.thumbnail_url(f"{video.video_id}-00000", video),
        )

    def moment(self, moment: Moment, video: VideoEntry) -> wire.Moment:
        """A moment with its picture and its clip."""
        start, end = round(moment.start_seconds, 3), round(moment.end_seconds, 3)
        return wire.Moment(
            **dict(moment),
            thumbnail_url=self.thumbnail_url(moment.segment_id, video),
            clip_url=f"{self.root_path}{API}/segments/{moment.segment_id}/clip?start={start}&end={end}",
        )

    def item(self, hit: Hit, video: VideoEntry, *, weak: bool) -> wire.SearchItem:
        """A video found, with its moments and its file."""
        shown = {
            "path": display_path(hit.path),
            "copies": tuple(map(display_path, hit.copies)),
            "moments": [self.moment(moment, video) for moment in hit.moments],
        }
        return wire.SearchItem(**dict(hit) | shown, video=self.video(video), weak=weak)

    def thumbnail_url(self, segment_id: str, video: VideoEntry) -> str:
        """A changed file keeps its ids; its pictures get another address, so that a cache may keep the old for good."""
        version = picture_version(video.content_hash)
        return f"{self.root_path}{API}/segments/{segment_id}/thumbnail?v={version}"


def picture_version(content_hash: str) -> str:
    """What the address of a picture names of the content that it shows."""
    return content_hash[:12]


def mime_of(video: VideoEntry) -> str:
    """The media type of a video, with its codec where browsers know a name for it."""
    kind = container_type(video)
    codec = _CODECS.get(video.codec)
    return f'{kind}; codecs="{codec}"' if codec else f'{kind}; codecs="{video.codec}"'


def container_type(video: VideoEntry) -> str:
    """The media type of a file by its ending."""
    return _CONTAINERS.get(os.path.splitext(video.path)[1].lower(), "application/octet-stream")


def as_date(seconds: float) -> datetime.datetime:
    """Seconds since 1970 as a date of UTC."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
