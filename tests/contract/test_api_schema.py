"""The OpenAPI document against the running server, by schemathesis: no server error, nothing undocumented.

All its checks run, with one told more than the document can say: a request may be well-formed in every part and still
be refused as a whole (``text`` and ``like`` together, a clip that ends before it starts, a picture that is none), so
answers of 4xx to such requests are right where they are documented.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import from_schema
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished

from tests.served import listening, make_library

NO_HTTP = b"Invalid HTTP request received."
"""What the parser below the application answers to bytes that are no HTTP, such as a Content-Length of letters."""
STATUSES = ["2xx", "3xx", "400", "403", "404", "409", "410", "415", "416", "422"]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with listening(make_library(tmp_path_factory.mktemp("schema")), warm=True) as url:
        while httpx.get(f"{url}/api/v1/ready").status_code == 503:
            time.sleep(0.05)
        yield url


def existing(url: str) -> dict[str, str]:
    """Parameters that name a video and a segment of the library."""
    item = httpx.get(f"{url}/api/v1/search", params={"text": "green"}).json()["items"][0]
    return {"path.video_id": item["video_id"], "path.segment_id": item["moments"][0]["segment_id"]}


def ask(url: str, parameters: dict[str, str], max_examples: int) -> tuple[Counter[str], list[str]]:
    """How many requests each operation got, and what was wrong with the answers."""
    told: dict[str, Any] = {
        "parameters": parameters,
        "checks": {"positive_data_acceptance": {"expected-statuses": STATUSES}},
        "generation": {"max-examples": max_examples, "deterministic": True, "no-shrink": True},
        "phases": {"stateful": {"enabled": False}},  # the operations share no state
        "continue-on-failure": True,
    }
    schema = schemathesis.openapi.from_url(f"{url}/api/v1/openapi.json", config=SchemathesisConfig.from_dict(told))
    asked: Counter[str] = Counter()
    wrong = []
    for event in from_schema(schema).execute():
        if isinstance(event, (FatalError, NonFatalError)):
            wrong.append(str(getattr(event, "value", None) or event.exception))
        elif isinstance(event, ScenarioFinished):
            asked[event.recorder.label] += len(event.recorder.interactions)
            for case, checks in event.recorder.checks.items():
                answer = event.recorder.interactions[case].response
                if answer is not None and answer.content == NO_HTTP:
                    continue
                wrong += [
                    f"{check.failure_info.failure}\n{check.failure_info.code_sample}"
                    for check in checks
                    if check.failure_info is not None
                ]
    return asked, wrong


def check(url: str, max_examples: int, at_least: int, *several: dict[str, str]) -> None:
    asked: Counter[str] = Counter()
    for parameters in several:
        counted, wrong = ask(url, parameters, max_examples)
        assert not wrong, f"{len(wrong)} failures of {counted.total()} requests:\n" + "\n\n".join(wrong[:10])
        asked += counted
    assert len(asked) == len(operations(url)), "an operation was not asked"
    assert asked.total() >= at_least


def operations(url: str) -> list[tuple[str, str]]:
    document = httpx.get(f"{url}/api/v1/openapi.json").json()
    return [(path, method) for path, methods in document["paths"].items() for method in methods]


@pytest.mark.slow
def test_hundreds_of_requests(url: str) -> None:
    check(url, 2, 200, existing(url))


@pytest.mark.slow
def test_thousands_of_requests(url: str) -> None:
    check(url, 300, 5000, {}, existing(url))
