"""The states of torch's random generators, taken and put back: what makes a second pass or a resumed run the same.

``step.py`` encodes a chunk twice with one dropout; ``state.py`` keeps the states of every process.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The generators' states: the CPU's, and the device's where it has its own."""
    state = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        state[device.type] = torch.get_device_module(device).get_rng_state()
    return state


def set_random_state(state: Mapping[str, Tensor], device: torch.device) -> None:
    """Put back what ``random_state`` took."""
    torch.set_rng_state(state["cpu"])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(state[device.type])


@contextlib.contextmanager
def replayed(state: Mapping[str, Tensor], device: torch.device) -> Iterator[None]:
    """Random numbers as they were at ``state`` within the block, and behind it as if the block had drawn none."""
    before = random_state(device)
    set_random_state(state, device)
    try:
        yield
    finally:
        set_random_state(before, device)
