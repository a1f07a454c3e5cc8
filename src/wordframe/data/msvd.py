"""MSVD: 1,970 short clips with about 40 captions each (Chen and Dolan, ACL 2011); every caption is a query.

The captions are read as JSON. ``raw-captions.pkl``, as it is often passed on, is a pickle, and reading one can run
anything: have it turned into JSON, a list of captions for each clip.
"""

from __future__ import annotations

from wordframe.data.annotations import AnnotationFolder, Captions, by_video, strings
from wordframe.errors import AnnotationError

CAPTIONS = ("msvd_captions.json", "raw-captions.json")
LISTS = {split: (f"{split}_list.txt", f"msvd_{split}_list.txt") for split in ("train", "val", "test")}
_PICKLE = ("raw-captions.pkl",)


def read(folder: AnnotationFolder, split: str) -> Captions:
    """All captions of the clips on the split's list."""
    if folder.find(CAPTIONS) is None and (pickle := folder.find(_PICKLE)) is not None:
        raise AnnotationError(
            f"{pickle}: is a pickle, which can run code when it is read, so it is not; "
            f'save its captions as {CAPTIONS[0]}: {{"clip": ["caption", …]}}'
        )
    file = folder.need(CAPTIONS)
    content = by_video(file, folder.json(CAPTIONS))
    rows = ((video, caption) for video, several in content.items() for caption in strings(file, video, several))
    return folder.gather(file, rows, only=folder.lines(LISTS[split]))
