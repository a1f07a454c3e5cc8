"""What each model costs on top of its backbone: parameters, and multiply-adds per (text, video) pair.

Counted from the real modules while they score (``torch.utils.flop_counter`` counts matrix products, two operations a
multiply-add; attention is made to run as plain products, which it sees). The cost of one pair is what one more text and
one more video cost together beyond what each costs alone: ``c(2, 2) − c(1, 2) − c(2, 1) + c(1, 1)``. Run from anywhere:
``python benchmarks/model_cost.py``; it prints the table, saves the figures, and puts the table into docs/models.md.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from results import save
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from wordframe.features import TextFeatures, VideoFeatures
from wordframe.models import PRESETS, TextVideoModel, load_model

WORDS, FRAMES, DIMENSION = 32, 12, 512
PAGE = Path(__file__).parents[1] / "docs" / "models.md"
SAME_AS_ANOTHER = ("tcmgc-didemo", "tcmgc-vatex")
"""Presets that differ from one of the table in lengths alone."""
NAMES = tuple(n for n, preset in PRESETS.items() if preset.needs_training and n not in SAME_AS_ANOTHER)


@dataclass(frozen=True)
class Cost:
    """One row of the table: per pair, per video (temporal head) and in memory."""

    preset: str
    method: str
    parameters: int
    per_pair: int
    per_video: int


def multiply_adds(model: TextVideoModel, num_texts: int, num_videos: int, method: str) -> int:
    """Multiply-adds of scoring ``num_texts`` texts against ``num_videos`` contextual videos."""
    words = torch.randn(num_texts, WORDS, DIMENSION)
    frames = torch.randn(num_videos, FRAMES, DIMENSION)
    text = TextFeatures(words[:, 0], words, torch.ones(num_texts, WORDS, dtype=torch.bool))
    video = VideoFeatures(frames, frames, torch.ones(num_videos, FRAMES, dtype=torch.bool))
    # with gradients the tensor form answers: the counter sees nothing of compiled loops, which multiply as much
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.score(text, video, method=method)
    return counter.get_total_flops() // 2


def temporal_multiply_adds(model: TextVideoModel) -> int:
    """Multiply-adds of one video through the temporal head; recurrent layers are counted from their weights."""
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.contextualize(torch.randn(1, FRAMES, DIMENSION), torch.ones(1, FRAMES, dtype=torch.bool))
    counted = counter.get_total_flops() // 2
    if counted or model.temporal is None:
        return counted
    return FRAMES * sum(weight.numel() for weight in model.temporal.parameters() if weight.dim() == 2)


def costs() -> Iterator[Cost]:
    """One row a preset and method."""
    for name in NAMES:
        model = load_model(name, dimension=DIMENSION)
        named = model.named_parameters()
        parameters = sum(p.numel() for parameter, p in named if not parameter.endswith("logit_scale"))  # that is CLIP's
        for method in model.methods:
            if method == "fused":
                continue  # the figures of plain again
            c = {(t, v): multiply_adds(model, t, v, method) for t in (1, 2) for v in (1, 2)}
            per_pair = c[2, 2] - c[1, 2] - c[2, 1] + c[1, 1]
            yield Cost(name, method, parameters, per_pair, temporal_multiply_adds(model))


def table(rows: list[Cost]) -> str:
    """The rows in Markdown."""
    lines = [
        "| preset | model | parameters on top | multiply-adds per pair | temporal head, per video |",
        "|---|---|---:|---:|---:|",
    ]
    counts = Counter(row.preset for row in rows)
    for row in rows:
        title = PRESETS[row.preset].title + (f" ({row.method})" if counts[row.preset] > 1 else "")
        lines.append(f"| `{row.preset}` | {title} | {row.parameters:,} | {row.per_pair:,} | {row.per_video:,} |")
    return "\n".join(lines)


def main() -> None:
    """Count, print, save, and put the table into the docs."""
    rows = list(costs())
    print(table(rows))
    save(
        "model_cost",
        {
            "words": WORDS,
            "frames": FRAMES,
            "dimension": DIMENSION,
            "models": [vars(row) for row in rows],
        },
    )
    marks = re.compile(r"(<!-- cost: begin -->\n).*(\n<!-- cost: end -->)", flags=re.DOTALL)
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(marks.sub(lambda found: found[1] + table(rows) + found[2], page), encoding="utf-8")


if __name__ == "__main__":
    main()
