"""Small random models of each family that has a name, in the files that the hub has of it: made on the spot.

Vocabularies are real ones of their kind, trained here on a few sentences: byte pairs in ``vocab.json`` and
``merges.txt`` (CLIP), SentencePiece in ``spiece.model`` (SigLIP), byte-fallback pairs in ``tokenizer.json`` (Gemma's,
as SigLIP 2 has them), unigrams in ``tokenizer.json`` (XLM-R's and mT5's, as MetaCLIP 2 has them). Weights come in every
form: PyTorch's, half precision, one file, several with an index.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModel,
    CLIPConfig,
    MetaClip2Config,
    Siglip2Config,
    SiglipConfig,
    T5Tokenizer,
    XLMRobertaTokenizer,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode

from wordframe.encoders import CLIP_MEAN, CLIP_STD

SIDE = 32
SENTENCES = [
    "A Dog runs, fast!",
    "two people dance on a stage",
    "a man with a guitar sings; the crowd listens",
    "SNOW   on the mountains - seen from a plane (at dawn)",
    "Ein Mädchen fährt mit dem Rad ans Meer",
    "海边的狗",
    "",
]
_TOWER = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
_IMAGE = {**_TOWER, "image_size": SIDE, "patch_size": 8}
_HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}


def clip(folder: Path) -> None:
    """As openai/clip-vit-base-patch32: PyTorch weights beside TensorFlow's and Flax's, settings of the first years."""
    letters = list(bytes_to_unicode().values())
    trained = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trained.normalizer = normalizers.Lowercase()
    trained.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(False)])
    trainer = trainers.BpeTrainer(vocab_size=900, end_of_word_suffix="</w>", show_progress=False)
    trained.train_from_iterator(SENTENCES * 3, trainer)
    merges = [tuple(pair) for pair in json.loads(trained.to_str())["model"]["merges"]]
    tokens = [*letters, *(letter + "</w>" for letter in letters)]
    tokens += [joined for joined in ("".join(pair) for pair in merges) if joined not in tokens]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    _write(folder, "vocab.json", {token: number for number, token in enumerate(tokens)})
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
    _write(folder, "tokenizer_config.json", {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77})
    _write(folder, "preprocessor_config.json", _CLIP_PICTURES)
    text = {**_TOWER, "vocab_size": len(tokens), "eos_token_id": len(tokens) - 1, "bos_token_id": len(tokens) - 2}
    model = _random(CLIPConfig(text_config=text, vision_config=_IMAGE, projection_dim=48))
    model.config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    for decoy in ("tf_model.h5", "flax_model.msgpack", "README.md"):
        (folder / decoy).write_bytes(b"not for us")


def clip_half(folder: Path) -> None:
    """As openai/clip-vit-large-patch14: safetensors beside PyTorch's, here in half precision."""
    clip(folder)
    model = AutoModel.from_pretrained(folder).half()
    model.save_pretrained(folder)


def siglip(folder: Path) -> None:
    """As google/siglip-base-patch16-224: SentencePiece, weights in several files."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES[:5] * 30),
        model_writer=written,
        vocab_size=120,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    (folder / "spiece.model").write_bytes(written.getvalue())
    size = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue()).get_piece_size()
    special = {"eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}
    told = {"tokenizer_class": "SiglipTokenizer", "do_lower_case": True, "model_max_length": 64}
    _write(folder, "tokenizer_config.json", {**told, **special, "model_input_names": ["input_ids"]})
    _write(folder, "special_tokens_map.json", special)
    _write(folder, "preprocessor_config.json", _siglip_pictures(resample=3))
    text = {**_TOWER, "vocab_size": size, "max_position_embeddings": 64}
    model = _random(SiglipConfig(text_config=text, vision_config=_IMAGE))
    model.save_pretrained(folder, max_shard_size="150KB")
    assert len(list(folder.glob("model-*-of-*.safetensors"))) > 2


def siglip2(folder: Path) -> None:
    """As google/siglip2-base-patch16-224: calls itself siglip, names Gemma's tokenizer, which keeps capitals."""
    size = _gemma(folder)
    _write(folder, "preprocessor_config.json", _siglip_pictures(resample=2))
    text = {**_TOWER, "vocab_size": size, "max_position_embeddings": 64}
    _random(SiglipConfig(text_config=text, vision_config=_IMAGE)).save_pretrained(folder)
    (folder / "model.fp16.safetensors").write_bytes(b"another form of the same")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "config.json").write_text("{}")


def siglip2_naflex(folder: Path) -> None:
    """As google/siglip2-base-patch16-naflex: pictures of free aspect."""
    size = _gemma(folder)
    pictures = {"image_processor_type": "Siglip2ImageProcessor", "patch_size": 8, "max_num_patches": 16, "resample": 2}
    common = {"do_normalize": True, "do_rescale": True, "do_resize": True, "rescale_factor": 1 / 255}
    _write(folder, "preprocessor_config.json", {**pictures, **common, **_HALF})
    text = {**_TOWER, "vocab_size": size, "max_position_embeddings": 64}
    vision = {**_TOWER, "patch_size": 8, "num_patches": 16}
    _random(Siglip2Config(text_config=text, vision_config=vision)).save_pretrained(folder)


def metaclip2(folder: Path) -> None:
    """As facebook/metaclip-2-worldwide-b16: XLM-R's kind of vocabulary."""
    tokenizer = XLMRobertaTokenizer(vocab=_unigrams(["<s>", "<pad>", "</s>", "<unk>"], "<mask>"), model_max_length=77)
    _metaclip2(folder, tokenizer)


def metaclip2_mt5(folder: Path) -> None:
    """As facebook/metaclip-2-mt5-worldwide-b32: mT5's kind of vocabulary, no start token."""
    tokenizer = T5Tokenizer(vocab=_unigrams(["<pad>", "</s>", "<unk>"]), extra_ids=0, model_max_length=77)
    _metaclip2(folder, tokenizer)


FAMILIES: dict[str, Callable[[Path], None]] = {
    "clip": clip,
    "clip-half": clip_half,
    "siglip": siglip,
    "siglip2": siglip2,
    "siglip2-naflex": siglip2_naflex,
    "metaclip2": metaclip2,
    "metaclip2-mt5": metaclip2_mt5,
}


def make(family: str, folder: Path) -> Path:
    """A model of a family in a new folder."""
    folder.mkdir(parents=True)
    torch.manual_seed(sum(map(ord, family)))
    FAMILIES[family](folder)
    return folder


def _metaclip2(folder: Path, tokenizer: Any) -> None:
    tokenizer.save_pretrained(folder)
    _write(folder, "preprocessor_config.json", _CLIP_PICTURES | {"size": {"shortest_edge": SIDE}})
    text = {**_TOWER, "vocab_size": len(tokenizer), "max_position_embeddings": 77}
    text |= {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    _random(MetaClip2Config(text_config=text, vision_config=_IMAGE, projection_dim=48)).save_pretrained(folder)


def _gemma(folder: Path) -> int:
    """Gemma's form of ``tokenizer.json``, with an end token; gives the vocabulary's size."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    trained = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    both = [*SENTENCES, *(sentence.lower() for sentence in SENTENCES)]  # capitals are in Gemma's vocabulary, too
    bytes_ = [f"<0x{number:02X}>" for number in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=360, special_tokens=[*special, *bytes_], show_progress=False)
    trained.train_from_iterator(both * 3, trainer)
    content = json.loads(trained.to_str())
    content["added_tokens"] = content["added_tokens"][: len(special)]  # bytes are plain entries of the vocabulary
    made = Tokenizer.from_str(json.dumps(content))
    made.post_processor = processors.TemplateProcessing(single="$A:0 <eos>:0", special_tokens=[("<eos>", 1)])
    made.save(str(folder / "tokenizer.json"))
    told = {"tokenizer_class": "GemmaTokenizer", "padding_side": "right", "model_max_length": 10**30}
    tokens = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    _write(folder, "tokenizer_config.json", {**told, **tokens, "add_bos_token": False, "add_eos_token": True})
    return made.get_vocab_size()


def _unigrams(first: list[str], last: str | None = None) -> list[tuple[str, float]]:
    trained = Tokenizer(models.Unigram())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train_from_iterator(SENTENCES * 3, trainers.UnigramTrainer(vocab_size=150, show_progress=False))
    pieces = [tuple(piece) for piece in json.loads(trained.to_str())["model"]["vocab"]]
    pieces = [piece for piece in pieces if piece[0] not in first]
    return [*((token, 0.0) for token in first), *pieces, *([(last, 0.0)] if last else [])]


_CLIP_PICTURES = {
    "crop_size": SIDE,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": list(CLIP_MEAN),
    "image_std": list(CLIP_STD),
    "resample": 3,
    "size": SIDE,
}


def _siglip_pictures(*, resample: int) -> dict[str, object]:
    shown = {"do_normalize": True, "do_rescale": True, "do_resize": True, "rescale_factor": 0.00392156862745098}
    kind = {"image_processor_type": "SiglipImageProcessor", "processor_class": "SiglipProcessor", "resample": resample}
    return {**shown, **kind, **_HALF, "size": {"height": SIDE, "width": SIDE}}


def _random(config: Any) -> Any:
    model = AutoModel.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # transformers' small start values would hide a wrong layer behind nearly constant outputs
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def _write(folder: Path, name: str, content: object) -> None:
    (folder / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
