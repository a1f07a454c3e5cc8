"""Features of a split on disk, by one encoder: what every head is trained and compared on without a backbone.

    folder/wordframe-features.json      encoder, sampling, annotations, and the checksum of each block
    folder/captions.json                [[video, [captions]], …], in the order of the blocks
    folder/videos-00000.safetensors     128 videos: frames (V, F, D) float16, counts (V,), seconds (V, F)
    folder/texts-00000.safetensors      2,048 captions: sentence (T, D), words (ΣW, D) float16, ends (T,) of their words

Blocks are mapped into memory, so a split of any size is read row by row. Features are those of the encoder, not
normalised, words without padding; float16 moves a cosine by less than 1e-6. A video that could not be read has no
frame; it and its captions are left out here, and named.
Neighbours: ``_feature_building.py`` writes the blocks, ``sets.py`` makes training sets of what is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from wordframe.addresses import joined
from wordframe.data._cache_folder import CacheError, checksum, read_description, write_description
from wordframe.data._copied import address_of, copied, is_there
from wordframe.data.benchmarks import BENCHMARKS, SPLITS
from wordframe.disk import short_hash
from wordframe.encoders import clean_text
from wordframe.errors import counted
from wordframe.video import Cut, FrameRule

_KIND = "features"
CAPTIONS = "captions.json"
BLOCK_VIDEOS = 128
BLOCK_TEXTS = 2048
"""A block is held while it is made, and lost if the run is killed meanwhile: 128 videos of 64 frames are 8 MB at D =
512 and some minutes of encoding, 2,048 captions of 20 words 42 MB. Smaller ones would be files by the ten thousand."""
_DECIDING = {
    "fingerprint": "the encoder's fingerprint",
    "max_words": "words a caption",
    "num_frames": "frames a video",
    "frames": "frames from",
    "last_second": "last second of a video",
    "cut": "cut of more frames",
    "text_cleaning": "captions with",
    "benchmark": "benchmark",
    "split": "split",
    "annotations": "annotation files",
    "captions": "captions with the hash",
}
"""What must agree for a run to go on in a folder, and what it is called in a message."""
_LATER = {"last_second", "cut", "text_cleaning"}
"""What caches of older versions do not say: their frames are of whole videos, their captions were not cleaned."""


@dataclass(frozen=True, kw_only=True)
class FeatureDescription:
    """What all features of a folder depend on, and how far they have come.

    encoder, fingerprint, dimension, max_words: of the encoder; num_frames: at most, a video; frames: where they came
    from; last_second, cut: as in ``FrameRule``; text_cleaning: as in ``Encoder``; benchmark, split, note, annotations:
    what the captions are, with the hashes of their files; captions: hash of their text; blocks: checksum of each block
    that is written; left_out: videos without a frame, and why; complete: nothing is left to do.
    """

    encoder: str
    fingerprint: str
    dimension: int
    max_words: int
    num_frames: int
    frames: str
    benchmark: str
    split: str
    note: str
    annotations: Mapping[str, str]
    captions: str
    last_second: int | None = None
    cut: Cut = "uniform"
    text_cleaning: str | None = None  # None: a cache from before captions were cleaned
    blocks: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    complete: bool = False

    @classmethod
    def read(cls, folder: Path) -> FeatureDescription | None:
        """The description of the cache in ``folder``; None if there is none. CacheError: it is damaged."""
        values = read_description(folder, _KIND)
        if values is None:
            return None
        names = {item.name for item in fields(cls)}
        missing = names - values.keys() - _LATER
        if missing:
            raise CacheError(f"{folder}: its description lacks {min(missing)!r}; make the cache anew")
        return cls(**{name: values[name] for name in names & values.keys()})

    def write(self, folder: Path) -> None:
        write_description(folder, _KIND, asdict(self))

    @property
    def rule(self) -> FrameRule:
        """Which frames of a video are kept."""
        return FrameRule(last_second=self.last_second, cut=self.cut)

    def refuse_other(self, asked: FeatureDescription, folder: Path) -> None:
        """Raise CacheError if a run that ``asked`` for something else may not write here."""
        for name, words in _DECIDING.items():
            mine, theirs = getattr(self, name), getattr(asked, name)
            if name == "text_cleaning" and not theirs:
                continue  # an encoder that never cleaned texts: its older caches do not say so, and are the same
            if mine != theirs:
                raise CacheError(
                    f"{folder}: holds features of other settings ({words} {_short(mine)}, this run has "
                    f"{_short(theirs)}); use another folder"
                )


class CachedFeatures:
    """The features of a folder by the numbers of captions and videos, those that were left out not counted.

    Attributes:
        description: what they depend on.
        video_ids: names of the videos.
        video_of: ``(T,)``, the video of each caption.
        word_counts, frame_counts: ``(T,)`` and ``(V,)``.
    """

    def __init__(self, folder: Path, description: FeatureDescription) -> None:
        self.description = description
        self._folder = folder
        self._blocks: dict[str, Any] = {}
        captions = _read_captions(folder)
        counts = self._all("videos", "counts", len(captions), BLOCK_VIDEOS)
        owners = np.repeat(np.arange(len(captions)), [len(several) for _, several in captions])
        ends = self._all("texts", "ends", len(owners), BLOCK_TEXTS)
        numbers = np.arange(len(ends))
        # ends count from the start of their block, so that a block can be written without knowing those before it
        self._starts, self._ends = np.where(numbers % BLOCK_TEXTS == 0, 0, ends[numbers - 1]), ends
        self._video_rows = np.flatnonzero(counts > 0)
        self._text_rows = np.flatnonzero(counts[owners] > 0)
        place = np.cumsum(counts > 0) - 1  # a video's number among those with frames
        self.video_ids = [captions[row][0] for row in self._video_rows.tolist()]
        self.video_of: NDArray[np.int64] = place[owners[self._text_rows]]
        self.frame_counts: NDArray[np.int64] = counts[self._video_rows]
        self.word_counts: NDArray[np.int64] = (ends - self._starts)[self._text_rows]

    @classmethod
    def open(cls, folder: str | Path) -> CachedFeatures:
        """Open a folder for reading, or the local copy of a cache at an address such as ``s3://bucket/features/train``.

        Raises:
            CacheError: there is no feature cache, it is not complete, or a block is missing or damaged.
        """
        place = feature_folder(folder)
        description = FeatureDescription.read(place)
        if description is None:
            parts = [part for name in SPLITS if (part := feature_part(folder, name)) is not None]
            remedy = f"name one of its parts, such as {parts[0]}" if parts else "make one with wordframe cache features"
            raise CacheError(f"{folder}: there is no feature cache; {remedy}")
        if not description.complete:
            raise CacheError(f"{folder}: is not complete{_because(description)}")
        _refuse_old(place, description)
        return cls(place, description)

    @property
    def dimension(self) -> int:
        return self.description.dimension

    def captions(self) -> list[str]:
        """The captions by their numbers, read from the folder each time: training needs their features alone."""
        every = [caption for _, several in _read_captions(self._folder) for caption in several]
        return [every[row] for row in self._text_rows.tolist()]

    @property
    def fingerprint(self) -> str:
        """Short hash of the content: of all blocks and of what they depend on."""
        # the encoder's name left out: the same weights in another folder are the same features
        return short_hash(asdict(replace(self.description, encoder="")))

    def sentence(self, caption: int) -> NDArray[np.float16]:
        """The sentence ``(D,)`` of a caption."""
        row = int(self._text_rows[caption])
        found: NDArray[np.float16] = self._slice("texts", row // BLOCK_TEXTS, "sentence")[row % BLOCK_TEXTS]
        return found

    def words(self, caption: int) -> NDArray[np.float16]:
        """The words ``(W, D)`` of a caption, all of them real."""
        row = int(self._text_rows[caption])
        start, end = int(self._starts[row]), int(self._ends[row])
        found: NDArray[np.float16] = self._slice("texts", row // BLOCK_TEXTS, "words")[start:end]
        return found

    def frames(self, video: int) -> NDArray[np.float16]:
        """The frames ``(F, D)`` of a video, all of them real."""
        return self._of_video(video, "frames")

    def seconds(self, video: int) -> NDArray[np.float32]:
        """The second ``(F,)`` of each frame."""
        return self._of_video(video, "seconds")

    def _of_video(self, video: int, name: str) -> NDArray[Any]:
        row, count = int(self._video_rows[video]), int(self.frame_counts[video])
        found: NDArray[Any] = self._slice("videos", row // BLOCK_VIDEOS, name)[row % BLOCK_VIDEOS, :count]
        return found

    def _all(self, kind: str, name: str, total: int, size: int) -> NDArray[np.int64]:
        """One small tensor of all blocks of a kind, ``(total,)``; every block must be there and whole."""
        parts = [self._slice(kind, number, name)[:] for number in range(-(-total // size))]
        joined: NDArray[np.int64] = np.concatenate(parts)
        if len(joined) != total:
            raise CacheError(
                f"{self._folder}: its {kind} are {len(joined)}, its captions speak of {total}; make it anew"
            )
        return joined

    def _slice(self, kind: str, number: int, name: str) -> Any:
        """A tensor of a block, whose rows are read when they are asked for. Blocks stay mapped once opened."""
        # get_slice, not get_tensor: the latter copies the whole block into memory
        file = block_name(kind, number)
        if file not in self._blocks:
            try:
                opened: Any = safe_open(self._folder / file, framework="numpy")
                self._blocks[file] = {key: opened.get_slice(key) for key in opened.keys()}  # noqa: SIM118
            except (OSError, SafetensorError) as error:
                raise CacheError(
                    f"{self._folder / file}: missing or damaged ({error}); the command that made the cache mends it"
                ) from error
        return self._blocks[file][name]


def feature_folder(place: str | Path) -> Path:
    """The folder of a feature cache: ``place``, or a copy of what is at that address on object storage.

    Raises:
        CacheError: nothing is at the address, it cannot be read, or is damaged.
    """
    address = address_of(place)
    return Path(place) if address is None else copied(address, f"wordframe-{_KIND}.json", CAPTIONS)


def feature_part(place: str | Path, name: str) -> str | Path | None:
    """What ``name`` is below ``place``, a folder or an address with several caches; None if it is not there."""
    part = joined(place, name)
    return part if is_there(part, f"wordframe-{_KIND}.json") else None


def block_name(kind: str, number: int) -> str:
    """The file of a block.

    >>> block_name("texts", 3)
    'texts-00003.safetensors'
    """
    return f"{kind}-{number:05d}.safetensors"


def _read_captions(folder: Path) -> list[tuple[str, list[str]]]:
    """The videos of a cache with their captions, in the order of the blocks. CacheError: they cannot be read."""
    try:
        return [(video, several) for video, several in json.loads((folder / CAPTIONS).read_text(encoding="utf-8"))]
    except (OSError, ValueError) as error:
        raise CacheError(f"{folder / CAPTIONS}: cannot be read ({error}); make the cache anew") from error


def damaged_blocks(folder: Path, description: FeatureDescription) -> list[str]:
    """Blocks whose content is no longer what was written."""
    return [name for name, written in description.blocks.items() if checksum(folder / name) != written]


def _refuse_old(folder: Path, description: FeatureDescription) -> None:
    """Raise CacheError for a cache of an older version whose features would be others today."""
    known = BENCHMARKS.get(description.benchmark)
    if known is not None and known.last_second != description.last_second:
        raise CacheError(
            f"{folder}: holds {known.name} {description.rule.describe(description.num_frames)}, its protocol takes "
            f"{replace(description.rule, last_second=known.last_second).describe(description.num_frames)}; "
            "make the cache anew"
        )
    if description.text_cleaning is None and description.encoder != "offline":
        # most captions are the same cleaned or not: only where one is not are its old features wrong
        every = (caption for _, several in _read_captions(folder) for caption in several)
        other = next((caption for caption in every if clean_text(caption) != " ".join(caption.split()).lower()), None)
        if other is not None:
            raise CacheError(
                f"{folder}: was made before captions were cleaned as CLIP does, which changes the features of "
                f"{_short(other)!r} and may change others; make the cache anew"
            )


def _because(description: FeatureDescription) -> str:
    if not description.left_out:
        return "; run the same wordframe cache features again to go on"
    first, reason = next(iter(description.left_out.items()))
    return (
        f": {counted(len(description.left_out), 'video')} could not be read, the first: {first} ({reason}); "
        "mend what is broken and run wordframe cache features again, or say --allow-missing there to leave it out"
    )


def _short(value: object) -> str:
    text = ", ".join(sorted(value)) if isinstance(value, Mapping) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
