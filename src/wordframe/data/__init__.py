"""Data: captions and the videos they speak of, into queries and candidates.

``captions.py`` reads captions · ``folder.py`` brings them together with a folder of videos.
"""

from wordframe.data.captions import read_captions
from wordframe.data.folder import CaptionedVideo, MatchedVideos, match_videos

__all__ = ["CaptionedVideo", "MatchedVideos", "match_videos", "read_captions"]
