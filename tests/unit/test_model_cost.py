"""The figures in docs/models.md are those that the program counts from the modules of today."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("model_cost")


def test_the_table_of_the_docs_is_current(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "NAMES", ("clip4clip-mean", "xclip", "tcmgc-msrvtt", "xpool"))
    rows = list(program.costs())
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    for line in program.table(rows).splitlines():
        assert line in page
    per_pair = {(row.preset, row.method): row.per_pair for row in rows}
    assert per_pair["clip4clip-mean", "plain"] == 512
    assert per_pair["tcmgc-msrvtt", "plain"] == pytest.approx(9.6e6, rel=0.01)
    assert per_pair["xclip", "plain"] == pytest.approx(0.22e6, rel=0.1)
    assert per_pair["xpool", "plain"] == pytest.approx(2 * 512**2 + 25 * 512, rel=0.01)  # two matrices of D x D
    assert per_pair["xpool", "span"] < per_pair["xpool", "plain"] / 30
