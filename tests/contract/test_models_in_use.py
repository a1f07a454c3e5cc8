"""What any model promises on a library: its own scores, prepared once and never stale, and clear refusals."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock

from tests.colours import ColourEncoder, write_scenes
from tests.unit.clip_models import clip_tokenizer, openai_weights
from wordframe.encoders import ClipBackbone, load_encoder
from wordframe.errors import CheckpointError, EncoderError, LibraryError, WordframeError
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.library import Library, Prepared, Store
from wordframe.library.model_table import ModelTable, model_schema
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
from wordframe.search import Filters, SearchEngine

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


@pytest.fixture
def library(videos: Path, tmp_path: Path) -> Library:
    library = Library.open(tmp_path / "library", encoder=ColourEncoder())
    library.index([videos])
    return library


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many segments each call computed cells for."""
    calls: list[int] = []
    compute = Prepared._computed

    def counting(self: Prepared, row_ids: list[int]) -> Any:
        calls.append(len(row_ids))
        return compute(self, row_ids)

    monkeypatch.setattr(Prepared, "_computed", counting)
    return calls


@torch.no_grad()
def alone(library: Library, model: TextVideoModel, query: TextFeatures) -> dict[str, float]:
    """Plainly: each segment's score by itself, frames cut by linspace, contextual frames as float16."""
    scores = {}
    for row_id in library.store.row_ids():
        (fact,), raw = library.read_segments([row_id], ["segment_id"])
        frames = raw.frames[0]
        if model.max_frames is not None and len(frames) > model.max_frames:
            frames = frames[np.linspace(0, len(frames) - 1, model.max_frames, dtype=int)]
        video = model.contextualize(frames[None], torch.ones(1, len(frames), dtype=torch.bool))
        if not model.one_vector:
            video = video.with_contextual(video.contextual.half().float())
        scores[fact["segment_id"]] = model.score(query, video).logits.item() / model.scale
    return scores


def cut(query: TextFeatures, model: TextVideoModel) -> TextFeatures:
    if model.max_words is None:
        return query
    words = torch.cat([query.words[:, : model.max_words - 1], query.words[:, -1:]], dim=1)
    return TextFeatures(query.sentence, words, query.word_mask[:, : model.max_words])


def found(engine: SearchEngine, **options: Any) -> dict[str, float]:
    hits = engine.search(QUERY, top=100, moments=100, **options)
    return {moment.segment_id: moment.score for hit in hits for moment in hit.moments}


@pytest.mark.parametrize("kind", KINDS)
def test_search_gives_the_scores_of_the_model(library: Library, kind: str) -> None:
    model = model_of(kind)
    expected = alone(library, model, cut(library.encoder.encode_text([QUERY]), model))
    assert len(set(expected.values())) > 1, "the model tells segments apart, or this test proves nothing"
    engine = SearchEngine(library, model)
    query = engine.encode_query(text=QUERY)
    for _ in range(2):  # before anything is stored, and from what is stored
        rows = engine.score_segments(query, library.store.row_ids())
        assert {row["segment_id"]: row["score"] for row in rows} == pytest.approx(expected, abs=2e-5)
        shown = found(engine, exact=True)
        assert shown == pytest.approx({segment: expected[segment] for segment in shown}, abs=2e-5)
        assert max(shown.values()) == max(row["score"] for row in rows)
    assert engine.not_stored is None


@pytest.mark.parametrize("kind", ["clip4clip-lstm", "ea-clip4clip-mean", "tcmgc-msrvtt", "zero-shot"])
def test_a_shortlist_finds_what_exact_finds(library: Library, kind: str) -> None:
    engine = SearchEngine(library, model_of(kind))
    (exact,), (listed,) = (engine.search("green", top=1, exact=exact, shortlist=3) for exact in (True, False))
    if engine.model.one_vector:  # its own vectors make the shortlist, so even one candidate is the best one
        (listed,) = engine.search("green", top=1, shortlist=1)
        assert listed.moments[0].segment_id == exact.moments[0].segment_id
    assert listed.score <= exact.score + 1e-6


@pytest.mark.parametrize("kind", ["clip4clip-mean", "xclip"])
def test_filters_hold_for_every_model(library: Library, kind: str) -> None:
    for shortlist in (1, 200):
        hits = SearchEngine(library, model_of(kind)).search(
            "white", filters=Filters(path="holiday/*"), shortlist=shortlist
        )
        assert [Path(hit.path).name for hit in hits] == ["blue.mp4"]


@pytest.mark.parametrize("kind", ["ea-clip4clip-mean", "tcmgc-msrvtt", "tcmgc on raw frames"])
def test_preparation_is_incremental(
    library: Library, videos: Path, computed: list[int], kind: str, tmp_path: Path
) -> None:
    total, model = library.store.count(), model_of(kind)
    told: list[tuple[int, int]] = []
    SearchEngine(library, model).search("red", on_prepare=lambda done, total: told.append((done, total)))
    assert (sum(computed), told[0], told[-1]) == (total, (0, total), (total, total))
    again = SearchEngine(Library.open(library.folder, encoder=ColourEncoder()), model_of(kind))
    again.search("blue", on_prepare=lambda done, total: told.append((done, total)))
    assert (sum(computed), len(told)) == (total, 2)
    write_scenes(tmp_path / "new.mp4", ("yellow", 4))
    library.index([tmp_path / "new.mp4"])
    again.search("blue")
    assert sum(computed) == library.store.count() > total
    SearchEngine(library, model_of(kind, seed=1)).search("red")
    assert sum(computed) == 2 * library.store.count()


def test_a_model_that_needs_nothing_stores_nothing(library: Library, computed: list[int]) -> None:
    engine = SearchEngine(library, model_of("zero-shot"))
    with FileLock(library.folder / "indexing.lock"):
        engine.search("red", on_prepare=lambda done, total: pytest.fail("there is nothing to prepare"))
    assert (computed, engine.not_stored, library.store.model_tables()) == ([], None, [])


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each read of a table asked for."""
    calls: list[int] = []
    for place in (Store, ModelTable):

        def counting(self: Any, row_ids: list[int], *rest: Any, _take: Any = place.take) -> Any:
            calls.append(len(row_ids))
            return _take(self, row_ids, *rest)

        monkeypatch.setattr(place, "take", counting)
    return calls


@pytest.mark.parametrize("kind", ["tcmgc-msrvtt", "tcmgc on raw frames", "xclip", "zero-shot"])
def test_candidates_of_an_earlier_search_are_not_read_again(
    library: Library, kind: str, read: list[int], computed: list[int], tmp_path: Path
) -> None:
    engine = SearchEngine(library, model_of(kind))
    query, row_ids = engine.encode_query(text=QUERY), library.store.row_ids()
    engine.search("red")  # stores what the model needs, and keeps the candidates
    before = engine.score_segments(query, row_ids)
    read.clear(), computed.clear()
    assert engine.score_segments(query, row_ids) == before
    assert (sum(read), sum(computed)) == (0, 0)
    write_scenes(tmp_path / "new.mp4", ("yellow", 4))
    library.index([tmp_path / "new.mp4"])
    engine.search("red")
    expected = alone(library, engine.model, cut(library.encoder.encode_text([QUERY]), engine.model))
    rows = engine.score_segments(query, library.store.row_ids())
    assert len(rows) > len(before)
    assert {row["segment_id"]: row["score"] for row in rows} == pytest.approx(expected, abs=2e-5)


def test_a_scan_of_everything_is_not_kept(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wordframe.library.prepared.MOST_KEPT_AT_ONCE", 3)
    engine = SearchEngine(library, model_of("tcmgc on raw frames"))
    query, row_ids = engine.encode_query(text=QUERY), library.store.row_ids()
    engine.score_segments(query, row_ids)
    assert len(engine.prepared._cache) == 0
    engine.score_segments(query, row_ids[:3])
    assert len(engine.prepared._cache) == 3


def rows_of(library: Library) -> list[str]:
    (table,) = library.store.model_tables()
    return sorted(str(key).split(" ")[0] for key in table.keys()[1].to_pylist())


def segments_of(library: Library) -> list[str]:
    return sorted(str(key).split(" ")[0] for key in library.store.segment_keys()[1].to_pylist())


@pytest.mark.parametrize("kind", ["ea-clip4clip-transformer", "xclip"])
def test_changed_moved_and_pruned_videos(kind: str, computed: list[int], tmp_path: Path) -> None:
    videos, model = tmp_path / "videos", model_of(kind)
    for name, colour in (("a", "red"), ("b", "blue"), ("c", "green")):
        write_scenes(videos / f"{name}.mp4", (colour, 2), ("white", 2))
    library = Library.open(tmp_path / "library", encoder=ColourEncoder())
    library.index([videos])
    engine = SearchEngine(library, model)
    engine.search("red")
    done = sum(computed)
    (videos / "a.mp4").rename(videos / "moved.mp4")
    library.index([videos])
    engine.search("red")
    assert sum(computed) == done  # a move needs nothing
    write_scenes(videos / "b.mp4", ("cyan", 3), ("black", 2))
    library.index([videos])
    assert set(rows_of(library)) < set(segments_of(library))  # its old rows are gone at once
    expected = alone(library, model, cut(library.encoder.encode_text([QUERY]), model))
    shown = found(engine)
    assert shown == pytest.approx({segment: expected[segment] for segment in shown}, abs=2e-5)
    (changed,) = (video for video in library.videos() if video.path.endswith("b.mp4"))
    assert sum(computed) == done + changed.num_segments
    assert rows_of(library) == segments_of(library)
    (videos / "c.mp4").unlink()
    library.index([videos], prune=True)
    assert rows_of(library) == segments_of(library)


def test_stale_rows_are_never_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The indexer leaves old rows behind, as a killed one does, and nothing new can be stored."""
    path, model = tmp_path / "videos" / "a.mp4", model_of("clip4clip-lstm")
    write_scenes(path, ("red", 3))
    library = Library.open(tmp_path / "library", encoder=ColourEncoder())
    library.index([path])
    engine = SearchEngine(library, model)
    before = found(engine)
    monkeypatch.setattr("wordframe.library.library.forget_stale", lambda store: None)
    write_scenes(path, ("cyan", 3))
    library.index([path])
    assert rows_of(library) == segments_of(library)  # the same names, another content
    with FileLock(library.folder / "indexing.lock"):
        now = found(engine)
    assert now == pytest.approx(alone(library, model, library.encoder.encode_text([QUERY])), abs=2e-5)
    assert now != pytest.approx(before, abs=1e-3)
    assert engine.not_stored is not None
    assert "is writing; wait until it has ended" in engine.not_stored
    assert found(engine) == now  # and once the lock is free, the new row takes the old one's place
    assert engine.not_stored is None
    assert len(rows_of(library)) == 1


@pytest.mark.parametrize("kind", ["clip4clip-transformer", "tcmgc-msrvtt"])
def test_a_library_that_cannot_be_written_is_searched(
    library: Library, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(self: Library) -> Iterator[None]:
        raise LibraryError(f"{self.folder}: cannot be written (read-only file system)")

    engine = SearchEngine(library, model_of(kind))
    with monkeypatch.context() as patched:
        patched.setattr(Library, "locked", locked)
        read_only = found(engine, shortlist=2)
        assert engine.not_stored == f"{library.folder}: cannot be written (read-only file system)"
        assert library.store.model_tables() == []
    assert found(engine, shortlist=2) == pytest.approx(read_only, abs=2e-5)
    assert len(rows_of(library)) == library.store.count()


def test_preparation_goes_on_where_it_was_cut_short(
    library: Library, computed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wordframe.library.prepared.SEGMENTS_AT_ONCE", 2)
    monkeypatch.setattr("wordframe.library.prepared.COMMIT_SECONDS", 0.0)

    def interrupt(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    model, total = model_of("tcmgc-msrvtt"), library.store.count()
    assert total > 4
    with pytest.raises(KeyboardInterrupt):
        SearchEngine(library, model).search("red", on_prepare=interrupt)
    engine = SearchEngine(library, model)
    assert len(engine.prepared.missing()) == total - 4
    engine.search("red")
    assert (sum(computed), rows_of(library)) == (total, segments_of(library))


def test_a_second_preparer_is_told(library: Library) -> None:
    prepared = Prepared(library, model_of("clip4clip-lstm"))
    with (
        FileLock(library.folder / "indexing.lock"),
        pytest.raises(LibraryError, match="is writing; wait until it has ended"),
    ):
        prepared.prepare()
    assert prepared.prepare() == library.store.count()
    assert prepared.prepare() == 0


def test_the_nearest_of_many_vectors_are_found(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((4000, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    table = Store(tmp_path, 16).model_table("many", model_schema(["vector"], 16))
    assert isinstance(table, ModelTable)
    facts = [{"segment_id": str(i), "video_id": str(i % 2)} for i in range(len(vectors))]
    for some in (slice(0, 1000), slice(1000, 1010), slice(1010, 4000)):
        table.add(facts[some], [str(i) for i in range(4000)[some]], [{"vector": vector} for vector in vectors[some]])
        table.tidy()
        table.refresh()
        present = vectors[: some.stop]
        for query in generator.standard_normal((5, 16)).astype(np.float32):
            query /= np.linalg.norm(query)
            (nearest,) = table.take(table.nearest(query, 1, None)).values()
            assert nearest["vector"] @ query > (present @ query).max() - 0.01
            odd = table.take(table.nearest(query, 10, "video_id = '1'")).values()
            found = np.sort([one["vector"] @ query for one in odd])
            np.testing.assert_allclose(found, np.sort(present[1::2] @ query)[-10:], atol=0.01)


# Refusals ------------------------------------------------------------------------------------------------------------


def test_an_untrained_preset_is_refused_unless_allowed(library: Library) -> None:
    with pytest.raises(WordframeError, match=r"'clip4clip-mean' is a preset: settings without trained weights; give a"):
        SearchEngine.with_model(library, "clip4clip-mean")
    assert SearchEngine.with_model(library, "clip4clip-mean", untrained=True).search("red")
    assert SearchEngine.with_model(library, "zero-shot").search("red")


def test_an_untrained_model_is_the_same_each_time(library: Library, computed: list[int]) -> None:
    for _ in range(2):
        SearchEngine.with_model(library, "clip4clip-lstm", untrained=True).search("red")
    assert sum(computed) == library.store.count()


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
    assert hit.score == pytest.approx(alone(library, engine.model, engine.encode_query(text="a dog")).popitem()[1])
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
    assert engine.explain("green white", hit.moments[0].segment_id) == hit.explanation
    assert hit.explanation.score == pytest.approx(hit.score, abs=2e-5)
    assert [word.word for word in hit.explanation.words or ()] == ["green", "white"]
    with pytest.raises(WordframeError, match="no segment 'nothing'; take one from a hit's moments"):
        engine.explain("green", "nothing")


def test_one_engine_serves_many_threads_while_videos_come(tmp_path: Path) -> None:
    write_scenes(tmp_path / "videos" / "red.mp4", ("red", 1))
    write_scenes(tmp_path / "videos" / "blue.mp4", ("blue", 1))
    library = Library.open(tmp_path / "library", encoder=ColourEncoder())
    library.index([tmp_path / "videos"])
    engine = SearchEngine(Library.open(tmp_path / "library", encoder=ColourEncoder()), model_of("clip4clip-lstm"))
    write_scenes(tmp_path / "videos" / "green.mp4", ("green", 1))
    with ThreadPoolExecutor(4) as pool:
        searches = [pool.submit(found, engine) for _ in range(30)]
        with contextlib.suppress(LibraryError):  # a search that prepares may hold the lock just now
            library.index([tmp_path / "videos"])
        lengths = {len(search.result()) for search in searches}
    assert lengths <= {2, 3}
