"""LSMDC 2016: clips of films with the sentence that describes them to blind people (Rohrbach et al., IJCV 2017).

Rows of six cells between tabulators: clip, start and end as aligned, start and end as extracted, sentence. One sentence
a clip is the rule; where a clip has several, as some of the training part, each is a caption of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wordframe.data.annotations import AnnotationFolder, Captions
from wordframe.errors import AnnotationError

FILES = {
    "train": ("LSMDC16_annos_training.csv",),
    "val": ("LSMDC16_annos_val.csv",),
    "test": ("LSMDC16_challenge_1000_publictect.csv",),
}
_CELLS = 6


def read(folder: AnnotationFolder, split: str) -> Captions:
    """Sentences by clip."""
    file = folder.need(FILES[split])
    return folder.gather(file, _rows(file, folder.table(FILES[split])))


def _rows(file: Path, table: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[str, str]]:
    for number, cells in table:
        if len(cells) != _CELLS:
            raise AnnotationError(
                f"{file} line {number}: has {len(cells)} cells between tabulators, {_CELLS} are needed: "
                "clip, four times, sentence"
            )
        yield cells[0].strip(), cells[-1]
