"""What ``wordframe try`` says beside its server: a reader who has left costs no traceback."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest

from wordframe import client
from wordframe.cli import try_folder


class Unread(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


class Finished:
    """A server whose run has ended."""

    def __init__(self, link: str) -> None:
        pass

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def index_status(self) -> Any:
        return SimpleNamespace(state="finished", problem=None, failures=[])

    def library(self) -> Any:
        return SimpleNamespace(num_videos=2, seconds_of_video=7.0)


def test_the_end_of_a_run_that_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "Client", Finished)
    monkeypatch.setattr("sys.stdout", Unread())
    watch = try_folder._Watch("http://127.0.0.1:1/")
    watch.run()
    assert watch.finished
