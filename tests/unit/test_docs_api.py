"""``docs/api.md`` tells the truth: its answers fit the schemas, and it leaves out no address and no method."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from wordframe.client import Client, schemas
from wordframe.server import ServedLibrary, create_app

TEXT = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
ANSWERS = re.findall(r"<!-- (\w+) -->\n```json\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize(("kind", "answer"), ANSWERS, ids=[kind for kind, _ in ANSWERS])
def test_answers_are_such_objects(kind: str, answer: str) -> None:
    found = getattr(schemas, kind).model_validate_json(answer, strict=True)
    assert found.model_fields_set == set(type(found).model_fields)


def test_every_address_is_told(tmp_path: Path) -> None:
    assert len(ANSWERS) >= 6
    for path, methods in create_app(ServedLibrary(tmp_path)).openapi()["paths"].items():
        assert path in TEXT or path.removeprefix("/api/v1") in TEXT, path
        for status in {status for method in methods.values() for status in method["responses"]} - {"200", "206", "304"}:
            assert f"| {status} |" in TEXT or f"({status};" in TEXT, (path, status)


def test_every_method_of_the_client_is_told() -> None:
    methods = [name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")]
    for name in set(methods) - {"close"}:
        assert f"{name}(" in TEXT, name


def test_the_limits_are_those_of_the_code() -> None:
    from wordframe.search._picture import MAX_IMAGE_PIXELS
    from wordframe.server.guard import MAX_IMAGE_BYTES, MAX_JSON_BYTES
    from wordframe.server.media import MAX_CLIP_SECONDS, RangedFile

    for line in (
        f"| a query | {schemas.MAX_TEXT} characters |",
        f"| a JSON body | {MAX_JSON_BYTES // 1024} KiB |",
        f"| a picture | {MAX_IMAGE_BYTES >> 20} MiB and {MAX_IMAGE_PIXELS // 10**6} million pixels |",
        f"| sentences to rank | {schemas.MAX_TEXTS} |",
        f"| a clip | {MAX_CLIP_SECONDS:g} seconds |",
        f"| ranges of a file | {RangedFile.max_ranges} |",
    ):
        assert line in TEXT, line
