"""A model whose files do not belong together is refused with the file's name, and never answers by a default."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, processors

from tests.unit.clip_models import SENTENCES, clip_tokenizer, openai_weights, save, word_tokenizer
from wordframe.cli.main import main
from wordframe.encoders import ClipEncoder, load_encoder
from wordframe.encoders._agreement import VOCABULARY_FILES
from wordframe.encoders._dual import MODEL_TYPES
from wordframe.errors import EncoderError

_TOKENIZER = {file for files in VOCABULARY_FILES for file in files} | {"tokenizer_config.json"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A whole model of each type."""
    made = {kind: tmp_path_factory.mktemp(kind) for kind in MODEL_TYPES}
    for kind, folder in made.items():
        save(kind, folder)
    return made


def copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to / "copy"))


def changed(file: Path, **change: Any) -> None:
    """Some entries of a JSON file; None takes one out, a dictionary changes entries within."""
    content = json.loads(file.read_text(encoding="utf-8"))
    for key, value in change.items():
        content[key] = content[key] | value if isinstance(value, dict) else value
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}), encoding="utf-8")


def refused(folder: Path, message: str, **options: Any) -> None:
    with pytest.raises(EncoderError, match=message) as caught:
        ClipEncoder.load(str(folder), **options)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("kind", sorted(MODEL_TYPES))
def test_every_type_is_refused_without_its_vocabulary(kind: str, folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(folders[kind], tmp_path)
    load_encoder(str(folder))
    for file in _TOKENIZER:
        (folder / file).unlink(missing_ok=True)
    refused(
        folder, r"holds no vocabulary \(one of tokenizer\.json, vocab\.json with merges\.txt, vocab\.txt, .*\): its"
    )


def test_half_a_vocabulary_is_none(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(folders["clip"], tmp_path)
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps({"<|startoftext|>": 0, "<|endoftext|>": 1}), encoding="utf-8")
    refused(folder, "holds no vocabulary")


@pytest.mark.parametrize("kind", ["siglip", "siglip2"])
def test_siglip_is_refused_without_the_settings_of_its_tokenizer(
    kind: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = copied(folders[kind], tmp_path)
    (folder / "tokenizer_config.json").unlink()
    refused(folder, r"holds no tokenizer_config\.json: it does not say how sentences are cut into tokens")


@pytest.mark.parametrize("kind", ["clip", "metaclip_2", "siglip", "chinese_clip", "altclip"])
def test_a_vocabulary_of_another_model(kind: str, folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(folders[kind], tmp_path)
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    names = content["model"]["vocab"]
    special = {token["content"] for token in content["added_tokens"]} | {"<s>", "</s>", "<pad>", "<unk>"}
    content["model"]["vocab"] = {name: number for name, number in names.items() if name in special}
    content["model"] |= {"merges": []} if "merges" in content["model"] else {}
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    refused(folder, r"the tokenizer has \d+ tokens, the text tower \(config\.json\) knows \d+: they do not belong")


def test_a_text_tower_rounded_up_keeps_its_vocabulary(tmp_path: Path) -> None:
    torch.save(openai_weights(vocabulary=536), tmp_path / "clip.pt")
    clip_tokenizer().save_pretrained(tmp_path)
    assert ClipEncoder.load(str(tmp_path / "clip.pt")).encode_text(SENTENCES).sentence.shape == (3, 48)
    torch.save(openai_weights(vocabulary=1024), tmp_path / "clip.pt")
    refused(tmp_path / "clip.pt", r"the tokenizer has 518 tokens, the text tower \(config\.json\) knows 1,024")


def test_an_end_token_that_the_tower_looks_for_in_vain(folders: dict[str, Path], tmp_path: Path) -> None:
    """It would take the first token of every sentence, so all sentences would be one."""
    folder = copied(folders["metaclip_2"], tmp_path)
    changed(folder / "config.json", text_config={"eos_token_id": 9})
    refused(
        folder, r"takes a sentence from its end token, which the tokenizer does not write there \(config\.json says 9"
    )


def test_the_end_token_of_a_clip_that_is_not_openais(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(folders["clip"], tmp_path)
    changed(folder / "config.json", text_config={"hidden_act": "gelu"}, vision_config={"hidden_act": "gelu"})
    load_encoder(str(folder))
    changed(folder / "config.json", text_config={"eos_token_id": 2})  # as older files have it: the highest id is meant
    load_encoder(str(folder))
    changed(folder / "config.json", text_config={"eos_token_id": 49407})
    refused(folder, "takes a sentence from its end token")


@pytest.mark.parametrize(("kind", "token"), [("clip", "end"), ("chinese_clip", "start"), ("altclip", "start")])
def test_a_tokenizer_that_leaves_out_the_token_that_is_pooled(
    kind: str, token: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = copied(folders[kind], tmp_path)
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    special = {name: backend.token_to_id(name) for name in ("<s>", "</s>", "<|startoftext|>", "<|endoftext|>")}
    start, end = ("<s>", "</s>") if kind != "clip" else ("<|startoftext|>", "<|endoftext|>")
    template = f"{start} $A" if token == "end" else f"$A {end}"
    kept = start if token == "end" else end
    backend.post_processor = processors.TemplateProcessing(single=template, special_tokens=[(kept, special[kept])])
    backend.save(str(folder / "tokenizer.json"))
    changed(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    refused(folder, f"takes a sentence from its {token} token, which the tokenizer does not write there")


def test_a_tokenizer_without_padding(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(folders["metaclip_2"], tmp_path)
    tokenizer = word_tokenizer(start="<s>", end="</s>", max_words=16)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    refused(folder, "there is no padding token; take tokenizer_config.json and the vocabulary from the same model")


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_pictures_of_another_size_than_the_towers(kind: str, folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(folders[kind], tmp_path)
    sizes: dict[str, Any] = {"size": {"height": 48, "width": 48}}
    if kind == "clip":
        sizes = {"size": {"shortest_edge": 48}, "crop_size": {"height": 48, "width": 48}}
    content = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    (folder / "preprocessor_config.json").write_text(json.dumps(content | sizes), encoding="utf-8")
    refused(folder, r"preprocessor_config\.json makes pictures of 48 × 48 pixels, the image tower .* takes 32 × 32")


@pytest.mark.parametrize("entry", ["image_mean", "image_std", "resample", "size"])
def test_a_setting_of_the_pictures_that_is_missing_is_named_with_its_file(
    entry: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = copied(folders["clip"], tmp_path)
    changed(folder / "preprocessor_config.json", **{entry: None})
    refused(folder, rf"preprocessor_config\.json: preprocessor: {entry}")


def test_the_file_that_was_made_for_this(shared: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = shared / "hard_files" / "notok"
    status = main(["index", str(tmp_path), "--library", str(tmp_path / "library"), "--encoder", str(folder)])
    told = capsys.readouterr().err
    assert (status, told.count("\n")) == (1, 1)
    assert told.startswith(f"wordframe: {folder} holds no vocabulary (one of tokenizer.json, ")
