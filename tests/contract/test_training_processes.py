"""Two processes with uneven batches give the loss and the gradients of one process with all of it, for every head.

One pair of gloo processes does all cases in float64; what one process alone makes of them is the plain published
computation on the whole batch, by autograd, without anything of ``wordframe.train``.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as multiprocessing
from torch import Tensor

from wordframe.data import FeatureBatch, PixelBatch
from wordframe.losses import contrastive, decorrelation, sigmoid
from wordframe.models import PRESETS, ModelSettings, TextVideoModel
from wordframe.processes import end_process_group, start_process_group
from wordframe.train import build_model, dry_run_recipe, make_recipe, train
from wordframe.train.build import configure, train_mode
from wordframe.train.distributed import sum_gradients, sum_over_processes
from wordframe.train.made_up import MadeUpFeatures, MadeUpPixels, tiny_clip
from wordframe.train.step import backward
from wordframe.train.validation import encode_pixels

pytestmark = pytest.mark.slow

SIZES = (3, 2)
W, F, D = 6, 4, 16
LENGTHS = {"max_words": W, "max_frames": F}
SMALL = {**LENGTHS, "heads": 2, "layers": 1, "dropout": 0.0}
PRESET_HEADS = [name for name in PRESETS if name not in ("zero-shot", "tcmgc-didemo", "tcmgc-vatex")]
EA = {"family": "ea-clip4clip", "sim_header": "seqTransf", "reduction_ratio": 0.5}
HEADS: dict[str, ModelSettings] = {
    **{name: ModelSettings.from_dict({**PRESETS[name].settings.to_dict(), **SMALL}) for name in PRESET_HEADS},
    "tcmgc heads, projections, all words": replace(
        PRESETS["tcmgc-msrvtt"].settings, **SMALL, conditional_heads=2, projections=True, keep_rate=1.0
    ),
    "tcmgc released padding": replace(PRESETS["tcmgc-msrvtt"].settings, **SMALL, mask_padding=False),
    "ea around a head": ModelSettings.from_dict({**EA, "se_type": "excitation_seq_aggregation", **SMALL}),
}
for name in ("tcmgc-msrvtt", "tcmgc released padding"):
    HEADS[name] = replace(HEADS[name], keep_rate=0.5)
for name in ("clip4clip-mean", "xclip"):
    HEADS[f"{name} sigmoid"] = HEADS[name]
SIGMOID_DATA = (("features", None), ("pixels", None), ("pixels", 2))
CASES = [
    *((head, "features", None) for head in HEADS if not head.endswith("sigmoid")),
    ("tcmgc-msrvtt", "features", 2),
    ("tcmgc-msrvtt", "pixels", None),
    ("tcmgc-msrvtt", "pixels", 2),
    ("clip4clip-mean", "pixels", None),
    *((head, data, chunk) for head in ("clip4clip-mean sigmoid", "xclip sigmoid") for data, chunk in SIGMOID_DATA),
]


def case_name(case: tuple[str, str, int | None]) -> str:
    head, data, chunk = case
    return f"{head} on {data}" + (f" in chunks of {chunk}" if chunk else "")


def make_case(head: str, data: str) -> tuple[TextVideoModel, FeatureBatch | PixelBatch]:
    """A model with every parameter off its start, and a batch of ``sum(SIZES)`` pairs with padding."""
    torch.manual_seed(0)
    loss = {"contrast": "sigmoid", "bias": -2.0} if head.endswith("sigmoid") else {}
    backbone_name = "x" if data == "pixels" else None
    recipe = make_recipe({"name": "t", "model": HEADS[head].to_dict(), "backbone": backbone_name, "loss": loss})
    backbone = tiny_clip(recipe) if data == "pixels" else None
    model = build_model(recipe, dimension=None if backbone else D, backbone=backbone).double()
    configure(model, recipe)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
        if hasattr(model.similarity, "logit_scale"):
            model.similarity.logit_scale.fill_(2.0)
    train_mode(model)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # each process draws its own, as it should; here all must compute alike
    rows = torch.arange(sum(SIZES))
    word_mask = torch.arange(W) < torch.tensor([6, 3, 5, 2, 6])[:, None]
    frame_mask = torch.arange(F) < torch.tensor([4, 2, 1, 4, 3])[:, None]
    if data == "features":
        sentence, words = torch.randn(5, D).double(), torch.randn(5, W, D).double()
        frames = torch.randn(5, F, D).double()
        return model, FeatureBatch(rows, rows, sentence, words, word_mask, frames, frame_mask)
    ids = torch.randint(1, 60, (5, W)).masked_fill(~word_mask, 0)
    ids[rows, word_mask.sum(dim=1) - 1] = 63
    return model, PixelBatch(rows, rows, ids, word_mask, torch.randn(5, F, 3, 16, 16).double(), frame_mask)


def alone(model: TextVideoModel, batch: FeatureBatch | PixelBatch, weight: float) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients of the whole batch by the plain computation."""
    model.zero_grad()
    text, video = batch.encode(model)
    same_noise(model, first=0)
    output, further = model.for_training(text, video, first=0)
    if not further:  # of a head that trains on its score alone
        output = model.score(text, video, method="plain")
    contrast = contrastive(output.logits) if model.logit_bias is None else sigmoid(output.logits, model.logit_bias)
    loss = contrast + (weight * decorrelation(output.parts) if weight else 0.0)
    loss = loss + sum(share * contrastive(logits) for share, logits in further)
    loss.backward()
    return loss.item(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def same_noise(model: TextVideoModel, *, first: int) -> None:
    """Let a head that draws noise for each text draw the same for the same text, of which this process has those from
    ``first`` on."""
    if hasattr(model.similarity, "_draw"):
        noise = torch.randn(sum(SIZES), D, generator=torch.Generator().manual_seed(1))
        model.similarity._draw = lambda rows, size: noise[first : first + rows, :size]


def compare(rank: int, case: tuple[str, str, int | None]) -> dict[str, Any]:
    """The largest differences of this process, gradients relative to the largest of their tensor.

    Some are zero by mathematics, such as a key's bias under softmax; those are held against the largest of all.
    """
    head, data, chunk = case
    model, batch = make_case(head, data)
    weight = 0.5 if HEADS[head].family == "tcmgc" else 0.0
    expected_loss, expected = alone(model, batch, weight)
    model.zero_grad()
    own = batch[sum(SIZES[:rank]) : sum(SIZES[: rank + 1])]
    same_noise(model, first=sum(SIZES[:rank]))
    shares = backward(model, own, sizes=SIZES, decorrelation=weight, chunk=chunk)
    sum_gradients(model.parameters())
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    largest = max(gradient.abs().max() for gradient in expected.values())
    differing = {
        name: ((found[name] - gradient).abs().max() / gradient.abs().max().clamp(min=1e-6 * largest)).item()
        for name, gradient in expected.items()
        if name in found
    }
    return {
        "loss": abs(sum_over_processes(shares)[0].item() - expected_loss),
        "gradients": differing,
        "missing": sorted(set(expected) - set(found)),
        "zero": [name for name, gradient in expected.items() if not gradient.any()],
    }


def trained(out: Path, name: str) -> dict[str, Any]:
    """A short run of the whole loop: its losses and what became of the weights."""
    pixels = name == "pixels"
    values = {"name": "t", "model": {"preset": "tcmgc-msrvtt", "dropout": 0.0, "keep_rate": 0.5, **LENGTHS}}
    recipe = make_recipe({**values, "backbone": "x" if pixels else None, "optimizer": {"lr": 1e-3}})
    recipe = dry_run_recipe(recipe, steps=3).model_copy(
        update={"batch_size": 5, "gradient_accumulation": 2, "epochs": 3}
    )
    if name == "patient":  # a rate that changes nothing: what the first validation finds stays the best
        still = recipe.optimizer.model_copy(update={"lr": 1e-12})
        patience = recipe.validation.model_copy(update={"patience": 1, "every_steps": 1})
        recipe = recipe.model_copy(update={"epochs": 8, "optimizer": still, "validation": patience, "ema": 0.5})
    data = MadeUpPixels(recipe) if pixels else MadeUpFeatures(recipe)
    backbone = tiny_clip(recipe) if pixels else None
    model = build_model(recipe, dimension=None if pixels else 64, backbone=backbone)
    torch.manual_seed(os.getpid())  # processes start alike whatever their generators were at
    result = train(recipe, data, model=model, out=out, validation=data)
    losses = [json.loads(line).get("loss") for line in (out / "metrics.jsonl").read_text().splitlines()]
    numbers = {name: tensor.double().sum().item() for name, tensor in model.state_dict().items()}
    return {"losses": [loss for loss in losses if loss is not None], "numbers": numbers, "steps": result.steps}


def encoded() -> list[list[float]]:
    """What validation makes of texts and videos, however many processes encode them."""
    recipe = dry_run_recipe(make_recipe({"name": "t", "model": "tcmgc-msrvtt", "backbone": "x"}), steps=1)
    model = build_model(recipe, backbone=tiny_clip(recipe)).eval()
    texts, videos = encode_pixels(model, MadeUpPixels(recipe))
    return [
        torch.cat([text.sentence for text in texts]).sum(dim=1).tolist(),
        torch.cat([text.word_mask for text in texts]).sum(dim=1).tolist(),
        videos.frames.sum(dim=(1, 2)).tolist(),
        videos.frame_mask.sum(dim=1).tolist(),
    ]


def process(rank: int, folder: str, port: int) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    torch.set_num_threads(1)
    assert start_process_group().num_processes == 2
    told: dict[str, Any] = {case_name(case): compare(rank, case) for case in CASES}
    for name in ("features", "pixels", "patient"):
        told[f"trained on {name}"] = trained(Path(folder) / name, name)
    told["encoded"] = encoded()
    told["threads"] = [threads_of_gloo()]
    end_process_group()
    told["threads"].append(threads_of_gloo())
    (Path(folder) / f"{rank}.json").write_text(json.dumps(told))


def threads_of_gloo() -> list[str]:
    """Linux names all threads of this process, those of C++ too."""
    names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").glob("*")]
    return [name for name in names if "gloo" in name]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("processes")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(process, args=(str(folder), port), nprocs=2)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_two_processes_have_the_loss_and_gradients_of_one(
    told: list[dict[str, Any]], case: tuple[str, str, int | None]
) -> None:
    for found in (process[case_name(case)] for process in told):
        assert found["loss"] < 1e-10
        assert found["missing"] == []
        worst = max(found["gradients"], key=found["gradients"].__getitem__)
        assert found["gradients"][worst] < 1e-7, worst
        assert len(found["gradients"]) - len(found["zero"]) >= 1


@pytest.mark.parametrize("name", ["features", "pixels"])
def test_a_run_of_two_processes_is_that_of_one(told: list[dict[str, Any]], name: str, tmp_path: Path) -> None:
    found = [process[f"trained on {name}"] for process in told]
    expected = trained(tmp_path / "run", name)
    assert found[0]["numbers"] == found[1]["numbers"], "the processes ended with different weights"
    assert found[0]["steps"] == expected["steps"] == 3
    assert found[0]["losses"] == pytest.approx(expected["losses"], rel=1e-4)
    assert found[0]["numbers"] == pytest.approx(expected["numbers"], rel=1e-3, abs=2e-3)


def test_all_processes_end_early_behind_the_same_step(told: list[dict[str, Any]]) -> None:
    assert [process["trained on patient"]["steps"] for process in told] == [2, 2]
    assert told[0]["trained on patient"]["numbers"] == told[1]["trained on patient"]["numbers"]


def test_validation_loses_and_doubles_nothing(told: list[dict[str, Any]]) -> None:
    for found, expected in zip(told[0]["encoded"], encoded(), strict=True):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_no_thread_of_the_group_is_left_to_meet_the_end_of_the_interpreter(told: list[dict[str, Any]]) -> None:
    for during, after in (process["threads"] for process in told):
        assert during
        assert after == []
