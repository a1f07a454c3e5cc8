"""The rendered world on a handful of films: CLIP, features, runs that go on after a stop, tables, and the page."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from wordframe.data import match_videos, read_captions
from wordframe.encoders import load_encoder
from wordframe.evaluate import evaluate_videos
from wordframe.models import load_model

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MODULES = ("rendered_world", "world.clip", "world.features", "world.heads", "world.table", "results")
FILMS = (8, 4, 6)


@pytest.fixture(scope="module")
def parts() -> dict[str, ModuleType]:
    """The benchmark's modules by name."""
    return {name: importlib.import_module(name) for name in MODULES}


@pytest.fixture(scope="module")
def folder(parts: dict[str, ModuleType], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world, its CLIP after two steps, and its features."""
    folder = tmp_path_factory.mktemp("rendered")
    wanted = settings(parts, folder)
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts["world.clip"], "BATCH", 8)
        for step in ("make", "clip", "features"):
            getattr(parts["rendered_world"], step)(wanted)
    torch.set_num_threads(threads)
    return folder


def settings(parts: dict[str, ModuleType], folder: Path | None, arms: tuple[str, ...] = ("mean", "tcmgc")) -> object:
    return parts["rendered_world"].Wanted(
        folder=folder,
        seed=1,
        films=FILMS,
        clip_steps=2,
        epochs=1.0,
        arms=arms,
        seeds=2,
        workers=1,
        results="rendered_world",
    )


def sweep(parts: dict[str, ModuleType], folder: Path, lines: list[str]) -> object:
    heads = parts["world.heads"]
    return heads.Sweep(
        place=heads.Place(folder=folder, epochs=1.0),
        arms=[heads.ARMS[name] for name in ("mean", "tcmgc")],
        rates=(1e-3, 1e-2),
        seeds=(0, 1),
        tell=lines.append,
    )


@pytest.fixture(scope="module")
def swept(parts: dict[str, ModuleType], folder: Path) -> Path:
    sweep(parts, folder, []).run()
    return folder


def test_the_clip_is_an_encoder_of_the_project(folder: Path) -> None:
    encoder = load_encoder(str(folder / "clip"))
    sentences = ["a tiny crimson star falls", "a tiny crimson star falls over the sea"]
    text = encoder.encode_text(sentences)
    assert text.sentence.shape == (2, encoder.dimension) == (2, 128)
    assert encoder.tokens(sentences[0])[1:-1] == ["a", "tiny", "crimson", "star", "falls"]
    assert json.loads((folder / "clip" / "training.json").read_text())["steps"] == 2


def test_a_clip_that_is_there_is_kept(
    parts: dict[str, ModuleType], folder: Path, capsys: pytest.CaptureFixture
) -> None:
    before = (folder / "clip" / "model.safetensors").stat().st_mtime_ns
    parts["rendered_world"].clip(settings(parts, folder))
    assert (folder / "clip" / "model.safetensors").stat().st_mtime_ns == before
    assert "there already" in capsys.readouterr().out


def test_tokens_of_the_tokenizer_fit_the_text_tower(parts: dict[str, ModuleType]) -> None:
    tokenizer = parts["world.clip"].make_tokenizer(["a red star falls", "a red ring rises"] * 20)
    ids = tokenizer("a red star rises")["input_ids"]
    assert ids[0] == len(tokenizer) - 2
    assert ids[-1] == len(tokenizer) - 1 == max(tokenizer.get_vocab().values())
    assert tokenizer.convert_ids_to_tokens(ids[1:-1]) == ["a</w>", "red</w>", "star</w>", "rises</w>"]


def test_learning_rate_rises_and_falls(parts: dict[str, ModuleType]) -> None:
    rates = [parts["world.clip"].warm_cosine(step, 100) for step in (0, 9, 10, 55, 99)]
    assert rates == pytest.approx([0.1, 1.0, 1.0, 0.5, 0.0003], abs=1e-3)


def test_cached_features_are_those_of_evaluate(parts: dict[str, ModuleType], folder: Path) -> None:
    """The numbers of ``wordframe evaluate --videos --captions`` are those of the cached features."""
    world = folder / "world" / "test"
    matched = match_videos(world, read_captions(world / "captions.json"))
    model = load_model("clip4clip-mean", dimension=128)
    outcome = evaluate_videos(matched, load_encoder(str(folder / "clip")), model, model_name="clip4clip-mean")
    report = outcome.report
    features = parts["world.features"].read_features(folder / "features" / "test.safetensors")
    found = parts["world.heads"].ranked(model, features)
    assert report.evaluation.t2v.mean_rank == pytest.approx(np.mean(found["t2v"]))
    assert report.evaluation.v2t.mean_rank == pytest.approx(np.mean(found["v2t"]))


def test_a_batch_is_cut_to_its_longest_caption(parts: dict[str, ModuleType], folder: Path) -> None:
    features = parts["world.features"].read_features(folder / "features" / "train.safetensors")
    lengths = features.text.word_mask.sum(dim=1)
    shortest = lengths.argsort()[:3].tolist()
    batch = features.batch(shortest)
    assert batch.words.shape[1] == int(lengths[shortest].max())
    assert batch.videos.tolist() == [features.video_of[number] for number in shortest]
    assert torch.equal(batch.frames, features.video.frames[batch.videos])


def test_every_run_keeps_its_ranks(swept: Path) -> None:
    runs = [json.loads(path.read_text()) for path in sorted((swept / "runs").iterdir())]
    assert {(run["arm"], run["split"], run["seed"]) for run in runs} == {
        *((arm, "val", 1000) for arm in ("mean", "tcmgc")),
        *((arm, "test", seed) for arm in ("mean", "tcmgc") for seed in (0, 1)),
    }
    for run in runs:
        films = {"val": FILMS[1], "test": FILMS[2]}[run["split"]]
        assert (len(run["t2v"]), len(run["v2t"])) == (2 * films, films)
        assert all(1 <= rank <= films for way in ("t2v", "v2t") for rank in run[way])
    assert not (swept / "training").exists() or not list((swept / "training").iterdir())


def test_all_runs_make_the_same_number_of_steps(swept: Path) -> None:
    runs = [json.loads(path.read_text()) for path in (swept / "runs").iterdir()]
    assert {run["steps"] for run in runs} == {4 * FILMS[0] // 32}


def test_a_stopped_sweep_goes_on(parts: dict[str, ModuleType], swept: Path) -> None:
    lost = next(
        path for path in (swept / "runs").iterdir() if path.name.startswith("tcmgc_test") and "_1." in path.name
    )
    kept = {path: path.stat().st_mtime_ns for path in (swept / "runs").iterdir() if path != lost}
    before = json.loads(lost.read_text())
    lost.unlink()
    lines: list[str] = []
    sweep(parts, swept, lines).run()
    assert [line.split(":")[0] for line in lines] == [
        "4 of 4 runs are there",
        "3 of 4 runs are there",
        f"4/4 {lost.stem}",
    ]
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    after = json.loads(lost.read_text())
    assert {**after, "cpu_seconds": 0} == {**before, "cpu_seconds": 0}


@pytest.mark.slow
def test_two_workers_give_the_ranks_of_one(parts: dict[str, ModuleType], swept: Path) -> None:
    runs = sweep(parts, swept, [])
    before = {path: json.loads(path.read_text()) for path in (swept / "runs").iterdir()}
    for path in before:
        path.unlink()
    runs.workers = 2
    runs.run()
    after = {path: json.loads(path.read_text()) for path in (swept / "runs").iterdir()}
    assert after.keys() == before.keys()
    for path, result in after.items():
        assert {**result, "cpu_seconds": 0} == {**before[path], "cpu_seconds": 0}


def test_a_run_of_other_features_is_made_again(parts: dict[str, ModuleType], swept: Path) -> None:
    jobs = list(sweep(parts, swept, []).grid())
    assert all(job.result() is not None for job in jobs)
    stored = json.loads(jobs[0].file.read_text())
    jobs[0].file.write_text(json.dumps({**stored, "identity": {**stored["identity"], "features": ["other", "other"]}}))
    assert jobs[0].result() is None
    jobs[0].file.write_text(json.dumps(stored))
    assert jobs[0].result() == stored


def test_the_rate_is_chosen_on_validation(parts: dict[str, ModuleType]) -> None:
    heads = parts["world.heads"]
    chosen = heads.Sweep(
        place=heads.Place(folder=Path("nowhere")), arms=[heads.ARMS["xclip"], heads.ARMS["tcmgc-without-sdr"]]
    )
    chosen.tried = {"xclip": {1e-4: 30.0, 3e-4: 40.0, 1e-3: 40.0}, "tcmgc": {1e-4: 50.0, 3e-4: 20.0, 1e-3: 10.0}}
    assert [chosen.rate(arm) for arm in chosen.arms] == [3e-4, 1e-4]
    assert chosen.rate(heads.ARMS["mean"]) is None


def test_sharpness_multiplies_the_attention_and_nothing_else(parts: dict[str, ModuleType], folder: Path) -> None:
    heads = parts["world.heads"]
    features = parts["world.features"].read_features(folder / "features" / "test.safetensors")
    jobs = [
        heads.Job(place=heads.Place(folder=folder), arm=heads.ARMS[name], rate=1e-3, seed=0, split="test")
        for name in ("tcmgc", "tcmgc-sharper-4")
    ]
    plain, sharp = (heads.new_model(job, 128).eval() for job in jobs)
    text, frames = features.text.sentence[:, None], features.video.frames
    with torch.no_grad():
        before, after = (model.similarity.attention.attention(text, frames, None) for model in (plain, sharp))
    assert torch.allclose(after, (4 * before.log()).softmax(dim=-1), atol=1e-5)
    changed = [n for n, p in plain.named_parameters() if not torch.equal(p, sharp.get_parameter(n))]
    assert changed == ["similarity.attention.norm1.weight"]
    assert jobs[0].identity != jobs[1].identity


def test_heads_start_from_the_clip(parts: dict[str, ModuleType], folder: Path) -> None:
    heads = parts["world.heads"]
    job = heads.Job(place=heads.Place(folder=folder), arm=heads.ARMS["tcmgc"], rate=1e-3, seed=0, split="test")
    model, clip = heads.new_model(job, 128), heads.load_clip(str(folder / "clip")).towers
    assert torch.equal(model.similarity.logit_scale, clip.logit_scale)
    first = clip.model.text_model.encoder.layers[0]
    assert torch.equal(model.temporal.blocks[0].out.weight, first.self_attn.out_proj.weight)


def test_tables_say_what_the_ranks_say(parts: dict[str, ModuleType]) -> None:
    table = parts["world.table"]
    owners = np.repeat(np.arange(40), 2)

    def row(title: str, ranks: list[list[int]]) -> dict[str, object]:
        runs = [
            {"seed": seed, "cpu_seconds": 4.0, "t2v": table.packed(run), "v2t": table.packed(run[::2])}
            for seed, run in enumerate(ranks)
        ]
        return {"title": title, "rate": 1e-3, "runs": runs, "trained_numbers": 5, "steps": 7}

    def recalled(share: int) -> list[list[int]]:
        return [[1 if (query + seed) % 10 < share else 9 for query in range(80)] for seed in range(5)]

    rows = {"mean": row("MEAN", recalled(2)), "xclip": row("XCLIP", recalled(2)), "tcmgc": row("TCMGC", recalled(9))}
    figures = {
        "world": {
            "seed": 0,
            "films": {"train": 1, "val": 1, "test": 40},
            "best_recall_at_1": 90.0,
            "owners": table.packed(owners),
        },
        "clip": {"steps": 3},
        "sweep": {"batch": 32, "rates": [1e-3]},
        "arms": rows,
    }
    page = table.tables(figures)
    assert "| TCMGC | 5 | 0.001 | 5 | 4 | 90.0 ± 0.0 | 90.0 ± 0.0 | 1.0 ± 0.0 |" in page
    assert "- text→video: TCMGC against XCLIP: ahead" in page
    assert "- text→video: XCLIP against MEAN: not told apart" in page
    swapped = table.tables({**figures, "arms": {**rows, "xclip": rows["tcmgc"], "tcmgc": rows["xclip"]}})
    assert "- text→video: XCLIP against TCMGC: behind" in swapped


def test_parts_of_a_trained_model_are_ranked_alone(parts: dict[str, ModuleType], swept: Path) -> None:
    runs = [json.loads(path.read_text()) for path in (swept / "runs").iterdir()]
    assert all(run["parts"] == {} for run in runs if run["arm"] == "mean")
    for run in runs:
        if run["arm"] == "tcmgc":
            assert set(run["parts"]) == {"video_sentence", "video_word", "sentence_frame", "frame_word"}
            assert all(0 <= recall <= 100 for both in run["parts"].values() for recall in both)
    heads, features = (
        parts["world.heads"],
        parts["world.features"].read_features(swept / "features" / "test.safetensors"),
    )
    model = load_model("zero-shot", dimension=128)
    found, ranks = heads.part_recalls(model, features), heads.ranked(model, features)
    assert list(found) == ["video_sentence"]  # the one part it has is its score
    assert found["video_sentence"] == pytest.approx([100 * np.mean(np.equal(ranks[way], 1)) for way in ("t2v", "v2t")])


def test_tables_take_their_place_in_the_page(parts: dict[str, ModuleType]) -> None:
    table = parts["world.table"]
    other, mine = (f"{table.start(name)}\nold\n{table.END}\n" for name in ("other", "mine"))
    expected = f"{other}between\n{table.start('mine')}\n\nnew\n\n{table.END}\nafter\n"
    assert table.insert(f"{other}between\n{mine}after\n", "new", "mine") == expected


def test_the_table_step_gathers_the_runs(
    parts: dict[str, ModuleType], swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{parts['world.table'].start('rendered_world')}\n{parts['world.table'].END}\n")
    monkeypatch.setattr(parts["rendered_world"], "PAGE", page)
    monkeypatch.setattr(parts["results"], "FOLDER", tmp_path)
    monkeypatch.setattr(parts["world.heads"], "RATES", (1e-3, 1e-2))
    parts["rendered_world"].table(settings(parts, swept))
    figures = json.loads((tmp_path / "rendered_world.json").read_text())
    assert list(figures["arms"]) == ["zero-shot", "mean", "tcmgc"]
    assert [run["seed"] for run in figures["arms"]["tcmgc"]["runs"]] == [0, 1]
    assert "| TC-MGC | 2 |" in page.read_text()


@pytest.mark.slow
def test_the_page_shows_the_stored_results(parts: dict[str, ModuleType]) -> None:
    """docs/rendered-world.md is what ``rendered_world.py table`` writes from benchmarks/results."""
    table = parts["world.table"]
    page = (ROOT / "docs" / "rendered-world.md").read_text()
    for results in (ROOT / "benchmarks" / "results").glob("rendered_world*.json"):
        assert table.insert(page, table.tables(json.loads(results.read_text())), results.stem) == page
