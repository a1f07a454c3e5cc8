"""Which frames a protocol and a recipe see: DiDeMo's seconds, the authors' cuts and orders; and what was kept by
another rule is refused, never mixed in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import truncated_rate
from tests.colours import ColourEncoder
from tests.unit.clip_models import SIDE
from tests.videos import write_long_video, write_video
from wordframe.cli import main
from wordframe.data import (
    BENCHMARKS,
    CachedFeatures,
    CacheError,
    FeatureSet,
    FrameCache,
    FrameSet,
    FrameSettings,
    Split,
    VideoFiles,
    VideoSet,
    build_feature_cache,
    build_frame_cache,
    match_videos,
    open_frames_of,
    read_sampled,
)
from wordframe.encoders import Preprocessing
from wordframe.evaluate import evaluate_cached, evaluate_videos
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.models import load_model
from wordframe.video import WHOLE_VIDEO, Cut, FrameRule, benchmark_indices

DIDEMO = FrameRule(last_second=31)
CAPTIONS = {"long": ("red then blue",), "short": ("green", "black &amp; white")}
SPLIT = Split("didemo", "test", CAPTIONS)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_long_video(folder / "long.mp4", seconds=40)
    write_long_video(folder / "short.mp4", seconds=6)
    return folder


@pytest.fixture(scope="module")
def paths(videos: Path) -> dict[str, Path]:
    return {video: videos / f"{video}.mp4" for video in CAPTIONS}


def authors_frames(count: int, num_frames: int, slice_framepos: int, end: int | None = None) -> list[int]:
    """CLIP4Clip's, written from what its parameters mean: seconds up to and including ``end``, then the slice."""
    there = [second for second in range(count) if end is None or second <= end]
    if len(there) <= num_frames:
        return there
    if slice_framepos == 2:
        return [there[place] for place in np.linspace(0, len(there) - 1, num=num_frames, dtype=int)]
    return there[:num_frames] if slice_framepos == 0 else there[-num_frames:]


@pytest.mark.parametrize("num_frames", [1, 5, 12, 32, 64])
@pytest.mark.parametrize("last_second", [None, 0, 31])
@pytest.mark.parametrize(("cut", "slice_framepos"), [("first", 0), ("last", 1), ("uniform", 2)])
def test_cuts_are_the_authors(cut: Cut, slice_framepos: int, last_second: int | None, num_frames: int) -> None:
    rule = FrameRule(last_second=last_second, cut=cut)
    for count in (0, 1, 7, 31, 32, 33, 100):
        assert rule.indices(count, num_frames) == authors_frames(count, num_frames, slice_framepos, last_second)
        assert WHOLE_VIDEO.indices(count, num_frames) == benchmark_indices(count, num_frames)


def test_didemo_reads_seconds_0_to_31(paths: dict[str, Path]) -> None:
    assert {name for name, known in BENCHMARKS.items() if known.last_second is not None} == {"didemo"}
    assert SPLIT.rule() == DIDEMO
    assert Split("msrvtt_9k_1ka", "test", CAPTIONS).rule("first") == FrameRule(cut="first")
    frames = VideoFiles(paths, 16, DIDEMO).read("long", 64)
    assert frames.seconds.tolist() == list(range(32)), "of 40 s"
    whole = read_sampled(paths["long"], num_frames=64, short_side=16)
    assert len(whole.rgb) == 40
    np.testing.assert_array_equal(frames.rgb, whole.rgb[:32])
    assert VideoFiles(paths, 16, DIDEMO).read("long", 4).seconds.tolist() == [0, 10, 20, 31]
    assert VideoFiles(paths, 16, DIDEMO).read("short", 64).seconds.tolist() == list(range(6))


def test_a_file_that_does_not_tell_its_length_is_counted_up_to_the_last_second(tmp_path: Path) -> None:
    path = write_video(tmp_path / "raw.h264", num_frames=70, rate=10.0, container="h264")
    seen = read_sampled(path, num_frames=9, short_side=16, rule=FrameRule(last_second=1)).seconds
    assert seen.tolist() == [0.0, 1.0]


def test_every_report_names_the_seconds(tmp_path: Path, videos: Path, paths: dict[str, Path]) -> None:
    model, encoder = load_model("zero-shot", dimension=6), ColourEncoder()
    settings: dict[str, Any] = {"model_name": "zero-shot", "num_frames": 64}
    matched = match_videos(videos, {video: [*several] for video, several in CAPTIONS.items()})
    direct = evaluate_videos(matched, encoder, model, sampling="seconds", rule=SPLIT.rule(), **settings).report
    assert direct.frames == "1 a second of seconds 0 to 31, then at most 64 spread evenly"
    source = open_frames_of(SPLIT, encoder, num_frames=64, videos=videos)
    build_feature_cache(tmp_path / "features", SPLIT, source, encoder, num_frames=64)
    assert CachedFeatures.open(tmp_path / "features").frame_counts.tolist() == [32, 6]
    cached = evaluate_cached(tmp_path / "features", model, **settings).report
    assert cached.frames.startswith("1 a second of seconds 0 to 31, then at most 64 spread evenly; from features")


def test_reports_name_what_was_done_to_captions(tmp_path: Path, videos: Path) -> None:
    model, encoder = load_model("zero-shot", dimension=6), ColourEncoder()
    encoder.text_cleaning = "lower case"
    matched = match_videos(videos, {video: [*several] for video, several in CAPTIONS.items()})
    report = evaluate_videos(matched, encoder, model, model_name="zero-shot").report
    assert report.words == "at most 16 token positions, SOS and EOS included; lower case"
    source = open_frames_of(SPLIT, encoder, num_frames=4, videos=videos)
    build_feature_cache(tmp_path, SPLIT, source, encoder, num_frames=4)
    assert evaluate_cached(tmp_path, model, model_name="zero-shot").report.words == report.words


def test_the_commands_know_of_seconds_and_cuts(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "list"]) == 0
    assert "64 words, 64 frames of seconds 0 to 31" in capsys.readouterr().out
    assert main(["evaluate", "--videos", str(videos), "--captions", "c.json", "--cut", "first"]) == 2
    assert "--cut goes with --benchmark" in " ".join(capsys.readouterr().err.split())


def without(file: Path, *names: str) -> None:
    """A description as an older version wrote it."""
    values = json.loads(file.read_text())
    file.write_text(json.dumps({name: value for name, value in values.items() if name not in names}))


def test_an_old_cache_of_didemo_is_not_mixed_with_it(tmp_path: Path, paths: dict[str, Path]) -> None:
    build_frame_cache(tmp_path / "frames", paths, FrameSettings(num_frames=64, short_side=16))
    without(tmp_path / "frames" / "wordframe-frames.json", "last_second", "cut")
    old = FrameCache.open(tmp_path / "frames")
    assert old.rule == WHOLE_VIDEO
    told = r"holds frames chosen otherwise .*wanted: 1 a second of seconds 0 to 31"
    with pytest.raises(CacheError, match=told):
        open_frames_of(SPLIT, ColourEncoder(), num_frames=64, frame_cache=tmp_path / "frames")
    with pytest.raises(CacheError, match=r"this run asks for .*seconds 0 to 31"):
        build_frame_cache(tmp_path / "frames", paths, FrameSettings(num_frames=64, short_side=16, last_second=31))
    # for all other benchmarks it is as good as new, also for the run that goes on in it
    assert open_frames_of(
        Split("msvd", "test", CAPTIONS), ColourEncoder(), num_frames=64, frame_cache=tmp_path / "frames"
    )
    assert not build_frame_cache(tmp_path / "frames", paths, FrameSettings(num_frames=64, short_side=16)).made

    build_feature_cache(tmp_path / "features", SPLIT, VideoFiles(paths, 16), ColourEncoder(), num_frames=64)
    without(tmp_path / "features" / "wordframe-features.json", "last_second", "cut")
    told = "holds didemo 1 a second, then at most 64 spread evenly, its protocol takes 1 a second of seconds 0 to 31"
    with pytest.raises(CacheError, match=told):
        FeatureSet.open(tmp_path / "features")
    source = VideoFiles(paths, 16, DIDEMO)
    with pytest.raises(CacheError, match=r"holds features of other settings \(last second of a video None, this run"):
        build_feature_cache(tmp_path / "features", SPLIT, source, ColourEncoder(), num_frames=64)


def test_features_of_captions_that_are_cleaned_today_are_made_anew(tmp_path: Path, paths: dict[str, Path]) -> None:
    split = Split("mine.json", "test", CAPTIONS)
    description = tmp_path / "wordframe-features.json"
    build_feature_cache(tmp_path, split, VideoFiles(paths, 16), ColourEncoder(), num_frames=4)
    without(description, "text_cleaning")
    with pytest.raises(CacheError, match="changes the features of 'black &amp; white' and may change others"):
        CachedFeatures.open(tmp_path)
    # an encoder that never cleaned texts goes on in its old cache, one that does now starts another
    encoder = ColourEncoder()
    assert build_feature_cache(tmp_path, split, VideoFiles(paths, 16), encoder, num_frames=4).encoded == 0
    without(description, "text_cleaning")
    encoder.text_cleaning = "lower case"
    with pytest.raises(CacheError, match="captions with None, this run has lower case"):
        build_feature_cache(tmp_path, split, VideoFiles(paths, 16), encoder, num_frames=4)
    # where no caption is another one cleaned, an old cache is read as ever
    plain = Split("mine.json", "test", {"long": ("Red then  blue",), "short": ("green", "black")})
    build_feature_cache(tmp_path / "plain", plain, VideoFiles(paths, 16), ColourEncoder(), num_frames=4)
    without(tmp_path / "plain" / "wordframe-features.json", "text_cleaning")
    assert len(CachedFeatures.open(tmp_path / "plain").captions()) == 3


@pytest.mark.parametrize("cut", ["first", "last"])
def test_a_cut_is_of_its_cache(tmp_path: Path, paths: dict[str, Path], cut: Cut) -> None:
    rule = FrameRule(cut=cut)
    expected = {"first": [0, 1, 2], "last": [37, 38, 39]}[cut]
    assert VideoFiles(paths, 16, rule).read("long", 3).seconds.tolist() == expected
    build_frame_cache(tmp_path / "frames", paths, FrameSettings(num_frames=8, short_side=SIDE, cut=cut))
    cache = FrameCache.open(tmp_path / "frames")
    assert cache.read("long", 3).seconds.tolist() == expected
    shared: dict[str, Any] = {
        "captions": CAPTIONS,
        "tokenize": lambda sentences: (torch.ones(len(sentences), 2).long(), torch.ones(len(sentences), 2).bool()),
        "preprocessing": Preprocessing(height=SIDE, width=SIDE),
        "num_words": 2,
        "num_frames": 3,
    }
    kept = FrameSet(cache=cache, rule=rule, **shared)
    decoded = VideoSet(paths=paths, rule=rule, **shared)
    uniform = VideoSet(paths=paths, **shared)
    assert (kept.batch([0]).pixels.int() - decoded.batch([0]).pixels.int()).abs().float().mean() < 3, "but for JPEG"
    assert (
        len({kept.fingerprint, uniform.fingerprint, VideoSet(paths=paths, order="random", **shared).fingerprint}) == 3
    )
    with pytest.raises(CacheError, match="holds frames chosen otherwise"):
        FrameSet(cache=cache, **shared)
    split = Split("msvd", "train", CAPTIONS)
    source = open_frames_of(split, ColourEncoder(), num_frames=8, frame_cache=tmp_path / "frames", cut=cut)
    build_feature_cache(tmp_path / "features", split, source, ColourEncoder(), num_frames=8)
    features = FeatureSet.open(tmp_path / "features", num_frames=3, cut=cut)
    assert features.all_videos().seconds is not None
    assert features.all_videos().seconds[0].tolist() == expected  # type: ignore[index]
    with pytest.raises(CacheError, match=f"the cut of more frames than wanted is {cut}, uniform is needed"):
        FeatureSet.open(tmp_path / "features", num_frames=3, cut="uniform")


def test_orders_turn_the_real_frames_of_training_batches_alone() -> None:
    counts, D, F = torch.tensor([6, 1, 4]), 8, 6
    mask = torch.arange(F) < counts[:, None]
    frames = torch.randn(3, F, D, generator=torch.Generator().manual_seed(0)).masked_fill(~mask[..., None], 0.0)
    videos = VideoFeatures(frames, frames, mask)
    texts = TextFeatures(torch.randn(3, D), torch.randn(3, 2, D), torch.ones(3, 2, dtype=torch.bool))

    def batch(order: Any, captions: list[int]) -> torch.Tensor:
        data = FeatureSet.in_memory(texts, videos, [0, 1, 2])
        data.order = order
        assert torch.equal(data.all_videos().frames, frames), "validation sees them as they are"
        return data.batch(captions).frames

    assert torch.equal(batch("forward", [0, 1, 2]), frames)
    turned = batch("reverse", [0, 1, 2])
    for video, count in enumerate(counts.tolist()):
        assert torch.equal(turned[video, :count], frames[video, :count].flip(0))
        assert not turned[video, count:].any()
    drawn = batch("random", [0, 1, 2])
    assert torch.equal(drawn, batch("random", [0, 1, 2])), "a resumed run draws the same"
    torch.testing.assert_close(drawn.sum(dim=1), frames.sum(dim=1))
    assert not torch.equal(drawn, frames)
    others = {tuple(batch("random", [0, other])[0, :, 0].tolist()) for other in (1, 2)}
    assert len(others) == 2, "another batch, another draw"


def test_what_a_truncated_rate_changes_is_told_as_computed() -> None:
    told = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert truncated_rate.table() in told
    rate = 30_000 / 1001
    assert truncated_rate.released(rate, 60, 100, WHOLE_VIDEO)[:3] == pytest.approx([0, 29 / rate, 58 / rate])
    assert len(truncated_rate.released(rate, 60, 100, WHOLE_VIDEO)) == 62
    assert truncated_rate.released(rate, 40, 64, DIDEMO)[-1] == pytest.approx(31 * 29 / rate)


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"last_second": -1}, "last_second must be at least 0"), ({"cut": "middle"}, "use one of uniform, first, last")],
)
def test_a_rule_checks_itself(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        FrameRule(**settings)
