"""Checkpoints of the papers' authors: their files, their key names, our modules.

``.bin``, ``.pt`` and ``.safetensors`` of CLIP4Clip, X-CLIP, EA-CLIP4Clip and TC-MGC, with or without ``module.`` before
names. Pickles are read without running code. Names the model has no use for are listed in ``model.leftovers``; those of
a part that would change its scores are refused, and a missing one, or one of another size, is an error that says what
to set. Neighbour: ``checkpoint.py``, our own format.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wordframe.encoders import ClipBackbone
from wordframe.errors import CheckpointError, EncoderError, counted
from wordframe.models.checkpoint import read_tensors
from wordframe.models.config import ModelSettings, SequentialSettings
from wordframe.models.families.ea_clip4clip import EaClip4ClipSettings
from wordframe.models.families.tcmgc import TcmgcSettings
from wordframe.models.model import TextVideoModel

_BACKBONES_HEADS = ("vision", "text")
_HEAD_NAMES = (*_BACKBONES_HEADS, "temporal", "cross", "conditional")
_PUBLISHED_LAMBDA = 100.0

# our names → theirs, the first that fits; ``head.`` stands there where an excitation goes before the temporal head
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
_CHANGING = re.compile(
    r"clip\.visual\.conv2\.|(.*\.)?intra_mlp|transformerClip\.|lstm_visual\.|cross\.|similarity_dense\.|se_block"
    r"|(global|local)_mat_weight|(.*_)?(word|frame)_(logit|mat)_weight2?|logit_weight"
    r"|conditional_transformer\.pool_frames\.(layer_norm|linear_proj)"
)
"""Parts that a score goes through: patches of several frames (``linear_patch 3d``), an MLP inside EA's blocks, and the
heads of all families. Everything else that files are known to hold beside their model (losses, ``cross_attn``, tables
of positions that nothing reads) changes nothing."""
_NAMED_AT_MOST = 5
_NO_SETTING = "the file mixes parts of models of different sizes; no setting mends it"


@dataclass(frozen=True)
class _AuthorsFile:
    """What one family's files have for themselves.

    matrices: our similarity's matrices → their names; heads: the attention heads that must be told beside those of
    ``sim_header``; advice: ``(their name, its size, settings) →`` what to set so that a matrix fits.
    """

    matrices: Mapping[str, str] = field(default_factory=dict)
    heads: tuple[str, ...] = ()
    advice: Callable[[str, int, Any], str] = lambda theirs, size, settings: _NO_SETTING


def _of_xclip(theirs: str, size: int, settings: ModelSettings) -> str:
    return f"set max_{'words' if theirs.startswith('word') else 'frames'}={size}"


def _of_tcmgc(theirs: str, size: int, settings: TcmgcSettings) -> str:
    if theirs == "logit_weight":
        return _NO_SETTING
    kept = size - theirs.startswith("concat_")  # the sentence is one more there
    return (
        f"set max_words and keep_rate so that int(max_words · keep_rate) = {kept} "
        f"(now int({settings.max_words} · {settings.keep_rate}))"
    )


_FILES = {
    "clip4clip": _AuthorsFile(),
    "ea-clip4clip": _AuthorsFile(),
    "xclip": _AuthorsFile(
        matrices={
            "over_words": "word_logit_weight",
            "over_frames": "frame_logit_weight",
            "words_first": "word_mat_weight",
            "frames_second": "frame_mat_weight2",
            "frames_first": "frame_mat_weight",
            "words_second": "word_mat_weight2",
        },
        advice=_of_xclip,
    ),
    "tcmgc": _AuthorsFile(
        matrices={
            "over_words": "attentive_word_logit_weight",
            "over_frames": "concat_frame_word_logit_weight",
            "over_both.words_first": "attentive_word_mat_weight",
            "over_both.frames_second": "attentive_frame_word_mat_weight2",
            "over_both.frames_first": "attentive_frame_word_mat_weight",
            "over_both.words_second": "attentive_word_mat_weight2",
            "over_parts": "logit_weight",
        },
        heads=("conditional",),
        advice=_of_tcmgc,
    ),
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
    softmax_lambda: float = _PUBLISHED_LAMBDA,
    mask_padding: bool = False,
    normalize_frames: bool = True,
    drop: Sequence[str] = (),
    strict: bool = False,
) -> TextVideoModel:
    """A model with the weights of an authors' checkpoint, in eval mode.

    Args:
        path_or_state_dict: a file, or its tensors by name.
        family: ``clip4clip``, ``ea-clip4clip``, ``xclip`` or ``tcmgc``.
        sim_header: ``meanP``, ``seqLSTM``, ``seqTransf`` or ``tightTransf``.
        max_words, max_frames: as in training.
        heads: attention heads, which no tensor tells: ``vision``, ``text`` (one per 64 channels if left out),
            ``cross`` for tightTransf, ``conditional`` for tcmgc; ``temporal`` only where it is not the authors' own,
            the temporal transformer's width // 64.
        se_type, variant, reduction_ratio: EA-CLIP4Clip's blocks.
        keep_rate, softmax_lambda: TC-MGC's reorganization and aggregation.
        mask_padding: False reproduces the released codes, where padding takes part.
        normalize_frames: False reproduces EA-CLIP4Clip's released code, which skips the normalisation of each frame.
        drop: beginnings of names that may be left out although the file's own model scores otherwise.
        strict: refuse what this model has no use for (heads, softmax_lambda, mask_padding, drop), instead of passing
            over it.

    Raises:
        ValueError: settings that do not go together.
        CheckpointError: a file that cannot be read, does not fit the settings, or is of a model that we do not have.
    """
    if family not in _FILES:
        raise ValueError(f"family={family!r} is not allowed; use one of {', '.join(map(repr, _FILES))}")
    tensors = _tensors(path_or_state_dict)
    tight = sim_header == "tightTransf"
    stack = "cross.transformer" if tight else "transformerClip"
    table = f"{'cross.embeddings.position_embeddings' if tight else 'frame_position_embeddings'}.weight"
    if sim_header == "seqTransf":
        heads = {"temporal": _temporal_heads(tensors), **heads}
    _check_heads(heads, family, sim_header)
    given: dict[str, Any] = {
        "family": family,
        "sim_header": sim_header,
        "max_words": max_words,
        "max_frames": max_frames,
        "layers": _count_layers(tensors, stack),
        "heads": heads.get("cross" if tight else "temporal"),
        "positions": len(tensors[table]) if table in tensors else SequentialSettings.positions,
        "conditional_heads": heads.get("conditional", 1),
        "se_type": se_type,
        "variant": variant,
        "reduction_ratio": reduction_ratio,
        "keep_rate": keep_rate,
        "softmax_lambda": softmax_lambda,
        "mask_padding": mask_padding,
        "normalize_frames": normalize_frames,
    }
    settings = ModelSettings.from_dict(given)  # what has no meaning for the family is left out
    model = _load(tensors, settings, heads, drop)
    if strict:
        _refuse_meaningless(
            model,
            sim_header,
            heads,
            drop,
            softmax_lambda=softmax_lambda != _PUBLISHED_LAMBDA,
            mask_padding=mask_padding,
        )
    return model


def authors_name(name: str, settings: ModelSettings) -> str:
    """Our name of a tensor outside the backbone → the authors'.

    >>> from wordframe.models.families.clip4clip import Clip4ClipSettings
    >>> authors_name("temporal.blocks.0.qkv.weight", Clip4ClipSettings(sim_header="seqTransf"))
    'transformerClip.resblocks.0.attn.in_proj_weight'
    """
    for ours, theirs in _FILES[settings.family].matrices.items():
        if name == f"similarity.{ours}.matrix":
            return theirs
    in_block = re.match(r"(temporal|similarity)\.(excitation|aggregation)\.", name)
    if in_block and isinstance(settings, EaClip4ClipSettings):
        return _block_name(name, settings)
    for pattern, theirs in _EVERYWHERE:
        name, found = re.subn("^" + pattern, theirs, name)
        if found:
            break
    if ".resblocks." in name:
        for pattern, theirs in _INSIDE_BLOCKS:
            name = re.sub(pattern, theirs, name)
    return name


def _block_name(name: str, settings: EaClip4ClipSettings) -> str:
    """Names of EA-CLIP4Clip's blocks: lone, in a cascade, or around a sequential head."""
    kind = "excitation" if ".excitation." in name else "aggregation"
    if settings.se_type == "excitation_aggregation":
        prefix = "se_block.scale" if kind == "excitation" else "se_block.aggregate"
    elif settings.excites_before_head:
        prefix = f"se_block_{kind}"
    else:
        prefix = "se_block"
    return f"{prefix}.fc.{0 if '.squeeze.' in name else 2}.{name.rpartition('.')[2]}"


def _tensors(source: str | Path | Mapping[str, Tensor]) -> dict[str, Tensor]:
    if isinstance(source, Mapping):
        # copied: the backbone takes tensors as they are, and training it would change the caller's
        tensors = {name: tensor.detach().clone() for name, tensor in source.items()}
    else:
        tensors = read_tensors(Path(source))
    tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    if not any(name.startswith("clip.") for name in tensors):
        some = ", ".join(sorted(tensors)[:3])
        raise CheckpointError(
            f"no tensor is named 'clip.…', so this is no checkpoint of these models; it holds {some or 'nothing'}"
        )
    return tensors


def _check_heads(heads: Mapping[str, int], family: str, sim_header: str) -> None:
    unknown = sorted(set(heads) - set(_HEAD_NAMES))
    if unknown:
        raise ValueError(f"heads has {unknown[0]!r}; allowed: {', '.join(_HEAD_NAMES)}")
    for name in _heads_needed(family, sim_header):
        if name not in heads:
            raise ValueError(
                f"heads needs {name!r} for family={family!r}, sim_header={sim_header!r}; no tensor tells it"
            )


def _heads_needed(family: str, sim_header: str) -> tuple[str, ...]:
    return (*(["cross"] if sim_header == "tightTransf" else []), *_FILES[family].heads)


def _refuse_meaningless(
    model: TextVideoModel, sim_header: str, heads: Mapping[str, int], drop: Sequence[str], **given: bool
) -> None:
    """What ``from_dict`` lets pass, for the sake of old files, although this model has no use for it."""
    family = model.settings.family
    used = {*_BACKBONES_HEADS, *_heads_needed(family, sim_header), *(["temporal"] if sim_header == "seqTransf" else [])}
    for name in heads:
        if name not in used:
            raise ValueError(
                f"heads has {name!r}, but family={family!r} with sim_header={sim_header!r} has no such attention; "
                "leave it out"
            )
    for name, is_given in given.items():
        if is_given and not hasattr(model.settings, name):
            raise ValueError(f"{name} has no meaning for family={family!r}; leave it out")
    for beginning in drop:
        if not any(name.startswith(beginning) for name in model.leftovers):
            raise ValueError(f"drop={beginning!r}: no tensor that the model leaves begins so; leave it out")


def _temporal_heads(tensors: Mapping[str, Tensor]) -> int:
    """One a 64 channels: CLIP4Clip's code fixes it so, and the others took it over.

    >>> _temporal_heads({"transformerClip.resblocks.0.ln_1.weight": torch.ones(512)})
    8
    """
    norm = tensors.get("transformerClip.resblocks.0.ln_1.weight")
    return 1 if norm is None else max(1, len(norm) // 64)  # a file without one is refused later, for what it lacks


def _count_layers(tensors: Mapping[str, Tensor], stack: str) -> int:
    found = {match[1] for name in tensors if (match := re.match(rf"{re.escape(stack)}\.resblocks\.(\d+)\.", name))}
    return max(1, len(found))


def _load(
    tensors: dict[str, Tensor], settings: ModelSettings, heads: Mapping[str, int], drop: Sequence[str]
) -> TextVideoModel:
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
                target.copy_(tensors[ours[name]])  # half-precision files become float32 here
    unused = set(tensors) - set(ours.values()) - {f"clip.{name}" for name in clip}
    model.leftovers = tuple(sorted(unused | {f"clip.{name}" for name in backbone.unused_keys}))
    _refuse_other_model(model, drop)
    _refuse_not_finite(model)
    return model.eval()


def _check_fit(model: TextVideoModel, ours: Mapping[str, str], tensors: Mapping[str, Tensor]) -> None:
    missing = sorted(theirs for theirs in ours.values() if theirs not in tensors)
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise CheckpointError(
            f"{counted(len(missing), 'tensor')} {verb} missing for {_told(model.settings)}: {', '.join(missing)}"
        )
    for name, expected in model.state_dict().items():
        if name in ours and tensors[ours[name]].shape != expected.shape:
            found, wanted = tuple(tensors[ours[name]].shape), tuple(expected.shape)
            raise CheckpointError(
                f"{ours[name]} has size {found} in the file, but the settings ask for {wanted}; "
                + _advice(ours[name], found, model.settings)
            )


def _refuse_not_finite(model: TextVideoModel) -> None:
    spoilt = [name for name, values in model.named_parameters() if not values.isfinite().all()]
    if spoilt:
        verb = "holds" if len(spoilt) == 1 else "hold"
        raise CheckpointError(
            f"{counted(len(spoilt), 'tensor')} {verb} NaN or infinite values, such as {spoilt[0]}; take a state from "
            "before the training went wrong"
        )


def _refuse_other_model(model: TextVideoModel, drop: Sequence[str]) -> None:
    """Raise CheckpointError if a leftover takes part in the file's own scores, and it was not said to be dropped.

    Other leftovers are only told: the released codes save layers that their scoring never uses.
    """
    changing = [name for name in model.leftovers if _CHANGING.match(name) and not name.startswith(tuple(drop))]
    if changing:
        more = "" if len(changing) <= _NAMED_AT_MOST else f" and {len(changing) - _NAMED_AT_MOST} more"
        raise CheckpointError(
            f"the file is of another model than {_told(model.settings)}, whose scores go through "
            f"{', '.join(changing[:_NAMED_AT_MOST])}{more}; convert it with the settings it was trained with, "
            "or say --drop NAME (drop=) with the beginning of these names to convert it without them"
        )


def _told(settings: ModelSettings) -> str:
    """The settings that decide which tensors there are."""
    names = ("family", "sim_header", "se_type")
    return ", ".join(f"{name}={getattr(settings, name)!r}" for name in names if hasattr(settings, name))


def _advice(theirs: str, found: tuple[int, ...], settings: ModelSettings) -> str:
    """What to set so that the tensor fits."""
    if isinstance(settings, EaClip4ClipSettings) and theirs.startswith("se_block"):
        return (
            f"set max_frames and reduction_ratio as in training (now {settings.max_frames}, {settings.reduction_ratio})"
        )
    file = _FILES[settings.family]
    return file.advice(theirs, found[0] if found else 0, settings) if theirs in file.matrices.values() else _NO_SETTING
