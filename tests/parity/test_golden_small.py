"""The authors' numbers without the shared folder: the shipped part of the golden files (tests/golden).

The heads get the authors' encoder features, so a head is judged alone; one file also holds CLIP, from pixels and words
up. Where the full files are at hand, the small ones must be theirs bit for bit, and test_golden.py checks the rest.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.golden import NAMES, WITH_CLIP, read, shrink, small
from tests.parity.test_golden import FEATURES, LOGITS, close, settings
from wordframe.features import PART_NAMES, TextFeatures, VideoFeatures
from wordframe.losses import contrastive, decorrelation
from wordframe.models import TextVideoModel, load_authors_checkpoint

Numbers = dict[str, Tensor]


def model_of(name: str, tensors: Numbers, metadata: dict[str, str]) -> TextVideoModel:
    """The model of a file; where it has no CLIP, another's stands in: only its scale meets the features."""
    weights = {key[8:]: tensor for key, tensor in tensors.items() if key.startswith("weights.")}
    if name != WITH_CLIP:
        others = small(WITH_CLIP)[0]
        weights = {key[8:]: tensor for key, tensor in others.items() if key.startswith("weights.clip.")} | weights
    return load_authors_checkpoint(weights, **settings(metadata))


def features_of(model: TextVideoModel, tensors: Numbers) -> tuple[TextFeatures, VideoFeatures]:
    sentence, mask = tensors["sentence_features"], tensors["text_mask"].bool()
    words = tensors.get("word_features", torch.zeros(*mask.shape, sentence.shape[-1]))  # not every head reads words
    video = model.contextualize(tensors["frame_features"], tensors["video_mask"].bool())
    return TextFeatures(sentence, words, mask), video


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_the_head_gives_the_authors_numbers(name: str) -> None:
    tensors, metadata = small(name)
    model = model_of(name, tensors, metadata)
    text, video = features_of(model, tensors)
    for method in {"auto", *model.methods} - {"compiled"}:  # slow to compile; "auto" takes it where it may
        output = model.score(text, video, method=method)
        close(output.logits, tensors["similarity"], LOGITS)
        if "granular_similarities" in tensors:
            close(torch.stack([output.parts[part] for part in PART_NAMES]), tensors["granular_similarities"], LOGITS)
    if "loss_contrastive" in tensors:
        torch.testing.assert_close(contrastive(output.logits)[None], tensors["loss_contrastive"], rtol=1e-4, atol=0.0)
        actual = decorrelation(output.parts)[None]
        torch.testing.assert_close(actual, tensors["loss_decorrelation"], rtol=1e-4, atol=0.0)


@torch.no_grad()
def test_clip_gives_the_authors_features() -> None:
    tensors, metadata = small(WITH_CLIP)
    model = model_of(WITH_CLIP, tensors, metadata)
    pixels = tensors["pixels"]
    text = model.encode_text(input_ids=tensors["input_ids"], mask=tensors["text_mask"])
    video = model.encode_video(pixels=pixels, frame_mask=tensors["video_mask"][: len(pixels)])
    close(text.sentence, tensors["sentence_features"], FEATURES)
    close(text.words, tensors["word_features"], FEATURES)
    close(video.frames, tensors["frame_features"][: len(pixels)], FEATURES)


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_matrix_would_show(name: str) -> None:
    """Each matrix of a head matters: with the sign of one changed, the numbers are no longer the authors'."""
    tensors, metadata = small(name)
    of_head = [key for key in tensors if key.startswith("weights.") and not key.startswith("weights.clip.")]
    matrices = [key for key in of_head if tensors[key].dim() == 2]
    for key in matrices:
        model = model_of(name, tensors | {key: -tensors[key]}, metadata)
        logits = model.score(*features_of(model, tensors)).logits
        assert (logits - tensors["similarity"]).abs().max() > 100 * LOGITS, key
    assert matrices or name == "clip4clip_meanP"  # which has no weight of its own


@pytest.mark.parametrize("name", NAMES)
def test_the_small_file_is_the_full_ones_bit_for_bit(name: str, shared: Path) -> None:
    full, metadata = read(shared / "golden" / f"{name}.safetensors")
    tensors, small_metadata = small(name)
    wanted = shrink(name, full)
    assert small_metadata == metadata
    assert tensors.keys() == wanted.keys()
    for key, tensor in tensors.items():
        assert tensor.dtype == wanted[key].dtype
        assert tensor.shape == wanted[key].shape
        assert tensor.numpy().tobytes() == wanted[key].numpy().tobytes(), key


def test_the_small_files_cover_every_family_and_header() -> None:
    found = {(metadata["model"], metadata["sim_header"]) for _, metadata in map(small, NAMES)}
    assert {family for family, _ in found} == {"clip4clip", "ea-clip4clip", "xclip", "tcmgc"}
    assert {header for _, header in found} == {"meanP", "seqLSTM", "seqTransf", "tightTransf"}
