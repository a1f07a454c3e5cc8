"""Notes which test reaches which line of a package, and its seconds: a plugin of pytest for tests/mutants.py."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest


class Reaches:
    """One measurement over the whole run, switched from test to test."""

    def __init__(self, source: str) -> None:
        self.coverage = coverage.Coverage(data_file=None, source=[source], branch=False)
        self.coverage.start()
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.coverage.switch_context(item.nodeid)
        start = time.perf_counter()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = time.perf_counter() - start

    def pytest_sessionfinish(self) -> None:
        self.coverage.stop()
        data, root = self.coverage.get_data(), Path.cwd()
        lines = {
            Path(file).relative_to(root).as_posix(): {
                str(line): [context for context in contexts if context in self.seconds]
                for line, contexts in data.contexts_by_lineno(file).items()
            }
            for file in data.measured_files()
        }
        content = {"lines": lines, "seconds": self.seconds}
        Path(os.environ["MUTANTS_REACH"]).write_text(json.dumps(content), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Reaches(os.environ["MUTANTS_SOURCE"]), "reaches")
