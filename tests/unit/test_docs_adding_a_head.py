"""The code of docs/adding-a-head.md runs as it stands, and its head keeps the rules of heads."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from wordframe.models import PRESETS, load_model
from wordframe.models.config import FAMILIES

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-head.md"


@pytest.fixture(scope="module")
def page() -> Iterator[dict[str, Any]]:
    """The names that the page's code defines; what it registers is taken back afterwards."""
    families, presets = dict(FAMILIES), dict(PRESETS)
    sys.modules["page"] = module = types.ModuleType("page")  # dataclasses look their module up
    names = vars(module)
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL):
        exec(compile(block, str(PAGE), "exec", dont_inherit=True), names)
    yield names
    del sys.modules["page"]
    for registered, before in ((FAMILIES, families), (PRESETS, presets)):
        registered.clear()
        registered.update(before)  # type: ignore[arg-type]


def test_the_page_scores(page: dict[str, Any]) -> None:
    assert page["logits"].shape == (2, 3)
    assert torch.isfinite(page["logits"]).all()


def test_by_hand(page: dict[str, Any]) -> None:
    head = page["BestFrameSimilarity"](sharpness=1000.0)
    text = page["TextFeatures"](torch.tensor([[1.0, 0.0]]), torch.ones(1, 1, 2), torch.ones(1, 1, dtype=torch.bool))
    frames = torch.tensor([[[3.0, 4.0], [0.0, 5.0], [7.0, 0.0]]])
    mask = torch.tensor([[True, True, False]])
    output = head(text, page["VideoFeatures"](frames, frames, mask))
    torch.testing.assert_close(output.logits, torch.tensor([[60.0]]))


def test_it_can_be_saved_and_loaded(page: dict[str, Any], tmp_path: Path) -> None:
    model = page["model"]
    model.save(tmp_path)
    again = load_model(tmp_path)
    assert again.fingerprint == model.fingerprint
    assert again.settings == model.settings
