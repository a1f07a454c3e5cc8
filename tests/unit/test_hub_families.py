"""Each family that has a name against transformers' own processors and models, on pictures and with real vocabularies.

The reference for SigLIP 2 is ``Siglip2Tokenizer``, transformers' correction of what the published folders say.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from transformers import AutoModel, AutoProcessor, Siglip2Tokenizer

from tests.hub_models import FAMILIES, SENTENCES, SIDE, make
from wordframe.encoders import ClipEncoder, quiet_transformers

PICTURES = {
    "square": data.astronaut(),  # 512 × 512
    "wide": data.coffee(),  # 600 × 400
    "nearly square": data.chelsea(),  # 451 × 300
    "large": data.rocket(),  # 640 × 427
    "small": data.chelsea()[100:125, 150:173],
    "tall": np.ascontiguousarray(data.rocket()[:, 200:300]),
}
CLOSE = {"atol": 1e-5, "rtol": 0}


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ClipEncoder, Any, Any]:
    """A family, our encoder of a model of it, and transformers' model and processor."""
    with quiet_transformers():
        folder = make(request.param, tmp_path_factory.mktemp("models") / request.param)
        model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        processor = AutoProcessor.from_pretrained(folder)
        if request.param == "siglip2":
            processor.tokenizer = Siglip2Tokenizer.from_pretrained(folder)
    return request.param, ClipEncoder.load(str(folder), device="cpu"), model, processor


def prepared(family: str, processor: Any, sentences: list[str]) -> dict[str, torch.Tensor]:
    """Sentences as transformers' documentation of each family prepares them."""
    fixed = {"padding": "max_length", "max_length": 64} if family.startswith("siglip") else {"padding": True}
    tokens = processor(text=sentences, truncation=True, return_tensors="pt", **fixed)
    wanted = ["input_ids"] if family.startswith("siglip") else ["input_ids", "attention_mask"]
    return {name: tokens[name] for name in wanted}


def check_free_aspect(encoder: ClipEncoder, model: Any, processor: Any, picture: np.ndarray[Any, Any]) -> None:
    """Square pictures are as theirs; others are squashed to a square of all patches, so that all make one batch."""
    square = np.array(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    inputs = processor.image_processor(images=[square], return_tensors="pt")
    assert inputs["spatial_shapes"].tolist() == [[4, 4]]
    with torch.inference_mode():
        expected = model.get_image_features(**inputs).pooler_output
    torch.testing.assert_close(encoder.encode_frames(picture[None]), expected, **CLOSE)


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_become_the_processors_pixels(case: tuple[str, ClipEncoder, Any, Any], name: str) -> None:
    family, encoder, model, processor = case
    picture = PICTURES[name]
    if family == "siglip2-naflex":
        return check_free_aspect(encoder, model, processor, picture)
    expected = processor(images=[picture], return_tensors="pt")["pixel_values"]
    pixels = encoder.preprocess(picture[None])
    assert pixels.shape == expected.shape
    torch.testing.assert_close(pixels, expected, **CLOSE)
    with torch.inference_mode():
        features = model.get_image_features(pixel_values=expected).pooler_output
    torch.testing.assert_close(encoder.encode_pixels(pixels), features, **CLOSE)


def test_sentences_become_the_processors_tokens(case: tuple[str, ClipEncoder, Any, Any]) -> None:
    family, encoder, _, processor = case
    long = "a dog runs and runs " * 40
    for sentence in [*SENTENCES, long]:
        expected = prepared(family, processor, [sentence])["input_ids"]
        input_ids, mask = encoder.tokenize([sentence])
        if family.startswith("siglip"):
            assert input_ids.shape == (1, 64)
            assert input_ids.tolist() == expected.tolist()  # with all that pads them
        else:
            assert input_ids[mask].tolist() == expected[0].tolist()


def test_sentences_become_the_models_features(case: tuple[str, ClipEncoder, Any, Any]) -> None:
    family, encoder, model, processor = case
    with torch.inference_mode():
        expected = model.get_text_features(**prepared(family, processor, SENTENCES)).pooler_output
    torch.testing.assert_close(encoder.encode_text(SENTENCES).sentence, expected, **CLOSE)


def test_siglip_reads_lower_case_and_ends_each_sentence(case: tuple[str, ClipEncoder, Any, Any]) -> None:
    family, encoder, _, processor = case
    shouted, said = encoder.encode_text(["A DOG RUNS"]), encoder.encode_text(["a dog runs"])
    if family.startswith("metaclip2"):  # its vocabulary has capitals, and training had them
        assert not torch.equal(shouted.sentence, said.sentence)
        return
    assert torch.equal(shouted.sentence, said.sentence)
    ids, mask = encoder.tokenize(["a dog runs"])
    assert ids[mask][-1] == processor.tokenizer.eos_token_id


def test_gemmas_tokenizer_alone_would_have_kept_capitals(tmp_path: Path) -> None:
    """What the folder says, and what AutoTokenizer therefore gives: other tokens than SigLIP 2 was trained on."""
    folder = make("siglip2", tmp_path / "siglip2")
    processor = AutoProcessor.from_pretrained(folder)
    assert type(processor.tokenizer).__name__ == "GemmaTokenizer"
    as_told, _ = ClipEncoder.load(str(folder)).tokenize(["A Dog"])
    assert as_told.tolist() != prepared("siglip2", processor, ["A Dog"])["input_ids"].tolist()
    assert as_told.tolist() == prepared("siglip2", processor, ["a dog"])["input_ids"].tolist()
