"""This process among those that torchrun or ``accelerate launch`` started together, on one machine or on several.

The machines share nothing but messages: no folder, no cache. So what one of them lacks the others must hear of, or they
would wait for its next message: whatever a process does by itself stands in ``failing_together``. In a single process
everything here does nothing. ``train/distributed.py`` exchanges tensors, ``evaluate/sharing.py`` what was counted.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from wordframe.errors import ProcessError, needs_extra

if TYPE_CHECKING:
    from accelerate import PartialState

_PIECE_BYTES = 2**26
"""A file travels in pieces of this size: no second copy of it is ever held."""


def several_are_started() -> bool:
    """Whether this process is one of several, by what torchrun and ``accelerate launch`` tell it."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def start_process_group() -> PartialState:
    """This process's place among those that were started together, and its device; the same at every call.

    Raises:
        MissingExtraError: accelerate is not installed.
    """
    with needs_extra("train", "training, and evaluating in several processes,"):
        from accelerate import PartialState
        from accelerate.utils import parse_flag_from_env
    # accelerate does not find out by itself that several processes are to meet on CPUs
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available())


def end_process_group() -> None:
    """End what ``start_process_group`` began. A group whose threads are still there when the interpreter ends can abort
    it."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def rank_and_world_size() -> tuple[int, int]:
    """This process's number and how many there are."""
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def even_shares(count: int, processes: int) -> list[int]:
    """``count`` things over ``processes``, as evenly as can be.

    >>> even_shares(128, 3)
    [43, 43, 42]
    """
    return [count // processes + (rank < count % processes) for rank in range(processes)]


@contextlib.contextmanager
def exchanging() -> Iterator[None]:
    """Around every message: one that does not arrive is a line, not a stack of C++.

    Raises:
        ProcessError: another process is gone.
    """
    try:
        yield
    except RuntimeError as error:  # of gloo a plain one, of NCCL a subclass
        raise ProcessError(
            f"process {rank_and_world_size()[0]} has lost the others: one of them has ended or cannot be reached, its "
            "own message says why; start all of them again, and a training run goes on from its last state"
        ) from error


@contextlib.contextmanager
def failing_together() -> Iterator[None]:
    """Around what each process does by itself: where it fails in one, it fails in all, behind the block.

    No messages between processes may be exchanged within the block.

    Raises:
        ProcessError: in the processes where the block did not fail; it names the first one where it did.
    """
    own: Exception | None = None
    try:
        yield
    except Exception as error:
        own = error
    rank, processes = rank_and_world_size()
    if processes > 1 and _any(own is not None):
        told = gather_objects(None if own is None else _line(own))
        if own is None:
            first = next(place for place, line in enumerate(told) if line is not None)
            raise ProcessError(f"process {rank} ends with process {first}: {told[first]}")
    if own is not None:
        raise own


def refuse_unlike(values: Mapping[str, Any]) -> None:
    """Let no process go on if ``values``, plain ones, are not the same in all of them.

    Raises:
        ProcessError: in all processes; it names what differs, and where.
    """
    host = platform.node()
    told = gather_objects((host, {name: json.dumps(value, sort_keys=True) for name, value in values.items()}))
    for place, (where, theirs) in enumerate(told):
        for name, value in told[0][1].items():
            if theirs[name] != value:
                raise ProcessError(
                    f"the processes do not agree: {name} is {_short(theirs[name])} in process {place} on {where} and "
                    f"{_short(value)} in process 0 on {told[0][0]}; give all of them the same"
                )


def gather_objects(own: Any) -> list[Any]:
    """What each process gives, in their order."""
    processes = rank_and_world_size()[1]
    gathered = [own] * processes
    if processes > 1:
        with exchanging():
            dist.all_gather_object(gathered, own)
    return gathered


def object_of(sender: int, own: Any) -> Any:
    """What the process ``sender`` gives, in every process."""
    told = [own]
    if rank_and_world_size()[1] > 1:
        with exchanging():
            dist.broadcast_object_list(told, src=sender)
    return told[0]


def file_of_first(path: Path) -> IO[bytes] | None:
    """The file at ``path`` on the first process's machine, open for reading in every process; None if there is none."""
    rank, processes = rank_and_world_size()
    opened: IO[bytes] | None = None
    with failing_together():
        if rank == 0 and path.is_file():
            opened = path.open("rb")
    size: int | None = gather_objects(None if opened is None else path.stat().st_size)[0]
    if processes == 1 or size is None:
        return opened
    received: IO[bytes] = io.BytesIO() if opened is None else opened
    for start in range(0, size, _PIECE_BYTES):
        piece = torch.empty(min(_PIECE_BYTES, size - start), dtype=torch.uint8)
        if opened is not None:
            piece = torch.frombuffer(bytearray(opened.read(len(piece))), dtype=torch.uint8)
        piece = piece.to(_message_device())
        with exchanging():
            dist.broadcast(piece, src=0)
        if opened is None:
            received.write(piece.cpu().numpy().tobytes())
    received.seek(0)
    return received


def _any(here: bool) -> bool:
    """Whether it is so in any process."""
    told = torch.tensor([float(here)], device=_message_device())
    with exchanging():
        dist.all_reduce(told)
    return bool(told.item() > 0)


def _message_device() -> torch.device:
    """Where a tensor has to lie to be sent: NCCL sends from its device alone."""
    accelerator = None if "gloo" in dist.get_backend() else torch.accelerator.current_accelerator()
    return torch.device("cpu") if accelerator is None else torch.device(accelerator.type)


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}…"
