"""The authors' numbers in a small form, so that everybody can check them: a part of the project's golden files.

Each file holds what a head needs, as the authors' code gave it: encoder features, the head's own weights, and the
logits. CLIP's weights, with the pixels and words it encodes, are in one of them alone (`WITH_CLIP`); the others carry
only its scale. Every number is the full file's, bit for bit. `python -m tests.golden FOLDER` makes them again from the
full files; tests/parity/test_golden_small.py reads them.

Random weights hardly compress: what does is the byte with sign and exponent. So the four bytes of each number are laid
apart before LZMA sees them, which saves another 8 % of the file.
"""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.torch import load, save
from torch import Tensor

FOLDER = Path(__file__).parent
WITH_CLIP = "xclip_meanP"
NAMES = (
    "clip4clip_meanP",
    "clip4clip_seqLSTM",
    "clip4clip_tightTransf",
    "ea_meanP_excitation_aggregation_expand_squeeze_r0.25_full",
    "ea_meanP_excitation_aggregation_squeeze_expand_r4_full",
    "ea_meanP_excitation_unity_r0.25_pad",
    "ea_seqLSTM_excitation_seq_unity_r4_full",
    "ea_seqTransf_aggregation_unity_r0.25_pad",
    "tcmgc_padded",
    "xclip_meanP",
    "xclip_seqTransf",
)
"""Every family, every temporal head; each of EA-CLIP4Clip's blocks and orders of layers; padding. TC-MGC's and
X-CLIP's transformer is CLIP4Clip's, so that one is not kept for itself."""

_FIRST = {"pixels": 2, "conditioned_video": 2, "conditioned_frames": 2}
"""Of large tensors the first rows: videos, or texts."""


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a full file."""
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def shrink(name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """What the small form of a full file keeps.

    Without what the released computation does not read: projections of TC-MGC's attention, positions before an LSTM.
    """
    kept = {}
    for key, tensor in tensors.items():
        of_clip = key == "pixels" or (key.startswith("weights.clip.") and key != "weights.clip.logit_scale")
        unread = ".cross_attn." in key or ("seqLSTM" in name and "frame_position_embeddings" in key)
        if not unread and (name == WITH_CLIP or not of_clip):
            kept[key] = tensor[: _FIRST.get(key)].contiguous() if tensor.dim() else tensor
    return kept


def pack(tensors: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    """The file's bytes: a safetensors file, the first, second, third and fourth bytes of its words apart, in LZMA."""
    words = np.frombuffer(save(tensors, metadata), np.uint8).reshape(-1, 4)
    return lzma.compress(words.T.tobytes(), preset=9 | lzma.PRESET_EXTREME)


def unpack(data: bytes) -> bytes:
    """The safetensors file that ``pack`` packed.

    >>> from torch import arange
    >>> load(unpack(pack({"numbers": arange(3)}, {})))["numbers"]
    tensor([0, 1, 2])
    """
    return np.frombuffer(lzma.decompress(data), np.uint8).reshape(4, -1).T.tobytes()


def path_of(name: str) -> Path:
    return FOLDER / f"{name}.safetensors.xz"


def small(name: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of one small file."""
    data = unpack(path_of(name).read_bytes())
    return load(data), metadata_of(data)


def metadata_of(data: bytes) -> dict[str, str]:
    """The settings in a safetensors file's header: its length in 8 bytes, then JSON."""
    length = int.from_bytes(data[:8], "little")
    found: dict[str, str] = json.loads(data[8 : 8 + length])["__metadata__"]
    return found
