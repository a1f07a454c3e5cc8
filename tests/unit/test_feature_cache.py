"""Cached features: those of the encoder, block by block, going on where a run ended, refused where they do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from tests.colours import ColourEncoder, write_scenes
from wordframe.data import (
    CachedFeatures,
    CacheError,
    FeatureCacheSummary,
    FrameCache,
    FrameSettings,
    Split,
    VideoFiles,
    _feature_building,
    build_feature_cache,
    build_frame_cache,
    feature_cache,
    read_sampled,
)

CAPTIONS = {
    "a": ("a red thing", "red and blue"),
    "b": ("green green green",),
    "c": ("the cyan one", "white", "black then white"),
    "d": ("yellow",),
    "e": ("magenta and red and blue",),
}
SCENES = {
    "a": [("red", 2), ("blue", 2)],
    "b": [("green", 1)],
    "c": [("cyan", 3), ("white", 1)],
    "d": [("yellow", 1)],
    "e": [("magenta", 6)],
}


SPLIT = Split("colours", "train", CAPTIONS)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (_feature_building, feature_cache):
        monkeypatch.setattr(module, "BLOCK_VIDEOS", 2)
        monkeypatch.setattr(module, "BLOCK_TEXTS", 3)


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, Path]:
    return {name: write_scenes(tmp_path / f"{name}.mp4", *scenes) for name, scenes in SCENES.items()}


def build(folder: Path, paths: dict[str, Path], **changes: Any) -> FeatureCacheSummary:
    settings = {
        "split": SPLIT,
        "source": VideoFiles(paths, 16),
        "encoder": ColourEncoder(),
        "num_frames": 4,
        "annotations": {"captions.json": "abc"},
    }
    return build_feature_cache(folder, **(settings | changes))


def test_features_are_the_encoders(tmp_path: Path, paths: dict[str, Path]) -> None:
    summary = build(tmp_path / "cache", paths)
    assert (summary.encoded, summary.kept, summary.left_out, summary.complete) == (5, 0, {}, True)
    cached, encoder = CachedFeatures.open(tmp_path / "cache"), ColourEncoder()
    assert cached.video_ids == list(CAPTIONS)
    assert cached.video_of.tolist() == [0, 0, 1, 2, 2, 2, 3, 4]
    texts = [caption for several in CAPTIONS.values() for caption in several]
    for number, caption in enumerate(texts):
        direct = encoder.encode_text([caption])
        np.testing.assert_allclose(cached.sentence(number), direct.sentence[0], atol=1e-3)
        np.testing.assert_allclose(cached.words(number), direct.words[0], atol=1e-3)
        assert cached.word_counts[number] == direct.words.shape[1]
    for number, video in enumerate(CAPTIONS):
        sampled = read_sampled(paths[video], num_frames=4, short_side=16)
        np.testing.assert_allclose(cached.frames(number), encoder.encode_frames(sampled.rgb), atol=1e-3)
        assert cached.seconds(number).tolist() == sampled.seconds.tolist()
    assert cached.frame_counts.tolist() == [4, 1, 4, 1, 4]


def test_from_cached_frames_they_are_the_same(tmp_path: Path, paths: dict[str, Path]) -> None:
    build_frame_cache(tmp_path / "frames", paths, FrameSettings(num_frames=4, short_side=16, quality=None))
    build(tmp_path / "direct", paths)
    build(tmp_path / "cached", paths, source=FrameCache.open(tmp_path / "frames"))
    direct, cached = CachedFeatures.open(tmp_path / "direct"), CachedFeatures.open(tmp_path / "cached")
    for video in range(len(CAPTIONS)):
        np.testing.assert_array_equal(cached.frames(video), direct.frames(video))


def test_what_is_on_disk_is_format_1_as_it_was_first_written(tmp_path: Path, paths: dict[str, Path]) -> None:
    """Caches hold hours of work: other names or hashes here would refuse those of earlier versions."""
    build(tmp_path / "cache", paths)
    described = json.loads((tmp_path / "cache" / "wordframe-features.json").read_text())
    assert described["version"] == 1
    assert described["frames"] == "videos at a short side of 16 pixels"
    assert described["captions"] == "be5248c3cbc06b7b"
    with safe_open(tmp_path / "cache" / "videos-00000.safetensors", framework="numpy") as block:
        assert set(block.keys()) == {"frames", "seconds", "counts"}
        assert json.loads(block.metadata()["wordframe"]).keys() == {"stamps", "told"}
    build_frame_cache(tmp_path / "frames", paths, FrameSettings(num_frames=4, short_side=16))
    source = FrameCache.open(tmp_path / "frames")
    assert source.description == "cached frames: 4 frames a video, short side 16 pixels, JPEG of quality 90"
    assert (tmp_path / "frames/videos/27/27c35e6e9373877f29e562464e46497e.safetensors").is_file()  # blake2b of "a"


def test_a_second_run_encodes_nothing(tmp_path: Path, paths: dict[str, Path]) -> None:
    build(tmp_path / "cache", paths)
    before = CachedFeatures.open(tmp_path / "cache").fingerprint
    encoder = ColourEncoder()
    summary = build(tmp_path / "cache", paths, encoder=encoder)
    assert (summary.encoded, summary.kept, summary.complete, encoder.frames_encoded) == (0, 5, True, 0)
    assert CachedFeatures.open(tmp_path / "cache").fingerprint == before


def test_a_folder_of_several_caches_names_one(tmp_path: Path, paths: dict[str, Path]) -> None:
    with pytest.raises(CacheError, match="no feature cache; make one with wordframe cache features"):
        CachedFeatures.open(tmp_path / "features")
    build(tmp_path / "features" / "train", paths)
    with pytest.raises(CacheError, match=r"no feature cache; name one of its parts, such as .*features/train$"):
        CachedFeatures.open(tmp_path / "features")


def test_only_a_changed_video_is_encoded_again(tmp_path: Path, paths: dict[str, Path]) -> None:
    build(tmp_path / "cache", paths)
    before = CachedFeatures.open(tmp_path / "cache")
    write_scenes(paths["c"], ("black", 2))
    encoder = ColourEncoder()
    assert build(tmp_path / "cache", paths, encoder=encoder).encoded == 1
    assert encoder.frames_encoded == 2
    after = CachedFeatures.open(tmp_path / "cache")
    np.testing.assert_allclose(after.frames(2)[0, :3].astype(float), -0.5, atol=0.05)
    np.testing.assert_array_equal(after.frames(3), before.frames(3))
    assert after.fingerprint != before.fingerprint


@pytest.mark.parametrize("block", ["videos-00001.safetensors", "texts-00000.safetensors"])
@pytest.mark.parametrize("damage", ["flip", "gone"])
def test_a_spoilt_block_is_made_again(tmp_path: Path, paths: dict[str, Path], block: str, damage: str) -> None:
    build(tmp_path / "cache", paths)
    before = (tmp_path / "cache" / block).read_bytes()
    if damage == "gone":
        (tmp_path / "cache" / block).unlink()
        with pytest.raises(CacheError, match=f"{block}: missing or damaged"):
            CachedFeatures.open(tmp_path / "cache")
    else:
        (tmp_path / "cache" / block).write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    assert build(tmp_path / "cache", paths).complete
    assert (tmp_path / "cache" / block).read_bytes() == before


def test_a_stopped_run_goes_on_from_there(tmp_path: Path, paths: dict[str, Path]) -> None:
    done: list[tuple[str, int]] = []
    first = build(
        tmp_path / "cache",
        paths,
        should_stop=lambda: ("videos", 2) in done,
        on_progress=lambda *told: done.append(told),
    )
    assert first.interrupted
    assert not first.complete
    with pytest.raises(CacheError, match="is not complete; run the same wordframe cache features again to go on"):
        CachedFeatures.open(tmp_path / "cache")
    encoder = ColourEncoder()
    second = build(tmp_path / "cache", paths, encoder=encoder)
    assert second.complete
    assert second.kept >= 2
    assert encoder.frames_encoded < 14
    assert [told for told in done if told[0] == "captions"][-1] == ("captions", 8)


def test_a_missing_video_is_left_out_only_where_that_is_allowed(tmp_path: Path, paths: dict[str, Path]) -> None:
    paths["b"].unlink()
    paths["c"].write_text("no video")
    summary = build(tmp_path / "cache", paths)
    assert list(summary.left_out) == ["b", "c"]
    assert not summary.complete
    with pytest.raises(CacheError, match=r"2 videos could not be read, the first: b \(.*no such file.*--allow-missing"):
        CachedFeatures.open(tmp_path / "cache")
    summary = build(tmp_path / "cache", paths, allow_missing=True)
    assert (summary.kept, summary.encoded, summary.complete) == (3, 0, True)
    cached = CachedFeatures.open(tmp_path / "cache")
    assert cached.video_ids == ["a", "d", "e"]
    assert cached.captions() == ["a red thing", "red and blue", "yellow", "magenta and red and blue"]
    assert cached.video_of.tolist() == [0, 0, 1, 2]
    assert cached.description.left_out.keys() == {"b", "c"}
    np.testing.assert_allclose(cached.sentence(2), ColourEncoder().encode_text(["yellow"]).sentence[0], atol=1e-3)
    assert cached.words(3).shape == (3, 6)
    assert cached.frames(1).shape == (1, 6)


def test_a_mended_video_joins_the_others(tmp_path: Path, paths: dict[str, Path]) -> None:
    paths["b"].unlink()
    build(tmp_path / "cache", paths, allow_missing=True)
    write_scenes(paths["b"], ("green", 1))
    summary = build(tmp_path / "cache", paths)
    assert (summary.encoded, summary.kept, summary.complete) == (1, 4, True)
    assert CachedFeatures.open(tmp_path / "cache").video_ids == list(CAPTIONS)


def test_nothing_to_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="no video could be read, the first: there is no file of the video 'a'"):
        build(tmp_path / "cache", {}, allow_missing=True)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"encoder": ColourEncoder(fingerprint="other")}, "the encoder's fingerprint colours-1, this run has other"),
        ({"num_frames": 8}, "frames a video 4, this run has 8"),
        (
            {"source": VideoFiles({}, 32)},
            "frames from videos at a short side of 16 pixels, this run has videos at a short side of 32",
        ),
        ({"split": Split("colours", "test", CAPTIONS)}, "split train, this run has test"),
        ({"split": Split("shapes", "train", CAPTIONS)}, "benchmark colours, this run has shapes"),
        ({"annotations": {"other.json": "abc"}}, "annotation files captions.json, this run has other.json"),
        ({"split": Split("colours", "train", CAPTIONS | {"a": ("another caption",)})}, "captions with the hash"),
    ],
)
def test_other_settings_are_refused(tmp_path: Path, paths: dict[str, Path], changes: dict[str, Any], told: str) -> None:
    build(tmp_path / "cache", paths)
    with pytest.raises(CacheError, match=f"holds features of other settings .*{told}.*use another folder"):
        build(tmp_path / "cache", paths, **changes)


def test_features_that_are_no_numbers_leave_the_video_out(tmp_path: Path, paths: dict[str, Path]) -> None:
    class Overflowing(ColourEncoder):
        def encode_frames(self, frames: np.ndarray[Any, np.dtype[np.uint8]]) -> Any:
            return super().encode_frames(frames) * (1e6 if len(frames) == 1 else 1.0)

    summary = build(tmp_path / "cache", paths, encoder=Overflowing())
    assert summary.left_out.keys() == {"b", "d"}
    assert "not finite in float16" in summary.left_out["b"]


def test_folders_that_are_no_cache_are_refused(tmp_path: Path, paths: dict[str, Path]) -> None:
    with pytest.raises(CacheError, match="there is no feature cache; make one with wordframe cache features"):
        CachedFeatures.open(tmp_path / "nothing")
    build(tmp_path / "cache", paths)
    description = tmp_path / "cache" / "wordframe-features.json"
    values = json.loads(description.read_text())
    description.write_text(json.dumps({name: value for name, value in values.items() if name != "blocks"}))
    with pytest.raises(CacheError, match="its description lacks 'blocks'; make the cache anew"):
        CachedFeatures.open(tmp_path / "cache")
    description.write_text(json.dumps(values))
    (tmp_path / "cache" / "captions.json").write_text("[")
    with pytest.raises(CacheError, match=r"captions\.json: cannot be read"):
        CachedFeatures.open(tmp_path / "cache")


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, paths: dict[str, Path]) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(CacheError, match=r"cache: cannot be written \(file exists\)"):
        build(tmp_path / "cache", paths)


def test_a_run_stopped_among_the_captions_encodes_no_video(tmp_path: Path, paths: dict[str, Path]) -> None:
    encoder, done = ColourEncoder(), []
    summary = build(
        tmp_path / "cache",
        paths,
        encoder=encoder,
        should_stop=lambda: ("captions", 6) in done,
        on_progress=lambda *told: done.append(told),
    )
    assert summary.interrupted
    assert encoder.frames_encoded == 0
    assert build(tmp_path / "cache", paths).complete
