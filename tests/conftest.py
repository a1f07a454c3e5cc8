"""Fixtures shared by all tests. Shared material is read from the folder named by WORDFRAME_SHARED."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

collect_ignore = ["mutants_plugin.py"]  # needs a library that `make mutants` alone installs


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden numbers, real clips and annotations. Without WORDFRAME_SHARED the test is skipped."""
    folder = os.environ.get("WORDFRAME_SHARED")
    if not folder:
        pytest.skip("WORDFRAME_SHARED is not set")
    path = Path(folder)
    assert path.is_dir(), f"WORDFRAME_SHARED={folder} is not a folder"
    return path


@pytest.fixture(autouse=True)
def _nothing_in_real_time() -> Iterator[None]:
    """A process that some library made a real-time one stops the machine with the first loop that a test means to end:
    what such a test starts inherits it (``tests/videos.py: ordinary_priority``)."""
    yield
    if hasattr(os, "sched_getscheduler"):
        assert os.sched_getscheduler(0) == os.SCHED_OTHER
