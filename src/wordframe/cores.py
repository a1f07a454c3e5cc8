"""How many cores this process may use: for threads that decode and encode, and for compiled image towers."""

from __future__ import annotations

import math
import os
from pathlib import Path

_share: int | None = None


def limit_cores(cores: int) -> None:
    """Make ``cores`` this process's share, where others on the machine have theirs."""
    global _share
    _share = cores


def usable_cores() -> int:
    """How many cores this process may use: those it is bound to, and no more than its control group's quota, or than
    the share that it was given."""
    cores = _cores_there()
    return cores if _share is None else min(cores, _share)


def _cores_there() -> int:
    if hasattr(os, "process_cpu_count"):  # from Python 3.13 on
        cores = os.process_cpu_count() or 1
    elif hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    try:
        return min(cores, _quota_cores(Path("/sys/fs/cgroup/cpu.max").read_text()))
    except (OSError, ValueError):  # another system, or control groups of the first version
        return cores


def _quota_cores(quota: str) -> int:
    """Whole cores of a control group's ``cpu.max``, "microseconds period"; at least 1.

    >>> _quota_cores("150000 100000"), _quota_cores("1000 100000"), _quota_cores("max 100000") > 1_000
    (2, 1, True)
    """
    allowed, period = quota.split()
    return 1 << 20 if allowed == "max" else max(1, math.ceil(int(allowed) / int(period)))
