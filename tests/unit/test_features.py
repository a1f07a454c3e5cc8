"""Features check themselves, and rows of different lengths become one padded tensor."""

import numpy as np
import pytest
import torch

from wordframe.features import TextFeatures, VideoFeatures

COUNTS = (3, 1, 4)


def _rows(dtype: type = np.float16) -> list[np.ndarray]:
    chance = np.random.default_rng(0)
    return [chance.normal(size=(count, 5)).astype(dtype) for count in COUNTS]


def _mask(*rows: str) -> torch.Tensor:
    return torch.tensor([[letter == "T" for letter in row] for row in rows])


@pytest.mark.parametrize("mask", ["FTTT", "TFTT", "TTFT", "FFTTTT"])
def test_a_real_frame_behind_padding_is_refused(mask: str) -> None:
    frame_mask = _mask("T" * len(mask), mask)
    frames = torch.randn(2, len(mask), 4)
    with pytest.raises(ValueError, match=r"frame_mask of video 1 has a real frame behind padding.*must come first"):
        VideoFeatures(frames, frames, frame_mask)


def test_masks_with_real_frames_first_are_taken() -> None:
    frames, mask = torch.randn(3, 4, 2), _mask("TTTT", "TFFF", "FFFF")
    assert torch.equal(VideoFeatures(frames, frames, mask).frame_mask, mask)
    assert len(VideoFeatures(frames[:, :0], frames[:, :0], mask[:, :0])) == 3


def test_the_order_is_not_looked_at_on_another_device() -> None:
    """On a GPU looking would wait for everything before it; ``meta`` tensors have no values to look at."""
    frames = torch.empty(2, 4, 3, device="meta")
    VideoFeatures(frames, frames, torch.empty(2, 4, dtype=torch.bool, device="meta"))


def test_real_words_may_stand_behind_padding() -> None:
    mask = _mask("FFTT")
    assert torch.equal(TextFeatures(torch.randn(1, 3), torch.randn(1, 4, 3), mask).word_mask, mask)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
@pytest.mark.parametrize("as_tensors", [False, True])
def test_ragged_videos(dtype: type, as_tensors: bool) -> None:
    rows = _rows(dtype)
    seconds = [np.arange(count, dtype=np.float64) / 2 for count in COUNTS]
    given = [torch.from_numpy(row) for row in rows] if as_tensors else rows
    times = [torch.from_numpy(row) for row in seconds] if as_tensors else seconds
    videos = VideoFeatures.from_ragged(given, seconds=times)
    assert videos.frames.shape == (3, 4, 5)
    assert videos.frames.dtype == torch.float32
    assert videos.seconds is not None
    assert videos.seconds.dtype == torch.float32
    assert torch.equal(videos.frame_mask, _mask("TTTF", "TFFF", "TTTT"))
    assert torch.equal(videos.contextual, videos.frames)
    for video, (row, time) in enumerate(zip(rows, seconds, strict=True)):
        assert np.array_equal(videos.frames[video, : len(row)], row.astype(np.float32))
        assert np.array_equal(videos.seconds[video, : len(row)], time.astype(np.float32))
        assert not videos.frames[video, len(row) :].any()
        assert not videos.seconds[video, len(row) :].any()


@pytest.mark.parametrize("as_tensors", [False, True])
def test_ragged_videos_of_one_length(as_tensors: bool) -> None:
    whole = np.random.default_rng(1).normal(size=(4, 3, 5)).astype(np.float16)
    videos = VideoFeatures.from_ragged([torch.from_numpy(row) for row in whole] if as_tensors else list(whole))
    assert np.array_equal(videos.frames, whole.astype(np.float32))
    assert videos.frame_mask.all()


@pytest.mark.parametrize("as_tensors", [False, True])
def test_ragged_videos_of_a_wanted_length(as_tensors: bool) -> None:
    rows = [torch.from_numpy(row) for row in _rows()] if as_tensors else _rows()
    videos = VideoFeatures.from_ragged(rows, contextual=[2 * row for row in rows], length=6)
    assert torch.equal(videos.frame_mask, _mask("TTTFFF", "TFFFFF", "TTTTFF"))
    assert torch.equal(videos.contextual, 2 * videos.frames)


def test_ragged_tensors_keep_gradients_and_half_ones_become_float32() -> None:
    rows = [torch.ones(2, 3, requires_grad=True), torch.ones(1, 3, requires_grad=True)]
    VideoFeatures.from_ragged(rows).frames.sum().backward()
    assert rows[1].grad is not None
    assert rows[1].grad.sum() == 3
    assert VideoFeatures.from_ragged([torch.ones(1, 3, dtype=torch.bfloat16)]).frames.dtype == torch.float32


def test_no_video_at_all() -> None:
    videos = VideoFeatures.from_ragged([], dimension=5)
    assert (videos.frames.shape, len(videos)) == ((0, 1, 5), 0)
    with pytest.raises(ValueError, match="pass dimension=D"):
        VideoFeatures.from_ragged([])


def test_ragged_rows_that_do_not_fit() -> None:
    rows = _rows()
    with pytest.raises(ValueError, match="frames of video 2 has 4 rows, more than length=3; cut it before"):
        VideoFeatures.from_ragged(rows, length=3)
    with pytest.raises(ValueError, match=r"frames of video 1 has shape \(1, 4\), expected \('any', 5\)"):
        VideoFeatures.from_ragged([rows[0], rows[1][:, :4]])
    with pytest.raises(ValueError, match="seconds must have a row for each row of frames"):
        VideoFeatures.from_ragged(rows, seconds=[np.zeros(1), np.zeros(3), np.zeros(4)])


@pytest.mark.parametrize("as_tensors", [False, True])
@pytest.mark.parametrize("stacked", [False, True])
def test_ragged_texts(as_tensors: bool, stacked: bool) -> None:
    words, whole = _rows(), np.random.default_rng(2).normal(size=(3, 5))
    sentence = torch.from_numpy(whole) if as_tensors else whole
    rows = [torch.from_numpy(row) for row in words] if as_tensors else words
    texts = TextFeatures.from_ragged(sentence if stacked else list(sentence), rows, length=5)
    assert np.array_equal(texts.sentence, whole.astype(np.float32))
    assert torch.equal(texts.word_mask, _mask("TTTFF", "TFFFF", "TTTTF"))
    assert all(np.array_equal(texts.words[text, : len(row)], row) for text, row in enumerate(words))
    assert not texts.words[~texts.word_mask].any()
