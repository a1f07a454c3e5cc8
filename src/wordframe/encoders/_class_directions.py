"""Where the sentence space holds the 1000 ImageNet classes: one direction a class, ``(C, D)``.

A class is what pictures of it show: the thing with the people, actions and places that come with it, in twenty captions
(``data/class_captions.jsonl``, written class by class without having seen a clip; the idea of CuPL, Pratt et al., ICCV
2023, arXiv 2209.03320, for a mixture of classes). Its direction is their mean through MiniLM, in which a caption counts
more the better it parts its class from the others.

Raw, the 1000 means differ most along one axis, animals against things, and frames with them. So they are centred by
their mean and evened out by shrunk whitening, ``(E - mean) (Σ + λ I)^(-1/2)`` with ``λ`` the mean variance: the
covariance ``Σ`` and a sphere of the same size count alike.

A sentence is read in the same classes (``read_in_classes``): what people type is short ("cat"), and what it may mean as
a picture stands in the directions near it. What each step brings: benchmarks/offline_encoder.py.

Computing the directions takes a minute, so the result is shipped in ``data/``; a test computes it again. To write it:

    python -m wordframe.encoders._class_directions

Neighbours: ``_minilm.py`` (the sentences), ``offline.py`` (mixes the directions).
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

NUM_CLASSES = 1000
FILE = Path(__file__).parent / "data" / "class_directions.safetensors"
CAPTIONS = FILE.with_name("class_captions.jsonl")
"""Source of the directions; in the repository alone, since nobody needs it who only uses them."""
_KEY = "class_directions"
_SOFTNESS = 0.1
"""Of the softmax over cosines of sentences, for captions of a class and for classes of a sentence."""


def class_captions() -> list[list[str]]:
    """What pictures of each class show, in the classifier's order.

    The first twelve are typical scenes, the last eight reach further (a game, a cartoon, a shop, a museum).
    """
    lines = CAPTIONS.read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["captions"] for line in lines]


def parted_mean(captions: Tensor) -> Tensor:
    """The mean of each class's captions ``(C, K, D)``, unit vectors, weighed by how well they part it: ``(C, D)``.

    A caption's margin is its cosine with the mean of its class's other captions, less the largest with another class's
    mean; weights are the softmax of margins.
    """
    C, K = captions.shape[:2]
    means = captions.mean(dim=1)
    others = F.normalize((K * means[:, None] - captions) / (K - 1), dim=-1)  # (C, K, D)
    own = (captions * others).sum(dim=-1)  # (C, K)
    cosines = (captions.flatten(0, 1) @ F.normalize(means, dim=-1).T).view(C, K, C)
    cosines[torch.arange(C), :, torch.arange(C)] = -1.0
    weights = ((own - cosines.amax(dim=-1)) / _SOFTNESS).softmax(dim=-1)
    mean: Tensor = (weights[..., None] * captions).sum(dim=1)
    return mean


def even_out(sentences: Tensor) -> Tensor:
    """Centred and whitened by the covariance shrunk half-way to a sphere: ``(C, D) → (C, D)``.

    >>> spread = even_out(torch.tensor([[4.0, 1.0], [-4.0, 1.0], [0.0, 2.0], [0.0, 0.0]]))
    >>> spread.var(dim=0, correction=0)  # of 8 and 0.5: 8 / (8 + 4.25) and 0.5 / (0.5 + 4.25)
    tensor([0.6531, 0.1053])
    """
    centred = sentences.double() - sentences.double().mean(dim=0)
    covariance = centred.T @ centred / len(centred)  # (D, D)
    variance, axes = torch.linalg.eigh(covariance)
    whitening = axes @ torch.diag((variance + variance.mean()).rsqrt()) @ axes.T
    evened: Tensor = (centred @ whitening).to(sentences.dtype)
    return evened


def read_in_classes(sentences: Tensor, directions: Tensor) -> Tensor:
    """Half the sentence, half the classes it may mean: ``(T, D), (C, D) → (T, D)``, of length 2 at most.

    ``unit(s) + unit(Σ w d)`` with ``w = softmax(cosines of s with the directions d / 0.1)``.
    """
    sentences, directions = F.normalize(sentences, dim=-1), F.normalize(directions, dim=-1)
    weights = (sentences @ directions.T / _SOFTNESS).softmax(dim=-1)  # (T, C)
    return sentences + F.normalize(weights @ directions, dim=-1)


def compute_directions() -> Tensor:
    """The directions ``(C, D)`` in float16, from the captions."""
    from wordframe.encoders._minilm import SentenceEncoder

    captions = class_captions()
    flat = SentenceEncoder()([caption for some in captions for caption in some]).sentence
    return even_out(parted_mean(F.normalize(flat, dim=-1).view(NUM_CLASSES, -1, flat.shape[-1]))).half()


def load_directions() -> Tensor:
    """The shipped directions ``(C, D)``, float32."""
    return load_file(FILE)[_KEY].float()


def main() -> None:
    """Compute and write the file."""
    FILE.parent.mkdir(exist_ok=True)
    save_file({_KEY: compute_directions().contiguous()}, FILE)
    print(f"written: {FILE.name}, {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
