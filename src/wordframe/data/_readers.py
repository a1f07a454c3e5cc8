"""The annotation files of the benchmarks: found by the names they are distributed under, read, and remembered.

First the folder: what was read of it goes into the report with its hash, and whatever cannot be understood is refused
with the file and the place. Then a reader a data set, by how its authors wrote down their captions: it takes the folder
and the split's name and gives each video's captions by its id. ``benchmarks.py`` lists the protocols that use them;
``docs/benchmarks.md`` says where the files come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from wordframe.data._text_files import csv_table, parse_json, read_text
from wordframe.errors import AnnotationError, counted

Captions = dict[str, tuple[str, ...]]
"""Each video's captions by its id, in the order of the file."""


class AnnotationFolder:
    """A folder with a benchmark's annotation files.

    Attributes:
        read: the files read so far.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise AnnotationError(f"{folder} is not a folder; give the one that holds the annotation files")
        self.folder = folder
        self.read: list[Path] = []

    def find(self, names: Sequence[str]) -> Path | None:
        """The first file of these names that is there."""
        return next((self.folder / name for name in names if (self.folder / name).is_file()), None)

    def need(self, names: Sequence[str]) -> Path:
        """As ``find``; AnnotationError if there is none."""
        found = self.find(names)
        if found is None:
            raise AnnotationError(f"{self.folder}: there is no {' or '.join(names)}; put the file there")
        return found

    def json(self, names: Sequence[str]) -> Any:
        """The content of a JSON file; a key that stands twice in an object is refused."""
        file, text = self._text(names)
        try:
            return parse_json(text)
        except AnnotationError as error:
            raise AnnotationError(f"{file}: {error}") from error

    def lines(self, names: Sequence[str]) -> list[str]:
        """Ids, one a line; blank lines do not count, an id that stands twice is refused."""
        file, text = self._text(names)
        return _distinct(file, [line.strip() for line in text.splitlines() if line.strip()])

    def rows(self, names: Sequence[str], columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """Cells of the named columns of a CSV file with a header."""
        file, text = self._text(names)
        try:
            table = csv_table(text, ",")
            places = [table.column(column) for column in columns]
            missing = [repr(column) for column, place in zip(columns, places, strict=True) if place is None]
            if missing:
                raise AnnotationError(
                    f"has no column {' and no column '.join(missing)}; the first line must name "
                    f"{', '.join(columns)}, it names {', '.join(table.header) or 'nothing'}"
                )
            yield from (tuple(row[place] for place in places if place is not None) for _, row in table.rows)
        except AnnotationError as error:
            raise AnnotationError(f"{file}: {error}") from error

    def ids(self, names: Sequence[str], column: str) -> list[str]:
        """The ids of one column of a CSV file; one that stands twice is refused."""
        return _distinct(self.need(names), [cell.strip() for (cell,) in self.rows(names, [column])])

    def table(self, names: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
        """Line numbers and cells of a file of tabulator-separated values without a header."""
        _, text = self._text(names)
        # no quoting: sentences of films hold quotes of their own; nor splitlines(), which cuts at U+2028 and the like
        return ((number, line.split("\t")) for number, line in enumerate(text.split("\n"), 1) if line.strip())

    def gather(self, file: Path, rows: Iterable[tuple[str, str]], only: Sequence[str] | None = None) -> Captions:
        """(video, caption) rows into captions by video, blanks tidied.

        A caption without a word is refused, in every split: left out of test it would change the published number of
        queries, kept in training it would teach that silence means this video.

        Args:
            only: the ids of the split in their order; each must have a caption, others are passed over.
        """
        captions: dict[str, list[str]] = {} if only is None else {video: [] for video in only}
        empty: list[str] = []
        for video, caption in rows:
            if only is not None and video not in captions:
                continue
            tidy = " ".join(caption.split())
            captions.setdefault(video, []).append(tidy)
            empty += [] if tidy else [video]
        if empty:
            raise AnnotationError(
                f"{file}: {counted(len(empty), 'empty caption')}, the first of {empty[0]!r}; "
                "write one or remove the entry"
            )
        without = [video for video, several in captions.items() if not several]
        if without:
            raise AnnotationError(
                f"{file}: no caption for {counted(len(without), 'video')}, the first {without[0]!r}; "
                "take the captions and the list of videos from the same release"
            )
        if not captions:
            raise AnnotationError(f"{file}: there is no captioned video of this split in it; take the whole file")
        return {video: tuple(several) for video, several in captions.items()}

    def _text(self, names: Sequence[str]) -> tuple[Path, str]:
        file = self.need(names)
        if file not in self.read:
            self.read.append(file)
        try:
            return file, read_text(file)
        except AnnotationError as error:
            raise AnnotationError(f"{file}: {error}") from error


def entries(file: Path, content: Any, **fields: type) -> Iterator[tuple[Any, ...]]:
    """The named fields of each object of a JSON list, their types checked.

    >>> list(entries(Path("x.json"), [{"a": 1, "b": "c"}], a=int, b=str))
    [(1, 'c')]
    """
    if not isinstance(content, list):
        raise AnnotationError(f"{file}: must hold a list, got {type(content).__name__}")
    for number, entry in enumerate(content, start=1):
        for name, kind in fields.items():
            if not isinstance(entry, dict) or not isinstance(entry.get(name), kind):
                raise AnnotationError(f"{file}: entry {number} must be an object whose {name!r} is a {kind.__name__}")
        yield tuple(entry[name] for name in fields)


def strings(file: Path, video: str, captions: Any) -> list[str]:
    """A video's captions, which must be a list of strings."""
    if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
        raise AnnotationError(f"{file}: the captions of {video!r} must be a list of strings")
    return captions


def by_video(file: Path, content: Any) -> dict[str, Any]:
    """An object whose keys are videos."""
    if not isinstance(content, dict):
        raise AnnotationError(f"{file}: must hold an object with a key for each video, got {type(content).__name__}")
    return content


def paragraphs(captions: Captions) -> Captions:
    """All captions of a video joined into one, as paragraph-to-video retrieval wants them.

    >>> paragraphs({"v": ("A man runs.", "He falls.")})
    {'v': ('A man runs. He falls.',)}
    """
    return {video: (" ".join(several),) for video, several in captions.items()}


def captions_of_ids(folder: AnnotationFolder, captions: Sequence[str], ids: Sequence[str]) -> Captions:
    """All captions, from an object ``{video: [captions]}``, of the videos on a list: two data sets come so."""
    file = folder.need(captions)
    content = by_video(file, folder.json(captions))
    rows = ((video, caption) for video, several in content.items() for caption in strings(file, video, several))
    return folder.gather(file, rows, only=folder.lines(ids))


def _distinct(file: Path, ids: list[str]) -> list[str]:
    seen: set[str] = set()
    for place, video in enumerate(ids, start=1):
        if video in seen:
            raise AnnotationError(f"{file}: {video!r} stands there twice, the second time as entry {place}; remove one")
        seen.add(video)
    return ids


# A reader a data set --------------------------------------------------------------------------------------------------

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
