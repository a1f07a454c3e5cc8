"""How each data set's authors wrote down their captions: a function a data set, from its files to captions by video.

Every reader takes the folder and the split's name and gives each video's captions by its id. ``benchmarks.py`` lists
the protocols that use them; ``docs/benchmarks.md`` says where the files come from; ``_annotations.py`` opens them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from wordframe.data._annotations import (
    AnnotationFolder,
    Captions,
    by_video,
    captions_of_ids,
    entries,
    paragraphs,
    strings,
)
from wordframe.errors import AnnotationError

Reader = Callable[[AnnotationFolder, str], Captions]

MSRVTT_DATA = ("MSRVTT_data.json", "msrvtt_data.json")
MSRVTT_TEST_1K = ("MSRVTT_JSFUSION_test.csv",)
MSRVTT_TRAIN_9K = ("MSRVTT_train.9k.csv",)
MSRVTT_TRAIN_7K = ("MSRVTT_train.7k.csv",)
MSRVTT_FULL_TEST = ("msrvtt_full_test_captions.json", "msrvtt_ret_test.json")
_MSRVTT_SPLITS = {"train": "train", "val": "validate", "test": "test"}

DIDEMO = {split: (f"{split}_data.json", f"didemo_{split}.json") for split in ("train", "val", "test")}

VATEX_CAPTIONS = ("ref_captions.json", "vatex_ref_captions.json")
VATEX_LISTS = {split: (f"{split}_list.txt", f"vatex_{split}_list.txt") for split in ("train", "val", "test")}

ACTIVITYNET = {"train": ("train.json", "activitynet_train.json"), "test": ("val_1.json", "activitynet_val_1.json")}

MSVD_CAPTIONS = ("msvd_captions.json", "raw-captions.json")
MSVD_LISTS = {split: (f"{split}_list.txt", f"msvd_{split}_list.txt") for split in ("train", "val", "test")}
_MSVD_PICKLE = ("raw-captions.pkl",)

LSMDC = {
    "train": ("LSMDC16_annos_training.csv",),
    "val": ("LSMDC16_annos_val.csv",),
    "test": ("LSMDC16_challenge_1000_publictect.csv",),
}
_LSMDC_CELLS = 6


def read_msrvtt_1k(train: tuple[str, ...]) -> Reader:
    """MSR-VTT's 1k-A protocol with the training ids in the file ``train`` (10,000 clips; Xu et al., CVPR 2016).

    It tests on the thousand pairs of JSFusion (Yu et al., ECCV 2018), one caption a clip, and trains on the 9,000 other
    clips or on 7,010 of them, every caption a pair.
    """

    def read(folder: AnnotationFolder, split: str) -> Captions:
        if split == "test":
            file = folder.need(MSRVTT_TEST_1K)
            folder.ids(MSRVTT_TEST_1K, "video_id")  # one caption a video, so an id that stands twice is a fault
            cells = folder.rows(MSRVTT_TEST_1K, ("video_id", "sentence"))
            return folder.gather(file, ((video.strip(), caption) for video, caption in cells))
        return _msrvtt_captions(folder, folder.ids(train, "video_id"))

    return read


def read_msrvtt_full(folder: AnnotationFolder, split: str) -> Captions:
    """MSR-VTT's own split, all captions; the test part also from the file in which it goes around alone."""
    if split == "test" and folder.find(MSRVTT_DATA) is None and (file := folder.find(MSRVTT_FULL_TEST)) is not None:
        found = entries(file, folder.json(MSRVTT_FULL_TEST), video=str, caption=list)
        rows = ((PurePosixPath(name).stem, text) for name, several in found for text in strings(file, name, several))
        return folder.gather(file, rows)
    content = by_video(folder.need(MSRVTT_DATA), folder.json(MSRVTT_DATA))
    videos = entries(folder.need(MSRVTT_DATA), content.get("videos"), video_id=str, split=str)
    return _msrvtt_captions(folder, [video for video, part in videos if part == _MSRVTT_SPLITS[split]])


def _msrvtt_captions(folder: AnnotationFolder, ids: list[str]) -> Captions:
    file = folder.need(MSRVTT_DATA)
    content = by_video(file, folder.json(MSRVTT_DATA))
    return folder.gather(file, entries(file, content.get("sentences"), video_id=str, caption=str), only=ids)


def read_didemo(folder: AnnotationFolder, split: str) -> Captions:
    """DiDeMo: Flickr videos of at most half a minute, several descriptions each (Hendricks et al., ICCV 2017).

    Retrieval joins the descriptions of a video, in the order of the file, into one paragraph (CLIP4Clip and all after
    it). The files hold 1,094 and 1,037 videos in val and test; the published sizes are 1,065 and 1,004, of the videos
    that could still be downloaded then, so a report's gallery says which were there. Ids keep the ending of the file.
    """
    file, content = folder.need(DIDEMO[split]), folder.json(DIDEMO[split])
    return paragraphs(folder.gather(file, entries(file, content, video=str, description=str)))


def read_vatex(folder: AnnotationFolder, split: str) -> Captions:
    """VATEX: ten-second clips with ten English captions each, every one a query (Wang et al., ICCV 2019).

    The split is that of HGR (Chen et al., CVPR 2020), which divides the official validation part: lists of ids.
    """
    return captions_of_ids(folder, VATEX_CAPTIONS, VATEX_LISTS[split])


def read_activitynet(folder: AnnotationFolder, split: str) -> Captions:
    """ActivityNet Captions: videos of two minutes, a sentence for each event (Krishna et al., ICCV 2017).

    Retrieval joins the sentences of a video into one paragraph and tests on ``val_1``, since the test captions are not
    public. There is no split for choosing checkpoints: part of train is held out. Ids keep their ``v_``, as in the
    file; ``match_videos`` finds files without it, too.
    """
    file = folder.need(ACTIVITYNET[split])
    rows = []
    for video, entry in by_video(file, folder.json(ACTIVITYNET[split])).items():
        if not isinstance(entry, dict) or "sentences" not in entry:
            raise AnnotationError(f"{file}: {video!r} must be an object with 'sentences'")
        rows += [(video, sentence) for sentence in strings(file, video, entry["sentences"])]
    return paragraphs(folder.gather(file, rows))


def read_msvd(folder: AnnotationFolder, split: str) -> Captions:
    """MSVD: 1,970 short clips with about 40 captions each, every one a query (Chen and Dolan, ACL 2011).

    The captions are read as JSON. ``raw-captions.pkl``, as it is often passed on, is a pickle, and reading one can run
    anything: it is refused, with the form to save it in.
    """
    if folder.find(MSVD_CAPTIONS) is None and (pickle := folder.find(_MSVD_PICKLE)) is not None:
        raise AnnotationError(
            f"{pickle}: is a pickle, which can run code when it is read, so it is not; "
            f'save its captions as {MSVD_CAPTIONS[0]}: {{"clip": ["caption", …]}}'
        )
    return captions_of_ids(folder, MSVD_CAPTIONS, MSVD_LISTS[split])


def read_lsmdc(folder: AnnotationFolder, split: str) -> Captions:
    """LSMDC 2016: clips of films with the sentence that describes them to blind people (Rohrbach et al., IJCV 2017).

    Rows of six cells between tabulators: clip, start and end as aligned, start and end as extracted, sentence. One
    sentence a clip is the rule; where a clip has several, as some of the training part, each is a caption of it.
    """
    file = folder.need(LSMDC[split])
    return folder.gather(file, _lsmdc_rows(file, folder.table(LSMDC[split])))


def _lsmdc_rows(file: Path, table: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[str, str]]:
    for number, cells in table:
        if len(cells) != _LSMDC_CELLS:
            raise AnnotationError(
                f"{file} line {number}: has {len(cells)} cells between tabulators, {_LSMDC_CELLS} are needed: "
                "clip, four times, sentence"
            )
        yield cells[0].strip(), cells[-1]
