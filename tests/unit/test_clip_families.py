"""Every supported family of dual encoders against transformers' own outputs, on small random models."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.clip_models import SENTENCES, SIDE, build, letter_tokenizer, save
from wordframe.encoders import MODEL_TYPES, ClipEncoder, SentenceTokenizer
from wordframe.errors import EncoderError

FRAMES = np.random.default_rng(3).integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture(scope="module", params=sorted(MODEL_TYPES))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[ClipEncoder, Any, Any, Any]:
    """An encoder loaded from a folder, and transformers' model, tokenizer and image processor behind it."""
    folder = tmp_path_factory.mktemp(request.param)
    model, tokenizer, processor = save(request.param, folder)
    return ClipEncoder.load(str(folder), batch_size=2, device="cpu"), model, tokenizer, processor


def reference_text(model: Any, tokenizer: Any, sentences: list[str], max_words: int) -> torch.Tensor:
    """The model's own text features, called as transformers' documentation of each family does."""
    siglip = model.config.model_type in ("siglip", "siglip2")
    padding = "max_length" if siglip else True
    tokens = tokenizer(sentences, padding=padding, truncation=True, max_length=max_words, return_tensors="pt")
    wanted = ["input_ids"] if siglip else ["input_ids", "attention_mask"]
    with torch.inference_mode():
        return model.get_text_features(**{key: tokens[key] for key in wanted}).pooler_output


def test_sentences_equal_the_models_own(case: tuple[ClipEncoder, Any, Any, Any]) -> None:
    encoder, model, tokenizer, _ = case
    text = encoder.encode_text(SENTENCES)
    expected = reference_text(model, tokenizer, SENTENCES, encoder.max_words)
    assert text.sentence.shape == (3, encoder.dimension)
    torch.testing.assert_close(text.sentence, expected, atol=1e-5, rtol=0)


def test_frames_equal_the_models_own(case: tuple[ClipEncoder, Any, Any, Any]) -> None:
    encoder, model, _, processor = case
    with torch.inference_mode():
        expected = model.get_image_features(**processor(images=list(FRAMES), return_tensors="pt")).pooler_output
    frames = encoder.encode_frames(FRAMES)
    assert (frames.dtype, frames.device.type, frames.requires_grad) == (torch.float32, "cpu", False)
    torch.testing.assert_close(frames, expected, atol=1e-5, rtol=0)


def test_the_sentence_is_one_of_the_projected_words(case: tuple[ClipEncoder, Any, Any, Any]) -> None:
    encoder, _, _, _ = case
    text = encoder.encode_text(SENTENCES)
    if encoder._towers.model_type.fixed_length:
        # pooled at the last of all positions, which may be padding: so it is read from the towers themselves
        input_ids, mask = encoder.tokenize(SENTENCES)
        with torch.inference_mode():
            text = encoder._towers.encode_ids(input_ids, mask)
        position = torch.full((3,), input_ids.shape[1] - 1)
    elif encoder._towers.model_type.mask_padding:
        position = torch.zeros(3, dtype=torch.long)  # the start token
    else:
        position = text.word_mask.sum(dim=1) - 1  # EOS
    torch.testing.assert_close(text.words[torch.arange(3), position], text.sentence, atol=1e-5, rtol=0)
    assert text.words.std(dim=1).mean() > 0.01


def test_words_are_as_many_as_the_longest_sentence(case: tuple[ClipEncoder, Any, Any, Any]) -> None:
    encoder, _, _, _ = case
    text = encoder.encode_text(SENTENCES)
    lengths = text.word_mask.sum(dim=1)
    assert text.words.shape == (3, int(lengths.max()), encoder.dimension)
    assert lengths[1] > lengths[0] > lengths[2] > 0


def test_a_sentence_alone_equals_the_same_in_a_batch(case: tuple[ClipEncoder, Any, Any, Any]) -> None:
    encoder, _, _, _ = case
    together = encoder.encode_text(SENTENCES)
    for row, sentence in enumerate(SENTENCES):
        alone = encoder.encode_text([sentence])
        torch.testing.assert_close(alone.sentence[0], together.sentence[row], atol=1e-5, rtol=0)
        real = together.words[row][together.word_mask[row]]
        torch.testing.assert_close(alone.words[0], real, atol=1e-5, rtol=0)


def test_long_empty_and_no_sentences(case: tuple[ClipEncoder, Any, Any, Any]) -> None:
    encoder, _, _, _ = case
    long = encoder.encode_text(["dog " * 2000, ""])
    assert long.words.shape[1] == encoder.max_words
    assert long.sentence.isfinite().all()
    nothing = encoder.encode_text([])
    assert (nothing.sentence.shape, nothing.words.shape) == ((0, encoder.dimension), (0, 0, encoder.dimension))
    assert encoder.encode_pixels(torch.empty(0, 3, SIDE, SIDE)).shape == (0, encoder.dimension)


def test_threads_get_the_same_as_one_after_another(case: tuple[ClipEncoder, Any, Any, Any]) -> None:
    encoder, _, _, _ = case
    pixels = encoder.preprocess(FRAMES)
    frames, text = encoder.encode_pixels(pixels), encoder.encode_text(SENTENCES)
    with ThreadPoolExecutor(4) as pool:
        all_frames = list(pool.map(encoder.encode_pixels, [pixels] * 12))
        all_texts = list(pool.map(encoder.encode_text, [SENTENCES] * 12))
    for each in all_frames:  # the first went through torch, later ones through OpenVINO
        torch.testing.assert_close(each, frames, atol=1e-5, rtol=1e-5)
    assert all(torch.equal(each.words, text.words) for each in all_texts)


def test_clip_tokens(tmp_path: Path) -> None:
    save("clip", tmp_path)
    encoder = ClipEncoder.load(str(tmp_path), max_words=8)
    input_ids, mask = encoder.tokenize(["the dog", "The  DOG", "dog the dog the dog", ""])
    start, end = 516, 517
    the, dog = input_ids[0, 1:3].tolist()
    assert input_ids[0].tolist() == [start, the, dog, end, 0, 0, 0]
    assert input_ids[1].tolist() == input_ids[0].tolist()
    assert input_ids[2].tolist() == [start, dog, the, dog, the, dog, end]
    assert input_ids[3].tolist() == [start, end, 0, 0, 0, 0, 0]
    assert mask.sum(dim=1).tolist() == [4, 4, 7, 2]
    cut, _ = encoder.tokenize(["dog " * 20])
    assert cut[0].tolist() == [start, *[dog] * 6, end]


def test_siglip_words_follow_the_side_of_the_padding(tmp_path: Path) -> None:
    model, tokenizer, _ = save("siglip2", tmp_path)
    assert tokenizer.padding_side == "left"
    encoder = ClipEncoder.load(str(tmp_path))
    text = encoder.encode_text(SENTENCES)
    assert text.word_mask[:, -1].all()
    assert not text.word_mask[0, 0]
    tokenizer = letter_tokenizer(max_words=64, padding_side="right")
    tokenizer.save_pretrained(tmp_path)
    text = ClipEncoder.load(str(tmp_path)).encode_text(SENTENCES)
    assert text.word_mask[:, 0].all()
    torch.testing.assert_close(text.sentence, reference_text(model, tokenizer, SENTENCES, 64), atol=1e-5, rtol=0)


def test_refusals(tmp_path: Path) -> None:
    save("clip", tmp_path)
    encoder = ClipEncoder.load(str(tmp_path))
    assert encoder.max_words == 24
    with pytest.raises(EncoderError, match=r"max_words \(--words\) must be 3 to 24 for this model, got 32"):
        ClipEncoder.load(str(tmp_path), max_words=32)
    with pytest.raises(EncoderError, match="tokenizer= goes with a weights file only"):
        ClipEncoder.load(str(tmp_path), tokenizer=tmp_path)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        ClipEncoder.load(str(tmp_path), batch_size=0)
    with pytest.raises(EncoderError, match=r"device 'cuda:97' does not work here \(.*\); try 'cpu'"):
        ClipEncoder.load(str(tmp_path), device="cuda:97")
    with pytest.raises(ValueError, match=r"pixels must be \(N, 3, 32, 32\), got \(1, 3, 8, 8\)"):
        encoder.encode_pixels(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match="got one string; put it in a list"):
        encoder.encode_text("a dog")
    with pytest.raises(EncoderError, match="the tokenizer has 518 tokens, the model knows 20: they do not belong"):
        SentenceTokenizer(tokenizer=build("clip")[1], model_type=MODEL_TYPES["clip"], max_words=24, vocabulary=20)
