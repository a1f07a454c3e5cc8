"""Where a CLIP-type encoder comes from: folder, hub cache, OpenAI file; and the line to read when it is not there."""

from __future__ import annotations

import gzip
import json
import pickle
import shutil
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from tests.unit.clip_models import SENTENCES, SIDE, clip_tokenizer, openai_weights, save
from wordframe.encoders import ClipBackbone, ClipEncoder, load_encoder
from wordframe.errors import EncoderError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    save("clip", path)
    return path


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def nest(weights: dict[str, torch.Tensor]) -> nn.Module:
    """Modules whose state dict is ``weights``, for a TorchScript archive like OpenAI's."""
    children: dict[str, dict[str, torch.Tensor]] = {}
    module = nn.Module()
    for key, value in weights.items():
        head, _, rest = key.partition(".")
        if rest:
            children.setdefault(head, {})[rest] = value
        else:
            module.register_parameter(head, nn.Parameter(value))
    for name, inner in children.items():
        module.add_module(name, nn.ModuleList(map(nest, _split(inner))) if name == "resblocks" else nest(inner))
    return module


def _split(blocks: dict[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    count = 1 + max(int(key.split(".")[0]) for key in blocks)
    return [{k.partition(".")[2]: v for k, v in blocks.items() if k.startswith(f"{i}.")} for i in range(count)]


def same_features(one: ClipEncoder, other: ClipEncoder) -> bool:
    text, same_text = one.encode_text(SENTENCES), other.encode_text(SENTENCES)
    pixels = torch.randn(2, 3, SIDE, SIDE)
    return torch.equal(text.words, same_text.words) and torch.equal(
        one.encode_pixels(pixels), other.encode_pixels(pixels)
    )


@pytest.mark.parametrize("kind", ["torchscript", "state dict", "safetensors"])
def test_an_openai_file_equals_its_folder(kind: str, tmp_path: Path) -> None:
    weights, tokenizer = openai_weights(), clip_tokenizer()
    path = tmp_path / ("ViT-tiny.safetensors" if kind == "safetensors" else "ViT-tiny.pt")
    if kind == "torchscript":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(torch.jit.script(nest(weights)), path)
    else:
        save_file(weights, path) if kind == "safetensors" else torch.save(weights, path)
    tokenizer.save_pretrained(tmp_path)
    converted = tmp_path / "converted"
    ClipBackbone.from_openai(weights).model.save_pretrained(converted)
    tokenizer.save_pretrained(converted)
    CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}).save_pretrained(
        converted
    )
    file_encoder, folder_encoder = load_encoder(str(path)), load_encoder(str(converted))
    assert isinstance(file_encoder, ClipEncoder)
    assert isinstance(folder_encoder, ClipEncoder)
    assert file_encoder.fingerprint == folder_encoder.fingerprint
    assert same_features(file_encoder, folder_encoder)


def test_openais_own_vocabulary_file(tmp_path: Path) -> None:
    symbols = list(bytes_to_unicode().values())
    merges = ["t h", "th e</w>", "d o", "do g</w>"]
    (tmp_path / "vocabulary").mkdir()
    packed = gzip.compress("\n".join(["version", *merges]).encode())
    (tmp_path / "vocabulary" / "bpe_simple_vocab_16e6.txt.gz").write_bytes(packed)
    torch.save(openai_weights(), tmp_path / "clip.pt")
    encoder = ClipEncoder.load(str(tmp_path / "clip.pt"), tokenizer=tmp_path / "vocabulary")
    input_ids, _ = encoder.tokenize(["The dog's"])
    first = 2 * len(symbols)
    apostrophe, letter = (symbols.index(sign) for sign in "'s")
    assert input_ids[0].tolist() == [516, first + 1, first + 3, apostrophe, 256 + letter, 517]


def test_a_file_without_a_vocabulary_says_what_to_put_where(tmp_path: Path) -> None:
    torch.save(openai_weights(), tmp_path / "clip.pt")
    with pytest.raises(EncoderError) as caught:
        ClipEncoder.load(str(tmp_path / "clip.pt"))
    message = str(caught.value)
    assert message.startswith(f"clip.pt holds no vocabulary and {tmp_path} has none: put there tokenizer.json")
    assert "bpe_simple_vocab_16e6.txt.gz" in message
    assert "tokenizer=" in message


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("this must not run",))


def test_files_that_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip_tokenizer().save_pretrained(tmp_path)
    path = tmp_path / "clip.pt"
    path.write_bytes(pickle.dumps({"weight": Code()}, protocol=2))  # what torch.load expects
    with pytest.raises(EncoderError, match="is no weights file, or carries code, and was not loaded"):
        ClipEncoder.load(str(path))
    torch.save({"weight": Code()}, path)
    with pytest.raises(EncoderError, match="carries code, and was not loaded"):
        ClipEncoder.load(str(path))
    assert "must not run" not in capsys.readouterr().out
    torch.save({"epoch": 3, "state_dict": openai_weights()}, path)
    with pytest.raises(EncoderError, match=r"no plain state dict of tensors; save model\.state_dict\(\) alone"):
        ClipEncoder.load(str(path))
    torch.save(openai_weights() | {"global_mat_weight": torch.eye(2)}, path)
    with pytest.raises(EncoderError, match=r"more than a CLIP, among it global_mat_weight: .* load_authors_checkpoint"):
        ClipEncoder.load(str(path))
    (tmp_path / "clip.safetensors").write_bytes(b"not at all")
    with pytest.raises(EncoderError, match="cannot read the weights in"):
        ClipEncoder.load(str(tmp_path / "clip.safetensors"))
    (tmp_path / "clip.txt").touch()
    with pytest.raises(EncoderError, match=r"no weights file; allowed endings: \.pt, \.pth, \.bin, \.safetensors"):
        ClipEncoder.load(str(tmp_path / "clip.txt"))
    (tmp_path / "open_clip_config.json").touch()
    with pytest.raises(EncoderError, match="is an OpenCLIP file, whose activation is not told by its weights"):
        ClipEncoder.load(str(path))


def test_folders_that_are_refused(copy: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(EncoderError, match=message):
            ClipEncoder.load(str(copy))

    weights = load_file(copy / "model.safetensors")
    kept = {key: value for key, value in weights.items() if not key.startswith("text_projection")}
    save_file(kept, copy / "model.safetensors", metadata={"format": "pt"})
    refused(r"the weights of .* lack 1 tensors, among them text_projection\.weight")
    (copy / "model.safetensors").unlink()
    refused("cannot load the model")
    settings = json.loads((copy / "config.json").read_text())
    (copy / "preprocessor_config.json").unlink()
    refused(r"holds no preprocessor_config\.json: it does not say how frames become pixels")
    (copy / "config.json").write_text(json.dumps(settings | {"model_type": "bert"}))
    refused("type 'bert' is not supported; supported types: altclip, chinese_clip, clip, metaclip_2, siglip, siglip2")
    (copy / "config.json").write_text("{")
    refused(r"config\.json is no valid JSON")
    (copy / "config.json").write_text("[]")
    refused("must hold a JSON object, got list")
    (copy / "config.json").unlink()
    refused(r"holds no config\.json: it is no model in transformers' format")


def test_newer_processor_files(copy: Path) -> None:
    old = copy / "preprocessor_config.json"
    before = ClipEncoder.load(str(copy)).preprocessing
    content = json.loads(old.read_text()) | {"resample": 2}
    (copy / "processor_config.json").write_text(json.dumps({"image_processor": content}))
    assert ClipEncoder.load(str(copy)).preprocessing.interpolation == "bilinear"
    (copy / "processor_config.json").write_text(json.dumps({"processor_class": "CLIPProcessor"}))
    assert ClipEncoder.load(str(copy)).preprocessing == before


def test_the_fingerprint_follows_content_not_the_name(folder: Path, copy: Path) -> None:
    encoder = ClipEncoder.load(str(folder))
    assert ClipEncoder.load(str(copy)).fingerprint == encoder.fingerprint
    assert len(encoder.fingerprint) == 16
    seen = {encoder.fingerprint}
    for name, change in {"preprocessor_config.json": {"resample": 2}, "config.json": None}.items():
        settings = json.loads((copy / name).read_text())
        settings |= change or {"vision_config": settings["vision_config"] | {"hidden_act": "gelu"}}
        (copy / name).write_text(json.dumps(settings))
        seen.add(ClipEncoder.load(str(copy)).fingerprint)
    weights = load_file(copy / "model.safetensors")
    weights["text_projection.weight"][3, 5] += 1e-3
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    seen.add(ClipEncoder.load(str(copy)).fingerprint)
    assert len(seen) == 4


def test_half_precision_files_are_computed_in_float32(folder: Path, copy: Path) -> None:
    weights = {key: value.half() for key, value in load_file(folder / "model.safetensors").items()}
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    settings = json.loads((copy / "config.json").read_text()) | {"dtype": "float16"}
    (copy / "config.json").write_text(json.dumps(settings))
    encoder = ClipEncoder.load(str(copy))
    assert {parameter.dtype for parameter in encoder._towers.model.parameters()} == {torch.float32}


def test_a_hub_id_is_answered_from_the_cache(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "models--someone--tiny-clip"
    shutil.copytree(folder, repository / "snapshots" / ("0" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    encoder = load_encoder("someone/tiny-clip")
    assert encoder.name == f"someone/tiny-clip@{'0' * 40}"
    assert encoder.fingerprint == load_encoder(str(folder)).fingerprint


def test_no_network_and_nothing_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        EncoderError, match=r"cannot fetch someone/nothing from the hub \(HF_HUB_OFFLINE is set.* --encoder offline"
    ):
        load_encoder("someone/nothing")


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "~/nowhere", "a/b/c"])
def test_a_path_that_is_not_there(name: str) -> None:
    with pytest.raises(
        EncoderError, match=r"no encoder at .*: give a folder, an OpenAI \.pt file, a hub id, or 'offline'"
    ):
        load_encoder(name)


def test_a_name_that_cannot_be_a_hub_id() -> None:
    with pytest.raises(
        EncoderError, match="'my clip' is no folder, and no hub id either: a hub id looks like owner/model"
    ):
        load_encoder("my clip")


def test_nothing_heavy_is_imported_before_a_model_is_loaded() -> None:
    program = "import sys, wordframe.encoders.clip; print({'transformers', 'huggingface_hub'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_loading_is_silent(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ClipEncoder.load(str(folder)).encode_text(SENTENCES)
    assert capfd.readouterr() == ("", "")


class _WritesWhenLoaded(nn.Module):
    """A scripted module that writes a file while ``torch.jit.load`` reads it."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path, self.weight = path, torch.ones(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.weight

    @torch.jit.export
    def __getstate__(self):
        return (self.path, self.weight, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[str, torch.Tensor, bool]) -> None:
        self.path, self.training = state[0], state[2]
        self.weight = state[1] + torch.from_file(self.path, True, 4, dtype=torch.uint8).fill_(65).sum()


def test_a_torchscript_file_is_read_and_never_run(tmp_path: Path) -> None:
    written, file = tmp_path / "written", tmp_path / "clip.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(_WritesWhenLoaded(str(written))), file)
    assert not written.exists()
    with pytest.raises(EncoderError, match=r"clip\.pt: one of its modules has a __setstate__ .* nothing of it was run"):
        load_encoder(str(file))
    assert not written.exists()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.load(str(file))
    assert written.read_bytes() == b"AAAA", "the file is as bad as it is meant to be"


class _Opens:
    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("/dev/null",))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (pickle.dumps(_Opens()), r"it asks for (io|_io)\.open, which is neither a tensor nor a module"),
        (pickle.dumps([1.0]), "holds no module"),
        (b"\x80\x02nonsense", "is damaged"),
    ],
)
def test_other_archives_that_look_like_torchscript_are_refused(tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / "clip.pt"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("clip/constants.pkl", b"")
        archive.writestr("clip/data.pkl", content)
    with pytest.raises(EncoderError, match=told):
        load_encoder(str(file))
