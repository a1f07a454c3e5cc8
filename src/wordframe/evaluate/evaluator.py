"""Features into ranks: any number of texts and videos, in the memory that the caller allows.

Both training's validation (``evaluate_features``) and the reports (``measure_features``) come through here, so a
number is always made the same way: by the fastest exact method of ``model.score``, on precomputed videos, tile by tile;
``(T, V)`` never exists. Post-processing takes a second pass over the tiles, for its sums run over all of them.
Neighbours: ``ranking.py`` scores, ``ranker.py`` counts, ``rescoring.py`` holds the formulas, ``metrics.py`` sums up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from wordframe.evaluate.checkpoint import Checkpoint, digest
from wordframe.evaluate.metrics import Ranks, check_owners
from wordframe.evaluate.ranker import LOGITS, OnProgress, TileReader, TileScorer, View, read_tiles, streamed_views
from wordframe.evaluate.ranking import Texts, bounded, count_texts, feature_tiles, video_blocks
from wordframe.evaluate.rescoring import BETA, Statistics, dual_softmax_t2v, dual_softmax_v2t, querybank_t2v
from wordframe.evaluate.sharing import ALONE, Share
from wordframe.evaluate.toplists import TopLists
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.models import TextVideoModel

ROWS = 256
"""Texts of a tile: the products' full rate, and a fraction of a second between two states that can be kept."""
_MIN_COLUMNS, _MAX_COLUMNS = 16, 2048


@dataclass(frozen=True)
class Rescored:
    """Ranks after post-processing. name: ``dsl`` or ``qb_norm``; ranks: by direction, where the method has it."""

    name: str
    ranks: dict[str, Tensor]


@dataclass(frozen=True)
class Measured:
    """Everything that an evaluation found. lists: the first candidates of each query, where they were asked for."""

    ranks: Ranks
    lists: TopLists | None
    rescored: tuple[Rescored, ...]


def evaluate_features(
    model: TextVideoModel,
    texts: Texts,
    videos: VideoFeatures,
    caption_video: Tensor,
    *,
    max_memory_mb: int = 1024,
    checkpoint: str | Path | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> Ranks:
    """The rank of every caption's video and of every video's captions.

    The model is put into eval mode for it and is as before afterwards; features may lie on another device than the
    model and in half precision.

    Args:
        texts: ``T`` captions as an encoder gives them: ``TextFeatures``, or a sequence of blocks of one size (the last
            may be smaller), each of which may be made when it is asked for.
        videos: ``V`` videos, raw frames as an encoder gives them, real ones first; the temporal head is applied here.
        caption_video: ``(T,)`` int64, the video each caption was written for.
        max_memory_mb: for what is made on the way, beyond features and ranks.
        checkpoint: a folder to keep the state in; the same call goes on from there after an interruption.
        on_progress: called with the pairs scored and their total.

    Raises:
        ValueError: nothing to rank, a logit is NaN, or the checkpoint is another run's.
    """
    return measure_features(
        model,
        texts,
        videos,
        caption_video,
        max_memory_mb=max_memory_mb,
        checkpoint=checkpoint,
        on_progress=on_progress,
    ).ranks


def measure_features(
    model: TextVideoModel,
    texts: Texts,
    videos: VideoFeatures,
    caption_video: Tensor,
    *,
    top: int | None = None,
    dsl: bool = False,
    bank: Texts | None = None,
    max_memory_mb: int = 1024,
    checkpoint: str | Path | None = None,
    share: Share = ALONE,
    on_progress: OnProgress = lambda done, total: None,
) -> Measured:
    """``evaluate_features`` with lists and post-processing.

    Args:
        top: length of every query's list of candidates; None for no lists.
        dsl: rank by dual softmax too.
        bank: captions of the training split; rank by QB-Norm too.
        share: what this process scores of it, where several do; ``Share.of_group()`` in each of them. All end with the
            same, that of one process.
    """
    check_owners(caption_video, num_texts=count_texts(texts), num_videos=len(videos))
    num_texts, num_videos = len(caption_video), len(videos)
    bank_texts = 0 if bank is None else count_texts(bank)
    both_passes = dsl or bank is not None
    share.refuse_unlike(
        model=[model.fingerprint], captions=map(str, caption_video.tolist()), memory=[f"{max_memory_mb}"]
    )
    passes = _Passes(model, texts, videos, caption_video, max_memory_mb=max_memory_mb, share=share)
    passes.meter = _Meter(on_progress, total=((1 + both_passes) * num_texts + bank_texts) * num_videos)
    passes.keep_state(checkpoint, top=top or 0, dsl=dsl, bank=bank_texts)
    asking = torch.zeros(num_videos, dtype=torch.bool).index_fill(0, caption_video, True)
    statistics = Statistics(num_texts=num_texts, asking=asking)
    readers: dict[str, TileReader] = {"statistics": statistics} if both_passes else {}
    lists = None if top is None else TopLists(caption_video=caption_video, num_videos=num_videos, top=top)
    readers |= {} if lists is None else {"lists": lists}
    with scoring(model, max_memory_mb):
        t2v, v2t = passes.ranks({LOGITS: lambda tile, rows, columns: tile}, readers)[LOGITS]
        # the second pass: only now are the sums whole that these views divide by
        views: dict[str, View] = {}
        if dsl:
            views |= {"dsl.t2v": dual_softmax_t2v(statistics), "dsl.v2t": dual_softmax_v2t(statistics)}
        if bank is not None:
            hubs = Statistics(num_texts=bank_texts, asking=asking, factor=BETA / model.scale)
            passes.read(bank, hubs)
            views["qb_norm.t2v"] = querybank_t2v(statistics, hubs)
        found = passes.ranks(views, {}) if views else {}
    rescored = []
    if dsl:
        rescored.append(Rescored("dsl", {"t2v": found["dsl.t2v"][0], "v2t": found["dsl.v2t"][1]}))
    if bank is not None:
        rescored.append(Rescored("qb_norm", {"t2v": found["qb_norm.t2v"][0]}))
    return Measured(Ranks(t2v, v2t, caption_video, num_videos), lists, tuple(rescored))


class _Passes:
    """Reads all tiles of one evaluation, as often as is needed, in tiles of one size."""

    def __init__(
        self,
        model: TextVideoModel,
        texts: Texts,
        videos: VideoFeatures,
        caption_video: Tensor,
        *,
        max_memory_mb: int,
        share: Share,
    ) -> None:
        self.share = share
        self.model, self.texts, self.videos, self.caption_video = model, texts, videos, caption_video
        self.columns, self.group_size = tile_sizes(len(caption_video), videos, max_memory_mb)
        self.meter = _Meter(lambda done, total: None, total=0)
        self._folder: Path | None = None
        self._identity: dict[str, str | int] = {}
        self._done = 0

    def keep_state(self, folder: str | Path | None, **asked: int) -> None:
        """Keep every pass in ``folder``; ``asked`` tells runs of one model on one set of features apart."""
        if folder is not None:
            self._folder = Path(folder)
            sizes = {"videos of a tile": self.columns, "videos of a group": self.group_size}
            features = _identity(self.model, self.texts, self.videos, self.caption_video)
            self._identity = {**features, **sizes, **{name: int(value) for name, value in asked.items()}}

    def ranks(self, views: Mapping[str, View], readers: Mapping[str, TileReader]) -> dict[str, tuple[Tensor, Tensor]]:
        """Both directions' ranks by each view."""
        self._done += 1
        folder = None if self._folder is None else self._folder / f"pass-{self._done}{self.share.name}"
        return streamed_views(
            self._tiles(self.texts),
            self.caption_video,
            views,
            num_videos=len(self.videos),
            readers=readers,
            max_rows=ROWS,
            max_columns=self.columns,
            group_size=self.group_size,
            checkpoint=None if folder is None else Checkpoint(folder, self._identity),
            share=self.share,
            on_progress=self.meter.next(),
        )

    def read(self, texts: Texts, reader: TileReader) -> None:
        """Show other texts against the same videos to ``reader``."""
        read_tiles(
            self._tiles(texts),
            reader,
            num_texts=count_texts(texts),
            num_videos=len(self.videos),
            max_rows=ROWS,
            max_columns=self.columns,
            group_size=self.group_size,
            share=self.share,
            on_progress=self.meter.next(),
        )

    def _tiles(self, texts: Texts) -> TileScorer:
        return feature_tiles(self.model, texts, self.videos, group_size=self.group_size)


class _Meter:
    """One count of pairs over several passes."""

    def __init__(self, on_progress: OnProgress, *, total: int) -> None:
        self.on_progress, self.total = on_progress, total
        self.before, self.now = 0, 0

    def next(self) -> OnProgress:
        """What to call during the next pass."""
        self.before += self.now
        self.now = 0

        def tell(done: int, of_this_pass: int) -> None:
            self.now = done
            self.on_progress(self.before + done, self.total)

        return tell


def tile_sizes(num_texts: int, videos: VideoFeatures, max_memory_mb: int) -> tuple[int, int]:
    """Videos of a tile and of a group: half the memory is for precomputed videos, a quarter for the tiles kept."""
    if max_memory_mb < 1:
        raise ValueError(f"max_memory_mb={max_memory_mb} must be at least 1")
    if not num_texts or not len(videos):
        raise ValueError(f"evaluation needs texts and videos, got {num_texts} and {len(videos)}")
    floats = max_memory_mb * 2**20 // 4 // 4
    precomputed = next(video_blocks(videos, max_memory_mb)).stop
    columns = min(max((floats - ROWS * len(videos)) // num_texts, _MIN_COLUMNS), _MAX_COLUMNS, precomputed)
    return columns, precomputed // columns * columns  # a multiple, since a tile has to lie within one group


@contextmanager
def scoring(model: TextVideoModel, max_memory_mb: int) -> Iterator[None]:
    """Eval mode without gradients, the last quarter of the memory for the similarity; all as before afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode(), bounded(model, max_memory_mb):
            yield
    finally:
        for module, training in modes:
            module.training = training


def _identity(
    model: TextVideoModel, texts: Texts, videos: VideoFeatures, caption_video: Tensor
) -> dict[str, str | int]:
    """What makes a run this run; of texts made on demand only the first block is looked at."""
    first = texts if isinstance(texts, TextFeatures) else texts[0]
    return {
        "model": model.fingerprint,
        "videos": digest(videos.frames, videos.frame_mask),
        "first texts": digest(first.sentence, first.words, first.word_mask),
        "captions' videos": digest(caption_video),
    }
