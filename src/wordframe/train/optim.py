"""The published update: BertAdam, its learning rate over time, and which parameters get which rate and decay.

BertAdam is Adam (Kingma and Ba, arXiv 1412.6980) without bias correction and with decoupled weight decay, as BERT was
trained (arXiv 1810.04805): ``m ← β1 m + (1 − β1) g``, ``v ← β2 v + (1 − β2) g²``,
``θ ← θ − lr · (m / (√v + ε) + decay · θ)``. torch's AdamW divides by ``1 − β^t`` in addition and scales ``ε`` with it:
its first steps are larger, and with β2 = 0.98 the two agree to a percent after some 200 steps.
``loop.py`` steps it; ``config.py`` holds the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from wordframe.heads import MAX_SCALE
from wordframe.models import TextVideoModel
from wordframe.train.config import OptimizerSettings


class BertAdam(Optimizer):
    """The update of the module's equation.

    Args:
        params: parameters or groups of them.
        lr, weight_decay: where a group does not say.
        betas, eps: of the equation.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.98),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        if closure is not None:
            raise ValueError("BertAdam takes no closure; compute the gradients before step()")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["mean"] = torch.zeros_like(parameter)
            state["square"] = torch.zeros_like(parameter)
        mean, square, gradient = state["mean"], state["square"], parameter.grad
        first, second = group["betas"]
        mean.lerp_(gradient, 1 - first)
        square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        if group["weight_decay"]:
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.addcdiv_(mean, square.sqrt().add_(group["eps"]), value=-group["lr"])


def rate_factor(step: int, *, total: int, warmup: int, schedule: str) -> float:
    """What the rates of step ``step`` (from 0) are multiplied by: a linear rise, then half a cosine down to 0.

    >>> [round(rate_factor(s, total=10, warmup=2, schedule="cosine"), 3) for s in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.038]
    """
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    return (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup))) / 2


@dataclass(frozen=True)
class Group:
    """Parameters that share a rate and a decay. name: ``head`` or ``backbone``, with ``matrices`` or ``others``."""

    name: str
    parameters: tuple[nn.Parameter, ...]
    lr: float
    weight_decay: float


def parameter_groups(model: TextVideoModel, settings: OptimizerSettings) -> list[Group]:
    """Those parameters that are trained, by module (backbone or head) and rank (decay is for matrices and above).

    CLIP's scale, one parameter with the model's, is the backbone's where that is tuned.
    """
    towers = set() if model.backbone is None else {id(parameter) for parameter in model.backbone.parameters()}
    if model.backbone is not None and not is_tuned(model):
        towers.discard(id(model.backbone.logit_scale))
    found: dict[tuple[str, str], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            place = "backbone" if id(parameter) in towers else "head"
            found.setdefault((place, "matrices" if parameter.dim() >= 2 else "others"), []).append(parameter)
    return [
        Group(
            name=f"{place} {kind}",
            parameters=tuple(parameters),
            lr=settings.backbone_lr if place == "backbone" else settings.lr,
            weight_decay=settings.weight_decay if kind == "matrices" else 0.0,
        )
        for (place, kind), parameters in sorted(found.items())
    ]


def is_tuned(model: TextVideoModel) -> bool:
    """Whether the backbone's towers are trained along."""
    if model.backbone is None:
        return False
    scale = model.backbone.logit_scale
    return any(parameter.requires_grad for parameter in model.backbone.parameters() if parameter is not scale)


def make_optimizer(groups: Iterable[Group], settings: OptimizerSettings) -> BertAdam:
    """BertAdam over ``groups``; ``base_lr`` of each is what ``rate_factor`` multiplies."""
    return BertAdam(
        [
            {"params": list(g.parameters), "lr": g.lr, "base_lr": g.lr, "weight_decay": g.weight_decay, "name": g.name}
            for g in groups
        ],
        lr=settings.lr,
        betas=settings.betas,
        eps=settings.eps,
    )


def set_rates(optimizer: Optimizer, factor: float) -> None:
    """Give each group ``factor`` of its own rate."""
    for group in optimizer.param_groups:
        group["lr"] = factor * group["base_lr"]


@torch.no_grad()
def clamp_scale(model: TextVideoModel) -> None:
    """Hold ``s = exp(logit_scale)`` at 100 at most, as the papers do after each step."""
    logit_scale = getattr(model.similarity, "logit_scale", None)
    if isinstance(logit_scale, Tensor):
        logit_scale.clamp_(max=math.log(MAX_SCALE))
