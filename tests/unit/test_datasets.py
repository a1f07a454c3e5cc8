"""Training sets: batches hold the right pairs, cut and padded by the papers' rules, from features and from pixels."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.colours import ColourEncoder, write_scenes
from tests.unit.clip_models import SIDE, openai_weights
from wordframe.data import (
    CacheError,
    FeatureSet,
    FrameCache,
    FrameSet,
    FrameSettings,
    Split,
    TrainingSet,
    VideoFiles,
    VideoSet,
    build_feature_cache,
    build_frame_cache,
    read_sampled,
)
from wordframe.encoders import ClipBackbone, Preprocessing
from wordframe.errors import AnnotationError, VideoError
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.models import ModelSettings, TextVideoModel
from wordframe.train.sources import HeldOutPixels
from wordframe.train.validation import encode_pixels

CAPTIONS = {
    "long": ("red green blue white black", "red"),
    "short": ("cyan then yellow",),
}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("videos")
    return {
        "long": write_scenes(folder / "long.mp4", ("red", 3), ("green", 3)),
        "short": write_scenes(folder / "short.mp4", ("cyan", 2)),
    }


@pytest.fixture(scope="module")
def cache(paths: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features")
    build_feature_cache(
        folder, Split("colours", "train", CAPTIONS), VideoFiles(paths, 16), ColourEncoder(), num_frames=4
    )
    return folder


def made_up(T: int = 5, V: int = 3, W: int = 4, F: int = 6, D: int = 8) -> tuple[TextFeatures, VideoFeatures]:
    generator = torch.Generator().manual_seed(0)
    word_mask = torch.arange(W) < torch.tensor([2, 4, 3, 4, 2])[:T, None]
    frame_mask = torch.arange(F) < torch.tensor([6, 1, 4])[:V, None]
    words = torch.randn(T, W, D, generator=generator).masked_fill(~word_mask[..., None], 0.0)
    frames = torch.randn(V, F, D, generator=generator).masked_fill(~frame_mask[..., None], 0.0)
    text = TextFeatures(torch.randn(T, D, generator=generator), words, word_mask)
    return text, VideoFeatures(frames, frames, frame_mask, torch.arange(F).expand(V, F).float())


# Features ------------------------------------------------------------------------------------------------------------


def test_a_batch_holds_the_captions_with_their_videos(cache: Path) -> None:
    training: TrainingSet = FeatureSet.open(cache)
    assert (list(training.video_of), list(training.video_ids), training.dimension) == ([0, 0, 1], ["long", "short"], 6)
    batch = FeatureSet.open(cache).batch([2, 0])
    assert (batch.captions.tolist(), batch.videos.tolist()) == ([2, 0], [1, 0])
    encoder = ColourEncoder()
    direct = encoder.encode_text(["cyan then yellow", "red green blue white black"])
    torch.testing.assert_close(batch.sentence, direct.sentence, atol=1e-3, rtol=0)
    torch.testing.assert_close(
        batch.words, direct.words.masked_fill(~direct.word_mask[..., None], 0), atol=1e-3, rtol=0
    )
    assert batch.word_mask.equal(direct.word_mask)
    assert batch.frame_mask.tolist() == [[True, True, False, False], [True] * 4]
    assert batch.frames.dtype == batch.words.dtype == torch.float32
    assert not batch.frames[0, 2:].any()


def test_longer_texts_keep_their_leading_words_and_the_last(cache: Path) -> None:
    whole, cut = FeatureSet.open(cache).batch([0]), FeatureSet.open(cache, num_words=3, num_frames=2).batch([0])
    assert cut.words[0].equal(whole.words[0][[0, 1, 4]])
    assert cut.sentence.equal(whole.sentence)
    assert cut.frames[0].equal(whole.frames[0][[0, 3]])  # uniform: first and last are kept
    assert cut.word_mask.all()
    assert cut.frame_mask.all()


def test_every_batch_is_padded_to_the_same_size(cache: Path) -> None:
    padded = FeatureSet.open(cache, num_words=9)
    assert padded.batch([1]).words.shape == padded.batch([0]).words.shape == (1, 9, 6)
    assert padded.batch([1]).word_mask.sum() == 1
    assert padded.batch([2]).frames.shape == (1, 4, 6)


def test_whole_splits_come_in_blocks(cache: Path) -> None:
    features = FeatureSet.open(cache)
    videos, blocks = features.all_videos(), features.text_blocks(2)
    everything = features.batch([0, 1, 2])
    assert [len(block) for block in blocks] == [2, 1]
    assert torch.cat([block.words for block in blocks]).equal(everything.words)
    assert blocks[-1].sentence.equal(everything.sentence[2:])
    assert [len(block) for block in blocks[:1]] == [2]
    assert videos.frames.equal(everything.frames[[0, 2]])
    assert videos.seconds is not None
    assert videos.seconds.tolist() == [[0.0, 1.0, 3.0, 5.0], [0.0, 1.0, 0.0, 0.0]]
    with pytest.raises(IndexError):
        blocks[2]
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        features.text_blocks(0)


def test_features_in_memory_come_back_as_they_went_in() -> None:
    text, video = made_up()
    features = FeatureSet.in_memory(text, video, [0, 0, 1, 2, 2])
    batch = features.batch([3, 1, 4])
    assert batch.words.equal(text.words[[3, 1, 4]])
    assert batch.word_mask.equal(text.word_mask[[3, 1, 4]])
    assert batch.sentence.equal(text.sentence[[3, 1, 4]])
    assert batch.frames.equal(video.frames[[2, 0, 2]])
    assert batch.frame_mask.equal(video.frame_mask[[2, 0, 2]])
    assert features.all_videos().frames.equal(video.frames)
    assert features.video_ids == ["video 0", "video 1", "video 2"]


def test_the_fingerprint_tells_what_batches_depend_on(cache: Path) -> None:
    text, video = made_up()
    changed = replace(text, sentence=text.sentence + 1e-3)
    prints = {
        FeatureSet.open(cache).fingerprint,
        FeatureSet.open(cache, num_words=4).fingerprint,
        FeatureSet.open(cache, num_frames=3).fingerprint,
        FeatureSet.in_memory(text, video, [0, 0, 1, 2, 2]).fingerprint,
        FeatureSet.in_memory(text, video, [0, 0, 1, 2, 1]).fingerprint,
        FeatureSet.in_memory(changed, video, [0, 0, 1, 2, 2]).fingerprint,
    }
    assert len(prints) == 6
    assert FeatureSet.open(cache).fingerprint == FeatureSet.open(cache).fingerprint


def test_batches_from_many_threads_are_the_same(cache: Path) -> None:
    features = FeatureSet.open(cache)
    alone = features.batch([0, 1, 2])
    with ThreadPoolExecutor(8) as pool:
        for batch in pool.map(features.batch, [[0, 1, 2]] * 64):
            assert batch.words.equal(alone.words)
            assert batch.frames.equal(alone.frames)


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"encoder_fingerprint": "other"}, "the encoder's fingerprint is colours-1, other is needed"),
        ({"benchmark": "msvd"}, "benchmark is colours, msvd is needed"),
        ({"split": "val"}, "split is train, val is needed; use the cache made for it"),
        ({"num_frames": 12}, "at most 4 frames a video, 12 are wanted; make a cache with --frames 12"),
    ],
)
def test_features_of_something_else_are_refused(cache: Path, wanted: dict[str, str], told: str) -> None:
    with pytest.raises(CacheError, match=told):
        FeatureSet.open(cache, **wanted)  # type: ignore[arg-type]


def test_features_that_do_not_fit_together_are_refused() -> None:
    text, video = made_up()
    with pytest.raises(ValueError, match="video_of must give one of 3 videos for each of 5 texts"):
        FeatureSet.in_memory(text, video, [0, 1, 2])
    with pytest.raises(ValueError, match="video_of must give one of 3 videos for each of 5 texts"):
        FeatureSet.in_memory(text, video, [0, 1, 2, 3, 0])
    with pytest.raises(ValueError, match="texts have D = 8, videos D = 9; they must agree"):
        FeatureSet.in_memory(text, made_up(D=9)[1], [0] * 5)
    with pytest.raises(ValueError, match="num_words=1 must be at least 2"):
        FeatureSet.in_memory(text, video, [0] * 5, num_words=1)
    empty = replace(video, frame_mask=torch.zeros_like(video.frame_mask))
    with pytest.raises(ValueError, match="a video without a frame cannot be trained on"):
        FeatureSet.in_memory(text, empty, [0] * 5)


# Pixels --------------------------------------------------------------------------------------------------------------


def tokenize(sentences: list[str]) -> tuple[Tensor, Tensor]:
    """SOS, one id a word, EOS; padded to the longest."""
    rows = [[514, *(len(word) for word in sentence.split()), 515] for sentence in sentences]
    longest = max(map(len, rows))
    mask = torch.tensor([[True] * len(row) + [False] * (longest - len(row)) for row in rows])
    return torch.tensor([row + [0] * (longest - len(row)) for row in rows]), mask


def video_set(paths: dict[str, Path], **changes: object) -> VideoSet:
    settings = {
        "captions": CAPTIONS,
        "tokenize": tokenize,
        "preprocessing": Preprocessing(height=SIDE, width=SIDE),
        "num_words": 10,
        "num_frames": 4,
    }
    return VideoSet(paths=paths, **(settings | changes))  # type: ignore[arg-type]


def test_pixels_are_the_preprocessing_of_decoded_frames(paths: dict[str, Path]) -> None:
    batch = video_set(paths).batch([2, 0, 1])
    assert batch.pixels.dtype == torch.uint8
    assert batch.input_ids.shape == batch.word_mask.shape == (3, 10)
    assert batch.input_ids[0].tolist() == [514, 4, 4, 6, 515, 0, 0, 0, 0, 0]
    assert batch.word_mask.sum(dim=1).tolist() == [5, 7, 3]
    assert batch.frame_mask.sum(dim=1).tolist() == [2, 4, 4]
    on_device = batch.to("cpu")
    expected = Preprocessing(height=SIDE, width=SIDE)(read_sampled(paths["long"], num_frames=4, short_side=SIDE).rgb)
    torch.testing.assert_close(on_device.pixels[1], expected, atol=0, rtol=0)
    assert not on_device.pixels[0, 2:].any()
    assert on_device.pixels[1].equal(on_device.pixels[2])


def test_a_batch_is_encoded_as_the_model_encodes(paths: dict[str, Path]) -> None:
    model = TextVideoModel(
        settings=ModelSettings(family="clip4clip"), backbone=ClipBackbone.from_openai(openai_weights())
    ).eval()
    training = video_set(paths)
    with torch.inference_mode():
        text, video = training.batch([0, 2]).encode(model)
        moved_text, moved_video = training.batch([0, 2]).to("cpu").encode(model)
        (frames,) = model.encode_video(pixels=training.batch([0]).to("cpu").pixels).frames
        ids, mask = tokenize([CAPTIONS["short"][0]])
        alone = model.encode_text(input_ids=ids, mask=mask)
    torch.testing.assert_close(video.frames[0], frames)
    torch.testing.assert_close(text.sentence[1:], alone.sentence)
    assert moved_video.frames.equal(video.frames)
    assert moved_text.words.equal(text.words)
    assert video.frame_mask.sum(dim=1).tolist() == [4, 2]


def test_validation_encodes_what_a_step_encodes(paths: dict[str, Path]) -> None:
    """The checkpoint is chosen on the features that are trained: a set's levels become CLIP's pixels here, too."""
    model = TextVideoModel(
        settings=ModelSettings(family="clip4clip"), backbone=ClipBackbone.from_openai(openai_weights())
    ).eval()
    pixels = video_set(paths)
    texts, video = encode_pixels(model, HeldOutPixels(pixels, tokenize))  # type: ignore[arg-type]
    with torch.inference_mode():
        _, expected_video = pixels.batch([0, 2]).encode(model)
        of_all_texts = pixels.batch([0, 1, 2]).encode(model)[0]
    torch.testing.assert_close(video.frames[video.frame_mask], expected_video.frames[expected_video.frame_mask])
    torch.testing.assert_close(texts[0].sentence, of_all_texts.sentence)
    with pytest.raises(ValueError, match=r"must be normalised as CLIP takes them, got torch\.uint8; see Preprocessing"):
        model.encode_video(pixels=pixels.batch([0]).pixels)


def test_cached_frames_give_the_same_batches(paths: dict[str, Path], tmp_path: Path) -> None:
    build_frame_cache(tmp_path, paths, FrameSettings(num_frames=4, short_side=SIDE, quality=None))
    shared = {
        "captions": CAPTIONS,
        "tokenize": tokenize,
        "preprocessing": Preprocessing(height=SIDE, width=SIDE),
        "num_words": 10,
        "num_frames": 4,
    }
    frames: TrainingSet = FrameSet(cache=FrameCache.open(tmp_path), **shared)  # type: ignore[arg-type]
    batch, decoded = frames.batch([1, 2]), video_set(paths).batch([1, 2])
    assert batch.pixels.equal(decoded.pixels)  # type: ignore[attr-defined]
    assert batch.captions.equal(decoded.captions)
    assert frames.dimension is None
    with pytest.raises(CacheError, match="at most 4 frames a video, 8 are wanted"):
        FrameSet(cache=FrameCache.open(tmp_path), **shared | {"num_frames": 8})  # type: ignore[arg-type]
    with pytest.raises(CacheError, match="holds frames of 32 pixels, the encoder wants 64"):
        FrameSet(cache=FrameCache.open(tmp_path), **shared | {"preprocessing": Preprocessing(height=64, width=64)})  # type: ignore[arg-type]


def test_pixel_sets_tell_what_they_depend_on(paths: dict[str, Path]) -> None:
    prints = {
        video_set(paths).fingerprint,
        video_set(paths, num_frames=3).fingerprint,
        video_set(paths, captions={"long": ["red"], "short": ["blue"]}).fingerprint,
        video_set(paths, tokenize=lambda sentences: (tokenize(sentences)[0] + 1, tokenize(sentences)[1])).fingerprint,
        video_set({**paths, "short": paths["long"]}).fingerprint,
    }
    assert len(prints) == 5
    assert video_set(paths).fingerprint == video_set(paths).fingerprint


def test_missing_videos_are_refused_or_left_out_by_name(paths: dict[str, Path]) -> None:
    captions = {"gone": ["white"], **CAPTIONS}
    with pytest.raises(
        AnnotationError, match=r"1 of 3 captioned videos are not there, .*'gone'; add them, or say --al"
    ):
        video_set(paths, captions=captions)
    training = video_set(paths, captions=captions, allow_missing=True)
    assert list(training.left_out) == ["gone"]
    assert training.video_ids == ["long", "short"]
    assert training.batch([0]).frame_mask.all()
    with pytest.raises(AnnotationError, match="1 of 1 captioned video is not there"):
        video_set({}, captions={"gone": ["white"]}, allow_missing=True)


def test_a_broken_video_ends_the_run_and_is_no_black_picture(paths: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    training = video_set({**paths, "short": tmp_path / "bad.mp4"})
    assert training.batch([0]).frame_mask.all()
    with pytest.raises(VideoError, match=r"bad\.mp4"):
        training.batch([0, 2])


def test_longer_ids_than_the_set_pads_to_are_refused(paths: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="tokenize gave 7 positions, at most num_words=5 fit"):
        video_set(paths, num_words=5).batch([0])


def test_a_video_is_read_once_a_batch_and_by_any_thread(
    paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    original = VideoFiles.read

    def counted(self: VideoFiles, video: str, num_frames: int) -> object:
        read.append(video)
        return original(self, video, num_frames)

    monkeypatch.setattr(VideoFiles, "read", counted)
    training, results = video_set(paths), []
    training.batch([0, 1, 0, 2])
    assert sorted(read) == ["long", "short"]
    threads = [threading.Thread(target=lambda: results.append(training.batch([2, 1]))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(batch.pixels.equal(results[0].pixels) for batch in results)
    assert len(results) == 4


def test_every_level_survives_the_way_to_the_batch() -> None:
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    from wordframe.data.pixel_sets import _LEVELS, _ZEROS

    kept = Preprocessing(height=16, width=16, mean=_ZEROS, std=_LEVELS)(levels)
    assert kept.equal(torch.from_numpy(levels).permute(0, 3, 1, 2).float())
