"""Fixtures shared by all tests. Shared material is read from the folder named by WORDFRAME_SHARED."""

from __future__ import annotations

import os
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
