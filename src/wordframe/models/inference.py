"""A model of a name, and a model at work on features that a library stores or an evaluation made, within its limits.

Videos with more frames than the model takes keep some of them, by the papers' rule (``video.sampling.
benchmark_indices``); sentences with more words lose those before the last. A model whose padding takes part (the
released codes, ``mask_padding=False``) gets no padding at all, so that a score never depends on what else was scored.
Neighbours: ``model.py``, ``presets.py``; ``library`` stores what is made here, ``search`` and ``evaluate`` rank by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from wordframe.errors import CheckpointError, WordframeError
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.heads import Transformer, TransformerBlock, VideoStatistics
from wordframe.models.checkpoint import download
from wordframe.models.model import TextVideoModel
from wordframe.models.presets import PRESETS
from wordframe.video import benchmark_indices

if TYPE_CHECKING:
    from wordframe.encoders import Backbone

BLOCK_VIDEOS = 256
"""Videos that go through a temporal head at once: its widest tensor, 4 · D a frame, is 25 MB for 12 frames."""
DEFAULT_DIMENSION = 512
"""``D`` of a preset where neither a dimension nor a backbone is given: CLIP ViT-B/32's, as published."""


def load_model(
    name_or_folder: str | Path, *, dimension: int | None = None, backbone: Backbone | None = None
) -> TextVideoModel:
    """A preset with fresh weights, or a saved model, in eval mode.

    Args:
        name_or_folder: a preset (``tcmgc-msrvtt``, ``zero-shot``, …), a folder written by ``model.save``, or a hub id.
        dimension: ``D`` of the features the model is to work on. Presets take 512 if it is left out; a saved model
            has its own, and another one is refused.
        backbone: for presets, both towers; transformers of the preset then start from a text tower of CLIP's kind.

    Raises:
        CheckpointError: nothing of that name, or a folder that cannot be read or does not fit.
    """
    if (preset := PRESETS.get(str(name_or_folder))) is not None:
        if dimension is None and backbone is None:
            dimension = DEFAULT_DIMENSION
        model = TextVideoModel(
            settings=preset.settings, dimension=dimension, backbone=backbone, trained=not preset.needs_training
        )
        if backbone is not None and backbone.causal_text_width is not None:
            start_from_clip(model, backbone)
        return model.eval()
    if backbone is not None:
        raise ValueError("backbone= goes with a preset; a saved model has its own")
    folder = Path(name_or_folder)
    if folder.is_file():
        raise CheckpointError(
            f"{str(folder)!r} is a file; load_model takes a preset, a folder or a hub id, and load_authors_checkpoint "
            "(`wordframe convert`) reads the authors' files"
        )
    model = TextVideoModel.load(folder if folder.is_dir() else download(str(name_or_folder), presets=list(PRESETS)))
    if dimension not in (None, model.dimension):
        raise CheckpointError(
            f"{str(name_or_folder)!r} works on features of {model.dimension} dimensions, these have {dimension}; "
            "use the encoder it was trained with"
        )
    return model


def start_from_clip(module: nn.Module, backbone: Backbone) -> int:
    """Copy CLIP's text positions and first blocks into each ``Transformer`` in ``module``; gives their number.

    The published start of temporal and joint transformers (CLIP4Clip, arXiv 2104.08860). They have the width of the
    text tower then, so it must equal ``D``.
    """
    transformers = [child for child in module.modules() if isinstance(child, Transformer)]
    for transformer in transformers:
        _copy_transformer(transformer, backbone)
    return len(transformers)


@torch.no_grad()
def _copy_transformer(transformer: Transformer, backbone: Backbone) -> None:
    tower = backbone.model.text_model
    positions = tower.embeddings.position_embedding.weight
    width, dimension = positions.shape[1], transformer.positions.embedding_dim
    if width != dimension:
        raise ValueError(
            f"CLIP's text tower is {width} wide, the transformer works on D = {dimension}, so it cannot start there; "
            "TextVideoModel(settings=…, backbone=…) starts from random weights"
        )
    rows = min(len(positions), transformer.positions.num_embeddings)  # frames beyond CLIP's 77 words start at random
    transformer.positions.weight[:rows] = positions[:rows]
    for block, source in zip(transformer.blocks, tower.encoder.layers, strict=False):
        assert isinstance(block, TransformerBlock)
        _copy_block(block, source)


def _copy_block(block: TransformerBlock, source: Any) -> None:
    attention = source.self_attn
    for kind in ("weight", "bias"):
        # one matrix for q, k and v, as in OpenAI's blocks, which transformers keeps apart
        joined = torch.cat([getattr(getattr(attention, f"{name}_proj"), kind) for name in "qkv"])
        getattr(block.qkv, kind).copy_(joined)
    for ours, theirs in (
        (block.out, attention.out_proj),
        (block.attention_norm, source.layer_norm1),
        (block.mlp_norm, source.layer_norm2),
        (block.mlp[0], source.mlp.fc1),
        (block.mlp[2], source.mlp.fc2),
    ):
        ours.load_state_dict(theirs.state_dict())


def load_ready(name: str, *, dimension: int | None = None, untrained: bool = False) -> TextVideoModel:
    """A preset for features of ``dimension``, or a checkpoint by folder or hub id, ready to rank.

    Fresh weights are the same at every start, so an untrained model ranks alike each time.

    Raises:
        WordframeError: there is no such model, or it is untrained and ``untrained`` does not allow that.
    """
    is_preset = name in PRESETS
    if is_preset and PRESETS[name].needs_training and not untrained:
        raise WordframeError(
            f"{name!r} is a preset: settings without trained weights; give a checkpoint's folder, "
            "or say --untrained to rank with its starting values"
        )
    try:
        # the caller's own random numbers go on as if none had been drawn here
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = load_model(name, dimension=dimension if is_preset else None)
    except ValueError as error:
        raise WordframeError(f"{name!r} cannot work on features of {dimension} dimensions: {error}") from error
    if not model.trained and not untrained:
        raise WordframeError(f"{name!r} holds untrained weights; train it first, or say --untrained to rank with them")
    return model


def refuse_other_features(
    model: TextVideoModel, name: str, *, encoder: str, fingerprint: str, dimension: int, remedy: str
) -> None:
    """Raise unless features of ``encoder`` are what ``model`` was made for.

    Args:
        name: what the user called the model.
        encoder, fingerprint, dimension: of the features.
        remedy: what to do instead; ``{encoder}`` in it becomes the encoder that fits.

    Raises:
        CheckpointError: the model has a backbone of its own that is another one, was trained on the features of
            another encoder, or works on another ``D``.
    """
    if model.backbone is not None:
        from wordframe.encoders import backbone_fingerprint  # brings transformers, which not every model needs

        of_backbone = backbone_fingerprint(model.backbone)
        if of_backbone != fingerprint:
            raise CheckpointError(
                f"{name!r} scores features of its own CLIP (fingerprint {of_backbone}), these are of the encoder "
                f"{encoder!r} (fingerprint {fingerprint}); {remedy.replace('{encoder}', name)}"
            )
    elif (own := model.trained_on) is not None and own.fingerprint != fingerprint:
        raise CheckpointError(
            f"{name!r} was trained on features of the encoder {own.name!r} (fingerprint {own.fingerprint}), these are "
            f"of the encoder {encoder!r} (fingerprint {fingerprint}); {remedy.replace('{encoder}', own.name)}"
        )
    if model.dimension != dimension:
        raise CheckpointError(
            f"{name!r} works on features of {model.dimension} dimensions, the encoder {encoder!r} gives {dimension}; "
            "use the encoder it was trained with"
        )


def kept_words(count: int, max_words: int | None) -> list[int]:
    """Which of ``count`` token positions a model takes: the leading ones and the last (EOS).

    >>> kept_words(3, None), kept_words(6, 4)
    ([0, 1, 2], [0, 1, 2, 5])
    """
    if max_words is None or count <= max_words:
        return list(range(count))
    return [*range(max_words - 1), count - 1]


def fit_text(text: TextFeatures, max_words: int | None) -> TextFeatures:
    """Texts of at most ``max_words`` token positions; the sentences stay those of the whole texts."""
    return text if max_words is None else text.cut(max_words)


def fit_frames(video: VideoFeatures, max_frames: int | None) -> VideoFeatures:
    """Videos of at most ``max_frames`` raw frames, spread over each by the papers' rule, the real ones first."""
    if max_frames is None or video.frames.shape[1] <= max_frames:
        return video
    index = torch.zeros(len(video), max_frames, dtype=torch.long, device=video.frames.device)
    mask = video.frame_mask.new_zeros(len(video), max_frames)
    for row, real in enumerate(video.frame_mask):
        places = real.nonzero()[:, 0]
        kept = places[benchmark_indices(len(places), max_frames)]
        index[row, : len(kept)] = kept
        mask[row, : len(kept)] = True
    frames = video.frames.gather(1, index[..., None].expand(-1, -1, video.frames.shape[2]))
    frames = frames.masked_fill(~mask[..., None], 0.0)
    seconds = None if video.seconds is None else video.seconds.gather(1, index).masked_fill(~mask, 0.0)
    return VideoFeatures(frames, frames, mask, seconds)


@torch.inference_mode()
def contextualize(model: TextVideoModel, video: VideoFeatures) -> VideoFeatures:
    """Raw frames as ``model`` wants them: fitted to its limit, through its temporal head. Padding holds zeros."""
    video = fit_frames(video, model.max_frames)
    if model.temporal is None:
        return video
    contextual = torch.zeros_like(video.frames)
    for rows, some in _blocks(model, video):
        made = model.contextualize(some.frames, some.frame_mask).contextual
        contextual[rows, : made.shape[1]] = made.masked_fill(~some.frame_mask[..., None], 0.0)
    return video.with_contextual(contextual)


@torch.inference_mode()
def video_vectors(model: TextVideoModel, video: VideoFeatures) -> Tensor:
    """One unit vector a video, ``(V, D)``, from the output of ``contextualize``."""
    vectors = torch.empty(len(video), model.dimension, device=video.frames.device)
    for rows, some in _blocks(model, video):
        vectors[rows] = model.video_vectors(some)
    return vectors


@torch.inference_mode()
def video_statistics(model: TextVideoModel, video: VideoFeatures) -> list[VideoStatistics]:
    """The similarity's statistics of the output of ``contextualize``, for ``score``."""
    found: dict[int, VideoStatistics] = {}
    for rows, some in _blocks(model, video):
        found |= dict(zip(rows.tolist(), model.similarity.statistics(some), strict=True))
    return [found[row] for row in range(len(video))]


@torch.inference_mode()
def score(
    model: TextVideoModel, text: TextFeatures, video: VideoFeatures, statistics: Sequence[VideoStatistics] | None = None
) -> Tensor:
    """Logits ``(T, V)`` of the output of ``contextualize``, each as if its pair were scored alone.

    statistics: what ``video_statistics`` gave for these videos, to save its time.
    """

    def of_all(text: TextFeatures, video: VideoFeatures, statistics: Sequence[VideoStatistics] | None) -> Tensor:
        return model.score(text, video if statistics is None else model.similarity.precompute(video, statistics)).logits

    if model.mask_padding:
        return of_all(text, video, statistics)
    logits = torch.empty(len(text), len(video), device=text.sentence.device)
    for rows, some in _videos_of_one_length(video):
        kept = None if statistics is None else [statistics[row] for row in rows.tolist()]
        for texts, some_texts in _texts_of_one_length(text):
            logits[texts[:, None], rows] = of_all(some_texts, some, kept)
    return logits


def _blocks(model: TextVideoModel, video: VideoFeatures) -> Iterator[tuple[Tensor, VideoFeatures]]:
    """Rows and the videos there, a bounded number at a time; without padding where padding would take part."""
    # Index and features must lie on one device: the default one is the CPU, also where the features are on a GPU.
    everything = torch.arange(len(video), device=video.frames.device)
    groups = [(everything, video)] if model.mask_padding else _videos_of_one_length(video)
    for rows, some in groups:
        for start in range(0, len(rows), BLOCK_VIDEOS):
            block = slice(start, start + BLOCK_VIDEOS)
            yield rows[block], some[block]


def _videos_of_one_length(video: VideoFeatures) -> Iterator[tuple[Tensor, VideoFeatures]]:
    counts = video.frame_mask.sum(dim=1)
    for count in sorted(set(counts.tolist())):
        rows = (counts == count).nonzero()[:, 0]
        some = video[rows]

        def real(x: Tensor, mask: Tensor = some.frame_mask, count: int = count) -> Tensor:
            return x[mask].view(len(mask), count, *x.shape[2:])

        seconds = None if some.seconds is None else real(some.seconds)
        yield rows, VideoFeatures(real(some.frames), real(some.contextual), real(some.frame_mask), seconds)


def _texts_of_one_length(text: TextFeatures) -> Iterator[tuple[Tensor, TextFeatures]]:
    counts = text.word_mask.sum(dim=1)
    for count in sorted(set(counts.tolist())):
        rows = (counts == count).nonzero()[:, 0]
        some = text[rows]
        words = some.words[some.word_mask].view(len(rows), count, -1)
        yield rows, replace(some, words=words, word_mask=some.word_mask.new_ones(len(rows), count))
