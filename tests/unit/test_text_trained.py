"""Heads trained from captions: what the stand-ins are made of, how the rule judges, and that the page is current."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

ROOT = Path(__file__).parents[2]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Modules of the benchmark by name."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return lambda name: importlib.import_module(f"text_trained.{name}")


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    (tmp_path / "msvd_train_list.txt").write_text("one\ntwo\n")
    captions = {"one": ["a dog", "a dog ", "a hound"], "two": ["a car"], "tested": ["never read"]}
    (tmp_path / "msvd_captions.json").write_text(json.dumps(captions))
    described = {"v_a": {"sentences": ["first.", " then. "]}, "v_b": {"sentences": ["alone."]}}
    (tmp_path / "activitynet_train.json").write_text(json.dumps(described))
    return tmp_path


def captions_of(load: Any, number: int, each: int) -> Any:
    """``number`` scenes of their own videos; sentences are unit vectors at right angles."""
    captions = load("captions")
    scenes = [captions.Scene(video, "msvd", tuple("abcdef"[:each])) for video in range(number)]
    total = number * each
    return captions.Captions(
        scenes=scenes,
        sentence=torch.eye(384)[:total],
        words=np.ones((2 * total, 384), np.float16),
        starts=np.arange(0, 2 * total + 1, 2),
        first=np.arange(0, total + 1, each),
    )


def stand_ins_of(load: Any, captions: Any, **sizes: float) -> Any:
    module = load("stand_ins")
    everything = np.arange(len(captions.scenes))
    return module.StandIns(
        captions, everything, mean_logits=torch.linspace(0, 4, 1000), seed=0, sizes=module.Sizes(**sizes)
    )


def test_scenes_come_from_the_train_parts_alone(load: Any, annotations: Path) -> None:
    scenes = load("captions").read_scenes(annotations, left_out=frozenset({"two"}))
    assert [(scene.video, scene.source, scene.captions) for scene in scenes] == [
        (0, "msvd", ("a dog", "a hound")),
        (1, "activitynet", ("first.",)),
        (1, "activitynet", ("then.",)),
        (2, "activitynet", ("alone.",)),
    ]


def test_videos_are_held_out_whole(load: Any) -> None:
    captions = load("captions")
    scenes = [captions.Scene(video, "activitynet", ("x",)) for video in range(300) for _ in range(3)]
    training, held = captions.split(scenes)
    videos = [{scenes[place].video for place in part} for part in (training, held)]
    assert not videos[0] & videos[1]
    assert len(training) + len(held) == len(scenes)
    assert 10 <= len(videos[1]) <= 60


def test_without_causes_every_frame_is_the_mean_real_one(load: Any) -> None:
    captions = captions_of(load, 6, 2)
    silent = stand_ins_of(load, captions, strength=0.0, distractor=0.0, scene_error=0.0, frame_error=0.0)
    pairs = silent.draw(4, source="msvd")
    expected = (torch.linspace(0, 4, 1000) / 2).softmax(dim=0) @ silent.directions
    torch.testing.assert_close(pairs.video.frames, expected.expand(4, 12, -1), atol=1e-5, rtol=0)


def test_a_query_is_not_among_the_captions_its_scene_is_made_of(load: Any) -> None:
    captions = captions_of(load, 8, 4)
    stand_ins = stand_ins_of(load, captions)
    for scene in range(8):
        query, content = stand_ins._content(scene, keep_query=True)
        assert 4 * scene <= query < 4 * scene + 4
        assert content[query] == 0
        assert content.count_nonzero() == 3


def test_a_caption_pulls_its_frames_towards_itself(load: Any) -> None:
    captions = captions_of(load, 8, 2)
    stand_ins = stand_ins_of(load, captions)
    sentence = F.normalize(stand_ins.directions[291], dim=0)  # lion
    content = sentence.expand(8, 4, -1)
    frames = stand_ins.frames(content, torch.zeros(8, 12, dtype=torch.long))
    silent = stand_ins_of(load, captions, strength=0.0).frames(content, torch.zeros(8, 12, dtype=torch.long))
    towards, before = (F.cosine_similarity(some, sentence, dim=-1).mean() for some in (frames, silent))
    assert towards > before + 0.2


def test_our_own_sentences_are_complete_and_the_same_each_time(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    written = load("written")
    monkeypatch.setattr(written, "class_texts", lambda: ["lion: a big cat", "espresso", "tench"])
    scenes = written.written_scenes()
    assert scenes == written.written_scenes()
    captions = [caption for scene in scenes for caption in scene.captions]
    assert not any("{" in caption or "|" in caption for caption in captions)
    assert any("an espresso" in caption for caption in captions)
    assert {scene.source for scene in scenes} == {"written"}
    assert min(len(scene.captions) for scene in scenes) >= 2


def judged(t2v: float, v2t: float, low: float, joined: float) -> dict[str, Any]:
    gains = {"t2v": {"gain": t2v}, "v2t": {"gain": v2t}, "both": {"gain": 1.0, "interval": [low, 9.0]}}
    return {"over_attention": gains, "joined": joined}


@pytest.mark.parametrize(
    ("row", "better"),
    [
        (judged(2.0, 1.0, 0.1, 70.0), True),
        (judged(-0.1, 5.0, 0.1, 70.0), False),
        (judged(5.0, 0.0, 0.1, 70.0), False),
        (judged(2.0, 1.0, -0.1, 70.0), False),
        (judged(2.0, 1.0, 0.1, 69.9), False),
    ],
)
def test_a_head_wins_only_by_every_part_of_the_rule(load: Any, row: dict[str, Any], better: bool) -> None:
    assert load("measure").wins(row, {"joined": 70.0}) is better


def test_the_best_on_held_out_captions_is_chosen_unless_real_frames_speak_against_it(load: Any) -> None:
    def row(held_out: float, gain: float) -> dict[str, Any]:
        return {"held_out": {"average": held_out}, "fit": {"over_attention": {"both": {"gain": gain}}}}

    program = load("measure")
    one, two, three = program.RECIPES[:3]
    rows = {one.name: row(60.0, 0.0), two.name: row(65.0, -0.1), three.name: row(59.0, 9.0)}
    assert program.choose(rows, [one, two, three]) is one
    with pytest.raises(SystemExit, match="every trained head falls below the untrained attention"):
        program.choose(rows, [two])


def test_the_table_of_the_docs_is_current(load: Any) -> None:
    figures = json.loads((ROOT / "benchmarks" / "results" / "text_trained.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "text-trained.md").read_text(encoding="utf-8")
    for line in load("table").table(figures["rows"]).splitlines():
        assert line in page


def test_the_stored_choices_follow_from_the_stored_figures(load: Any) -> None:
    figures = json.loads((ROOT / "benchmarks" / "results" / "text_trained.json").read_text(encoding="utf-8"))
    program, rows = load("measure"), figures["rows"]
    shippable = [recipe for recipe in program.RECIPES if recipe.sources == program.OWN]
    for choice, recipes in (("chosen", program.RECIPES), ("chosen_to_ship", shippable)):
        name = program.choose(rows, recipes).name
        assert figures[choice]["name"] == name
        assert figures[choice]["wins"] is load("measure").wins(rows[name]["judge"], rows[program.BASELINE]["judge"])
