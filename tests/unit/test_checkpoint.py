"""Checkpoints: authors' files in every form, what is refused and with which words, ours to a folder and to the hub."""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.unit.clip_models import clip_tokenizer, openai_weights
from wordframe.encoders import ClipBackbone
from wordframe.errors import CheckpointError, EncoderError
from wordframe.models import ClipTokenizer, ModelSettings, TextVideoModel, load_authors_checkpoint, load_model
from wordframe.models.authors import authors_name

TOWERS = {"vision": 2, "text": 2}
HEADS = {
    "clip4clip": {**TOWERS, "temporal": 2},
    "tight": {**TOWERS, "cross": 2},
    "ea": TOWERS,
    "xclip": TOWERS,
    "tcmgc": {**TOWERS, "temporal": 2, "conditional": 2},
}
KINDS: dict[str, dict[str, Any]] = {
    "clip4clip": {"family": "clip4clip", "sim_header": "seqTransf"},
    "tight": {"family": "clip4clip", "sim_header": "tightTransf"},
    "ea": {
        "family": "ea-clip4clip",
        "sim_header": "seqLSTM",
        "se_type": "excitation_seq_aggregation",
        "reduction_ratio": 0.5,
    },
    "xclip": {"family": "xclip", "sim_header": "meanP"},
    "tcmgc": {"family": "tcmgc", "sim_header": "seqTransf", "keep_rate": 0.5, "softmax_lambda": 5.0},
}


def load(source: Any, kind: str = "tcmgc", **changes: Any) -> TextVideoModel:
    settings = {"max_words": 10, "max_frames": 6, "heads": HEADS[kind], **KINDS[kind], **changes}
    return load_authors_checkpoint(source, **settings)


def weights(kind: str = "tcmgc") -> dict[str, Tensor]:
    """An authors' state dict: CLIP in OpenAI's layout and the head's tensors under the authors' names."""
    clip = {f"clip.{name}": tensor for name, tensor in openai_weights().items()}
    torch.manual_seed(0)
    options = {name: value for name, value in KINDS[kind].items() if name != "softmax_lambda"}
    sizes = {"max_words": 10, "max_frames": 6, "heads": 2, "layers": 2, "positions": 9}
    settings = ModelSettings.from_dict({**sizes, **options})
    head = TextVideoModel(settings=settings, dimension=48).state_dict()
    made = {authors_name(name, settings): torch.randn(tensor.shape) for name, tensor in head.items()}
    return clip | {name: tensor for name, tensor in made.items() if not name.startswith("clip.")}


@torch.no_grad()
def scores(model: TextVideoModel) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    ids = torch.tensor([[514, 3, 4, 517, 0], [514, 9, 517, 0, 0]])
    text = model.encode_text(input_ids=ids, mask=ids > 0)
    pixels = torch.randn(2, 3, 3, 32, 32, generator=generator)
    return model.score(text, model.encode_video(pixels=pixels, frame_mask=torch.tensor([[1, 1, 1], [1, 0, 0]]))).logits


@pytest.mark.parametrize("kind", KINDS)
def test_every_form_of_a_file_gives_the_same_model(kind: str, tmp_path: Path) -> None:
    tensors = weights(kind)
    expected = scores(load(tensors, kind))
    wrapped = {f"module.{name}": tensor for name, tensor in tensors.items()}
    torch.save(wrapped, tmp_path / "pytorch_model.bin")
    torch.save({"epoch": 3, "state_dict": tensors, "lr": [0.1]}, tmp_path / "nested.pt")
    save_file(tensors, tmp_path / "model.safetensors")
    for name in ("pytorch_model.bin", "nested.pt", "model.safetensors"):
        model = load(tmp_path / name, kind)
        assert not model.training
        assert model.trained
        torch.testing.assert_close(scores(model), expected)
    torch.testing.assert_close(scores(load(str(tmp_path / "nested.pt"), kind)), expected)


def test_a_model_of_given_tensors_has_tensors_of_its_own() -> None:
    tensors = weights()
    model, before = load(tensors), {name: tensor.clone() for name, tensor in tensors.items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(tensors[name], tensor) for name, tensor in before.items())


def test_half_precision_files_become_float32() -> None:
    model = load({name: tensor.half() for name, tensor in weights().items()})
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_leftovers_are_listed() -> None:
    extra = {
        "conditional_transformer.pool_frames.cross_attn.q_proj.weight": torch.eye(48),
        "clip.visual.position_ids": torch.arange(3),
        "loss_fct.scale": torch.ones(1),
    }
    model = load(weights() | extra)
    assert model.leftovers == tuple(sorted(extra))


@pytest.mark.parametrize(
    ("kind", "name", "shape"),
    [
        ("clip4clip", "clip.visual.conv2.weight", (128, 3, 3, 8, 8)),
        ("ea", "se_block.intra_mlp.0.weight", (4, 4)),
        ("ea", "intra_mlp.fc.weight", (4, 4)),
        ("xclip", "transformerClip.resblocks.0.ln_1.weight", (48,)),
        ("xclip", "cross.pooler.dense.weight", (48, 48)),
        ("clip4clip", "global_mat_weight", (48, 48)),
        ("xclip", "attentive_frame_word_mat_weight2", (3, 3)),
        ("xclip", "logit_weight", (4, 4)),
        ("xclip", "conditional_transformer.pool_frames.linear_proj.weight", (48, 48)),
    ],
)
def test_a_file_of_another_model_is_refused_unless_said_otherwise(kind: str, name: str, shape: tuple[int, ...]) -> None:
    tensors = weights(kind) | {name: torch.ones(shape)}
    told = re.escape(name) + r"; convert it with the settings it was trained with, or say --drop NAME"
    with pytest.raises(CheckpointError, match=told):
        load(tensors, kind)
    model = load(tensors, kind, drop=[name.rpartition(".")[0] or name])
    assert model.leftovers == (name,)
    torch.testing.assert_close(scores(model), scores(load(weights(kind), kind)))


def test_clips_scale_is_the_models_scale() -> None:
    tensors = weights() | {"clip.logit_scale": torch.tensor(1.5)}
    model = load(tensors)
    assert model.backbone is not None
    assert model.similarity.logit_scale is model.backbone.logit_scale
    assert model.similarity.logit_scale.item() == 1.5
    moved = model.double()
    assert moved.backbone is not None
    assert moved.similarity.logit_scale is moved.backbone.logit_scale


class Evil:
    """Its pickle would write a file when opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.path, "owned"))


@pytest.mark.parametrize("way", ["torch", "pickle"])
def test_a_pickle_with_code_is_refused_and_not_run(way: str, tmp_path: Path) -> None:
    content, path = {"clip.x": torch.ones(1), "evil": Evil(tmp_path / "trace")}, tmp_path / "model.bin"
    if way == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(Evil(tmp_path / "trace")))
    with pytest.raises(
        CheckpointError, match="carries more than tensors, or is damaged, and is not loaded: running code"
    ):
        load(path)
    assert not (tmp_path / "trace").exists()


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    def refused(name: str, content: Any, message: str) -> None:
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        with pytest.raises(CheckpointError, match=message):
            load(path)

    refused("a.safetensors", b"nonsense", "cannot be read as safetensors")
    refused("empty.pt", b"", "cannot be read as a checkpoint|is damaged, and is not loaded")
    refused("noise.pt", b"\x80\x02nonsense", "cannot be read as a checkpoint|is damaged, and is not loaded")
    refused("list.pt", [torch.ones(1)], "holds a list, expected tensors by name")
    refused("numbers.pt", {"epoch": 1}, "holds no tensors by name")
    refused("other.pt", {"fc.weight": torch.ones(1)}, "no tensor is named 'clip.…', so .* it holds fc.weight")
    with zipfile.ZipFile(tmp_path / "zip.pt", "w") as archive:
        archive.writestr("a/data.pkl", b"nonsense")
    with pytest.raises(CheckpointError, match=r"zip\.pt"):
        load(tmp_path / "zip.pt")
    with pytest.raises(
        CheckpointError, match=r"no checkpoint at '.*missing.bin'; give the path of a .safetensors, .bin"
    ):
        load(tmp_path / "missing.bin")


def test_missing_tensors_are_named() -> None:
    tensors = weights()
    del tensors["logit_weight"], tensors["global_mat_weight"]
    with pytest.raises(
        CheckpointError, match=r"2 tensors are missing for family='tcmgc', .*: global_mat_weight, logit_weight"
    ):
        load(tensors)
    with pytest.raises(
        CheckpointError, match=r"missing for family='ea-clip4clip', .*se_type='excitation'.*se_block.fc.0"
    ):
        load(weights("xclip"), "ea", sim_header="meanP", se_type="excitation")
    tensors = weights()
    del tensors["clip.visual.proj"]
    with pytest.raises(CheckpointError, match=r"the backbone \(clip.…\) cannot be built: "):
        load(tensors)


def test_weights_of_a_training_that_went_wrong_are_refused() -> None:
    tensors = weights()
    tensors["logit_weight"] = torch.full_like(tensors["logit_weight"], float("nan"))
    with pytest.raises(CheckpointError, match=r"1 tensor holds NaN or infinite values, such as similarity\."):
        load(tensors)


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (
            "tcmgc",
            {"keep_rate": 0.3},
            r"attentive_\w+ has size \(5, 5\) in the file, but the settings ask for \(3, 3\); set max_words "
            r"and keep_rate so that int\(max_words · keep_rate\) = 5 \(now int\(10 · 0.3\)\)",
        ),
        ("xclip", {"max_words": 12}, r"word_\w+ has size \(10, 10\) .* ask for \(12, 12\); set max_words=10"),
        ("xclip", {"max_frames": 4}, r"frame_\w+ has size \(6, 6\) .* ask for \(4, 4\); set max_frames=6"),
        (
            "ea",
            {"reduction_ratio": 2.0},
            r"se_block_excitation.fc.0.weight has size \(12, 6\) .* set max_frames and red",
        ),
    ],
)
def test_a_size_mismatch_says_both_sizes_and_what_to_set(kind: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load(weights(kind), kind, **changes)


def test_mixed_files_are_beyond_settings() -> None:
    with pytest.raises(
        CheckpointError, match=r"global_mat_weight has size \(4, 4\) .* \(48, 48\); the file mixes parts"
    ):
        load(weights() | {"global_mat_weight": torch.eye(4)})


def test_temporal_heads_are_the_authors_unless_told() -> None:
    towers = {"vision": 2, "text": 2}
    left_out = load(weights("clip4clip"), "clip4clip", heads=towers)
    assert left_out.settings.heads == 1, "48 channels; 512 have 8"
    assert load(weights("clip4clip"), "clip4clip", heads={**towers, "temporal": 2}).settings.heads == 2
    assert load(weights(), heads={**towers, "conditional": 2}).settings.heads == 1


def test_settings_are_checked_by_name() -> None:
    with pytest.raises(
        ValueError, match="family='clip' is not allowed; use one of 'clip4clip', 'ea-clip4clip', 'xclip'"
    ):
        load({}, family="clip")
    with pytest.raises(ValueError, match="heads needs 'conditional' for family='tcmgc', sim_header='seqTransf'"):
        load(weights(), heads={"temporal": 2})
    with pytest.raises(ValueError, match="heads needs 'cross' for family='clip4clip', sim_header='tightTransf'"):
        load(weights("tight"), "tight", heads={})
    with pytest.raises(ValueError, match="heads has 'audio'; allowed: vision, text, temporal, cross, conditional"):
        load(weights(), heads={**HEADS["tcmgc"], "audio": 1})


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (
            "xclip",
            {"heads": {"temporal": 2}},
            "heads has 'temporal', but family='xclip' with sim_header='meanP'",
        ),
        ("clip4clip", {"heads": {"cross": 2}}, "heads has 'cross', but family='clip4clip' with sim_header='seqTransf'"),
        ("ea", {"heads": {"conditional": 2}}, "heads has 'conditional', but family='ea-clip4clip'"),
        ("xclip", {"softmax_lambda": 5.0}, "softmax_lambda has no meaning for family='xclip'; leave it out"),
        ("tight", {"mask_padding": True}, "mask_padding has no meaning for family='clip4clip'; leave it out"),
        ("xclip", {"keep_rate": 0.5}, "keep_rate=0.5 has no meaning for family='xclip'"),
        ("xclip", {"drop": ["no_such"]}, "drop='no_such': no tensor that the model leaves begins so; leave it out"),
    ],
)
def test_what_would_have_no_effect_is_refused(kind: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(weights(kind), kind, strict=True, **changes)
    if "keep_rate" not in changes:  # which is refused in any case
        load(weights(kind), kind, **changes)  # programs may give all families all


@pytest.mark.parametrize("kind", KINDS)
def test_saved_models_come_back_whole(kind: str, tmp_path: Path) -> None:
    model = load(weights(kind), kind)
    model.save(tmp_path / "deep" / "folder")
    again = load_model(tmp_path / "deep" / "folder")
    assert again.settings == model.settings
    assert again.trained
    assert not again.training
    assert again.fingerprint == model.fingerprint
    torch.testing.assert_close(scores(again), scores(model))


def test_saved_model_without_a_backbone(tmp_path: Path) -> None:
    model = load_model("tcmgc-msrvtt", dimension=64)
    model.save(tmp_path)
    again = load_model(str(tmp_path), dimension=64)
    assert not again.trained
    assert again.fingerprint == model.fingerprint
    assert load_model("tcmgc-msrvtt", dimension=64).fingerprint != model.fingerprint  # another random start
    with pytest.raises(CheckpointError, match="works on features of 64 dimensions, these have 384; use the encoder it"):
        load_model(tmp_path, dimension=384)
    with pytest.raises(ValueError, match="backbone= goes with a preset; a saved model has its own"):
        load_model(tmp_path, backbone=ClipBackbone.from_openai(openai_weights()))
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: wordframe\n")
    assert "TC-MGC, Jing, Yang, Chu" in card
    assert "The weights are NOT trained." in card
    assert "| keep_rate | 0.1 |" in card


def test_the_shared_scale_is_written_once(tmp_path: Path) -> None:
    load(weights()).save(tmp_path)
    names = [name for name in load_file(tmp_path / "model.safetensors") if name.endswith("logit_scale")]
    assert len(names) == 1


def test_damaged_folders_are_refused(tmp_path: Path) -> None:
    load_model("xclip", dimension=64).save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    # copies: the file is written again below, and may be what the tensors are mapped from
    tensors = {name: tensor.clone() for name, tensor in load_file(tmp_path / "model.safetensors").items()}

    def refused(message: str, changes: dict[str, Any] | None = None, **weights: Tensor | None) -> None:
        (tmp_path / "config.json").write_text(json.dumps(config | (changes or {})))
        kept = {k.replace("__", "."): v for k, v in (tensors | weights).items() if v is not None}
        save_file(kept, tmp_path / "model.safetensors")
        with pytest.raises(CheckpointError, match=message):
            load_model(tmp_path)

    refused("is not of a model saved by wordframe", {"format": "other"})
    refused("is of version 9, this wordframe reads 1; update wordframe", {"version": 9})
    refused(
        "does not describe a model: colour=1 has no meaning for family='xclip'",
        {"settings": {"family": "xclip", "colour": 1}},
    )
    refused("does not describe a model: family='new' is not known", {"settings": {"family": "new"}})
    refused("1 tensor is missing in .*: similarity.global_matrix", None, **{"similarity.global_matrix": None})
    refused("1 tensors in .* are unknown: more", None, more=torch.ones(1))
    refused(
        r"similarity.global_matrix has size \(3, 3\) in .*, but config.json asks for \(64, 64\)",
        None,
        **{"similarity.global_matrix": torch.eye(3)},
    )
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="is not valid JSON"):
        load_model(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no config.json in .*: not a model saved by wordframe"):
        load_model(tmp_path)


def test_sentences_go_through_the_saved_vocabulary(tmp_path: Path) -> None:
    model = load(weights())
    model.tokenizer = ClipTokenizer(clip_tokenizer())
    text = model.encode_text(["the dog", "The dog " * 9])
    assert text.word_mask.sum(dim=1).tolist() == [4, 10]  # SOS, the, dog, EOS; cut to max_words with EOS kept
    model.save(tmp_path)
    again = load_model(tmp_path).encode_text(["THE DOG"])
    torch.testing.assert_close(again.sentence[0], text.sentence[0])
    with pytest.raises(ValueError, match=r"sentences must be a list of strings, got one string; write \[sentence\]"):
        model.encode_text("the dog")


def test_a_missing_vocabulary_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        EncoderError, match=r"no CLIP vocabulary at .*; set model.tokenizer = ClipTokenizer.load\(FOLDER"
    ):
        ClipTokenizer.load(tmp_path)


def test_the_vocabulary_alone_is_fetched_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ClipTokenizer(clip_tokenizer()).save(tmp_path)

    def download(name: str, allow_patterns: list[str]) -> str:
        assert name == "openai/clip-vit-base-patch32"
        assert not any("safetensors" in pattern for pattern in allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert load(weights()).encode_text(["the dog"]).words.shape == (1, 4, 48)


class Hub:
    """Stands for the Hugging Face Hub: keeps what is uploaded in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.created: list[tuple[str, bool]] = []

    def __call__(self, token: str | None = None) -> Hub:
        return self

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> None:
        assert exist_ok
        self.created.append((repo_id, private))

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> Any:
        for path in Path(folder_path).iterdir():
            (self.folder / path.name).write_bytes(path.read_bytes())

        class Commit:
            commit_url = f"https://hub/{repo_id}/commit/1"

        return Commit()


def test_push_to_the_hub_and_load_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(tmp_path)
    monkeypatch.setattr("huggingface_hub.HfApi", hub)
    model = load(weights())
    assert model.push_to_hub("me/model", private=True) == "https://hub/me/model/commit/1"
    assert hub.created == [("me/model", True)]
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors", "README.md"}

    def download(name: str, allow_patterns: list[str]) -> str:
        assert name == "me/model"
        assert "model.safetensors" in allow_patterns
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert load_model("me/model").fingerprint == model.fingerprint


def test_a_hub_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, allow_patterns: list[str]) -> str:
        raise OSError("no route\nmore lines")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(
        CheckpointError, match="'me/model' is no preset and no folder, and the hub does not give it: no r"
    ):
        load_model("me/model")


def test_a_preset_with_a_backbone_starts_from_clip() -> None:
    openai = openai_weights()
    openai |= {"text_projection": torch.randn(128, 128), "visual.proj": torch.randn(128, 128)}
    backbone = ClipBackbone.from_openai(openai)
    model = load_model("clip4clip-transformer", backbone=backbone)
    assert model.dimension == 128
    positions = backbone.model.text_model.embeddings.position_embedding.weight
    assert torch.equal(model.temporal.positions.weight[:24], positions)  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="dimension=64 does not fit the backbone's 128; leave it out"):
        load_model("clip4clip-mean", dimension=64, backbone=backbone)


def test_a_file_is_sent_to_the_right_loader(tmp_path: Path) -> None:
    save_file(weights(), tmp_path / "model.safetensors")
    with pytest.raises(
        CheckpointError, match="is a file; load_model takes a preset, a folder or a hub id, and load_aut"
    ):
        load_model(tmp_path / "model.safetensors")


def test_pixels_must_have_five_axes() -> None:
    with pytest.raises(ValueError, match=r"pixels must be \(V, F, 3, H, W\), got shape \(1, 3, 32, 32\)"):
        load(weights()).encode_video(pixels=torch.zeros(1, 3, 32, 32))


# Settings as they were before each family had its own, and saves that are cut short -----------------------------------

FLAT = {
    "sim_header": "meanP", "max_words": 32, "max_frames": 12, "layers": 4, "heads": None, "positions": 77,
    "conditional_heads": 1, "projections": False, "dropout": 0.3, "se_type": None, "variant": "unity",
    "reduction_ratio": None, "keep_rate": None, "softmax_lambda": 100.0, "mask_padding": True,
    "normalize_frames": True, "options": {},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mask_padding", [True, False])
def test_checkpoints_of_before_are_read(kind: str, mask_padding: bool, tmp_path: Path) -> None:
    """Every setting of all families in each, most without effect; nothing about the encoder of the features."""
    masks = hasattr(load(weights(kind), kind).settings, "mask_padding")
    model = load(weights(kind), kind, mask_padding=mask_padding and masks)
    model.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["settings"] = {**FLAT, **config["settings"], "mask_padding": mask_padding}
    del config["trained_on"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    again = load_model(tmp_path)
    assert again.settings == model.settings
    torch.testing.assert_close(scores(again), scores(model))
    again.save(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())["settings"]
    assert written == model.settings.to_dict()
    assert ("keep_rate" in written, "se_type" in written) == (kind == "tcmgc", kind == "ea")


def test_values_of_another_type_are_told_in_a_line(tmp_path: Path) -> None:
    load_model("xclip", dimension=64).save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["settings"] |= {"layers": "many", "mask_padding": [1]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError) as refused:
        load_model(tmp_path)
    assert "layers: input should be a valid integer, unable to parse string as an integer, got 'many'; mask_pa" in str(
        refused.value
    )
    assert "\n" not in str(refused.value)


def test_a_save_that_is_cut_short_leaves_the_earlier_checkpoint_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_model("xclip", dimension=64)
    before.save(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    other = load(weights())
    other.tokenizer = ClipTokenizer(clip_tokenizer())

    def cut_short(tensors: dict[str, Tensor], path: Path, **options: Any) -> None:
        Path(path).write_bytes(b"half of it")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("safetensors.torch.save_file", cut_short)
        with pytest.raises(KeyboardInterrupt):
            other.save(tmp_path)
    assert load_model(tmp_path).fingerprint == before.fingerprint
    assert load_model(tmp_path).tokenizer is None
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
    other.save(tmp_path)
    assert load_model(tmp_path).fingerprint == other.fingerprint
    assert (tmp_path / "notes.txt").read_text() == "mine"
