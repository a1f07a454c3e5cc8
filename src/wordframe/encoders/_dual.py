"""Any dual encoder of transformers as a trainable module: sentences into token ids, ids and pixels into features.

Model types differ in a few ways, told in ``MODEL_TYPES``: whether padding is masked in the text tower (where attention
looks both ways) or needs no mask (causal), whether texts are padded to a fixed length, and which layer projects token
states. The sentence is the model's own text feature; words are all token states through the same projection: where a
family pools by another module than a projection, words go through the last linear layer that its sentence goes through.
The same module encodes a library and is trained, so both give the same features.
Neighbours: ``backbone.py`` (OpenAI's CLIP), ``clip.py`` (the encoder around either), ``_loading.py``.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from wordframe.encoders.preprocess import Preprocessing
from wordframe.errors import EncoderError
from wordframe.features import TextFeatures


@dataclass(frozen=True, kw_only=True)
class ModelType:
    """How one ``model_type`` of transformers wants its input.

    Attributes:
        mask_padding: the text tower attends both ways and needs to be told the padding.
        fixed_length: every text is padded to the model's full length, as in training.
        cleans_text: texts pass ``clean_text`` first, as in OpenAI's code.
        pad_with_zero: padded positions carry id 0, as in OpenAI's code, whatever the tokenizer's padding token.
        patches: the image tower takes a list of patches instead of an image.
        projection: the layer that brings token states into the common space.
        pools_first: a sentence is its first token, as in BERT; otherwise its end token.
        other_languages: its sentences may be in others than English.
    """

    mask_padding: bool = False
    fixed_length: bool = False
    cleans_text: bool = False
    pad_with_zero: bool = False
    patches: bool = False
    projection: str = "text_projection"
    pools_first: bool = False
    other_languages: bool = False


_BLOCK = re.compile(r"encoder\.layers?\.(\d+)\.")
_WORDS_OF_ENGLISH = 100_000
"""Tokens: vocabularies for English have half as many or fewer, those for many languages twice as many or more."""
MODEL_TYPES = {
    "clip": ModelType(cleans_text=True, pad_with_zero=True),
    "metaclip_2": ModelType(other_languages=True),
    "siglip": ModelType(fixed_length=True, projection="text_model.head"),
    "siglip2": ModelType(fixed_length=True, patches=True, projection="text_model.head", other_languages=True),
    "chinese_clip": ModelType(mask_padding=True, pools_first=True, other_languages=True),
    "altclip": ModelType(mask_padding=True, pools_first=True, other_languages=True),
}


_END_BY_HIGHEST_ID = 2
"""The end token of older configurations of CLIP, which is none: transformers then takes the highest id."""
_NOT_OF_THE_MODEL = ("transformers_version", "architectures", "dtype", "torch_dtype", "_name_or_path")
"""Entries of a configuration that tell of its file."""


def model_type_of(model_type: str) -> ModelType:
    """The one called ``model_type`` in a model's ``config.json``."""
    if model_type not in MODEL_TYPES:
        raise EncoderError(
            f"a model of type {model_type!r} is not supported; supported types: {', '.join(sorted(MODEL_TYPES))}"
        )
    return MODEL_TYPES[model_type]


class Backbone(nn.Module):
    """Both towers of a dual encoder of transformers, differentiable. Nothing is normalised.

    Args:
        model: transformers' model, of a type that ``MODEL_TYPES`` has.
        preprocessing: frames into the pixels it takes.

    Attributes:
        type_name, model_type: its name in transformers, and how it wants its input.
    """

    def __init__(self, model: Any, *, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.type_name: str = model.config.model_type
        self.model_type = model_type_of(self.type_name)
        self.preprocessing = preprocessing
        self.model = model
        self.eval()

    @classmethod
    def from_description(cls, description: Mapping[str, Any], weights: dict[str, Tensor] | None = None) -> Backbone:
        """What ``describe`` told, with these weights under transformers' names, or random ones.

        Raises:
            EncoderError: weights are missing or have other sizes, or this transformers does not know the model's type.
        """
        from transformers import AutoConfig, AutoModel

        settings = dict(description["config"])
        model_type_of(settings["model_type"])  # before anything of the file is believed
        with quiet_transformers():  # it warns of token ids that a small vocabulary does not have
            config = AutoConfig.for_model(**settings)
            if weights is None:
                model = AutoModel.from_config(config, dtype=torch.float32)
            else:
                model = model_of_weights(AutoModel._model_mapping[type(config)], config, weights)
        preprocessing: Mapping[str, Any] = description["preprocessing"]
        stored: dict[str, Any] = {key: tuple(x) if isinstance(x, list) else x for key, x in preprocessing.items()}
        return cls(model, preprocessing=Preprocessing(**stored))

    def describe(self) -> dict[str, Any]:
        """Plain values of which ``from_description`` makes the same module again, but for its weights."""
        # defaults written out: those of another version of transformers may differ
        config = {key: value for key, value in self.model.config.to_dict().items() if key not in _NOT_OF_THE_MODEL}
        return {"config": config, "preprocessing": asdict(self.preprocessing)}

    @property
    def dimension(self) -> int:
        """``D``."""
        return int(self._project.out_features)

    @property
    def logit_scale(self) -> nn.Parameter:
        """A single number, in log space."""
        scale: nn.Parameter = self.model.logit_scale
        return scale

    @property
    def logit_bias(self) -> nn.Parameter | None:
        """What SigLIP adds to scaled similarities in its loss, a single number; None where there is none."""
        return getattr(self.model, "logit_bias", None)

    @property
    def causal_text_width(self) -> int | None:
        """Width of the text tower where it is built as CLIP's, so that a transformer of a head can start from it."""
        alike = not (self.model_type.mask_padding or self.model_type.fixed_length)
        return int(self.model.config.text_config.hidden_size) if alike else None

    @property
    def _project(self) -> Any:
        # asked for each time: as an attribute it would stand in the state dict under a second name
        return self.model.get_submodule(self.model_type.projection)

    @property
    def max_words(self) -> int:
        """The most token positions ``W`` that the text tower takes."""
        return int(self.model.config.text_config.max_position_embeddings)

    @property
    def vocabulary(self) -> int:
        """Number of tokens the text tower knows."""
        return int(self.model.config.text_config.vocab_size)

    @property
    def reads_many_languages(self) -> bool:
        """By its type, or by a vocabulary that is too large for English alone (the multilingual ones of SigLIP)."""
        return self.model_type.other_languages or self.vocabulary > _WORDS_OF_ENGLISH

    def freeze_layers(self, count: int) -> None:
        """Stop training the embeddings, the LayerNorm behind the picture's, and the first ``count`` blocks of each
        tower: CLIP4Clip's ``freeze_layer_num``, 0 as published."""
        for name, parameter in self.model.named_parameters():
            block = _BLOCK.search(name)
            if "embeddings." in name or "pre_layrnorm." in name or (block and int(block[1]) < count):
                parameter.requires_grad_(False)

    def pooled_place(self, ids: Sequence[int]) -> int:
        """The place, in a sentence's token ids without padding, of the one that stands for the sentence; of models that
        pool the end token."""
        end = self.model.config.text_config.eos_token_id
        if self.type_name == "clip" and end == _END_BY_HIGHEST_ID:
            return max(range(len(ids)), key=ids.__getitem__)
        return ids.index(end) if end in ids else 0  # transformers takes the first one where there is none

    def encode_ids(self, input_ids: Tensor, mask: Tensor) -> TextFeatures:
        """Token ids ``(T, W)`` and their mask ``(T, W)`` into features."""
        if input_ids.dim() != 2 or not 1 <= input_ids.shape[1] <= self.max_words:
            raise ValueError(f"input_ids must be (T, W) with W in 1..{self.max_words}, got {tuple(input_ids.shape)}")
        attention_mask = mask if self.model_type.mask_padding else None
        output = self.model.get_text_features(input_ids=input_ids, attention_mask=attention_mask)
        words = self._project(output.last_hidden_state)  # (T, W, width) -> (T, W, D)
        return TextFeatures(output.pooler_output, words, mask)

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """Pixels ``(N, 3, H, W)`` into frame features ``(N, D)``."""
        height, width = self.preprocessing.height, self.preprocessing.width
        if pixels.dim() != 4 or pixels.shape[1:] != (3, height, width):
            raise ValueError(f"pixels must be (N, 3, {height}, {width}), got {tuple(pixels.shape)}")
        inputs = {"pixel_values": pixels}
        if self.model_type.patches:
            inputs = _to_patches(pixels, self.model.config.vision_config.patch_size)
        frames: Tensor = self.model.get_image_features(**inputs).pooler_output
        return frames


def model_of_weights(kind: Any, config: Any, weights: dict[str, Tensor]) -> Any:
    """transformers' model of a class and configuration, float32, from weights under its own names.

    Raises:
        EncoderError: weights are missing or have other sizes.
    """
    # modules without memory: loading costs neither a random initialisation nor a second copy of the weights
    with torch.device("meta"):
        expected = {name: tensor.shape for name, tensor in kind(config).state_dict().items()}
    if missing := sorted(set(expected) - set(weights)):
        raise EncoderError(f"{len(missing)} weights of CLIP are missing, among them {', '.join(missing[:3])}")
    for name, shape in expected.items():
        found = tuple(weights[name].shape)
        if found != shape:
            raise EncoderError(f"{name} has shape {found}, the other weights ask for {tuple(shape)}")
    with quiet_transformers():
        return kind.from_pretrained(None, config=config, state_dict=weights, dtype=torch.float32)


def _to_patches(pixels: Tensor, side: int) -> dict[str, Tensor]:
    """Pixels ``(N, 3, H, W)`` as the patches ``(N, P, side · side · 3)`` of SigLIP 2, row by row, none padded."""
    count, _, height, width = pixels.shape
    rows, columns = height // side, width // side
    patches = pixels.reshape(count, 3, rows, side, columns, side).permute(0, 2, 4, 3, 5, 1)
    patches = patches.reshape(count, rows * columns, side * side * 3)  # (N, P, side · side · 3)
    return {
        "pixel_values": patches,
        "pixel_attention_mask": torch.ones(patches.shape[:2], dtype=torch.long, device=pixels.device),
        "spatial_shapes": torch.tensor([[rows, columns]] * count, device=pixels.device),
    }


CLEANING = "text repaired by ftfy, HTML entities read twice, lower case"
"""What ``clean_text`` does, in the words of reports and caches."""


def clean_text(text: str) -> str:
    """A text as CLIP's tokenizer cleans it before it looks for byte pairs (Radford et al., 2021, their code).

    >>> clean_text(" Salt &amp;amp; pepper,  \u201cfresh\u201d from the caf\u00c3\u00a9 ")
    'salt & pepper, "fresh" from the café'
    """
    import ftfy  # here: only CLIP's relatives need it

    # ftfy leaves entities alone in a text that holds "<", so they are read here in any case: twice, since texts from
    # the web were often escaped twice
    unescaped = html.unescape(html.unescape(ftfy.fix_text(text)))
    # lower case by Python before transformers does it letter by letter: a Greek sigma at a word's end differs
    return " ".join(unescaped.split()).lower()


class SentenceTokenizer:
    """A tokenizer of transformers under the rules of one model type.

    CLIP's: byte pairs of the text after ``clean_text``, SOS + tokens cut to ``max_words - 1`` + EOS, padded with id 0
    to the longest sentence given. Others keep their own tokenizer's rules; SigLIP pads every text to its full length.

    Args:
        tokenizer: transformers' tokenizer.
        model_type: of the model that takes the ids.
        max_words: the longest token sequence, SOS and EOS included.
        vocabulary: number of tokens that the model knows.
    """

    def __init__(self, *, tokenizer: Any, model_type: ModelType, max_words: int, vocabulary: int) -> None:
        if len(tokenizer) > vocabulary:
            raise EncoderError(
                f"the tokenizer has {len(tokenizer)} tokens, the model knows {vocabulary}: they do not belong together"
            )
        self._tokenizer = tokenizer
        self._model_type = model_type
        self.max_words = max_words
        self.cleaning = CLEANING if model_type.cleans_text else ""
        self._lock = Lock()

    def __call__(self, sentences: Sequence[str]) -> tuple[Tensor, Tensor]:
        """``T`` sentences into ids ``(T, W)`` long and mask ``(T, W)`` bool."""
        # CLIP finds EOS behind the words, so only a model of fixed length may be padded on the left
        side = {} if self._model_type.fixed_length else {"padding_side": "right"}
        # here and not left to transformers, which repairs text only in some of its tokenizers and where ftfy is there
        texts = [clean_text(text) if self._model_type.cleans_text else text for text in sentences]
        with self._lock:  # a tokenizer keeps its padding and truncation as state, and refuses a second thread
            tokens = self._tokenizer(
                texts,
                padding="max_length" if self._model_type.fixed_length else "longest",
                truncation=True,
                max_length=self.max_words,
                return_attention_mask=True,
                **side,
            )
        mask = torch.tensor(tokens["attention_mask"], dtype=torch.bool)
        input_ids = torch.tensor(tokens["input_ids"], dtype=torch.long)
        return (input_ids.masked_fill(~mask, 0) if self._model_type.pad_with_zero else input_ids), mask

    def tokens(self, sentence: str) -> list[str]:
        """The text of each real position of ``sentence``; SOS and EOS by their names in the vocabulary."""
        input_ids, mask = self([sentence])
        with self._lock:
            return [str(self._tokenizer.decode([number])).strip() for number in input_ids[0][mask[0]].tolist()]


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bar and no advice from transformers inside the block; what goes wrong is still raised."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
