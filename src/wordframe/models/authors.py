"""Checkpoints of the papers' authors: their files, their key names, our modules.

``.bin``, ``.pt`` and ``.safetensors`` of CLIP4Clip, X-CLIP, EA-CLIP4Clip and TC-MGC, with or without ``module.`` before
names. Pickles are read without running code. Names the model has no use for are listed in ``model.leftovers``; a
missing one, or one of another size, is an error that says what to set. Neighbour: ``checkpoint.py``, our own format.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from wordframe.errors import CheckpointError
from wordframe.models.model import TextVideoModel
from wordframe.models.read import read_tensors
from wordframe.models.settings import ModelSettings

FAMILIES_WITH_FILES = ("clip4clip", "ea-clip4clip", "xclip", "tcmgc")
HEAD_NAMES = ("vision", "text", "temporal", "cross", "conditional")

_EVERYWHERE = (
    (r"temporal\.(?:head\.)?positions\.", "frame_position_embeddings."),
    (r"temporal\.(?:head\.)?blocks\.", "transformerClip.resblocks."),
    (r"temporal\.(?:head\.)?lstm\.", "lstm_visual."),
    (r"similarity\.transformer\.positions\.", "cross.embeddings.position_embeddings."),
    (r"similarity\.transformer\.blocks\.", "cross.transformer.resblocks."),
    (r"similarity\.pool_norm\.", "cross.pooler.ln_pool."),
    (r"similarity\.pool\.", "cross.pooler.dense."),
    (r"similarity\.score\.", "similarity_dense."),
    (r"similarity\.logit_scale$", "clip.logit_scale"),
    (r"similarity\.global_matrix$", "global_mat_weight"),
    (r"similarity\.local_matrix$", "local_mat_weight"),
    (r"similarity\.attention\.norm(\d)\.", r"conditional_transformer.pool_frames.layer_norm\1."),
    (r"similarity\.attention\.linear\.", "conditional_transformer.pool_frames.linear_proj."),
)
_INSIDE_BLOCKS = (
    (r"\.qkv\.", ".attn.in_proj_"),
    (r"\.out\.", ".attn.out_proj."),
    (r"\.attention_norm\.", ".ln_1."),
    (r"\.mlp_norm\.", ".ln_2."),
    (r"\.mlp\.0\.", ".mlp.c_fc."),
    (r"\.mlp\.2\.", ".mlp.c_proj."),
)
_MATRICES = {
    "xclip": {
        "over_words": "word_logit_weight",
        "over_frames": "frame_logit_weight",
        "words_first": "word_mat_weight",
        "frames_second": "frame_mat_weight2",
        "frames_first": "frame_mat_weight",
        "words_second": "word_mat_weight2",
    },
    "tcmgc": {
        "over_words": "attentive_word_logit_weight",
        "over_frames": "concat_frame_word_logit_weight",
        "over_both.words_first": "attentive_word_mat_weight",
        "over_both.frames_second": "attentive_frame_word_mat_weight2",
        "over_both.frames_first": "attentive_frame_word_mat_weight",
        "over_both.words_second": "attentive_word_mat_weight2",
        "over_parts": "logit_weight",
    },
}


def load_authors_checkpoint(
    path_or_state_dict: str | Path | Mapping[str, Tensor],
    *,
    family: str,
    sim_header: str,
    max_words: int,
    max_frames: int,
    heads: Mapping[str, int],
    se_type: str | None = None,
    variant: str = "unity",
    reduction_ratio: float | None = None,
    keep_rate: float | None = None,
    softmax_lambda: float = 100.0,
    mask_padding: bool = False,
    normalize_frames: bool = True,
) -> TextVideoModel:
    """A model with the weights of an authors' checkpoint, in eval mode.

    Args:
        path_or_state_dict: a file, or its tensors by name.
        family: ``clip4clip``, ``ea-clip4clip``, ``xclip`` or ``tcmgc``.
        sim_header: ``meanP``, ``seqLSTM``, ``seqTransf`` or ``tightTransf``.
        max_words, max_frames: as in training.
        heads: attention heads, which no tensor tells: ``vision``, ``text`` (one per 64 channels if left out),
            ``temporal`` for seqTransf, ``cross`` for tightTransf, ``conditional`` for tcmgc.
        se_type, variant, reduction_ratio: EA-CLIP4Clip's blocks.
        keep_rate, softmax_lambda: TC-MGC's reorganization and aggregation.
        mask_padding: False reproduces the released codes, where padding takes part.
        normalize_frames: False reproduces EA-CLIP4Clip's released code, which skips the normalisation of each frame.

    Raises:
        ValueError: settings that do not go together.
        CheckpointError: a file that cannot be read or does not fit the settings.
    """
    if family not in FAMILIES_WITH_FILES:
        raise ValueError(f"family={family!r} is not allowed; use one of {', '.join(map(repr, FAMILIES_WITH_FILES))}")
    tensors = _tensors(path_or_state_dict)
    stack = "cross.transformer" if sim_header == "tightTransf" else "transformerClip"
    table = "cross.embeddings.position_embeddings" if sim_header == "tightTransf" else "frame_position_embeddings"
    _check_heads(heads, family, sim_header)
    settings = ModelSettings(
        family=family,
        sim_header=sim_header,
        max_words=max_words,
        max_frames=max_frames,
        layers=_count_layers(tensors, stack),
        heads=heads.get("cross" if sim_header == "tightTransf" else "temporal"),
        positions=len(tensors[f"{table}.weight"]) if f"{table}.weight" in tensors else ModelSettings.positions,
        conditional_heads=heads.get("conditional", 1),
        se_type=se_type,
        variant=variant,
        reduction_ratio=reduction_ratio,
        keep_rate=keep_rate,
        softmax_lambda=softmax_lambda,
        mask_padding=mask_padding,
        normalize_frames=normalize_frames,
    )
    return _load(tensors, settings, heads)


def authors_name(name: str, settings: ModelSettings) -> str:
    """Our name of a tensor outside the backbone → the authors'.

    >>> authors_name("temporal.blocks.0.qkv.weight", ModelSettings(family="clip4clip", sim_header="seqTransf"))
    'transformerClip.resblocks.0.attn.in_proj_weight'
    """
    for ours, theirs in _MATRICES.get(settings.family, {}).items():
        if name == f"similarity.{ours}.matrix":
            return theirs
    if re.match(r"(temporal|similarity)\.(excitation|aggregation)\.", name):
        return _block_name(name, settings)
    for pattern, theirs in _EVERYWHERE:
        name, found = re.subn("^" + pattern, theirs, name)
        if found:
            break
    if ".resblocks." in name:
        for pattern, theirs in _INSIDE_BLOCKS:
            name = re.sub(pattern, theirs, name)
    return name


def _block_name(name: str, settings: ModelSettings) -> str:
    """Names of EA-CLIP4Clip's blocks: lone, in a cascade, or around a sequential head."""
    kind = "excitation" if ".excitation." in name else "aggregation"
    if settings.se_type == "excitation_aggregation":
        prefix = "se_block.scale" if kind == "excitation" else "se_block.aggregate"
    elif settings.se_type in ("excitation_seq", "excitation_seq_aggregation"):
        prefix = f"se_block_{kind}"
    else:
        prefix = "se_block"
    return f"{prefix}.fc.{0 if '.squeeze.' in name else 2}.{name.rpartition('.')[2]}"


def _tensors(source: str | Path | Mapping[str, Tensor]) -> dict[str, Tensor]:
    tensors = dict(source) if isinstance(source, Mapping) else read_tensors(Path(source))
    tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    if not any(name.startswith("clip.") for name in tensors):
        some = ", ".join(sorted(tensors)[:3])
        raise CheckpointError(
            f"no tensor is named 'clip.…', so this is no checkpoint of these models; it holds {some or 'nothing'}"
        )
    return tensors


def _check_heads(heads: Mapping[str, int], family: str, sim_header: str) -> None:
    unknown = sorted(set(heads) - set(HEAD_NAMES))
    if unknown:
        raise ValueError(f"heads has {unknown[0]!r}; allowed: {', '.join(HEAD_NAMES)}")
    needed = {"temporal": sim_header == "seqTransf", "cross": sim_header == "tightTransf"}
    needed["conditional"] = family == "tcmgc"
    for name, wanted in needed.items():
        if wanted and name not in heads:
            raise ValueError(
                f"heads needs {name!r} for family={family!r}, sim_header={sim_header!r}; no tensor tells it"
            )


def _count_layers(tensors: Mapping[str, Tensor], stack: str) -> int:
    found = {match[1] for name in tensors if (match := re.match(rf"{re.escape(stack)}\.resblocks\.(\d+)\.", name))}
    return max(1, len(found))


def _load(tensors: dict[str, Tensor], settings: ModelSettings, heads: Mapping[str, int]) -> TextVideoModel:
    from wordframe.encoders import ClipBackbone
    from wordframe.errors import EncoderError

    clip = {name.removeprefix("clip."): tensor for name, tensor in tensors.items() if name.startswith("clip.")}
    try:
        backbone = ClipBackbone.from_openai(clip, vision_heads=heads.get("vision"), text_heads=heads.get("text"))
    except EncoderError as error:
        raise CheckpointError(f"the backbone (clip.…) cannot be built: {error}") from error
    model = TextVideoModel(settings=settings, backbone=backbone, trained=True)
    ours = {name: authors_name(name, settings) for name in model.state_dict() if not name.startswith("backbone.")}
    _check_fit(model, ours, tensors)
    with torch.no_grad():
        for name, target in model.state_dict().items():
            if name in ours:
                target.copy_(tensors[ours[name]])
    unused = set(tensors) - set(ours.values()) - {f"clip.{name}" for name in clip}
    model.leftovers = tuple(sorted(unused | {f"clip.{name}" for name in backbone.unused_keys}))
    return model.eval()


def _check_fit(model: TextVideoModel, ours: Mapping[str, str], tensors: Mapping[str, Tensor]) -> None:
    missing = sorted(theirs for theirs in ours.values() if theirs not in tensors)
    if missing:
        raise CheckpointError(
            f"{len(missing)} tensors are missing for family={model.settings.family!r}, sim_header="
            f"{model.settings.sim_header!r}, se_type={model.settings.se_type!r}: {', '.join(missing)}"
        )
    for name, expected in model.state_dict().items():
        if name in ours and tensors[ours[name]].shape != expected.shape:
            found, wanted = tuple(tensors[ours[name]].shape), tuple(expected.shape)
            raise CheckpointError(
                f"{ours[name]} has size {found} in the file, but the settings ask for {wanted}; "
                + _advice(ours[name], found, model.settings)
            )


def _advice(theirs: str, found: tuple[int, ...], settings: ModelSettings) -> str:
    """What to set so that the tensor fits."""
    size = found[0] if found else 0
    if theirs.startswith("se_block"):
        return (
            f"set max_frames and reduction_ratio as in training (now {settings.max_frames}, {settings.reduction_ratio})"
        )
    if settings.family == "xclip" and theirs in _MATRICES["xclip"].values():
        return f"set max_{'words' if theirs.startswith('word') else 'frames'}={size}"
    if settings.family == "tcmgc" and theirs in _MATRICES["tcmgc"].values() and theirs != "logit_weight":
        kept = size - theirs.startswith("concat_")
        return (
            f"set max_words and keep_rate so that int(max_words · keep_rate) = {kept} "
            f"(now int({settings.max_words} · {settings.keep_rate}))"
        )
    return "the file mixes parts of models of different sizes; no setting mends it"
