"""The published update: BertAdam, its learning rate over time, and which parameters get which rate and decay.

BertAdam is Adam (Kingma and Ba, arXiv 1412.6980) without bias correction and with decoupled weight decay, as BERT was
trained (arXiv 1810.04805): ``m ← β1 m + (1 − β1) g``, ``v ← β2 v + (1 − β2) g²``,
``θ ← θ − lr · (m / (√v + ε) + decay · θ)``. torch's AdamW divides by ``1 − β^t`` in addition and scales ``ε`` with it:
its first steps are larger, and with β2 = 0.98 the two agree to a percent after some 200 steps.

A parameter's means have its own type. In float16 (``precision: float16-weights``, as the published models were tuned)
``(1 − β2) g²`` is 0 for every ``|g|`` below about 1e-3, so that ε alone divides and the move is near ``lr · m / ε``:
ten to a hundred times what float32 makes of the same gradients (``benchmarks/update_size.py``).
``trainer.py`` steps it; ``recipe.py`` holds the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from wordframe.heads import MAX_SCALE
from wordframe.models import TextVideoModel
from wordframe.train.recipe import OptimizerSettings, Schedule


class BertAdam(Optimizer):
    """The update of the module's equation.

    Args:
        params: parameters or groups of them.
        lr, weight_decay: where a group does not say.
        betas, eps: of the equation.
        clip_each: largest norm of one parameter's gradient; None leaves gradients as they come.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.98),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        clip_each: float | None = None,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "clip_each": clip_each}
        super().__init__(params, defaults)

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
        if group["clip_each"] is not None:
            clip_grad_norm_(parameter, group["clip_each"])
        # Each line rounds once where the published update does: in float16 another order of the same sums ends at other
        # weights, by more than their last place after a few steps.
        mean.mul_(first).add_(gradient, alpha=1 - first)
        square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        move = square.sqrt().add_(group["eps"])  # ε outside the root, and neither mean is divided by 1 − β^t
        torch.div(mean, move, out=move)
        if group["weight_decay"]:
            move.add_(parameter, alpha=group["weight_decay"])
        parameter.sub_(move.mul_(group["lr"]))


def rate_factor(step: int, *, total: int, warmup: float, schedule: Schedule) -> float:
    """What the rates of step ``step`` (from 0) are multiplied by, with ``x = step / total``, the progress of the run.

    - ``cosine``, as CLIP4Clip and its lineage: ``x / warmup`` below ``warmup``, then ``(1 + cos(π x)) / 2`` of the
      whole progress. The first step moves nothing, it only starts BertAdam's means; at the end of the warm-up the rate
      is at once where the cosine is by then (0.976 behind 10 %).
    - ``cosine-after-warmup``: a rise whose last step has the whole rate, then the cosine of what is left, from 1.
    - ``constant``: as ``cosine`` below ``warmup``, then 1.

    >>> [round(rate_factor(s, total=10, warmup=0.2, schedule="cosine"), 3) for s in (0, 1, 2, 5, 9)]
    [0.0, 0.5, 0.905, 0.5, 0.024]
    >>> [round(rate_factor(s, total=10, warmup=0.2, schedule="cosine-after-warmup"), 3) for s in (0, 1, 2, 5, 9)]
    [0.5, 1.0, 1.0, 0.691, 0.038]
    """
    progress = step / total
    if schedule == "cosine-after-warmup":
        rising = warmup_steps(total, warmup)
        if step < rising:
            return (step + 1) / rising
        return (1 + math.cos(math.pi * (step - rising) / max(1, total - rising))) / 2
    if progress < warmup:
        return progress / warmup
    return 1.0 if schedule == "constant" else (1 + math.cos(math.pi * progress)) / 2


def warmup_steps(total: int, warmup: float) -> int:
    """How many of ``total`` steps belong to the share ``warmup``."""
    return math.ceil(warmup * total)


@dataclass(frozen=True)
class Group:
    """Parameters that share a rate and a decay. name: ``head`` or ``backbone``, with ``decayed`` or ``others``."""

    name: str
    parameters: tuple[nn.Parameter, ...]
    lr: float
    weight_decay: float


def parameter_groups(model: TextVideoModel, settings: OptimizerSettings) -> list[Group]:
    """Those parameters that are trained, by module (backbone or head) and by whether ``settings.decayed`` names them.

    CLIP's scale, one parameter with the model's where CLIP is tuned, is the backbone's then.
    """
    # by identity: the scale is one tensor under two names, and ``==`` of tensors compares their numbers
    towers = set() if model.backbone is None else {id(parameter) for parameter in model.backbone.parameters()}
    found: dict[tuple[str, str], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            place = "backbone" if id(parameter) in towers else "head"
            found.setdefault((place, "decayed" if _decays(name, parameter, settings) else "others"), []).append(
                parameter
            )
    # sorted, since an optimizer's state is kept by place: a resumed run must find the same order
    return [
        Group(
            name=f"{place} {kind}",
            parameters=tuple(parameters),
            lr=settings.backbone_lr if place == "backbone" else settings.lr,
            weight_decay=settings.weight_decay if kind == "decayed" else 0.0,
        )
        for (place, kind), parameters in sorted(found.items())
    ]


def _decays(name: str, parameter: nn.Parameter, settings: OptimizerSettings) -> bool:
    if settings.decayed == "matrices":
        return parameter.dim() >= 2
    # as the released codes look for the word in a name, which finds an LSTM's bias_ih_l0 as well
    return "bias" not in name.rpartition(".")[2]


def is_tuned(model: TextVideoModel) -> bool:
    """Whether the backbone's towers are trained along."""
    return model.backbone is not None and any(parameter.requires_grad for parameter in model.backbone.parameters())


def make_optimizer(groups: Iterable[Group], settings: OptimizerSettings) -> BertAdam:
    """BertAdam over ``groups``, each at its whole rate, which ``make_scheduler`` multiplies."""
    return BertAdam(
        [
            {"params": list(group.parameters), "lr": group.lr, "weight_decay": group.weight_decay, "name": group.name}
            for group in groups
        ],
        lr=settings.lr,
        betas=settings.betas,
        eps=settings.eps,
        clip_each=settings.clip_each,
    )


def make_scheduler(optimizer: Optimizer, settings: OptimizerSettings, *, total: int) -> LambdaLR:
    """torch's scheduler with ``rate_factor``: it sets the rates of step 0, and each ``step()`` those of the next."""
    return LambdaLR(
        optimizer, lambda step: rate_factor(step, total=total, warmup=settings.warmup, schedule=settings.schedule)
    )


@torch.no_grad()
def clamp_scale(model: TextVideoModel) -> None:
    """Hold ``s = exp(logit_scale)`` at 100 at most, as the papers do after each step."""
    logit_scale = getattr(model.similarity, "logit_scale", None)
    if isinstance(logit_scale, Tensor):
        logit_scale.clamp_(max=math.log(MAX_SCALE))
