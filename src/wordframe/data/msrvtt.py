"""MSR-VTT: 10,000 clips with 20 captions each (Xu et al., CVPR 2016), in three protocols.

1k-A tests on the thousand pairs of JSFusion (Yu et al., ECCV 2018), one caption a clip; it trains on the 9,000 other
clips or on 7,010 of them, every caption a pair. The full protocol is the data set's own split, 2,990 test clips with
all their captions. Neighbours: ``benchmarks.py`` lists the protocols.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath

from wordframe.data.annotations import AnnotationFolder, Captions, by_video, entries, strings

DATA = ("MSRVTT_data.json", "msrvtt_data.json")
TEST_1K = ("MSRVTT_JSFUSION_test.csv",)
TRAIN_9K = ("MSRVTT_train.9k.csv",)
TRAIN_7K = ("MSRVTT_train.7k.csv",)
FULL_TEST = ("msrvtt_full_test_captions.json", "msrvtt_ret_test.json")
_OFFICIAL = {"train": "train", "val": "validate", "test": "test"}


def read_1k(train: tuple[str, ...]) -> Callable[[AnnotationFolder, str], Captions]:
    """The reader of a 1k-A protocol that trains on the ids in the file ``train``."""

    def read(folder: AnnotationFolder, split: str) -> Captions:
        if split == "test":
            file = folder.need(TEST_1K)
            folder.ids(TEST_1K, "video_id")  # one caption a video, so an id that stands twice is a fault
            rows = ((video.strip(), caption) for video, caption in folder.rows(TEST_1K, ("video_id", "sentence")))
            return folder.gather(file, rows)
        return _captions(folder, folder.ids(train, "video_id"))

    return read


def read_full(folder: AnnotationFolder, split: str) -> Captions:
    """The data set's own split; the test part also from the file in which it goes around alone."""
    if split == "test" and folder.find(DATA) is None and (file := folder.find(FULL_TEST)) is not None:
        found = entries(file, folder.json(FULL_TEST), video=str, caption=list)
        rows = ((PurePosixPath(name).stem, text) for name, several in found for text in strings(file, name, several))
        return folder.gather(file, rows)
    content = by_video(folder.need(DATA), folder.json(DATA))
    videos = entries(folder.need(DATA), content.get("videos"), video_id=str, split=str)
    return _captions(folder, [video for video, part in videos if part == _OFFICIAL[split]])


def _captions(folder: AnnotationFolder, ids: list[str]) -> Captions:
    """All captions of the videos ``ids``, by the number they carry."""
    file = folder.need(DATA)
    content = by_video(file, folder.json(DATA))
    return folder.gather(file, entries(file, content.get("sentences"), video_id=str, caption=str), only=ids)
