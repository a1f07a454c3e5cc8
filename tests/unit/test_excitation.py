"""EA-CLIP4Clip's blocks: by hand, the table of ratios and activations, masks, short videos, refusals."""

from __future__ import annotations

import math

import pytest
import torch

from wordframe.heads import Aggregation, Excitation, ExcitedHead, TemporalLSTM
from wordframe.models.families.ea_clip4clip import EaClip4ClipSettings


def filled(block: Excitation | Aggregation) -> Excitation | Aggregation:
    """Hidden unit = act(z1 + 2 z2), outputs (hidden, -hidden + 1)."""
    with torch.no_grad():
        block.squeeze.weight.copy_(torch.tensor([[1.0, 2.0]]))
        block.squeeze.bias.zero_()
        block.restore.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        block.restore.bias.copy_(torch.tensor([0.0, 1.0]))
    return block


FRAMES = torch.tensor([[[1.0, 3.0], [2.0, 4.0]]])  # z = (2, 3), z1 + 2 z2 = 8
REAL = torch.ones(1, 2, dtype=torch.bool)


def test_excitation_by_hand() -> None:
    block = filled(Excitation(max_frames=2, reduction_ratio=2, activation="relu", mask_padding=True))
    e = torch.tensor([8.0, -7.0]).sigmoid()
    torch.testing.assert_close(block(FRAMES, REAL), FRAMES * e[None, :, None])


def test_relu6_stops_at_six() -> None:
    block = filled(Aggregation(max_frames=2, reduction_ratio=2, activation="relu6", mask_padding=True))
    a = torch.tensor([6.0, -5.0]).softmax(0)
    torch.testing.assert_close(block(FRAMES, REAL), (a[:, None] * FRAMES[0]).sum(0)[None])


def test_masked_padding_has_no_squeeze_and_no_weight() -> None:
    mask = torch.tensor([[True, False]])
    block = filled(Aggregation(max_frames=2, reduction_ratio=2, activation="relu", mask_padding=True))
    torch.testing.assert_close(block(FRAMES, mask), FRAMES[:, 0])  # all weight on the only real frame
    excitation = filled(Excitation(max_frames=2, reduction_ratio=2, activation="relu", mask_padding=True))
    scale = 1 / (1 + math.exp(-2.0))  # z = (2, 0)
    torch.testing.assert_close(excitation(FRAMES, mask)[:, 0], FRAMES[:, 0] * scale)


def test_released_padding_takes_part() -> None:
    mask = torch.tensor([[True, False]])
    block = filled(Aggregation(max_frames=2, reduction_ratio=2, activation="relu", mask_padding=False))
    torch.testing.assert_close(block(FRAMES, mask), block(FRAMES, REAL))


def test_a_shorter_video_is_one_padded_with_masked_frames() -> None:
    torch.manual_seed(0)
    block = Excitation(max_frames=4, reduction_ratio=0.5, activation="relu6", mask_padding=True)
    frames = torch.randn(3, 4, 5)
    mask = torch.tensor([True, True, False, False]).expand(3, 4)
    torch.testing.assert_close(block(frames[:, :2], mask[:, :2]), block(frames, mask)[:, :2])


@pytest.mark.parametrize(("ratio", "hidden"), [(4.0, 3), (5.0, 2), (0.25, 48), (0.3, 40), (1.0, 12), (12.0, 1)])
def test_hidden_size_is_frames_floor_divided_by_ratio(ratio: float, hidden: int) -> None:
    block = Excitation(max_frames=12, reduction_ratio=ratio, activation="relu", mask_padding=True)
    assert block.squeeze.weight.shape == (hidden, 12)
    assert block.restore.weight.shape == (12, hidden)


@pytest.mark.parametrize(
    ("se_type", "variant", "ratio", "expected"),
    [
        ("excitation", "unity", 4.0, ((4.0, "relu"), (4.0, "relu"))),
        ("aggregation", "unity", 0.25, ((0.25, "relu6"), (0.25, "relu6"))),
        ("excitation_aggregation", "unity", 0.25, ((0.25, "relu"), (0.25, "relu"))),
        ("excitation_aggregation", "unity", 4.0, ((4.0, "relu"), (4.0, "relu"))),
        ("excitation_aggregation", "squeeze_expand", 4.0, ((4.0, "relu"), (0.25, "relu6"))),
        ("excitation_aggregation", "expand_squeeze", 0.25, ((0.25, "relu6"), (4.0, "relu"))),
        ("excitation_seq_aggregation", "unity", 0.25, ((0.25, "relu6"), (0.25, "relu6"))),
        ("excitation_seq_aggregation", "squeeze_expand", 4.0, ((4.0, "relu"), (0.25, "relu6"))),
        ("excitation_seq_aggregation", "expand_squeeze", 0.25, ((0.25, "relu6"), (4.0, "relu"))),
    ],
)
def test_ratios_and_activations(se_type: str, variant: str, ratio: float, expected: object) -> None:
    header = "seqLSTM" if "seq" in se_type else "meanP"
    settings = EaClip4ClipSettings(sim_header=header, se_type=se_type, variant=variant, reduction_ratio=ratio)
    assert settings.block_designs() == expected


@pytest.mark.parametrize("ratio", [4.0, 0.25])
def test_blocks_start_as_the_authors_do_which_is_mean_pooling(ratio: float) -> None:
    """Weights from N(0, 0.02), no bias: every frame counts nearly alike, whatever is in it."""
    torch.manual_seed(0)
    options = {"max_frames": 12, "reduction_ratio": ratio, "activation": "relu", "mask_padding": True}
    aggregation, excitation = Aggregation(**options), Excitation(**options)  # type: ignore[arg-type]
    for linear in (aggregation.squeeze, aggregation.restore, excitation.squeeze, excitation.restore):
        assert linear.weight.std().item() == pytest.approx(0.02, rel=0.3)
        assert not linear.bias.any()
    frames, mask = torch.randn(5, 12, 64), torch.ones(5, 12, dtype=torch.bool)
    torch.testing.assert_close(aggregation(frames, mask), frames.mean(dim=1), atol=2e-3, rtol=0)
    torch.testing.assert_close(excitation(frames, mask), frames / 2, atol=5e-3, rtol=0)


def test_excited_head_excites_before_the_head() -> None:
    torch.manual_seed(0)
    excitation = Excitation(max_frames=4, reduction_ratio=2, activation="relu", mask_padding=True)
    head = TemporalLSTM(dimension=3)
    frames, mask = torch.randn(2, 4, 3), torch.ones(2, 4, dtype=torch.bool)
    both = ExcitedHead(excitation=excitation, head=head)(frames, mask)
    torch.testing.assert_close(both, head(excitation(frames, mask), mask))
    alone = ExcitedHead(excitation=excitation)(frames, mask)
    torch.testing.assert_close(alone, excitation(frames, mask))


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"reduction_ratio=16 leaves no hidden unit for max_frames=12; .*at most 12"):
        Excitation(max_frames=12, reduction_ratio=16, activation="relu", mask_padding=True)
    with pytest.raises(ValueError, match="activation='gelu' is not allowed; use 'relu' or 'relu6'"):
        Excitation(max_frames=12, reduction_ratio=4, activation="gelu", mask_padding=True)
    block = Excitation(max_frames=2, reduction_ratio=1, activation="relu", mask_padding=True)
    with pytest.raises(ValueError, match="3 frames exceed max_frames=2 of this block; sample the videos down to it"):
        block(torch.zeros(1, 3, 4), torch.ones(1, 3, dtype=torch.bool))
