"""One loss over many processes, with the gradients of one process.

The whole loss is the sum of the processes' shares. So a value that all processes see, such as the videos of the whole
batch, collects in its backward pass what each share makes of it, and parameters sum their gradients over the processes
once a step. Released codes keep only the local slice there, and their gradients depend on the number of GPUs (METHODS
section 10). In a single process everything here does nothing. ``processes.py`` has the group and plain messages;
``step.py`` computes a batch with this, ``trainer.py`` a step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from wordframe.processes import exchanging, rank_and_world_size

if dist.is_available():
    # loaded while there is a group, its default arguments would keep that group and its threads for good
    import torch.distributed.nn.functional

BUCKET_NUMBERS = 2**24
"""Gradients travel in pieces of about this many numbers: few messages, and no second copy of all of them."""


def gather_rows(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """Rows of all processes, in their order: ``(B, ...) → (sum of sizes, ...)``. Differentiable.

    Args:
        x: the rows of this process; processes may hold different numbers of them.
        sizes: those numbers, which all processes know.
    """
    if len(sizes) == 1:
        return x
    gathered: Tensor = _GatherRows.apply(x, tuple(sizes))  # type: ignore[no-untyped-call]
    return gathered


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: tuple[int, ...]) -> Tensor:
        rank, _ = rank_and_world_size()
        ctx.own = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
        padded = x.new_zeros(max(sizes), *x.shape[1:])  # messages must have one size
        padded[: len(x)] = x
        pieces = [torch.empty_like(padded) for _ in sizes]
        with exchanging():
            dist.all_gather(pieces, padded)
        return torch.cat([piece[:size] for piece, size in zip(pieces, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        # Every process has a gradient for all rows, since each share of the loss saw all of them; the whole loss is the
        # sum of the shares, so a row's gradient is the sum of what they say.
        total = gradients[0].contiguous().clone()
        with exchanging():
            dist.all_reduce(total)
        return total[ctx.own], None


def sum_over_processes(x: Tensor) -> Tensor:
    """The sum of ``x`` over all processes, without a gradient."""
    x = x.detach().clone()
    if rank_and_world_size()[1] > 1:
        with exchanging():
            dist.all_reduce(x)
    return x


def sum_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace each gradient by its sum over all processes. One that is missing is missing in all of them: they differ
    in their pairs, not in what is computed."""
    if rank_and_world_size()[1] == 1:
        return
    bucket: list[Tensor] = []
    for gradient in (parameter.grad for parameter in parameters if parameter.grad is not None):
        bucket.append(gradient)
        if sum(some.numel() for some in bucket) >= BUCKET_NUMBERS:
            _reduce(bucket)
            bucket = []
    _reduce(bucket)


def copy_from_first(tensors: Iterable[Tensor]) -> None:
    """Overwrite ``tensors`` by those of the first process, so that all start alike."""
    if rank_and_world_size()[1] > 1:
        with exchanging():
            for tensor in tensors:
                dist.broadcast(tensor.data, src=0)


def _reduce(bucket: Sequence[Tensor]) -> None:
    # in the order of the parameters, which is that of all processes; a set's order may differ between them
    for dtype in dict.fromkeys(gradient.dtype for gradient in bucket):
        alike = [gradient for gradient in bucket if gradient.dtype == dtype]
        flat = torch.cat([gradient.flatten() for gradient in alike])
        with exchanging():
            dist.all_reduce(flat)
        start = 0
        for gradient in alike:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()
