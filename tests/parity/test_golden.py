"""Equality with the authors' published computations, for every golden file: features, logits, parts, losses.

The files hold inputs, weights and outputs of the released computations on tiny random weights; their metadata holds the
settings. Padding takes part there, so models are loaded with ``mask_padding=False``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from wordframe.features import PART_NAMES, TextFeatures, VideoFeatures
from wordframe.heads import TextConditionedSimilarity
from wordframe.losses import contrastive, decorrelation
from wordframe.models import TextVideoModel, load_authors_checkpoint, load_model

NAMES = (
    "clip4clip_meanP",
    "clip4clip_seqLSTM",
    "clip4clip_seqTransf",
    "clip4clip_tightTransf",
    "ea_meanP_excitation_aggregation_expand_squeeze_r0.25_full",
    "ea_meanP_excitation_aggregation_squeeze_expand_r4_full",
    "ea_meanP_excitation_aggregation_unity_r0.25_full",
    "ea_meanP_excitation_aggregation_unity_r4_full",
    "ea_meanP_excitation_unity_r0.25_pad",
    "ea_seqLSTM_aggregation_unity_r0.25_full",
    "ea_seqLSTM_excitation_seq_unity_r4_full",
    "ea_seqTransf_aggregation_unity_r0.25_pad",
    "ea_seqTransf_excitation_seq_aggregation_unity_r0.25_full",
    "ea_tightTransf_excitation_unity_r4_pad",
    "tcmgc_full",
    "tcmgc_keep_all",
    "tcmgc_padded",
    "tcmgc_two_heads",
    "xclip_meanP",
    "xclip_seqTransf",
)
FEATURES = 1e-5
LOGITS = 1e-4


@dataclass(frozen=True)
class Golden:
    """One file: its tensors, its metadata, and the model, texts and videos made from it."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    model: TextVideoModel
    text: TextFeatures
    video: VideoFeatures


def settings(metadata: dict[str, str]) -> dict[str, Any]:
    """Arguments of ``load_authors_checkpoint`` from a file's metadata."""
    known: dict[str, Any] = {
        "family": metadata["model"],
        "sim_header": metadata["sim_header"],
        "max_words": int(metadata["max_words"]),
        "max_frames": int(metadata["max_frames"]),
        "heads": {name[6:]: int(value) for name, value in metadata.items() if name.startswith("heads_")},
        "mask_padding": False,
    }
    known |= {name: metadata[name] for name in ("se_type", "variant") if name in metadata}
    numbers = ("reduction_ratio", "keep_rate", "softmax_lambda")
    return known | {name: float(metadata[name]) for name in numbers if name in metadata}


def read(path: Path, **changes: Any) -> Golden:
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    weights = {name[8:]: tensor for name, tensor in tensors.items() if name.startswith("weights.")}
    model = load_authors_checkpoint(weights, **(settings(metadata) | changes))
    with torch.no_grad():
        text = model.encode_text(input_ids=tensors["input_ids"], mask=tensors["text_mask"])
        video = model.encode_video(pixels=tensors["pixels"], frame_mask=tensors["video_mask"])
    return Golden(tensors, metadata, model, text, video)


@pytest.fixture(params=NAMES)
def golden(request: pytest.FixtureRequest, shared: Path) -> Golden:
    return read(shared / "golden" / f"{request.param}.safetensors")


def close(actual: Tensor, expected: Tensor, atol: float) -> None:
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0.0)


def test_every_golden_file_is_listed(shared: Path) -> None:
    assert sorted(path.stem for path in (shared / "golden").glob("*.safetensors")) == sorted(NAMES)


@torch.no_grad()
def test_golden(golden: Golden) -> None:
    tensors, model = golden.tensors, golden.model
    close(golden.video.frames, tensors["frame_features"], FEATURES)
    close(golden.text.sentence, tensors["sentence_features"], FEATURES)
    if "word_features" in tensors:
        close(golden.text.words, tensors["word_features"], FEATURES)
    output = model.score(golden.text, golden.video)
    close(output.logits, tensors["similarity"], LOGITS)
    if "granular_similarities" in tensors:
        assert tuple(output.parts) == PART_NAMES
        close(torch.stack(list(output.parts.values())), tensors["granular_similarities"], LOGITS)
    if "loss_contrastive" in tensors:
        torch.testing.assert_close(contrastive(output.logits)[None], tensors["loss_contrastive"], rtol=1e-4, atol=0.0)
        actual = decorrelation(output.parts)[None]
        torch.testing.assert_close(actual, tensors["loss_decorrelation"], rtol=1e-4, atol=0.0)
    if model.one_vector:
        sentence = torch.nn.functional.normalize(golden.text.sentence, dim=-1)
        by_vector = model.similarity.logit_scale.exp() * sentence @ model.video_vectors(golden.video).T
        close(by_vector, tensors["similarity"], LOGITS)


@torch.no_grad()
@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("tcmgc")])
def test_conditioned_video_and_frames(name: str, shared: Path) -> None:
    golden = read(shared / "golden" / f"{name}.safetensors")
    assert isinstance(golden.model.similarity, TextConditionedSimilarity)
    video, frames = golden.model.similarity.conditioned(golden.text, golden.video)
    close(video, golden.tensors["conditioned_video"], FEATURES)
    close(frames, golden.tensors["conditioned_frames"], FEATURES)


@torch.no_grad()
@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("ea_") and "tight" not in name])
def test_released_variant_without_frame_normalisation(name: str, shared: Path) -> None:
    golden = read(shared / "golden" / f"{name}.safetensors", normalize_frames=False)
    logits = golden.model.score(golden.text, golden.video).logits
    close(logits, golden.tensors["similarity_unnormalized_frames"], LOGITS)


@torch.no_grad()
@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("tcmgc")])
def test_every_method_gives_the_golden_numbers(name: str, shared: Path) -> None:
    golden = read(shared / "golden" / f"{name}.safetensors")
    for method in golden.model.methods:
        output = golden.model.score(golden.text, golden.video, method=method)
        close(output.logits, golden.tensors["similarity"], LOGITS)
        close(torch.stack(list(output.parts.values())), golden.tensors["granular_similarities"], LOGITS)


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_blocks_and_saving_change_nothing(name: str, shared: Path, tmp_path: Path) -> None:
    golden = read(shared / "golden" / f"{name}.safetensors")
    golden.model.save(tmp_path)
    again = load_model(tmp_path)
    assert again.trained
    again.similarity.max_block_mb = 0  # one pair at a time
    text = again.encode_text(input_ids=golden.tensors["input_ids"], mask=golden.tensors["text_mask"])
    video = again.encode_video(pixels=golden.tensors["pixels"], frame_mask=golden.tensors["video_mask"])
    close(again.score(text, video).logits, golden.tensors["similarity"], LOGITS)


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_precision_of_the_whole_model(name: str, shared: Path) -> None:
    """float64 stays within the golden tolerance; bfloat16 autocast of the encoders within 20 % of the largest logit.

    Measured: at most 6e-5, and 16 % (a softmax over frames that the encoders' rounding moves), mostly 1 %.
    """
    golden = read(shared / "golden" / f"{name}.safetensors")
    expected = golden.tensors["similarity"]

    def logits(dtype: torch.dtype) -> Tensor:
        tensors, model = golden.tensors, golden.model
        text = model.encode_text(input_ids=tensors["input_ids"], mask=tensors["text_mask"])
        video = model.encode_video(pixels=tensors["pixels"].to(dtype), frame_mask=tensors["video_mask"])
        return model.score(text, video).logits

    with torch.autocast("cpu", torch.bfloat16):
        half = logits(torch.float32)
    assert half.dtype == torch.float32
    assert (half - expected).abs().max() < 0.2 * expected.abs().max()
    golden.model.double()
    double = logits(torch.float64)
    assert double.dtype == torch.float64
    close(double.float(), expected, LOGITS)
