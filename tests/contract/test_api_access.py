"""Who gets in: with a token, by its link, its cookie or as a bearer; and the headers that every answer carries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.colours import ColourEncoder
from tests.served import one_video, problem_of, serving
from wordframe.server import Answers, ServedLibrary, create_app

TOKEN = "a-token-of-some-length"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return one_video(tmp_path_factory.mktemp("access"))[0]


@pytest.fixture
def client(library: Path) -> Iterator[TestClient]:
    with serving(library, token=TOKEN) as client:
        yield client


def test_nobody_without_the_token(client: TestClient) -> None:
    for path in ("/health", "/library", "/search?text=red", "/videos", "/index", "/openapi.json", "/nothing"):
        answer = client.get(f"/api/v1{path}")
        assert "open the link that the server printed" in problem_of(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer"},
        {"Authorization": TOKEN},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": b"Bearer \xff\xfe"},
        {"Cookie": "wordframe=wrong"},
        {"Cookie": f"other={TOKEN}"},
        {"Cookie": 'wordframe="'},
        {"Cookie": ";;;=;"},
        {"Cookie": b"wordframe=\xff"},
    ],
)
def test_wrong_tokens(client: TestClient, headers: dict[str, str | bytes]) -> None:
    problem_of(client.get("/api/v1/health", headers=headers), 401)


def test_the_token_in_the_address_of_the_api_is_not_taken(client: TestClient) -> None:
    """It would stay in logs and histories."""
    problem_of(client.get("/api/v1/library", params={"token": TOKEN}), 401)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_bearer(client: TestClient, scheme: str) -> None:
    assert client.get("/api/v1/health", headers={"Authorization": f"{scheme} {TOKEN}"}).status_code == 200


def test_the_link_gives_a_cookie_and_the_cookie_lets_in(client: TestClient) -> None:
    page = client.get("/", params={"token": TOKEN})
    assert page.status_code == 200
    cookie = page.headers["set-cookie"]
    assert cookie == f"wordframe={TOKEN}; HttpOnly; SameSite=Strict; Path=/"
    assert client.get("/api/v1/search", params={"text": "red"}).status_code == 200


def test_over_tls_the_cookie_is_never_sent_without(library: Path) -> None:
    app = create_app(ServedLibrary(library, encoder=ColourEncoder()), token=TOKEN, root_path="/videos")
    with TestClient(app, base_url="https://127.0.0.1:8765") as client:
        cookie = client.get("/videos/", params={"token": TOKEN}).headers["set-cookie"]
    assert cookie == f"wordframe={TOKEN}; HttpOnly; SameSite=Strict; Path=/videos; Secure"


@pytest.mark.parametrize("token", ["wrong", "", "\u00e4"])
def test_a_wrong_link_gives_no_cookie(client: TestClient, token: str) -> None:
    answer = client.get("/", params={"token": token})
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers


def test_without_a_token_everybody_here_gets_in_and_no_cookie_is_given(library: Path) -> None:
    with serving(library) as client:
        assert client.get("/api/v1/health").status_code == 200
        assert "set-cookie" not in client.get("/", params={"token": ""}).headers


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/nothing", 404),
        ("/api/v1/health", 200),
        ("/api/v1/openapi.json", 200),
        ("/api/v1/search", 422),
        ("/api/v1/search?text=red", 200),
        ("/api/v1/nothing", 404),
        ("/api/v1/videos/none/media", 404),
        ("/api/v1/index", 200),
    ],
)
def test_headers_of_every_answer(library: Path, path: str, status: int) -> None:
    with serving(library) as client:
        answer = client.get(path, headers={"Origin": "http://127.0.0.1:8765"})
    assert answer.status_code == status
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert "server" not in answer.headers
    if path.startswith("/api"):
        assert answer.headers["cache-control"] == "no-store"


def test_an_error_nobody_expected_tells_nothing(
    library: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr(Answers, "videos", fail)
    with serving(library) as client:
        answer = client.get("/api/v1/videos")
    assert problem_of(answer, 500) == "something went wrong inside the server; its log says more"
    assert "a secret of the inside" in caplog.text
    assert "content-security-policy" in answer.headers
