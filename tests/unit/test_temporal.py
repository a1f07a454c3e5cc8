"""Temporal heads: a case by hand, a slow plain version, masks, refusals, and the start from CLIP's text tower."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from wordframe.encoders import ClipBackbone
from wordframe.heads import TemporalLSTM, TemporalTransformer, Transformer
from wordframe.models import start_from_clip


def shaken(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Every parameter away from its start, so that none is an identity or zero by chance."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return module.double().eval()


def mask_of(lengths: list[int], size: int) -> Tensor:
    return torch.arange(size) < torch.tensor(lengths)[:, None]


def layer_norm(x: Tensor, norm: torch.nn.LayerNorm) -> Tensor:
    centred = x - x.mean()
    return centred / (centred.square().mean() + 1e-12).sqrt() * norm.weight + norm.bias


def slow_transformer(model: TemporalTransformer, frames: Tensor, mask: Tensor, heads: int) -> Tensor:
    """One video, one query, one head, one key at a time."""
    out = []
    for video, real in zip(frames, mask, strict=True):
        x = [frame + model.positions.weight[i] for i, frame in enumerate(video)]
        for block in model.blocks:
            qkv = [block.qkv(layer_norm(row, block.attention_norm)).chunk(3) for row in x]
            size = len(x[0]) // heads
            attended = []
            for q, _, _ in qkv:
                pieces = []
                for h in range(heads):
                    part = slice(h * size, (h + 1) * size)
                    keys = [i for i in range(len(x)) if real[i]]
                    scores = torch.stack([q[part] @ qkv[i][1][part] / math.sqrt(size) for i in keys]).softmax(0)
                    pieces.append(sum(scores[n] * qkv[i][2][part] for n, i in enumerate(keys)))
                attended.append(block.out(torch.cat(pieces)))
            x = [row + a for row, a in zip(x, attended, strict=True)]
            hidden = [block.mlp[0](layer_norm(row, block.mlp_norm)) for row in x]
            x = [row + block.mlp[2](h / (1 + torch.exp(-1.702 * h))) for row, h in zip(x, hidden, strict=True)]
        out.append(torch.stack(x) + video)
    return torch.stack(out)


def test_transformer_by_hand() -> None:
    model = TemporalTransformer(dimension=2, heads=1, layers=1, positions=3)
    with torch.no_grad():
        for parameter in model.blocks.parameters():
            parameter.zero_()
        model.positions.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0], [9.0, 9.0]]))
    out = model(torch.tensor([[[3.0, 4.0], [5.0, 6.0]]]), mask_of([2], 2))
    # blocks of zeros change nothing: frames + (frames + positions)
    assert out.tolist() == [[[7.0, 8.0], [10.0, 14.0]]]


@pytest.mark.parametrize("heads", [1, 2])
def test_transformer_equals_slow_plain_version(heads: int) -> None:
    model = TemporalTransformer(dimension=8, heads=heads, layers=2, positions=6)
    shaken(model)
    frames, mask = torch.randn(3, 5, 8, dtype=torch.float64), mask_of([5, 2, 1], 5)
    torch.testing.assert_close(model(frames, mask), slow_transformer(model, frames, mask, heads))


def test_lstm_equals_slow_plain_version() -> None:
    model = TemporalLSTM(dimension=3)
    shaken(model)
    frames = torch.randn(2, 4, 3, dtype=torch.float64)
    mask = torch.tensor([[True, True, True, False], [True, False, True, True]])  # a hole is padding like any other
    expected = frames.clone()
    for v in range(2):
        h, c = torch.zeros(3).double(), torch.zeros(3).double()
        for f in range(4):
            if mask[v, f]:
                lstm = model.lstm
                gates = lstm.weight_ih_l0 @ frames[v, f] + lstm.bias_ih_l0 + lstm.weight_hh_l0 @ h + lstm.bias_hh_l0
                i, forget, g, o = gates.chunk(4)
                c = forget.sigmoid() * c + i.sigmoid() * g.tanh()
                h = o.sigmoid() * c.tanh()
                expected[v, f] += h
    torch.testing.assert_close(model(frames, mask), expected)


def test_lstm_by_hand() -> None:
    model = TemporalLSTM(dimension=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.lstm.bias_ih_l0.copy_(torch.tensor([100.0, -100.0, 100.0, 100.0]))  # open, forget, 1, open: h = tanh(1)
    out = model(torch.tensor([[[2.0], [3.0], [4.0]]]), mask_of([2], 3))
    torch.testing.assert_close(out.flatten(), torch.tensor([2 + math.tanh(1), 3 + math.tanh(1), 4.0]))


@pytest.mark.parametrize("make", [lambda: TemporalLSTM(dimension=8), lambda: _transformer()])
def test_padding_never_influences_a_real_frame(make: object) -> None:
    model = shaken(make())  # type: ignore[operator]
    frames, mask = torch.randn(2, 4, 8, dtype=torch.float64), mask_of([4, 2], 4)
    changed = frames.masked_fill(~mask[..., None], 1e3)
    longer = torch.cat([changed, torch.full((2, 2, 8), -50.0, dtype=torch.float64)], dim=1)
    expected = model(frames, mask)[mask]
    torch.testing.assert_close(model(changed, mask)[mask], expected)
    torch.testing.assert_close(model(longer, mask_of([4, 2], 6))[:, :4][mask], expected)


def _transformer() -> TemporalTransformer:
    return TemporalTransformer(dimension=8, heads=2, layers=1, positions=6)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="heads=3 does not divide dimension=8; choose a divisor"):
        TemporalTransformer(dimension=8, heads=3, layers=1, positions=6)
    with pytest.raises(ValueError, match="a sequence of 7 exceeds the 6 learned positions; pass fewer frames"):
        _transformer()(torch.zeros(1, 7, 8), mask_of([7], 7))


def tiny_backbone() -> ClipBackbone:
    torch.manual_seed(0)
    return ClipBackbone(
        dimension=16,
        image_size=8,
        patch_size=4,
        vision_width=16,
        vision_layers=1,
        vision_heads=1,
        vocabulary=20,
        max_words=6,
        text_width=16,
        text_layers=2,
        text_heads=2,
    )


def test_start_from_clip_is_its_text_tower() -> None:
    backbone = tiny_backbone()
    model = Transformer(dimension=16, heads=2, layers=2, positions=6)
    assert start_from_clip(model, backbone) == 1
    tower = backbone.model.text_model
    ids = torch.tensor([[1, 5, 3, 19, 0, 0]])
    x = 100 * tower.embeddings.token_embedding(ids)  # so large that the two ε of LayerNorm do not show
    # CLIP's tower is causal, ours is not: the last position, which sees all, agrees after one block
    ours = model.blocks[0](x + model.positions.weight, torch.ones(1, 6, dtype=torch.bool))
    causal = torch.full((6, 6), float("-inf")).triu(1)[None, None]
    theirs = tower.encoder.layers[0](x + tower.embeddings.position_embedding.weight, causal)
    theirs = theirs[0] if isinstance(theirs, tuple) else theirs
    torch.testing.assert_close(ours[:, -1], theirs[:, -1], atol=1e-5, rtol=0)
    assert start_from_clip(torch.nn.Linear(2, 2), backbone) == 0


def test_start_from_clip_refuses_another_width() -> None:
    with pytest.raises(ValueError, match="CLIP's text tower is 16 wide, the transformer works on D = 8, so it cannot"):
        start_from_clip(Transformer(dimension=8, heads=2, layers=1, positions=6), tiny_backbone())
