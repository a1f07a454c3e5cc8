"""Fixtures shared by all tests. Shared material is read from the folder named by WORDFRAME_SHARED."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.object_server import ObjectServer

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


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """Nothing here is read after a power failure, and the disk takes a good part of a test's time. What is synced, and
    when, ``test_power_loss.py`` looks at with a disk of its own; processes that tests start sync as ever."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)  # which refuses a handle that is closed, too
        yield


@pytest.fixture(scope="session")
def object_server() -> Iterator[ObjectServer]:
    """An S3 server on the loopback, with one bucket."""
    from tests.object_server import ObjectServer

    server = ObjectServer()
    yield server
    server.close()


@pytest.fixture
def on_store(object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """An address on the server that nothing is at yet, with the environment that reaches it."""
    from tests.object_server import BUCKET

    for name, value in object_server.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{abs(hash(request.node.nodeid)):x}/library"
