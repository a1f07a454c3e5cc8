"""The reasons behind a score: numbers that add up, words beside what they see, and lines that can be read."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from tests.colours import ColourEncoder
from tests.unit.clip_models import clip_tokenizer, letter_tokenizer
from wordframe.cli._terminal import heat_strip, reason_lines
from wordframe.encoders import MODEL_TYPES, SentenceTokenizer, load_encoder
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.models import PRESETS, ModelSettings, TextVideoModel
from wordframe.search import Explanation, WordAttention
from wordframe.search._meaning import explain_segment

TOKENS = ["<start>", "red", "car", "<end>"]


@torch.no_grad()
def reasons_of(preset: str, *, frames: int = 5, scale: float = 100.0) -> Explanation:
    torch.manual_seed(0)
    settings = PRESETS[preset].settings
    if settings.family == "tcmgc":
        settings = replace(settings, max_words=8, keep_rate=0.5, conditional_heads=2)
    model = TextVideoModel(
        settings=ModelSettings.from_dict({**settings.to_dict(), "heads": 2, "layers": 1}), dimension=8
    ).eval()
    for name, parameter in model.named_parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
        if name.endswith("logit_scale"):
            parameter.fill_(torch.tensor(scale).log())
    words = torch.randn(1, 4, 8)
    query = TextFeatures(words[:, -1], words, torch.ones(1, 4, dtype=torch.bool))
    seconds = torch.arange(frames)[None] + 0.5
    video = model.contextualize(torch.randn(1, frames, 8), torch.ones(1, frames, dtype=torch.bool), seconds)
    reasons = explain_segment(model, query, TOKENS, video, "v-00000")
    assert reasons.score == pytest.approx(model.score(query, video).logits.item() / model.scale, abs=1e-6)
    return reasons


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_all_of_tcmgc_adds_up(scale: float) -> None:
    reasons = reasons_of("tcmgc-msrvtt", scale=scale)
    assert list(reasons.parts) == ["video_sentence", "video_word", "sentence_frame", "frame_word"]
    assert reasons.part_weights is not None
    assert sum(reasons.part_weights.values()) == pytest.approx(1, abs=1e-5)
    summed = sum(reasons.part_weights[name] * part for name, part in reasons.parts.items())
    assert summed == pytest.approx(reasons.score, abs=1e-5)
    assert reasons.words is not None
    assert [word.word for word in reasons.words] == TOKENS
    assert reasons.sentence_attention is not None
    for attention in (reasons.sentence_attention, *(word.attention for word in reasons.words)):
        assert len(attention) == 5
        assert sum(attention) == pytest.approx(1, abs=1e-5)
    # the sentence of this query is its last word, so both look alike
    assert reasons.words[-1].attention == pytest.approx(reasons.sentence_attention, abs=1e-6)


def test_xclip_has_four_parts_whose_mean_is_the_score() -> None:
    reasons = reasons_of("xclip")
    assert sum(reasons.parts.values()) / 4 == pytest.approx(reasons.score, abs=1e-6)
    assert (reasons.part_weights, reasons.sentence_attention, reasons.words) == (None, None, None)


def test_the_untrained_attention_shows_where_the_sentence_looks() -> None:
    reasons = reasons_of("zero-shot")
    assert reasons.parts == {"video_sentence": pytest.approx(reasons.score)}
    assert sum(reasons.sentence_attention or ()) == pytest.approx(1, abs=1e-5)
    assert reasons.part_weights is None
    assert [word.word for word in reasons.words or ()] == [word.word for word in reasons_of("tcmgc-msrvtt").words or ()]
    assert all(sum(word.attention) == pytest.approx(1, abs=1e-5) for word in reasons.words or ())


@pytest.mark.parametrize("preset", ["clip4clip-mean", "ea-clip4clip-lstm", "clip4clip-tight"])
def test_a_score_alone_says_so(preset: str) -> None:
    reasons = reasons_of(preset)
    assert (reasons.parts, reasons.sentence_attention) == ({}, None)
    assert reason_lines(reasons) == ["this model gives its score alone: no parts, no attention"]


def test_json_says_all_of_it() -> None:
    told = json.loads(json.dumps(reasons_of("tcmgc-msrvtt").to_json(), allow_nan=False))
    assert set(told) == {
        "segment_id", "score", "seconds", "parts", "part_weights", "sentence_attention", "words"
    }  # fmt: skip
    assert told["seconds"] == [0.5, 1.5, 2.5, 3.5, 4.5]
    for word in told["words"]:
        place = word["attention"].index(max(word["attention"]))
        assert word["peak_seconds"] == told["seconds"][place]
    assert reasons_of("xclip").to_json()["words"] is None


def test_lines_that_can_be_read() -> None:
    reasons = Explanation(
        segment_id="v-00000",
        score=0.3,
        seconds=(8.0, 9.0, 10.0),
        parts={"video_sentence": 0.4, "frame_word": 0.2},
        part_weights={"video_sentence": 0.75, "frame_word": 0.25},
        sentence_attention=(0.1, 0.7, 0.2),
        words=(
            WordAttention(word="a\n", attention=(0.2, 0.2, 0.6), peak_seconds=10.0),
            WordAttention(word="dog", attention=(0.5, 0.25, 0.25), peak_seconds=8.0),
        ),
    )
    assert reason_lines(reasons) == [
        "parts     video-sentence 0.400 (75%) · frame-word 0.200 (25%)",
        "sentence  0:08.0 ▂█▃ 0:10.0  most at 0:09.0 (70%)",
        "  a\\n     0:08.0 ▃▃█ 0:10.0  most at 0:10.0 (60%)",
        "  dog     0:08.0 █▅▅ 0:10.0  most at 0:08.0 (50%)",
    ]


def test_a_long_strip_is_folded() -> None:
    strip = heat_strip([0.0] * 99 + [1.0])
    assert len(strip) <= 48
    assert strip.rstrip("█") == "▁" * (len(strip) - 1)
    assert heat_strip([0.0, 0.0]) == "▁▁"


def test_padding_is_refused() -> None:
    model = TextVideoModel(settings=PRESETS["zero-shot"].settings, dimension=4)
    words = torch.ones(1, 2, 4)
    query = TextFeatures(words[:, 0], words, torch.ones(1, 2, dtype=torch.bool))
    frames, mask = torch.ones(1, 2, 4), torch.tensor([[True, False]])
    with pytest.raises(ValueError, match="one text and one segment without padding are explained, got 1 and 1"):
        explain_segment(model, query, ["a", "b"], VideoFeatures(frames, frames, mask, torch.zeros(1, 2)), "v")
    whole = VideoFeatures(frames, frames, torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="a token is needed for each of 2 positions, got 1"):
        explain_segment(model, query, ["a"], whole, "v")


# Tokens --------------------------------------------------------------------------------------------------------------


def test_tokens_of_clip() -> None:
    tokenize = SentenceTokenizer(
        tokenizer=clip_tokenizer(), model_type=MODEL_TYPES["clip"], max_words=6, vocabulary=1000
    )
    assert tokenize.tokens("The dog") == ["<|startoftext|>", "the", "dog", "<|endoftext|>"]
    assert len(tokenize.tokens("the dog the dog the dog")) == 6


def test_tokens_of_a_family_padded_on_the_left() -> None:
    tokenizer = letter_tokenizer(max_words=12)
    tokenize = SentenceTokenizer(tokenizer=tokenizer, model_type=MODEL_TYPES["siglip2"], max_words=12, vocabulary=1000)
    tokens = tokenize.tokens("dog")
    assert len(tokens) == int(tokenize(["dog"])[1].sum())
    assert "".join(tokens).startswith("dog")


def test_tokens_of_the_offline_encoder() -> None:
    encoder = load_encoder("offline")
    tokens = encoder.tokens("a dachshund runs")
    assert (tokens[0], tokens[1], tokens[-2], tokens[-1]) == ("[CLS]", "a", "runs", "[SEP]")
    assert len(tokens) == encoder.encode_text(["a dachshund runs"]).words.shape[1]


def test_an_encoder_that_does_not_tell_its_tokens() -> None:
    encoder = ColourEncoder()
    assert encoder.tokens("red blue") == ["red", "blue"]
    assert encoder.tokens("something red and blue") == ["word 1", "word 2"]
