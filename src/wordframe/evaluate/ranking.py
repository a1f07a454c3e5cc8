"""A model's scores in bounded memory: the best videos of every text (``wf.rank``), and tiles for ``ranker.py``.

Videos are prepared a block at a time and scored against the texts a block at a time. ``rank`` merges each text's list
with what a block brings; equal logits keep the order of the videos, so the lists do not depend on the blocks.
Of the memory allowed, half is for prepared videos, a quarter for texts and their logits, a quarter for what the
similarity makes of its pairs (``bounded``).
Neighbours: ``evaluator.py`` chooses the tiles' sizes, ``ranker.py`` counts ranks in them.
Axes: ``T`` texts, ``V`` videos, ``B`` texts of a tile, ``W`` token positions, ``F`` frames, ``D`` embedding size.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wordframe.evaluate.checkpoint import Arrays, Checkpoint, digest
from wordframe.evaluate.metrics import refuse_nan
from wordframe.evaluate.ranker import OnProgress, TileScorer
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.heads import PrecomputedVideos
from wordframe.models import TextVideoModel, contextualize, fit_frames, fit_text, score

_COPIES_PER_FRAME = 6
"""Vectors of size ``D`` for a frame while its video is precomputed: what is kept, and what it is made from."""
_COPIES_PER_WORD = 8
"""Vectors of size ``D`` for a word while its text is scored."""
_BYTES_PER_LOGIT = 64
"""A logit, its four parts, and its place in the sorting."""
Texts = TextFeatures | Sequence[TextFeatures]
"""All texts, or blocks of them that share one size (the last may be smaller); a block may be made when asked for."""
_BLOCKS_AT_HAND = 8
"""Blocks of texts that are kept: the texts of a tile lie in a few."""


@dataclass(frozen=True)
class Ranking:
    """The best videos of each text, best first.

    videos: ``(T, K)`` int64, rows of the videos; logits: ``(T, K)``. ``K`` is ``top``, or ``V`` where that is less.
    """

    videos: Tensor
    logits: Tensor


def rank(
    model: TextVideoModel,
    texts: TextFeatures | Sequence[TextFeatures],
    videos: VideoFeatures,
    *,
    top: int = 10,
    max_memory_mb: int = 1024,
    products: str = "float32",
    checkpoint: str | Path | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> Ranking:
    """The ``top`` videos of every text by ``model.score``.

    Args:
        texts: features, or a sequence of blocks of them, which may make each block when it is asked for it.
        videos: as ``model.encode_video`` or ``model.contextualize`` gives them.
        top: length of each list.
        max_memory_mb: memory for what is made on the way, beyond features and lists: it sets the sizes of the blocks.
            A few videos with one text are always done.
        products: ``bfloat16`` trades exactness for speed where the model and the processor can
            (``benchmarks/precision.py`` prints both).
        checkpoint: a folder to keep the state in; the same call goes on from there after an interruption.
        on_progress: called with the blocks done and their total, first with what a checkpoint brought.

    Raises:
        ValueError: there is nothing to rank, a logit is NaN, or the checkpoint is another run's.
    """
    for name, value in (("top", top), ("max_memory_mb", max_memory_mb)):
        if value < 1:
            raise ValueError(f"{name}={value} must be at least 1")
    if not len(texts) or not len(videos):
        raise ValueError(f"rank needs texts and videos, got {len(texts)} and {len(videos)}")
    columns = list(video_blocks(videos, max_memory_mb))
    if isinstance(texts, TextFeatures):
        rows = _rows_at_once(texts, columns[0].stop, max_memory_mb)
        texts = [texts[start : start + rows] for start in range(0, len(texts), rows)]
    lists = _Lists(top=min(top, len(videos)), num_blocks=len(texts))
    keeper = None
    if checkpoint is not None:
        keeper = Checkpoint(checkpoint, _identity(model, texts, videos, columns[0].stop, top) | {"products": products})
        lists.restore(keeper.load())
    total = len(columns) * len(texts)
    on_progress(lists.done, total)
    with torch.inference_mode(), bounded(model, max_memory_mb, products):
        # videos outside, texts inside: each block of videos is prepared once; a resumed run may begin within one
        for number in range(lists.done // len(texts), len(columns)):
            first = columns[number].start
            precomputed = model.similarity.precompute(videos[columns[number]])
            for at in range(lists.done - number * len(texts), len(texts)):
                lists.add(at, _scored(model, texts[at], precomputed, lists.top, first, max_memory_mb))
                if keeper is not None and (keeper.due() or lists.done == total):
                    keeper.save(lists.state())
                on_progress(lists.done, total)
    return lists.ranking()


class _Lists:
    """The lists so far, a pair ``(videos (B, K), logits (B, K))`` for each block of texts."""

    def __init__(self, *, top: int, num_blocks: int) -> None:
        self.top, self.done = top, 0
        self.blocks: list[tuple[Tensor, Tensor]] = []
        self.num_blocks = num_blocks

    def add(self, at: int, found: tuple[Tensor, Tensor]) -> None:
        """Merge what a block of videos brought to the texts of block ``at``; videos come in their order."""
        if at == len(self.blocks):
            self.blocks.append(found)
        else:
            videos, logits = (torch.cat(pair, dim=1) for pair in zip(self.blocks[at], found, strict=True))
            logits, order = _largest(logits, self.top)  # of equal ones those of earlier videos stay in front
            self.blocks[at] = videos.gather(1, order), logits
        self.done += 1

    def state(self) -> Arrays:
        """Everything, as arrays."""
        ranking = self.ranking()
        sizes = np.array([len(videos) for videos, _ in self.blocks])
        return {
            "videos": ranking.videos.numpy(),
            "logits": ranking.logits.numpy(),
            "sizes": sizes,
            "done": np.array(self.done),
        }

    def restore(self, state: Arrays | None) -> None:
        """Go on from ``state``."""
        if state is not None:
            sizes = state["sizes"].tolist()
            videos, logits = (torch.split(torch.from_numpy(state[name]), sizes) for name in ("videos", "logits"))
            self.blocks = list(zip(videos, logits, strict=True))
            self.done = int(state["done"])

    def ranking(self) -> Ranking:
        """The lists of all blocks of texts."""
        videos, logits = (torch.cat(list(tensors)) for tensors in zip(*self.blocks, strict=True))
        return Ranking(videos, logits)


def _scored(
    model: TextVideoModel,
    text: TextFeatures,
    videos: PrecomputedVideos,
    top: int,
    first_column: int,
    max_memory_mb: int,
) -> tuple[Tensor, Tensor]:
    """The best of a block of videos for a block of texts, whose logits are held for some texts at a time."""
    rows = _rows_at_once(text, len(videos), max_memory_mb)
    found = []
    for start in range(0, len(text), rows):
        logits = model.similarity(text[start : start + rows], videos).logits.cpu()
        refuse_nan(logits, rows=torch.arange(start, start + len(logits)), first_column=first_column)
        found.append(_largest(logits, top))
    logits, videos_found = (torch.cat(list(tensors)) for tensors in zip(*found, strict=True))
    return videos_found + first_column, logits


def _largest(logits: Tensor, top: int) -> tuple[Tensor, Tensor]:
    """The ``top`` largest of each row and their places; of equal ones the first come first."""
    # topk does not say which of equal values it takes, and takes others in blocks of another size
    values, places = logits.sort(dim=1, descending=True, stable=True)
    return values[:, :top].clone(), places[:, :top].clone()  # a view would keep all the sorted columns alive


def video_blocks(videos: VideoFeatures, max_memory_mb: int) -> Iterator[slice]:
    """Videos that half the memory can precompute."""
    _, num_frames, dimension = videos.frames.shape
    size = max(1, max_memory_mb * 2**20 // 2 // (_COPIES_PER_FRAME * num_frames * dimension * 4))  # 4 bytes a number
    return (slice(start, min(start + size, len(videos))) for start in range(0, len(videos), size))


def _rows_at_once(texts: TextFeatures, num_videos: int, max_memory_mb: int) -> int:
    """Texts whose logits, and what they are made from, fit into a quarter of the memory."""
    _, num_words, dimension = texts.words.shape
    bytes_per_text = num_videos * _BYTES_PER_LOGIT + (num_words + 1) * dimension * 4 * _COPIES_PER_WORD
    return max(1, max_memory_mb * 2**20 // 4 // bytes_per_text)


@contextmanager
def bounded(model: TextVideoModel, max_memory_mb: int, products: str | None = None) -> Iterator[None]:
    """The last quarter is for what the similarity holds of its pairs; its own limit stays if it is lower.

    Args:
        products: the kind of products meanwhile; None leaves the model's.
    """
    similarity = model.similarity
    before = similarity.max_block_mb, similarity.products
    similarity.products = products or similarity.products
    similarity.max_block_mb = min(similarity.max_block_mb, max_memory_mb // 4)
    try:
        yield
    finally:
        similarity.max_block_mb, similarity.products = before


def _identity(
    model: TextVideoModel, texts: Sequence[TextFeatures], videos: VideoFeatures, block: int, top: int
) -> dict[str, str | int]:
    """What makes a run this run; of texts made on demand only the first block is looked at."""
    return {
        "model": model.fingerprint,
        "videos": digest(videos.frames, videos.contextual, videos.frame_mask),
        "first texts": digest(texts[0].sentence, texts[0].words, texts[0].word_mask),
        "blocks of texts": len(texts),
        "videos in a block": block,
        "top": top,
    }


def count_texts(texts: Texts) -> int:
    """How many texts there are; of blocks only the first and the last are looked at."""
    if isinstance(texts, TextFeatures) or not len(texts):
        return len(texts)
    return (len(texts) - 1) * len(texts[0]) + len(texts[-1])


def texts_at(texts: Texts, *, max_words: int | None) -> Callable[[Tensor], TextFeatures]:
    """A function that gives the texts with the numbers ``rows (B,)``, in that order, at most ``max_words`` long."""
    if isinstance(texts, TextFeatures):
        whole = fit_text(texts, max_words)
        return lambda rows: whole[rows]
    size = len(texts[0])

    @functools.lru_cache(maxsize=_BLOCKS_AT_HAND)
    def block(number: int) -> TextFeatures:
        return fit_text(texts[number], max_words)

    def at(rows: Tensor) -> TextFeatures:
        order = rows.argsort(stable=True)
        numbers, counts = torch.unique_consecutive(rows[order] // size, return_counts=True)
        places = torch.split(rows[order] % size, counts.tolist())
        found = _joined([block(number)[place] for number, place in zip(numbers.tolist(), places, strict=True)])
        return found[order.argsort()]

    return at


def _joined(blocks: list[TextFeatures]) -> TextFeatures:
    """Texts one behind the other, padded to the longest."""
    if len(blocks) == 1:
        return blocks[0]
    longest = max(block.words.shape[1] for block in blocks)
    missing = [longest - block.words.shape[1] for block in blocks]
    return TextFeatures(
        torch.cat([block.sentence for block in blocks]),
        torch.cat([F.pad(block.words, (0, 0, 0, by)) for block, by in zip(blocks, missing, strict=True)]),
        torch.cat([F.pad(block.word_mask, (0, by)) for block, by in zip(blocks, missing, strict=True)]),
    )


def tile_scorer(
    model: TextVideoModel, texts: TextFeatures | Callable[[Tensor], TextFeatures], videos: VideoFeatures
) -> TileScorer:
    """The callback of ``ranker.streamed_ranks``: videos are prepared once, here.

    Args:
        texts: all texts, or a function that makes those at the given places ``(B,)``.
    """
    with torch.inference_mode():
        prepared = model.similarity.precompute(videos)

    def score(rows: Tensor, columns: slice) -> Tensor:
        with torch.inference_mode():
            some = texts[rows] if isinstance(texts, TextFeatures) else texts(rows)
            logits: Tensor = model.similarity(some, prepared[columns]).logits
            return logits

    return score


def feature_tiles(model: TextVideoModel, texts: Texts, videos: VideoFeatures, *, group_size: int) -> TileScorer:
    """The callback of ``ranker.streamed_ranks`` from raw features.

    Args:
        videos: raw frames, real ones first.
        group_size: videos that are prepared together and kept; a tile must lie within one group.
    """
    parameter = next(model.parameters(), torch.zeros(()))
    find = texts_at(texts, max_words=model.max_words)

    def texts_there(rows: Tensor) -> TextFeatures:
        return find(rows).to(parameter.device, parameter.dtype)

    # one group at a time is held: the tiles of a group come one behind the other, but for those with matching pairs
    @functools.lru_cache(maxsize=1)
    def group(start: int) -> TileScorer:
        some = fit_frames(videos[start : start + group_size], model.max_frames)
        ready = contextualize(model, some.to(parameter.device, parameter.dtype))
        # prepared videos leave padding out; a model that lets it take part needs the videos as they are
        if model.mask_padding:
            return tile_scorer(model, texts_there, ready)
        return lambda rows, columns: score(model, texts_there(rows), ready[columns])

    def score_columns(rows: Tensor, columns: slice) -> Tensor:
        start = columns.start // group_size * group_size
        return group(start)(rows, slice(columns.start - start, columns.stop - start))

    return score_columns
