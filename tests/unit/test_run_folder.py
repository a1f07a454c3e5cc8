"""An evaluation's report and folder: their schema, what they say, reading them again, and what is refused."""

from __future__ import annotations

import hashlib
import io
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict
from rich.console import Console

from tests.colours import ColourEncoder, write_scenes
from wordframe.data import CacheError, Split, VideoFiles, build_feature_cache, match_videos
from wordframe.errors import AnnotationError, CheckpointError
from wordframe.evaluate import (
    Outcome,
    Provenance,
    RunError,
    compare_folders,
    comparison_table,
    evaluate_cached,
    evaluate_videos,
    gather,
    gathering,
    measure_features,
    rank_intervals,
    read_run,
    write_run,
)
from wordframe.evaluate import outcome as outcome_module
from wordframe.evaluate.gathering import CachedTexts
from wordframe.evaluate.intervals import recall_curve
from wordframe.evaluate.outcome import bank_numbers
from wordframe.evaluate.report import draw_recall, markdown
from wordframe.evaluate.runs import EvaluationRun, refuse_used
from wordframe.extraction import Chunk, Failure
from wordframe.models import ModelSettings, TextVideoModel, load_model
from wordframe.video import VideoInfo, benchmark_indices

CAPTIONS = {
    "red.mp4": ["magenta"],
    "two.mp4": ["green", "blue"],
    "sub/a cyan one.mp4": ["cyan white"],
    "same.mp4": ["yellow", "red"],  # one of them speaks of another video
    "gone.mp4": ["black"],
}


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Numbers(Strict):
    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    median_rank: float
    mean_rank: float
    recall_sum: float
    queries: int
    gallery: int
    intervals: dict[str, list[float]]


class Rescored(Strict):
    note: str
    t2v: Numbers
    v2t: Numbers | None = None


class Video(Strict):
    file: str
    reason: str


class Checkpoint(Strict):
    fingerprint: str
    trained: bool
    dimension: int
    settings: dict[str, Any]


class Report(Strict):
    """What programs may count on."""

    t2v: Numbers
    v2t: Numbers
    recall_sum: float
    gallery: int
    queries: int
    gallery_note: str
    protocol: str
    split: str
    split_note: str
    captions_per_video: float
    post_processing: str
    post_processed: dict[str, Rescored]
    tie_rule: str
    interval_methods: dict[str, str]
    encoder: str
    model: str
    checkpoint: Checkpoint
    frames: str
    words: str
    preprocessing: str
    annotations: dict[str, str]
    problems: list[str]
    queries_digest: str
    gallery_digest: str
    seed: int
    decoder: str
    versions: dict[str, str]
    skipped: list[Video]
    damaged: list[Video]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_scenes(folder / "red.mp4", ("red", 3))
    write_scenes(folder / "two.mp4", ("green", 2), ("blue", 2))
    write_scenes(folder / "sub" / "a cyan one.mp4", ("cyan", 5), ("white", 1))
    write_scenes(folder / "same.mp4", ("yellow", 1))
    return folder


def evaluated(videos: Path, captions: Mapping[str, list[str]] = CAPTIONS, **changes: Any) -> Outcome:
    settings: dict[str, Any] = {
        "model_name": "zero-shot",
        "source": Provenance("msvd", "test", "made for this test", {"captions.json": "ab12"}, ("2 videos are few",)),
        "sampling": "seconds",
        "num_frames": 4,
        "num_words": 3,
        "allow_missing": True,
        "top": 100,
        "dsl": True,
        "bank": ["red", "blue", "magenta"],
    }
    matched = match_videos(videos, dict(captions))
    return evaluate_videos(matched, ColourEncoder(), load_model("zero-shot", dimension=6), **{**settings, **changes})


@pytest.fixture(scope="module")
def outcome(videos: Path) -> Outcome:
    return evaluated(videos)


@pytest.fixture(scope="module")
def folder(outcome: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("run") / "new"
    write_run(place, outcome)
    return place


def test_the_report_has_its_schema(folder: Path, outcome: Outcome) -> None:
    text = (folder / "report.json").read_text()
    assert json.loads(text) == json.loads(json.dumps(outcome.report.to_json()))
    report = Report.model_validate_json(text)
    assert list(report.t2v.intervals) == ["recall_at_1", "recall_at_5", "recall_at_10", "median_rank", "mean_rank"]
    assert (report.protocol, report.split, report.split_note) == ("msvd", "test", "made for this test")
    assert (report.gallery, report.queries, report.captions_per_video) == (4, 6, 1.5)
    # "magenta" and "red" find each other's videos second, the other four their own first
    assert (report.t2v.recall_at_1, report.t2v.recall_at_5) == pytest.approx((100 * 4 / 6, 100.0))
    assert (report.t2v.median_rank, report.t2v.mean_rank) == pytest.approx((1.0, 8 / 6))
    assert (report.v2t.recall_at_1, report.v2t.mean_rank, report.v2t.queries) == (75.0, 1.25, 4)
    assert report.interval_methods.keys() == {"recall", "median_rank", "mean_rank"}
    assert report.interval_methods["recall"].startswith("Wilson")
    assert report.recall_sum == pytest.approx(report.t2v.recall_sum + report.v2t.recall_sum)
    assert report.gallery_note == "gallery 4 of 5: not comparable with published numbers"
    assert report.frames == "1 a second, then at most 4 spread evenly"
    assert report.words == "at most 3 token positions, SOS and EOS included"
    assert report.encoder == "colours (colours-1)"
    assert report.checkpoint.settings["family"] == "zero-shot"
    assert re.fullmatch(r"PyAV [\d.]+, FFmpeg \S+", report.decoder)
    assert report.annotations == {"captions.json": "ab12"}
    assert report.skipped == [Video(file="gone.mp4", reason="not in the folder")]
    assert set(report.post_processed) == {"dsl", "qb_norm"}
    assert "uses the whole query set of the test" in report.post_processed["dsl"].note
    assert report.post_processed["qb_norm"].note.startswith("uses a bank of 3 of 3 training captions (seed 0)")
    assert report.post_processed["qb_norm"].v2t is None


def test_what_changes_a_number_changes_its_hashes(videos: Path, outcome: Outcome) -> None:
    fewer = evaluated(videos, num_frames=2)
    assert fewer.report.preprocessing != outcome.report.preprocessing
    assert fewer.report.queries_digest == outcome.report.queries_digest
    other = evaluated(videos, CAPTIONS | {"red.mp4": ["blue"]})
    assert other.report.queries_digest != outcome.report.queries_digest
    assert other.report.gallery_digest == outcome.report.gallery_digest


def test_the_page_shows_rows_apart_and_a_warning(folder: Path, outcome: Outcome) -> None:
    page = (folder / "report.md").read_text()
    assert page == markdown(outcome.report)
    rows = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ") and "→" in line]
    assert rows[:2] == ["text → video", "video → text"]
    assert rows[2:] == ["text → video, after DSL", "video → text, after DSL", "text → video, after QB-Norm"]
    assert "**gallery 4 of 5: not comparable with published numbers.**" in page
    assert "- Annotations: 2 videos are few." in page
    assert "| SHA-256 of captions.json | ab12 |" in page


def test_the_folder_keeps_ranks_lists_and_a_picture(folder: Path, outcome: Outcome) -> None:
    assert sorted(file.name for file in folder.iterdir()) == sorted(
        ["report.json", "report.md", "recall.png", "ranks.npz"]
        + [f"{kind}.{side}.trec" for kind in ("run", "qrels") for side in ("t2v", "v2t")]
    )
    with np.load(folder / "ranks.npz") as stored:
        assert sorted(stored.files) == ["caption_video", "dsl.t2v", "dsl.v2t", "qb_norm.t2v", "t2v", "v2t"]
        assert (stored["t2v"].tolist(), stored["v2t"].tolist()) == ([2, 1, 1, 1, 1, 2], [2, 1, 1, 1])
        assert stored["caption_video"].tolist() == [0, 1, 1, 2, 3, 3]
        assert stored["qb_norm.t2v"].tolist() == outcome.measured.rescored[1].ranks["t2v"].tolist()
    assert "sub/a%20cyan%20one.mp4#0 0 sub/a%20cyan%20one.mp4 1\n" in (folder / "qrels.t2v.trec").read_text()
    lines = [line.split(" ") for line in (folder / "run.t2v.trec").read_text().splitlines()]
    assert [line[:4] for line in lines[:2]] == [
        ["red.mp4#0", "Q0", "two.mp4", "1"],
        ["red.mp4#0", "Q0", "red.mp4", "2"],
    ]
    assert [line[0] for line in lines[::4]] == [
        "red.mp4#0",
        "two.mp4#0",
        "two.mp4#1",
        "sub/a%20cyan%20one.mp4#0",
        "same.mp4#0",
        "same.mp4#1",
    ]
    assert len((folder / "run.v2t.trec").read_text().splitlines()) == 4 * 4
    picture = np.asarray(Image.open(folder / "recall.png").convert("RGB"))
    assert picture.shape[0] > 300
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20


def test_the_pictures_bands_count_a_videos_captions_together(
    outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def curve(ranks: Any, places: Any, *, clusters: Any) -> Any:
        seen.append(clusters)
        return recall_curve(ranks, places, clusters=clusters)

    monkeypatch.setattr("wordframe.evaluate.report.recall_curve", curve)
    draw_recall(tmp_path / "recall.png", outcome.measured.ranks, title="x")
    assert seen[0].tolist() == outcome.measured.ranks.caption_video.tolist()
    assert seen[1] is None, "of a video's own captions only the best counts"


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match=r"file is a file; give a new folder"):
        refuse_used(tmp_path / "file")
    with pytest.raises(RunError, match=r"deep: cannot be written \(not a directory\); choose another folder"):
        refuse_used(tmp_path / "file" / "very" / "deep")
    refuse_used(tmp_path / "new" / "deep")
    refuse_used(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"], "nothing is left of having tried"


def test_a_folder_is_read_again_and_never_written_over(folder: Path, outcome: Outcome, tmp_path: Path) -> None:
    run = read_run(folder)
    assert torch.equal(torch.from_numpy(run.v2t), outcome.measured.ranks.v2t)
    with pytest.raises(RunError, match="holds an evaluation; choose another folder, or delete this one"):
        write_run(folder, outcome)
    with pytest.raises(RunError, match=r"is not the folder of an evaluation: report.json is missing; make one with"):
        read_run(tmp_path)
    (tmp_path / "report.json").write_text('{"queries": 5}')
    np.savez(tmp_path / "ranks.npz", t2v=run.t2v, v2t=run.v2t, caption_video=run.caption_video)
    with pytest.raises(RunError, match=r"ranks.npz holds 6 queries, report.json says 5; .* do not belong together"):
        read_run(tmp_path)
    (tmp_path / "ranks.npz").write_bytes(b"PK no archive")
    with pytest.raises(RunError, match=r"cannot be read as an evaluation .* evaluate again into a new folder"):
        read_run(tmp_path)


def test_without_lists_there_is_no_folder(videos: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the evaluation has no lists; evaluate with top=100"):
        write_run(tmp_path / "new", evaluated(videos, top=None))


def test_a_broken_video_is_told_by_both_ways_of_reading(videos: Path, tmp_path: Path) -> None:
    for name in ("red.mp4", "same.mp4"):
        (tmp_path / name).write_bytes((videos / name).read_bytes())
    (tmp_path / "two.mp4").write_text("no video")
    matched = match_videos(tmp_path, {name: CAPTIONS[name] for name in ("red.mp4", "two.mp4", "same.mp4")})
    for sampling in ("uniform", "seconds"):
        settings: dict[str, Any] = {"model_name": "zero-shot", "source": Provenance("folder"), "sampling": sampling}
        model = load_model("zero-shot", dimension=6)
        with pytest.raises(AnnotationError, match=r"1 of 3 videos cannot be read, the first: .*two\.mp4"):
            evaluate_videos(matched, ColourEncoder(), model, **settings)
        report = evaluate_videos(matched, ColourEncoder(), model, **settings, allow_missing=True).report
        assert [video.file for video in report.skipped] == [str(tmp_path / "two.mp4")]
        assert report.gallery_note.startswith("gallery 2 of 3")
        assert (report.evaluation.t2v.gallery, report.evaluation.t2v.queries) == (2, 3)


def test_one_frame_a_second_then_spread(videos: Path) -> None:
    """Six seconds: all six frames where six may be taken, seconds 0 and 5 where two may."""
    matched = match_videos(videos, {"sub/a cyan one.mp4": ["white"], "red.mp4": ["red"]})
    for wanted, expected in ((6, 6), (2, 2)):
        encoder = ColourEncoder()
        model = load_model("zero-shot", dimension=6)
        evaluate_videos(
            matched, encoder, model, model_name="m", source=Provenance("folder"), sampling="seconds", num_frames=wanted
        )
        assert encoder.frames_encoded == expected + min(3, wanted)


def test_the_folder_protocol_is_as_before(videos: Path) -> None:
    captions = {name: several for name, several in CAPTIONS.items() if name != "gone.mp4"}
    seen: list[int] = []
    report = evaluate_videos(
        match_videos(videos, captions),
        ColourEncoder(),
        load_model("zero-shot", dimension=6),
        model_name="zero-shot",
        num_frames=4,
        on_read=seen.append,
    ).report
    assert (report.protocol, report.frames, report.gallery_note) == ("folder", "4 a video, uniform", "")
    assert report.evaluation.t2v.recall_at_1 == pytest.approx(100 * 4 / 6)
    assert report.evaluation.v2t.recall_at_1 == 75.0
    assert seen == sorted(seen)
    assert seen[-1] == 4


def limited(max_words: int, max_frames: int) -> TextVideoModel:
    settings = ModelSettings(family="xclip", max_words=max_words, max_frames=max_frames)
    return TextVideoModel(settings=settings, dimension=6).eval()


@pytest.mark.parametrize(
    ("asked", "of_model", "taken"),
    [((8, 9), (3, 2), (3, 2)), ((3, 2), (8, 9), (3, 2)), ((9, 3), (8, 9), (5, 3)), ((None, 3), (4, 9), (4, 3))],
)
@pytest.mark.parametrize("is_cached", [False, True])
def test_captions_and_videos_are_cut_to_what_is_asked_and_what_the_model_takes(
    is_cached: bool,
    asked: tuple[int | None, int],
    of_model: tuple[int, int],
    taken: tuple[int, int],
    videos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is scored, and what the report says of it: at most five words, four frames a video are there."""
    model, encoder = limited(*of_model), ColourEncoder()
    seen: list[tuple[int, int]] = []

    def measure(model: TextVideoModel, texts: Any, videos: Any, *rest: Any, **options: Any) -> Any:
        lengths = [block.word_mask.sum(dim=1).max() for block in (*texts, *(options["bank"] or ()))]
        seen.append((int(max(lengths)), int(videos.frame_mask.sum(dim=1).max())))
        return measure_features(model, texts, videos, *rest, **options)

    monkeypatch.setattr(outcome_module, "measure_features", measure)
    captions = {"sub/a cyan one.mp4": ["cyan white red green blue"], "two.mp4": ["green"]}
    cut: dict[str, Any] = {"model_name": "m", "num_words": asked[0], "num_frames": asked[1]}
    if is_cached:
        folder = cache(tmp_path, videos, captions, encoder)
        report = evaluate_cached(folder, model, bank=folder, **cut).report
    else:
        matched = match_videos(videos, captions)
        bank = ["white " * 5]
        report = evaluate_videos(matched, encoder, model, sampling="seconds", bank=bank, seed=3, **cut).report
        assert "1 of 1 training captions (seed 3)" in report.rows[0].note
    assert seen == [(taken[0], min(taken[1], 4))]
    least = min(limit for limit in (asked[0], of_model[0], encoder.max_words) if limit is not None)
    assert report.words == f"at most {least} token positions, SOS and EOS included"
    assert f"at most {taken[1]}" in report.frames


def test_rows_after_post_processing_have_intervals_of_their_own_ranks(outcome: Outcome) -> None:
    owners = outcome.measured.ranks.caption_video.numpy()
    for row, found in zip(outcome.report.rows, outcome.measured.rescored, strict=True):
        for side, ranks in found.ranks.items():
            clusters = owners if side == "t2v" else None
            expected = rank_intervals(ranks.numpy(), gallery=4, clusters=clusters, seed=0)
            assert row.numbers[side][1] == expected, (row.name, side)
    t2v = outcome.measured.rescored[0].ranks["t2v"].numpy()
    assert outcome.report.rows[0].numbers["t2v"][1] != rank_intervals(t2v, gallery=4, seed=0), "videos count whole"


def test_pieces_of_a_video_are_put_in_order_and_a_failed_one_is_no_candidate(
    videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces come in any order, a video may fail behind its first piece, and one of unknown length has too many."""
    features = np.arange(9 * 6, dtype=np.float32).reshape(9, 6)
    info = VideoInfo("mp4", "h264", 16, 16, 0, None, None)

    def piece(key: int, index: int, rows: slice, *, last: bool) -> Chunk:
        return Chunk(str(key), index, last, info, np.zeros(len(features[rows])), features[rows], [], None)

    def results(*arguments: Any, times: Callable[[VideoInfo], Iterable[float]]) -> Iterator[Chunk | Failure]:
        assert list(islice(times(info), 3)) == [0.0, 1.0, 2.0], "one a second, as long as there is a frame"
        assert list(times(replace(info, duration_seconds=8.0))) == [1.0, 3.0, 5.0, 7.0]
        yield piece(0, 1, slice(4, 7), last=False)
        yield piece(1, 0, slice(0, 2), last=False)
        yield piece(0, 2, slice(7, 9), last=True)
        yield piece(0, 0, slice(0, 4), last=False)
        yield Failure("1", "same.mp4: broken")

    monkeypatch.setattr(gathering, "extract", results)
    matched = match_videos(videos, {"red.mp4": ["red"], "same.mp4": ["yellow"]})
    found = gather(
        matched,
        ColourEncoder(),
        sampling="uniform",
        num_frames=4,
        num_words=None,
        allow_missing=True,
        on_progress=lambda done: None,
    )
    assert (found.names, found.captions, found.caption_video.tolist()) == (("red.mp4",), ("red",), [0])
    assert found.videos.frames[0, :, 0].tolist() == features[benchmark_indices(9, 4), 0].tolist()
    assert found.full_gallery == 2


# From cached features ------------------------------------------------------------------------------------------------


def cache(folder: Path, videos: Path, captions: Mapping[str, list[str]], encoder: ColourEncoder) -> Path:
    build_feature_cache(
        folder,
        Split("msvd", "test", {video: tuple(several) for video, several in captions.items()}, "made for this test"),
        VideoFiles({pair.name: pair.path for pair in match_videos(videos, captions).pairs}, encoder.short_side),
        encoder,
        num_frames=4,
        annotations={"captions.json": "ab12"},
        allow_missing=True,
    )
    return folder


def test_cached_features_give_the_same_ranks(videos: Path, outcome: Outcome, tmp_path: Path) -> None:
    model = load_model("zero-shot", dimension=6)
    features = cache(tmp_path / "test", videos, CAPTIONS, ColourEncoder())
    bank = cache(tmp_path / "train", videos, {"red.mp4": ["red", "blue"], "two.mp4": ["magenta"]}, ColourEncoder())
    found = evaluate_cached(features, model, model_name="zero-shot", num_words=3, top=100, dsl=True, bank=bank)
    assert torch.equal(found.measured.ranks.t2v, outcome.measured.ranks.t2v)
    assert torch.equal(found.measured.ranks.v2t, outcome.measured.ranks.v2t)
    for mine, theirs in zip(found.measured.rescored, outcome.measured.rescored, strict=True):
        assert mine.ranks.keys() == theirs.ranks.keys()
        assert all(torch.equal(mine.ranks[side], theirs.ranks[side]) for side in mine.ranks)
    report = found.report
    assert (report.queries_digest, report.gallery_digest) == (
        outcome.report.queries_digest,
        outcome.report.gallery_digest,
    )
    assert (report.protocol, report.split, report.annotations) == ("msvd", "test", {"captions.json": "ab12"})
    assert [video.file for video in report.skipped] == ["gone.mp4"]
    assert report.gallery_note == outcome.report.gallery_note
    assert report.frames.startswith("1 a second, then at most 4 spread evenly; from features in float16")
    fewer = evaluate_cached(features, model, model_name="zero-shot", num_frames=2).report
    assert fewer.frames.startswith("1 a second, then at most 4 spread evenly, of these at most 2; from features")


def test_cached_captions_are_cut_before_their_last_word(videos: Path, tmp_path: Path) -> None:
    from wordframe.data import CachedFeatures

    encoder = ColourEncoder()
    folder = cache(tmp_path, videos, {"red.mp4": ["red green blue white", "cyan"]}, encoder)
    texts = CachedTexts(CachedFeatures.open(folder), numbers=[1, 0], num_words=3)
    (block,) = list(texts)
    expected = encoder.encode_text(["cyan", "red green white"])
    assert torch.equal(block.word_mask, expected.word_mask)
    torch.testing.assert_close(block.words[block.word_mask], expected.words[expected.word_mask], atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"num_frames": 5}, "holds at most 4 frames a video, 5 are wanted; leave --frames out to use all"),
        (
            {"num_words": 99},
            f"holds at most {ColourEncoder().max_words} words a caption, 99 are wanted; leave --words out",
        ),
    ],
)
def test_more_than_was_kept_is_refused(wanted: dict[str, int], told: str, videos: Path, tmp_path: Path) -> None:
    folder = cache(tmp_path, videos, {"red.mp4": ["red"]}, ColourEncoder())
    model = load_model("zero-shot", dimension=6)
    with pytest.raises(CacheError, match=re.escape(told)):
        evaluate_cached(folder, model, model_name="zero-shot", **wanted)  # type: ignore[arg-type]


def test_a_bank_of_another_encoder_is_refused(videos: Path, tmp_path: Path) -> None:
    captions = {"red.mp4": ["red"]}
    features = cache(tmp_path / "test", videos, captions, ColourEncoder())
    bank = cache(tmp_path / "train", videos, captions, ColourEncoder(fingerprint="colours-2"))
    with pytest.raises(CheckpointError, match=r"encoder 'colours' \(fingerprint colours-2\), the test's are of .*-1\)"):
        evaluate_cached(features, load_model("zero-shot", dimension=6), model_name="zero-shot", bank=bank)


def test_a_report_keeps_the_hashes_of_earlier_versions() -> None:
    """Runs of one benchmark, one made before and one now, must still compare."""
    expected = hashlib.sha256(b"5:a cat2:\xc3\xbc1:\xff").hexdigest()[:16]
    assert outcome_module._texts_hash(["a cat", "ü", "\udcff"]) == expected


def test_a_bank_is_drawn_once_for_a_seed() -> None:
    assert bank_numbers(3, seed=1) == [0, 1, 2]
    assert len(set(bank_numbers(20_000, seed=1))) == 5000
    assert bank_numbers(20_000, seed=1) == bank_numbers(20_000, seed=1) != bank_numbers(20_000, seed=2)


# Comparison of folders -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def others(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Runs of three other settings on the same queries."""
    place = tmp_path_factory.mktemp("others")
    for number, frames in enumerate((1, 2, 3)):
        write_run(place / str(number), evaluated(videos, num_frames=frames))
    return [place / str(number) for number in range(3)]


def test_groups_are_compared_with_the_first(folder: Path, others: list[Path]) -> None:
    one, *more = [read_run(place) for place in (folder, *others)]
    found = compare_folders({"a": [one, more[0]], "b": more[1:]})
    told = json.loads(json.dumps(found.to_json()))
    assert (told["baseline"], told["protocol"]) == ("a", "msvd test")
    assert told["groups"]["a"]["runs"] == [str(folder), str(others[0])]
    change = told["differences"]["b"]["t2v"]["mean_reciprocal_rank"]
    # with one frame of "two.mp4" its second caption is third, and "magenta" finds its video
    means = [((4 + 2 / 2) / 6 + (4 + 1 / 2 + 1 / 3) / 6) / 2, (4 + 2 / 2) / 6]
    assert [told["groups"][name]["t2v"]["mean_reciprocal_rank"]["mean"] for name in ("a", "b")] == pytest.approx(means)
    assert (change["first"], change["second"]) == pytest.approx(tuple(means))
    assert change["difference"] == pytest.approx(1 / 72)
    assert told["differences"]["b"]["smallest_p_seeds"] == pytest.approx(1 / 3)
    screen = Console(file=io.StringIO(), width=80)
    screen.print(comparison_table(found))
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "p seed: all runs are dealt out anew; for b it can be no smaller than 0.33" in " ".join(shown.split())
    assert "video → text" in shown
    assert "…" not in shown
    alone = compare_folders({"a": [one], "b": [more[0]], "c": [more[1]]})
    assert list(alone.differences) == ["b", "c"]
    assert alone.differences["c"]["v2t"]["recall_at_1"].p_seeds is None


def run_of(folder: str, t2v: list[int], v2t: list[int], caption_video: list[int]) -> EvaluationRun:
    told = {"protocol": "folder", "split": "", "queries_digest": "q", "gallery_digest": "g", "annotations": {}}
    return EvaluationRun(Path(folder), told, np.array(t2v), np.array(v2t), np.array(caption_video))


def test_what_tells_runs_apart_beside_the_model_is_told() -> None:
    frames = {"a": ["12 a video, uniform"] * 2, "b": ["12 a video, uniform", "4 a video,\x1b[2J uniform"]}
    groups: dict[str, list[EvaluationRun]] = {name: [] for name in frames}
    for name, told in frames.items():
        for seed, value in enumerate(told):
            run = run_of(f"{name}{seed}", [1, 2], [1, 1], [0, 1])
            groups[name].append(replace(run, report={**run.report, "frames": value, "encoder": "clip (1)"}))
    found = compare_folders(groups)
    assert found.to_json()["unlike"] == {"frames": {"a": frames["a"][:1], "b": frames["b"]}}
    screen = Console(file=io.StringIO(), width=200)
    screen.print(comparison_table(found))
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "They differ in frames, too: a: 12 a video, uniform; b: 12 a video, uniform and 1 more." in shown
    assert compare_folders({"a": groups["a"], "b": [groups["b"][0]]}).unlike == {}


def test_three_seeds_against_three_are_told_that_p_stays_above_five_percent() -> None:
    groups = {
        name: [run_of(f"{name}{seed}", [rank] * 6, [rank] * 3, [0, 0, 1, 1, 2, 2]) for seed in range(number)]
        for name, rank, number in (("first", 9, 4), ("three", 1, 3), ("four", 1, 4))
    }
    four = compare_folders({"first": groups["first"], "four": groups["four"]})
    three = compare_folders({"first": groups["first"][:3], "three": groups["three"]})
    assert three.differences["three"]["t2v"]["recall_at_1"].p_seeds == pytest.approx(0.1)
    assert four.differences["four"]["v2t"]["recall_at_1"].p_seeds == pytest.approx(2 / 70)
    for found, told in ((three, True), (four, False)):
        screen = Console(file=io.StringIO(), width=200)
        screen.print(comparison_table(found))
        shown = screen.file.getvalue()  # type: ignore[attr-defined]
        assert ("with so few runs it never falls below 0.05; 4 against 4 can" in shown) == told
        assert "over seeds where there are several" in shown
        assert "Of several runs: mean ± standard deviation over runs" in shown
        row = next(line for line in shown.splitlines() if "R@1 %" in line)
        assert "0.0±0.0" in row
        assert "100.0±0.0" in row
        assert "+100.0" in row


@pytest.mark.parametrize("width", [80, 40])
def test_no_column_is_cut_off_where_there_is_no_room(width: int) -> None:
    """Four queries have intervals as wide as any, and seeds a column more."""
    sides = {
        name: [run_of(f"{name}{i}", t2v, [1, 2, 2, 4], [0, 1, 2, 3]) for i in range(2)]
        for name, t2v in (("tcmgc", [1, 2, 3, 4]), ("clip4clip-mean", [2, 3, 2, 4]))
    }
    screen = Console(file=io.StringIO(), width=width)
    screen.print(comparison_table(compare_folders(sides)), crop=False)
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    heading, recall = (next(line for line in shown.splitlines() if told in line) for told in ("p seed", "R@1 %"))
    assert heading.rstrip().endswith("95 %  p query  p seed")
    assert recall.split()[-3:] == ["+52.6", "1", "0.33"]
    assert width < 80 or len(recall.rstrip()) <= width


def test_figures_are_shown_whole_and_no_zero_has_a_minus() -> None:
    """Means of seeds that are equal but for rounding, in a terminal that has no room for long names."""
    ranks = [[1, 4, 3, 6, 1, 7], [2, 3, 9, 1, 3, 1], [6, 1, 2, 11, 12, 3]]
    sides = {
        name: [run_of(f"{name}{i}", seed, [1, 2, 1], [0, 0, 1, 1, 2, 2]) for i, seed in enumerate(order)]
        for name, order in (("a-rather-long-name", ranks), ("another-long-name", ranks[::-1]))
    }
    screen = Console(file=io.StringIO(), width=72)
    screen.print(comparison_table(compare_folders(sides)))
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    recall = next(line for line in shown.splitlines() if "R@1 %" in line)
    assert recall.count("27.8±9.6") == 2, shown
    assert "-0.0" not in shown, shown


def test_captions_of_a_video_are_compared_together_and_a_video_alone_not_at_all() -> None:
    """Three videos whose four captions all gain: P = 2/8 of text→video; of twelve single queries it would be 2/4096."""
    owners = [0] * 4 + [1] * 4 + [2] * 4
    one, two = run_of("a", [9] * 12, [1, 2, 3], owners), run_of("b", [1] * 12, [3, 2, 1], owners)
    found = compare_folders({"a": [one], "b": [two]}).differences["b"]
    assert found["t2v"]["recall_at_1"].p_queries == pytest.approx(2 / 8)
    assert (found["v2t"]["recall_at_1"].first, found["v2t"]["recall_at_1"].second) == pytest.approx((100 / 3, 100 / 3))
    screen = Console(file=io.StringIO(), width=200)
    screen.print(comparison_table(compare_folders({"a": [one], "b": [two]})))
    assert "several" not in screen.file.getvalue()  # type: ignore[attr-defined]
    single = [run_of(name, [1, 1], [1], [0, 0]) for name in "ab"]
    with pytest.raises(RunError, match="a is about a single video; a comparison needs captions of at least two"):
        compare_folders({"a": single[:1], "b": single[1:]})


def test_without_the_plots_library_all_else_is_kept(
    outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    left_out = write_run(tmp_path / "run", outcome)
    assert left_out is not None
    assert left_out.startswith("recall.png was left out: a plot of recall needs more than the core of wordframe")
    assert "pip install 'wordframe[report]'" in left_out
    assert not (tmp_path / "run" / "recall.png").exists()
    assert read_run(tmp_path / "run").t2v.tolist() == [2, 1, 1, 1, 1, 2]


def test_runs_on_other_queries_are_refused(videos: Path, folder: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "queries", evaluated(videos, CAPTIONS | {"red.mp4": ["blue"]}))
    write_run(tmp_path / "gallery", evaluated(videos, {name: CAPTIONS[name] for name in ("red.mp4", "two.mp4")}))
    write_run(tmp_path / "files", evaluated(videos, source=Provenance("msvd", annotations={"captions.json": "cd34"})))
    for name, told in (("queries", "queries"), ("gallery", "gallery, queries"), ("files", "annotations")):
        with pytest.raises(RunError, match=f"cannot be compared: they differ in {told}; evaluate both on the same"):
            compare_folders({"a": [read_run(folder)], "b": [read_run(tmp_path / name)]})
    others = [run_of(name, [1, 2, 1], [1, 1], owners) for name, owners in (("x", [0, 0, 1]), ("y", [0, 1, 1]))]
    with pytest.raises(RunError, match="cannot be compared: they differ in captions' videos; evaluate both"):
        compare_folders({"a": others[:1], "b": others[1:]})
    with pytest.raises(RunError, match="a comparison needs at least two runs"):
        compare_folders({"a": [read_run(folder)]})
    with pytest.raises(RunError, match="the group 'b' names a run twice; every seed counts once"):
        compare_folders({"a": [read_run(folder)], "b": [read_run(folder)] * 2})
    with pytest.raises(RunError, match=r"the groups 'a' and 'b' share the run .*; it would be compared with itself"):
        compare_folders({"a": [read_run(folder)], "b": [read_run(folder)]})
