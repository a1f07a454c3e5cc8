"""The real commands with models: convert, models, search and evaluate by any, explained, or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.colours import write_scenes
from tests.unit.clip_models import clip_tokenizer
from tests.unit.test_checkpoint import weights
from wordframe.cli import main
from wordframe.models import PRESETS, load_model

TCMGC = [
    *("--family", "tcmgc", "--sim-header", "seqTransf", "--max-words", "10", "--max-frames", "6"),
    *("--keep-rate", "0.5", "--softmax-lambda", "5", "--heads", "vision=2,text=2,temporal=2,conditional=2"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``videos``, their offline ``library``, ``captions.json``, an authors' file, and its ``checkpoint``."""
    folder = tmp_path_factory.mktemp("models")
    write_scenes(folder / "videos" / "red.mp4", ("red", 3))
    write_scenes(folder / "videos" / "two.mp4", ("green", 2), ("blue", 2))
    assert main(["index", str(folder / "videos"), "-l", str(folder / "library")]) == 0
    (folder / "captions.json").write_text(json.dumps({"red.mp4": "red", "two.mp4": ["green", "then blue"]}))
    torch.save(weights() | {"loss_fct.scale": torch.ones(1)}, folder / "authors.bin")
    assert main(["convert", str(folder / "authors.bin"), *TCMGC, "--to", str(folder / "checkpoint")]) == 0
    clip_tokenizer().save_pretrained(folder / "checkpoint")
    return folder


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.strip().splitlines()
    return line


# convert -------------------------------------------------------------------------------------------------------------


def test_convert_tells_what_it_did(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new"
    assert main(["convert", str(place / "authors.bin"), *TCMGC, "--to", str(folder)]) == 0
    shown = capsys.readouterr()
    assert shown.err == "1 tensor in the file not used: loss_fct.scale\n"
    assert shown.out.startswith(f"{folder}: tcmgc, seqTransf, ")
    assert f"put vocab.json and merges.txt of any OpenAI CLIP into {folder}" in shown.out
    assert f"wordframe index VIDEOS --library NEW_FOLDER --encoder {folder}" in shown.out
    model = load_model(folder)
    assert (model.trained, model.settings.mask_padding, model.settings.conditional_heads) == (True, False, 2)


def test_convert_json(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["convert", str(place / "authors.bin"), *TCMGC, "--mask-padding", "--to", str(tmp_path), "--json"]
    assert main(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["folder"], told["leftovers"], told["one_vector"]) == (str(tmp_path), ["loss_fct.scale"], False)
    assert (told["dimension"], told["settings"]["mask_padding"], told["settings"]["layers"]) == (48, True, 2)


def test_convert_spares_what_is_there(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    arguments = ["convert", str(place / "authors.bin"), *TCMGC, "--to", str(tmp_path)]
    assert main(arguments) == 1
    told = one_line(capsys)
    assert told == f"wordframe: {tmp_path}: there is something already; name a new folder, or say --overwrite"
    assert main([*arguments, "--overwrite"]) == 0
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert main([*arguments[:-1], str(tmp_path / "notes.txt"), "--overwrite"]) == 1


@pytest.mark.parametrize(
    ("changes", "status", "told"),
    [
        (["--family", "clip5clip"], 2, "family='clip5clip' is not allowed; use one of 'clip4clip'"),
        (["--heads", "temporal"], 2, "--heads 'temporal': write name=number,…, such as vision=12"),
        (["--heads", "temporal=2"], 2, "heads needs 'conditional' for family='tcmgc'"),
        (["--heads", "sideways=2"], 2, "heads has 'sideways'; allowed: vision, text"),
        (["--keep-rate", "0.01"], 2, "keep_rate=0.01 keeps 0 of max_words=10 words"),
        (["--sim-header", "max"], 2, "sim_header='max' is not allowed"),
        (
            ["--heads", "conditional=2,cross=2"],
            2,
            "heads has 'cross', but family='tcmgc' with",
        ),
        (["--drop", "no_such"], 2, "drop='no_such': no tensor that the model leaves begins so"),
        (["--keep-rate", "0.3"], 1, "set max_words and keep_rate so that int(max_words · keep_rate) = 5"),
        (
            ["--sim-header", "seqLSTM", "--heads", "conditional=2"],
            1,
            "tensors are missing for family='tcmgc', sim_header='seqLSTM'",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_convert_tells_wrong_settings(
    place: Path, tmp_path: Path, changes: list[str], status: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["convert", str(place / "authors.bin"), *TCMGC, *changes, "--to", str(tmp_path / "new")]
    assert main(arguments) == status
    assert told in one_line(capsys)
    assert not (tmp_path / "new").exists()


def test_convert_tells_wrong_files(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.bin").write_text("no weights")
    torch.save({"head.weight": torch.ones(1)}, tmp_path / "other.bin")
    for name, told in (
        ("text.bin", "carries more than tensors, or is damaged"),
        ("other.bin", "no tensor is named 'clip.…', so this is no checkpoint of these models"),
        ("nowhere.bin", "no checkpoint at"),
    ):
        assert main(["convert", str(tmp_path / name), *TCMGC, "--to", str(tmp_path / "new")]) == 1
        assert told in one_line(capsys)


# models --------------------------------------------------------------------------------------------------------------


def test_models_lists_every_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    blocks = capsys.readouterr().out.strip().split("\n\n")
    assert [block.split()[0] for block in blocks] == list(PRESETS)
    (tcmgc,) = (block for block in blocks if block.startswith("tcmgc-msrvtt"))
    assert "(needs training)" in tcmgc
    assert "arXiv 2504.04707" in tcmgc
    assert "published text→video R@1: MSR-VTT 1k-A 47.4" in tcmgc
    assert "zero-shot  (ready to use)" in blocks[0]


def test_models_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    told = {preset["name"]: preset for preset in json.loads(capsys.readouterr().out)}
    assert set(told) == set(PRESETS)
    assert told["xclip"]["published_t2v_recall_at_1"]["DiDeMo"] == 45.2
    assert (told["zero-shot"]["needs_training"], told["xclip"]["needs_training"]) == (False, True)
    assert told["tcmgc-didemo"]["settings"]["max_words"] == 64


@pytest.mark.parametrize("command", ["convert", "models"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"wordframe {command}" in capsys.readouterr().out.split("Example", 1)[1]


# search --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [pytest.param("ea-clip4clip-mean", marks=pytest.mark.slow), "tcmgc-msrvtt"])
def test_a_search_says_what_to_prepare_and_answers_the_same_afterwards(
    place: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["search", "a red picture", "-l", str(place / "library"), "--model", model, "--untrained", "--json"]
    assert main(arguments) == 0
    first = capsys.readouterr()
    assert f"not prepared for {model}: 3 segments of 3" in first.err
    command = f"prepare {model} --untrained --library {place / 'library'}"
    assert f"wordframe {command}" in first.err
    assert main(command.split()) == 0
    assert f"3 segments prepared for {model}" in capsys.readouterr().out
    assert main(arguments) == 0
    second = capsys.readouterr()
    assert second.err == ""
    one, two = json.loads(first.out), json.loads(second.out)
    assert [(hit["rank"], hit["path"]) for hit in two] == [(hit["rank"], hit["path"]) for hit in one]
    assert [hit["score"] for hit in two] == pytest.approx([hit["score"] for hit in one], abs=1e-5)
    assert [hit["rank"] for hit in two] == [1, 2]


def test_search_by_an_untrained_preset_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        ["search", "red", "-l", str(place / "library")],
        ["evaluate", "--videos", str(place / "videos"), "--captions", str(place / "captions.json")],
    ):
        assert main([*command, "--model", "xclip"]) == 1
        assert "'xclip' is a preset: settings without trained weights" in one_line(capsys)


def test_explain_is_printed_under_each_hit(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "a red car", "-l", str(place / "library"), "--explain"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert len([line for line in lines if line.strip().startswith("parts     video-sentence ")]) == 2
    strips = [line for line in lines if line.strip().startswith("sentence  ")]
    assert len(strips) == 2
    assert all("█" in strip and "most at 0:0" in strip for strip in strips)


def test_explain_in_json(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["search", "a red car", "-l", str(place / "library"), "--explain", "--json"]
    assert main([*arguments, "--model", "tcmgc-msrvtt", "--untrained"]) == 0
    for hit in json.loads(capsys.readouterr().out):
        told = hit["explanation"]
        assert (told["segment_id"], told["score"]) == (hit["moments"][0]["segment_id"], hit["score"])
        assert set(told["parts"]) == set(told["part_weights"]) > {"video_word"}
        assert sum(told["sentence_attention"]) == pytest.approx(1, abs=1e-4)
        assert [word["word"] for word in told["words"]] == ["[CLS]", "a", "red", "car", "[SEP]"]
        assert all(len(word["attention"]) == len(told["seconds"]) for word in told["words"])
    assert main(["search", "a red car", "-l", str(place / "library"), "--json"]) == 0
    assert all("explanation" not in hit for hit in json.loads(capsys.readouterr().out))


def test_a_checkpoint_of_another_encoder_says_what_to_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = place / "checkpoint"
    assert main(["search", "red", "-l", str(place / "library"), "--model", str(folder)]) == 1
    told = one_line(capsys)
    assert "scores features of its own CLIP (fingerprint" in told
    assert told.endswith(f"wordframe index VIDEOS --library NEW_FOLDER --encoder {folder}")


def test_a_converted_checkpoint_indexes_and_searches(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, library = str(place / "checkpoint"), str(tmp_path / "library")
    assert main(["index", str(place / "videos"), "-l", library, "--encoder", folder]) == 0
    capsys.readouterr()
    assert main(["search", "the dog", "-l", library, "--model", folder, "--explain"]) == 0
    shown = capsys.readouterr()
    assert "parts     video-sentence" in shown.out
    assert len([line for line in shown.out.splitlines() if line.strip().startswith("dog  ")]) == 2


# evaluate ------------------------------------------------------------------------------------------------------------


def evaluated(place: Path, *arguments: str) -> int:
    return main(["evaluate", "--videos", str(place / "videos"), "--captions", str(place / "captions.json"), *arguments])


@pytest.mark.parametrize(
    "model", ["clip4clip-lstm", *(pytest.param(name, marks=pytest.mark.slow) for name in ("xclip", "clip4clip-tight"))]
)
def test_evaluate_by_a_preset(place: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluated(place, "--model", model, "--untrained", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["gallery"], told["queries"], told["model"]) == (2, 3, model)


def test_evaluate_takes_a_checkpoints_own_clip(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(place / "checkpoint")
    assert evaluated(place, "--model", folder, "--json") == 0
    assert json.loads(capsys.readouterr().out)["encoder"].startswith(folder)
    assert evaluated(place, "--model", folder, "--encoder", "offline") == 1
    assert one_line(capsys).endswith("leave --encoder out to use the model's own")
