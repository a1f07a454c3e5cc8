"""What any model promises on a library: its own scores, prepared once and never stale, and clear refusals."""

from __future__ import annotations

import json
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from filelock import FileLock

from tests.colours import ColourEncoder, write_scenes
from tests.unit.clip_models import clip_tokenizer, openai_weights
from wordframe.encoders import ClipBackbone, load_encoder
from wordframe.errors import CheckpointError, EncoderError, LibraryError, WordframeError
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.library import Library
from wordframe.library._local import LocalFolder
from wordframe.library._model_table import ModelTable, cells_of, model_schema, table_name
from wordframe.library._model_table import rows_of as model_rows
from wordframe.library._preparing import Made
from wordframe.library._segment_table import SegmentTable
from wordframe.library._store import Store
from wordframe.models import (
    PRESETS,
    ClipTokenizer,
    ModelSettings,
    TextVideoModel,
    contextualize,
    fit_text,
    kept_words,
    load_ready,
    score,
)
from wordframe.search import (
    EncodedQuery,
    Filters,
    Query,
    SearchEngine,
    encode,
    explain,
    score_segments,
    search,
)

SMALL = {"max_words": 4, "max_frames": 5, "positions": 7, "layers": 1, "heads": 2}
KINDS = {name: (name, {}) for name in PRESETS if name not in ("tcmgc-didemo", "tcmgc-vatex")}
KINDS |= {f"{name}, padding takes part": (name, {"mask_padding": False}) for name in (
    "xclip", "tcmgc-msrvtt", "ea-clip4clip-mean", "ea-clip4clip-tight"
)}  # fmt: skip
KINDS["tcmgc on raw frames"] = ("tcmgc-msrvtt", {"sim_header": "meanP"})
KINDS["tcmgc on raw frames, padding takes part"] = ("tcmgc-msrvtt", {"sim_header": "meanP", "mask_padding": False})
KINDS["ea around a head"] = ("ea-clip4clip-lstm", {"se_type": "excitation_seq_aggregation", "mask_padding": False})
QUERY = "red green blue cyan white black"  # six words: X-CLIP here takes four


def model_of(kind: str, *, seed: int = 0) -> TextVideoModel:
    """A small model with random weights everywhere, also where training starts from the identity."""
    preset, changes = KINDS[kind]
    settings = PRESETS[preset].settings
    small = SMALL | ({"keep_rate": 0.5} if settings.family == "tcmgc" else {})
    small |= {"reduction_ratio": 2.0} if getattr(settings, "reduction_ratio", 0) > 1 else {}
    torch.manual_seed(seed)
    model = TextVideoModel(
        settings=ModelSettings.from_dict({**settings.to_dict(), **small, **changes}), dimension=6, trained=True
    ).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.endswith("logit_scale"):
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("in-use") / "videos"
    write_scenes(folder / "red.mp4", ("red", 1.5), ("white", 1.5))
    write_scenes(folder / "holiday" / "blue.mp4", ("blue", 3), ("black", 9))
    write_scenes(folder / "mixed.mp4", ("white", 8), ("green", 8), ("magenta", 13))
    return folder


@pytest.fixture(scope="module")
def indexed(videos: Path) -> Path:
    library = Library.open(videos.parent / "library", encoder=ColourEncoder())
    library.index([videos])
    return library.folder


@pytest.fixture
def library(indexed: Path, tmp_path: Path) -> Library:
    return Library.open(shutil.copytree(indexed, tmp_path / "library"), encoder=ColourEncoder())


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """For how many segments each call made what a model keeps."""
    calls: list[int] = []

    def counting(model: TextVideoModel, raw: VideoFeatures, _cells_of: Any = cells_of) -> Any:
        calls.append(len(raw))
        return _cells_of(model, raw)

    for place in ("_prepared", "_preparing"):
        monkeypatch.setattr(f"wordframe.library.{place}.cells_of", counting)
    return calls


@torch.no_grad()
def alone(library: Library, model: TextVideoModel, query: TextFeatures) -> dict[str, float]:
    """Plainly: each segment's score by itself, frames cut by linspace, contextual frames as float16."""
    scores = {}
    snapshot = library.snapshot()
    for row_id in snapshot.row_ids():
        frames = snapshot.frames([row_id]).frames[0]
        if model.max_frames is not None and len(frames) > model.max_frames:
            frames = frames[np.linspace(0, len(frames) - 1, model.max_frames, dtype=int)]
        video = model.contextualize(frames[None], torch.ones(1, len(frames), dtype=torch.bool))
        if not model.one_vector:
            video = video.with_contextual(video.contextual.half().float())
        scores[snapshot.facts([row_id])[0].segment_id] = model.score(query, video).logits.item() / model.scale
    return scores


def cut(query: TextFeatures, model: TextVideoModel) -> TextFeatures:
    if model.max_words is None:
        return query
    words = torch.cat([query.words[:, : model.max_words - 1], query.words[:, -1:]], dim=1)
    return TextFeatures(query.sentence, words, query.word_mask[:, : model.max_words])


def found(engine: SearchEngine, **options: Any) -> dict[str, float]:
    hits = engine.search(QUERY, top=100, moments=100, **options)
    return {moment.segment_id: moment.score for hit in hits for moment in hit.moments}


def query_of(engine: SearchEngine, text: str = QUERY) -> EncodedQuery:
    return encode(engine.snapshot(), Query(text=text))


def scored(engine: SearchEngine) -> dict[str, float]:
    """The score of every segment."""
    snapshot = engine.snapshot()
    facts, scores = score_segments(snapshot, query_of(engine), snapshot.row_ids())
    return dict(zip((fact.segment_id for fact in facts), scores.tolist(), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_search_gives_the_scores_of_the_model(library: Library, kind: str) -> None:
    model = model_of(kind)
    expected = alone(library, model, cut(library.encoder.encode_text([QUERY]), model))
    assert len(set(expected.values())) > 1, "the model tells segments apart, or this test proves nothing"
    engine = SearchEngine(library, model)
    for _ in range(2):  # before anything is stored, and from what is stored
        assert scored(engine) == pytest.approx(expected, abs=2e-5)
        shown = found(engine, exact=True)
        assert shown == pytest.approx({segment: expected[segment] for segment in shown}, abs=2e-5)
        assert max(shown.values()) == pytest.approx(max(expected.values()), abs=2e-5)
        library.prepare(model)
    assert engine.snapshot().unprepared() == []


@pytest.mark.parametrize("kind", ["clip4clip-lstm", "ea-clip4clip-mean"])
def test_one_candidate_by_a_models_own_vectors_is_the_best(library: Library, kind: str) -> None:
    model = model_of(kind)
    library.prepare(model)
    engine = SearchEngine(library, model)
    for text in ("green", "white", "blue", "magenta black"):
        (listed,) = engine.search(text, top=1, shortlist=1)
        expected = alone(library, model, cut(library.encoder.encode_text([text]), model))
        # like segments may change places, since the index rounds
        assert expected[listed.moments[0].segment_id] == pytest.approx(max(expected.values()), abs=3e-3)
        assert min(expected.values()) < max(expected.values()) - 0.1


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("kind", ["clip4clip-mean", "xclip"])
def test_filters_hold_for_every_model(library: Library, kind: str, prepared: bool) -> None:
    model = model_of(kind)
    if prepared:
        library.prepare(model)
    for shortlist in (1, 200):
        for filters in (Filters(path="holiday/*"), Filters(min_seconds=11, max_seconds=13)):
            hits = SearchEngine(library, model).search("white", filters=filters, shortlist=shortlist)
            assert [Path(hit.path).name for hit in hits] == ["blue.mp4"]


@pytest.mark.parametrize("kind", ["ea-clip4clip-mean", "tcmgc-msrvtt", "tcmgc on raw frames", "xpool"])
def test_preparation_is_incremental(library: Library, computed: list[int], kind: str, tmp_path: Path) -> None:
    total = library.snapshot().num_segments
    told: list[tuple[int, int]] = []
    assert library.prepare(model_of(kind), on_progress=lambda done, total: told.append((done, total))) == total
    assert (sum(computed), told[0], told[-1]) == (total, (0, total), (total, total))
    again = SearchEngine(Library.open(library.folder, encoder=ColourEncoder()), model_of(kind))
    again.search("blue")
    assert sum(computed) == total  # all from what is stored
    write_scenes(tmp_path / "new.mp4", ("yellow", 4))
    library.index([tmp_path / "new.mp4"])
    assert library.prepare(model_of(kind)) == library.snapshot().num_segments - total > 0
    assert sum(computed) == library.snapshot().num_segments
    assert library.prepare(model_of(kind, seed=1)) == library.snapshot().num_segments


def test_a_model_that_needs_nothing_stores_nothing(library: Library, computed: list[int]) -> None:
    with FileLock(library.folder / "indexing.lock"):
        assert SearchEngine(library, model_of("zero-shot")).search("red")
    assert library.prepare(model_of("zero-shot")) == 0
    assert (computed, library._store.model_table_names()) == ([], [])


@pytest.mark.parametrize("kind", ["clip4clip-lstm", "ea-clip4clip-mean", "tcmgc-msrvtt", "xclip"])
def test_a_search_never_writes_and_never_does_more_than_its_shortlist(
    library: Library, kind: str, computed: list[int]
) -> None:
    engine = SearchEngine(library, model_of(kind))
    before = {path: path.stat().st_mtime_ns for path in library.folder.rglob("*")}
    for text in ("red", "green", "blue"):
        computed.clear()
        assert len(engine.search(text, top=1, shortlist=2)) == 1
        assert sum(computed) <= 2
    assert {path: path.stat().st_mtime_ns for path in library.folder.rglob("*")} == before
    assert len(engine.snapshot().unprepared()) == library.snapshot().num_segments


def test_a_half_prepared_library_finds_the_best_of_both_halves(library: Library, tmp_path: Path) -> None:
    model = model_of("clip4clip-lstm")
    library.prepare(model)
    write_scenes(tmp_path / "new.mp4", ("yellow", 4), ("cyan", 4))
    library.index([tmp_path / "new.mp4"])
    engine = SearchEngine(library, model)
    snapshot = engine.snapshot()
    assert 0 < len(snapshot.unprepared()) < snapshot.num_segments
    for text in ("yellow", "green", "cyan", "white red"):
        expected = alone(library, model, library.encoder.encode_text([text]))
        rows = snapshot.candidates(snapshot.model.search_vectors(query_of(engine, text).features)[0].numpy(), 4)
        assert len(rows) <= 8
        best = max(expected, key=expected.__getitem__)
        assert best in {fact.segment_id for fact in snapshot.facts(rows)}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each read of a table asked for."""
    calls: list[int] = []
    for place in (SegmentTable, ModelTable):

        def counting(self: Any, row_ids: list[int], *rest: Any, _take: Any = place.take) -> Any:
            calls.append(len(row_ids))
            return _take(self, row_ids, *rest)

        monkeypatch.setattr(place, "take", counting)
    return calls


@pytest.mark.parametrize("kind", ["tcmgc-msrvtt", "tcmgc on raw frames", "xpool", "wti", "zero-shot"])
def test_candidates_of_an_earlier_search_are_not_read_again(
    library: Library, kind: str, read: list[int], computed: list[int], tmp_path: Path
) -> None:
    engine = SearchEngine(library, model_of(kind))
    before = scored(engine)
    read.clear(), computed.clear()
    assert scored(engine) == before
    assert engine.search(QUERY)
    assert (sum(read), sum(computed)) == (0, 0)
    write_scenes(tmp_path / "new.mp4", ("yellow", 4))
    library.index([tmp_path / "new.mp4"])
    expected = alone(library, engine.model, cut(library.encoder.encode_text([QUERY]), engine.model))
    now = scored(engine)
    assert len(now) > len(before)
    assert now == pytest.approx(expected, abs=2e-5)


def test_a_scan_of_everything_is_not_kept(library: Library, read: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wordframe.library._row_reader.MOST_KEPT_AT_ONCE", 3)
    snapshot = library.snapshot()
    rows = snapshot.row_ids()
    assert len(rows) > 3
    for _ in range(2):
        read.clear()
        snapshot.frames(rows)
        assert sum(read) == len(rows)
    snapshot.frames(rows[:3])
    read.clear()
    snapshot.frames(rows[:3])
    assert sum(read) == 0


def test_what_is_kept_in_memory_is_bounded(library: Library, read: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wordframe.library._row_reader.CACHE_MB", 5000 / 2**20)  # room for one row or two
    snapshot = library.snapshot()
    rows = snapshot.row_ids()
    snapshot.frames(rows)
    read.clear()
    snapshot.frames(rows)
    assert len(rows) - 2 <= sum(read) < len(rows)


def rows_of(library: Library) -> list[str]:
    (name,) = library._store.model_table_names()
    table = ModelTable(library.place, library._store.open_model_table(name))
    return sorted(str(key).split(" ")[0] for key in table.keys()[1].to_pylist())


def segments_of(library: Library) -> list[str]:
    return sorted(str(key).split(" ")[0] for key in library.snapshot().keys().to_pylist())


@pytest.mark.parametrize("kind", ["ea-clip4clip-transformer", "xclip"])
def test_changed_moved_and_pruned_videos(kind: str, computed: list[int], tmp_path: Path) -> None:
    videos, model = tmp_path / "videos", model_of(kind)
    for name, colour in (("a", "red"), ("b", "blue"), ("c", "green")):
        write_scenes(videos / f"{name}.mp4", (colour, 2), ("white", 2))
    library = Library.open(tmp_path / "library", encoder=ColourEncoder())
    library.index([videos])
    engine = SearchEngine(library, model)
    library.prepare(model)
    done = sum(computed)
    (videos / "a.mp4").rename(videos / "moved.mp4")
    library.index([videos])
    assert library.prepare(model) == 0  # a move needs nothing
    write_scenes(videos / "b.mp4", ("cyan", 3), ("black", 2))
    library.index([videos])
    assert set(rows_of(library)) < set(segments_of(library))  # its old rows are gone at once
    expected = alone(library, model, cut(library.encoder.encode_text([QUERY]), model))
    shown = found(engine)
    assert shown == pytest.approx({segment: expected[segment] for segment in shown}, abs=2e-5)
    (changed,) = (video for video in library.videos() if video.path.endswith("b.mp4"))
    computed.clear()
    assert library.prepare(model) == sum(computed) == changed.num_segments
    assert rows_of(library) == segments_of(library)
    (videos / "c.mp4").unlink()
    library.index([videos], prune=True)
    assert rows_of(library) == segments_of(library)
    assert done > 0


def test_stale_rows_are_never_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The indexer leaves old rows behind, as a killed one does."""
    path, model = tmp_path / "videos" / "a.mp4", model_of("clip4clip-lstm")
    write_scenes(path, ("red", 3))
    library = Library.open(tmp_path / "library", encoder=ColourEncoder())
    library.index([path])
    library.prepare(model)
    engine = SearchEngine(library, model)
    before = found(engine)
    with monkeypatch.context() as killed:
        killed.setattr("wordframe.library._known_models._forget_stale", lambda library, store: None)
        write_scenes(path, ("cyan", 3))
        library.index([path])
    assert rows_of(library) == segments_of(library)  # the same names, another content
    now = found(engine)
    assert now == pytest.approx(alone(library, model, library.encoder.encode_text([QUERY])), abs=2e-5)
    assert now != pytest.approx(before, abs=1e-3)
    library.prepare(model)  # and the new row takes the old one's place
    assert found(engine) == pytest.approx(now, abs=2e-5)
    assert len(rows_of(library)) == 1


def test_preparation_goes_on_where_it_was_cut_short(
    library: Library, computed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wordframe.library._preparing.SEGMENTS_AT_ONCE", 2)
    monkeypatch.setattr("wordframe.library._preparing.COMMIT_SECONDS", 0.0)

    def interrupt(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    model, total = model_of("tcmgc-msrvtt"), library.snapshot().num_segments
    assert total > 4
    with pytest.raises(KeyboardInterrupt):
        library.prepare(model, on_progress=interrupt)
    assert len(library.snapshot(model).unprepared()) == total - 4
    assert library.prepare(model) == total - 4
    assert (sum(computed), rows_of(library)) == (total, segments_of(library))


def test_ctrl_c_ends_a_preparation_in_order(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wordframe.library._preparing.SEGMENTS_AT_ONCE", 2)
    model = model_of("tcmgc-msrvtt")

    def press(done: int, total: int) -> None:
        if done == 2:
            signal.raise_signal(signal.SIGINT)

    done = library.prepare(model, on_progress=press)
    assert 2 <= done < library.snapshot().num_segments
    assert len(rows_of(library)) == done


def test_a_second_preparer_is_told(library: Library) -> None:
    model = model_of("clip4clip-lstm")
    with (
        FileLock(library.folder / "indexing.lock"),
        pytest.raises(LibraryError, match="is writing; wait until it has ended"),
    ):
        library.prepare(model)
    assert library.prepare(model) == library.snapshot().num_segments
    assert library.prepare(model) == 0


# Models that the library knows by name -------------------------------------------------------------------------------


def test_indexing_keeps_known_models_prepared(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model_of("ea-clip4clip-mean").save(tmp_path / "mine")
    library.prepare("mine")
    assert [entry.name for entry in library.models()] == [str(tmp_path / "mine")]
    write_scenes(tmp_path / "new.mp4", ("yellow", 4))
    monkeypatch.chdir("/")
    summary = library.index([tmp_path / "new.mp4"])
    (new,) = (video for video in library.videos() if video.path.endswith("new.mp4"))
    model = library.load_model(str(tmp_path / "mine"))
    assert (summary.prepared, summary.not_prepared) == ({str(tmp_path / "mine"): new.num_segments}, {})
    assert library.snapshot(model).unprepared() == []


def test_a_known_model_that_is_gone_or_another_is_told_and_indexing_goes_on(library: Library, tmp_path: Path) -> None:
    model_of("ea-clip4clip-mean").save(tmp_path / "gone")
    model_of("ea-clip4clip-mean").save(tmp_path / "other")
    library.prepare(str(tmp_path / "gone"))
    library.prepare(str(tmp_path / "other"))
    (tmp_path / "gone" / "model.safetensors").unlink()
    model_of("ea-clip4clip-mean", seed=1).save(tmp_path / "other")
    write_scenes(tmp_path / "new.mp4", ("yellow", 4))
    summary = library.index([tmp_path / "new.mp4"])
    assert len(summary.indexed) == 1
    assert set(summary.not_prepared) == {str(tmp_path / "other")}
    assert "other weights by now" in summary.not_prepared[str(tmp_path / "other")]


def test_models_are_listed_and_forgotten(library: Library, tmp_path: Path) -> None:
    model_of("ea-clip4clip-mean").save(tmp_path / "one")
    model_of("tcmgc-msrvtt").save(tmp_path / "two")
    library.prepare(str(tmp_path / "one"))
    library.prepare(str(tmp_path / "two"))
    library.prepare(model_of("clip4clip-lstm"))  # one without a name
    assert len(library.models()) == 2
    assert len(library._store.model_table_names()) == 3
    assert library.forget_model(str(tmp_path / "one")) == 1
    assert library.forget_model(model_of("clip4clip-lstm").fingerprint) == 1
    assert [entry.name for entry in library.models()] == [str(tmp_path / "two")]
    assert len(rows_of(library)) == library.snapshot().num_segments
    with pytest.raises(LibraryError, match="is not prepared for 'nothing'"):
        library.forget_model("nothing")


@pytest.mark.parametrize("left", ["data", "_versions", ""])
def test_a_table_that_was_half_made_or_half_removed_is_in_nobodys_way(
    library: Library, left: str, tmp_path: Path
) -> None:
    (half,) = _half_table(library, left)
    write_scenes(tmp_path / "new.mp4", ("yellow", 4))
    assert len(library.index([tmp_path / "new.mp4"]).indexed) == 1
    assert not half.exists()
    (half,) = _half_table(library, left)
    assert library.prepare(model_of("tcmgc-msrvtt")) == library.snapshot().num_segments
    assert not half.exists()
    (half,) = _half_table(library, left)  # of the very model that is searched with, and prepared
    model = model_of("clip4clip-lstm")
    assert len(library.snapshot(model).unprepared()) == library.snapshot().num_segments
    assert library.prepare(model) == library.snapshot().num_segments


def _half_table(library: Library, left: str) -> list[Path]:
    """The table of a model whose maker or remover was killed: only one of its folders is left, or none."""
    before = set((library.folder / "tables").iterdir())
    library.prepare(model_of("clip4clip-lstm"))
    made = set((library.folder / "tables").iterdir()) - before
    for place in made:
        shutil.move(place, place.with_name("whole"))
        (place / left).mkdir(parents=True)
        if left == "data":
            shutil.copytree(place.with_name("whole") / left, place / left, dirs_exist_ok=True)
        shutil.rmtree(place.with_name("whole"))
    return list(made)


def test_the_nearest_of_many_vectors_are_found(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((4000, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    store, table = Store(LocalFolder(tmp_path)), None
    for some in (slice(0, 1000), slice(1000, 1010), slice(1010, 4000)):
        writer = ModelTable(LocalFolder(tmp_path), store.open_model_table("model_many", model_schema(["vector"], 16)))
        ids = [str(i) for i in range(4000)[some]]
        facts = pa.table({"segment_id": ids, "video_id": ids, "content_hash": ids, "num_frames": [1] * len(ids)})
        rows = model_rows(facts, [{"vector": vector} for vector in vectors[some]], writer.schema)
        writer.add_made(store, [Made(["all"], len(rows), rows)])
        writer.tidy(store)
        table = ModelTable(LocalFolder(tmp_path), store.open_model_table("model_many"), table)
        present = vectors[: some.stop]
        rows, keys = table.keys()
        odd = rows[[int(str(key).split(" ")[0]) % 2 == 1 for key in keys.to_pylist()]]
        for query in generator.standard_normal((5, 16)).astype(np.float32):
            query /= np.linalg.norm(query)
            (nearest,) = table.take(table.nearest(query, 1, None)).values()
            assert nearest["vector"] @ query > (present @ query).max() - 0.01
            cells = table.take(table.nearest(query, 10, odd)).values()
            shown = np.sort([one["vector"] @ query for one in cells])
            np.testing.assert_allclose(shown, np.sort(present[1::2] @ query)[-10:], atol=0.01)


# Refusals ------------------------------------------------------------------------------------------------------------


def test_an_untrained_preset_is_refused_unless_allowed(library: Library) -> None:
    with pytest.raises(WordframeError, match=r"'clip4clip-mean' is a preset: settings without trained weights; give a"):
        SearchEngine.with_model(library, "clip4clip-mean")
    assert SearchEngine.with_model(library, "clip4clip-mean", untrained=True).search("red")
    assert SearchEngine.with_model(library, "zero-shot").search("red")


def test_an_untrained_model_is_the_same_each_time(library: Library) -> None:
    assert library.prepare("clip4clip-lstm", untrained=True) == library.snapshot().num_segments
    assert library.prepare("clip4clip-lstm", untrained=True) == 0


def test_a_preset_that_the_features_do_not_suit_is_told(library: Library) -> None:
    with pytest.raises(WordframeError, match=r"'xclip' cannot work on features of 6 dimensions: heads must be given"):
        SearchEngine.with_model(library, "xclip", untrained=True)


def test_an_untrained_checkpoint_is_refused(tmp_path: Path) -> None:
    load_ready("clip4clip-mean", dimension=6, untrained=True).save(tmp_path)
    with pytest.raises(WordframeError, match="holds untrained weights; train it first, or say --untrained"):
        load_ready(str(tmp_path))
    assert load_ready(str(tmp_path), untrained=True).dimension == 6


def test_another_dimension_is_told(library: Library) -> None:
    model = TextVideoModel(settings=PRESETS["clip4clip-mean"].settings, dimension=8, trained=True)
    with pytest.raises(
        CheckpointError, match="'mine' works on features of 8 dimensions, the encoder 'colours' gives 6"
    ):
        SearchEngine(library, model, name="mine")


# A checkpoint with its own CLIP --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint") / "tcmgc"
    backbone = ClipBackbone.from_openai(openai_weights())
    settings = replace(PRESETS["tcmgc-msrvtt"].settings, max_words=10, layers=1, heads=2, keep_rate=0.3)
    torch.manual_seed(0)
    model = TextVideoModel(
        settings=settings, backbone=backbone, trained=True, tokenizer=ClipTokenizer(clip_tokenizer())
    )
    model.save(folder)
    return folder


@torch.no_grad()
def test_its_clip_is_an_encoder(checkpoint: Path) -> None:
    model, encoder = load_ready(str(checkpoint)), load_encoder(str(checkpoint), device="cpu")
    sentences = ["a dog", "the dog and the dog and the dog and the dog"]  # the second is cut as in training
    mine, theirs = encoder.encode_text(sentences), model.encode_text(sentences)
    assert encoder.max_words == mine.words.shape[1] == 10
    torch.testing.assert_close(mine.sentence, theirs.sentence)
    torch.testing.assert_close(mine.words, theirs.words)
    pixels = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(encoder.encode_pixels(pixels), model.encode_video(pixels=pixels[None]).frames[0])
    assert (encoder.dimension, encoder.short_side) == (48, 32)


def test_index_and_search_with_it_fit_together(
    checkpoint: Path, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkpoint.parent)
    Library.open(tmp_path / "library", encoder=checkpoint.name).index([videos / "red.mp4"])
    monkeypatch.chdir(tmp_path)  # the library finds its encoder from anywhere
    library = Library.open(tmp_path / "library")
    engine = SearchEngine.with_model(library, str(checkpoint))
    (hit,) = engine.search("a dog", explain=True)
    assert hit.score == pytest.approx(alone(library, engine.model, query_of(engine, "a dog").features).popitem()[1])
    assert hit.explanation is not None
    assert [word.word for word in hit.explanation.words or ()] == ["<|startoftext|>", "a", "dog", "<|endoftext|>"]


def test_another_encoder_than_its_own_is_refused(checkpoint: Path, library: Library) -> None:
    with pytest.raises(CheckpointError) as refused:
        SearchEngine.with_model(library, str(checkpoint))
    told = str(refused.value)
    assert told.startswith(f"{str(checkpoint)!r} scores features of its own CLIP (fingerprint ")
    assert "these are of the encoder 'colours' (fingerprint colours-1); make a library with it: " in told
    assert told.endswith(f"wordframe index VIDEOS --library NEW_FOLDER --encoder {checkpoint}")


def test_what_an_encoder_needs_of_a_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((checkpoint / name).read_bytes())
    with pytest.raises(EncoderError, match=r"put there tokenizer\.json, or vocab\.json and merges\.txt, of any OpenAI"):
        load_encoder(str(tmp_path))
    assert load_encoder(str(tmp_path), tokenizer=checkpoint).fingerprint == load_encoder(str(checkpoint)).fingerprint
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"backbone": {"dimension": 48}}))
    with pytest.raises(EncoderError, match=r"cannot load the checkpoint .*missing"):
        load_encoder(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps(config | {"backbone": None}))
    with pytest.raises(EncoderError, match="is a model without a CLIP of its own: it scores the features of another"):
        load_encoder(str(tmp_path))


# Limits --------------------------------------------------------------------------------------------------------------


def test_texts_are_cut_before_their_last_word() -> None:
    words = torch.arange(12.0).view(2, 6, 1)
    mask = torch.tensor([[True] * 6, [False] * 3 + [True] * 3])  # the second is padded on the left
    short = fit_text(TextFeatures(torch.zeros(2, 1), words, mask), 4)
    assert short.words[..., 0].tolist() == [[0, 1, 2, 5], [9, 10, 11, 0]]
    assert short.word_mask.tolist() == [[True] * 4, [True] * 3 + [False]]
    assert (kept_words(5, 3), kept_words(2, 3)) == ([0, 1, 4], [0, 1])


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_score_does_not_depend_on_what_else_is_scored(kind: str) -> None:
    """Texts and videos of several lengths together, as an evaluation scores them, against each pair by itself."""
    model, lengths = model_of(kind), (3, 9, 1, 5)
    torch.manual_seed(1)
    texts = TextFeatures(torch.randn(3, 6), torch.randn(3, 4, 6), torch.arange(4) < torch.tensor([[4], [2], [3]]))
    frames, mask = torch.randn(4, 9, 6), torch.arange(9) < torch.tensor(lengths)[:, None]
    together = score(model, texts, contextualize(model, VideoFeatures(frames, frames, mask)))
    for t, words in enumerate((4, 2, 3)):
        text = TextFeatures(texts.sentence[[t]], texts.words[[t], :words], texts.word_mask[[t], :words])
        for v, length in enumerate(lengths):
            kept = range(length)
            if model.max_frames is not None and length > model.max_frames:
                kept = np.linspace(0, length - 1, model.max_frames, dtype=int)
            video = model.contextualize(frames[[v]][:, list(kept)], torch.ones(1, len(kept), dtype=torch.bool))
            assert model.score(text, video).logits.item() == pytest.approx(together[t, v].item(), abs=2e-3)


def test_a_segment_is_explained_by_name(library: Library) -> None:
    engine = SearchEngine(library, model_of("tcmgc-msrvtt"))
    (hit,) = engine.search("green white", top=1, explain=True)
    assert hit.explanation is not None
    snapshot, query = engine.snapshot(), query_of(engine, "green white")
    assert explain(snapshot, query, hit.moments[0].segment_id) == hit.explanation
    assert hit.explanation.score == pytest.approx(hit.score, abs=2e-5)
    assert [word.word for word in hit.explanation.words or ()] == ["green", "white"]
    with pytest.raises(WordframeError, match="no segment 'nothing' in this library"):
        explain(snapshot, query, "nothing")


def test_a_models_table_that_is_just_being_made_counts_as_none(tmp_path: Path) -> None:
    """Its folder is there a moment before its first version."""
    write_scenes(tmp_path / "videos" / "red.mp4", ("red", 1))
    library = Library.open(tmp_path / "library", encoder=ColourEncoder())
    library.index([tmp_path / "videos"])
    model = model_of("clip4clip-lstm")
    (tmp_path / "library" / "tables" / f"{table_name(model)}.lance").mkdir()
    assert len(SearchEngine(library, model).search("red")) == 1


@pytest.mark.parametrize(
    "kind", ["zero-shot", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("clip4clip-lstm", "tcmgc-msrvtt"))]
)
def test_one_library_is_searched_by_many_threads_while_videos_come(tmp_path: Path, kind: str) -> None:
    """Every answer is that of one whole state: with a video, all its segments; and of no other state."""
    videos = tmp_path / "videos"
    write_scenes(videos / "red.mp4", ("red", 1))
    write_scenes(videos / "blue.mp4", ("blue", 1))
    library = Library.open(tmp_path / "library", encoder=ColourEncoder())
    library.index([videos])
    model = model_of(kind)
    engine = SearchEngine(library, model)
    over = threading.Event()

    def ask() -> list[int]:
        seen = []
        while not over.is_set():
            snapshot = engine.snapshot()
            hits = search(snapshot, encode(snapshot, Query(text=QUERY)), top=100, moments=100, explained=True)
            assert len(hits) == snapshot.num_videos
            assert sum(len(hit.moments) for hit in hits) == snapshot.num_segments
            seen.append(len(hits))
        return seen

    with ThreadPoolExecutor(4) as pool:
        searches = [pool.submit(ask) for _ in range(4)]
        try:
            for colour in ("green", "cyan", "yellow", "magenta"):
                write_scenes(videos / f"{colour}.mp4", (colour, 1), ("black", 1))
                library.index([videos])
                library.prepare(model)
            (videos / "red.mp4").unlink()
            library.index([videos], prune=True)
        finally:
            over.set()
        seen = [search.result() for search in searches]
    assert all(set(lengths) <= {2, 3, 4, 5, 6} for lengths in seen)
    assert max(max(lengths) for lengths in seen) >= 5
    assert len(engine.search("red", top=100)) == 5
