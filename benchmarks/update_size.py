"""How far one update moves CLIP's weights: kept in float16, as the published models were tuned, and in float32.

    python benchmarks/update_size.py [--steps 400] [--numbers 200000]

Weights of CLIP's size (standard deviation 0.02) get gradients of a stated size, root of the mean square of their
numbers, through ``BertAdam`` with the published rates (1e-7, warm-up over 10 % and cosine, no decay): once in float16,
gradients and both means as well, and once in float32. Two kinds of gradient: drawn anew each step (noise), and half of
it the same in all steps (steady). Printed: the mean distance of a weight from its start in both, their ratio, and the
rate at which float32 moves as far, found by trying.

How large gradients are: the whole gradient is clipped to norm 1, so the 151 million numbers of CLIP ViT-B/32 have 8e-5
at most, those of ViT-L/14 (428 million) 5e-5.
"""

from __future__ import annotations

import argparse
import math

import torch
from results import save
from torch import nn

from wordframe.train.optim import BertAdam, rate_factor

RATE, WEIGHT = 1e-7, 0.02
SIZES = {"1e-6": 1e-6, "1e-5": 1e-5, "5e-5 (ViT-L/14)": 5e-5, "8e-5 (ViT-B/32)": 8e-5, "1e-3": 1e-3, "1e-2": 1e-2}
STEADY = {"noise": 0.0, "steady": 0.5}
"""Share of a gradient's mean square that is the same in all steps."""


def distance(dtype: torch.dtype, *, rate: float, size: float, steady: float, steps: int, numbers: int) -> float:
    """Mean distance of ``numbers`` weights from their start behind ``steps`` updates."""
    generator = torch.Generator().manual_seed(0)
    start = (WEIGHT * torch.randn(numbers, generator=generator)).to(dtype)
    always = torch.randn(numbers, generator=generator)
    parameter = nn.Parameter(start.clone())
    optimizer = BertAdam([parameter], lr=rate)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * rate_factor(step, total=steps, warmup=0.1, schedule="cosine")
        drawn = torch.randn(numbers, generator=generator)
        parameter.grad = (size * (math.sqrt(steady) * always + math.sqrt(1 - steady) * drawn)).to(dtype)
        optimizer.step()
    return (parameter.detach().double() - start.double()).abs().mean().item()


def equal_rate(wanted: float, *, size: float, steady: float, steps: int, numbers: int) -> float:
    """The rate at which float32 weights move as far as ``wanted``: distance is proportional to it, so two tries do."""
    rate = RATE
    for _ in range(2):
        rate *= wanted / distance(torch.float32, rate=rate, size=size, steady=steady, steps=steps, numbers=numbers)
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--numbers", type=int, default=200_000)
    asked = parser.parse_args()
    rows = []
    print(f"{'gradient':18}{'kind':8}{'float16':>11}{'float32':>11}{'ratio':>8}{'float32 rate that moves as far':>33}")
    for name, size in SIZES.items():
        for kind, steady in STEADY.items():
            world = {"size": size, "steady": steady, "steps": asked.steps, "numbers": asked.numbers}
            half = distance(torch.float16, rate=RATE, **world)
            whole = distance(torch.float32, rate=RATE, **world)
            rate = equal_rate(half, **world) if half else None
            rows.append(
                {"gradient": size, "kind": kind, "float16": half, "float32": whole, "ratio": half / whole, "rate": rate}
            )
            told = "weights stay" if rate is None else f"{rate:.1e}"
            print(f"{name:18}{kind:8}{half:11.2e}{whole:11.2e}{half / whole:8.1f}{told:>33}", flush=True)
    save("update_size", {"steps": asked.steps, "numbers": asked.numbers, "rows": rows})


if __name__ == "__main__":
    main()
