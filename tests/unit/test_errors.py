"""What is said where an optional library is not installed."""

from __future__ import annotations

import importlib
import sys

import pytest

from wordframe.errors import MissingExtraError, needs_extra


def import_without(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an import where ``name`` is not installed."""
    monkeypatch.setitem(sys.modules, name, None)
    importlib.import_module(name)


@pytest.mark.parametrize(
    ("extra", "module"),
    [
        ("train", "accelerate"),
        ("train", "tensorboard"),
        ("report", "matplotlib"),
        ("mcp", "mcp"),
        ("openvino", "openvino"),
    ],
)
def test_a_missing_library_names_the_line_that_installs_it(
    extra: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingExtraError) as caught, needs_extra(extra, "this command"):
        import_without(module, monkeypatch)
    assert str(caught.value) == (
        f"this command needs more than the core of wordframe; install it with: pip install 'wordframe[{extra}]'"
    )


def test_a_missing_part_of_such_a_library_counts_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingExtraError), needs_extra("mcp", "this command"):
        raise ModuleNotFoundError("No module named 'mcp.server'", name="mcp.server")


def test_a_library_of_no_extra_is_not_hidden_behind_one() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_library"), needs_extra("train", "this command"):
        importlib.import_module("no_such_library")
