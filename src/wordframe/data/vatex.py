"""VATEX: ten-second clips with ten English captions each (Wang et al., ICCV 2019).

The split is that of HGR (Chen et al., CVPR 2020), which divides the official validation part: lists of ids beside
``ref_captions.json``. Every caption is a query.
"""

from __future__ import annotations

from wordframe.data.annotations import AnnotationFolder, Captions, by_video, strings

CAPTIONS = ("ref_captions.json", "vatex_ref_captions.json")
LISTS = {split: (f"{split}_list.txt", f"vatex_{split}_list.txt") for split in ("train", "val", "test")}


def read(folder: AnnotationFolder, split: str) -> Captions:
    """All captions of the videos on the split's list."""
    file = folder.need(CAPTIONS)
    content = by_video(file, folder.json(CAPTIONS))
    rows = ((video, caption) for video, several in content.items() for caption in strings(file, video, several))
    return folder.gather(file, rows, only=folder.lines(LISTS[split]))
