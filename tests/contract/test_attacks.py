"""Attacks, all refused: strange hosts and sites, ways out of the folders, bodies and pictures too large, ranges
without end, scripts in names, callers that never finish."""

from __future__ import annotations

import io
import json
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.served import SCRIPT_NAME, get, listening, make_library, one_video, problem_of, serving, video_id


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_library(tmp_path_factory.mktemp("attacks"))


@pytest.fixture(scope="module")
def client(library: Path) -> Iterator[TestClient]:
    with serving(library) as client:
        yield client


# Hosts ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8765", "localhost:1", "LOCALHOST", "[::1]", "[::1]:8765"])
def test_our_own_names(client: TestClient, host: str) -> None:
    assert client.get("/api/v1/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8765", "127.0.0.1.evil.example", "localhost.evil.example", "127.0.0.2",
        "192.168.1.5", "[::2]", "[::1", "", "127.0.0.1, evil.example", "0.0.0.0", "127.0.0.1@evil.example",
    ],
)  # fmt: skip
def test_foreign_names(client: TestClient, host: str) -> None:
    for path in ("/api/v1/health", "/api/v1/search?text=red", "/", "/style.css"):
        detail = problem_of(client.get(path, headers={"Host": host}), 421)
        assert "start it with --allow-host" in detail


def test_names_that_were_allowed(library: Path) -> None:
    with serving(library, hosts=["Media.Home"], any_address=True, token="a-token-of-some-length") as client:
        for host in ("media.home", "MEDIA.home:80", "192.168.1.5:8765", "[fe80::1]:8765"):
            assert client.get("/", headers={"Host": host}).status_code == 200, host
        for host in ("evil.example", "xmedia.home", "media.home.evil.example"):
            problem_of(client.get("/", headers={"Host": host}), 421)


# Sites ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:8765"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://[::1"},
    ],
)
def test_other_sites(client: TestClient, headers: dict[str, str]) -> None:
    for method, path in (("GET", "/search?text=red"), ("POST", "/search"), ("POST", "/index"), ("GET", "/health")):
        answer = client.request(method, f"/api/v1{path}", headers=headers)
        assert problem_of(answer, 403) == "another site may not ask this server; open its page itself"
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [{}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Origin": "http://127.0.0.1:8765"}],
)
def test_our_own_page_and_programs(client: TestClient, headers: dict[str, str]) -> None:
    assert client.get("/api/v1/health", headers=headers).status_code == 200


def test_no_leave_is_given_to_other_sites(client: TestClient) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = client.options("/api/v1/search", headers=headers)
    problem_of(answer, 403)
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_a_form_of_another_site_is_no_json(client: TestClient) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a"):
        problem_of(client.post("/api/v1/search", content=b'{"text": "red"}', headers={"Content-Type": kind}), 415)
        path = f"/api/v1/videos/{video_id(client, 'red.mp4')}/rank-texts"
        problem_of(client.post(path, content=b'{"texts": ["red"]}', headers={"Content-Type": kind}), 422)


# Ways out ------------------------------------------------------------------------------------------------------------

WAYS = [
    "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd", "..%5c..%5cetc", "%00", "a%00b",
    "%2fetc%2fpasswd",
    "....//....//etc/passwd", "%252e%252e%252f", "..;/etc", "~root", "a" * 5000, "%ff%fe", "%0d%0aSet-Cookie:%20a=b",
    "' OR '1'='1", "a') OR ('1'='1",
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "place",
    [
        "/api/v1/videos/{}/media", "/api/v1/videos/{}", "/api/v1/segments/{}/thumbnail", "/api/v1/segments/{}/clip",
        "/{}", "/js/{}", "//{}", "/js/../{}",
    ],
)  # fmt: skip
def test_no_way_out_of_ids_and_pages(client: TestClient, place: str, way: str) -> None:
    answer = client.get(_raw(place.format(way)))
    if answer.status_code == 200:  # a way round that ends at the page
        assert answer.content == client.get("/").content
    else:
        assert answer.status_code in (404, 405, 422), answer.text[:200]
        problem_of(answer, answer.status_code)
    assert "root:" not in answer.text
    assert "set-cookie" not in answer.headers


def _raw(path: str) -> httpx.URL | str:
    """An address that is sent as it is written."""
    return f"http://127.0.0.1:8765{path}"


def test_ways_out_over_a_real_connection(library: Path) -> None:
    """No client in between that would tidy the address."""
    with listening(library) as url:
        for way in (
            "/../../../../etc/passwd",
            "/js/../../../../../etc/passwd",
            "/%2e%2e/%2e%2e/etc/passwd",
            "/a%00b",
            "/api/v1/videos/..%2f..%2fetc%2fpasswd/media",
            "/api/v1/../../etc/passwd",
            "//etc/passwd",
        ):
            head, body = raw(url, f"GET {way} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            assert head.split()[1] in (b"404", b"422"), (way, head)
            assert b"root:" not in body


def raw(url: str, sent: bytes) -> tuple[bytes, bytes]:
    """Send bytes, give the head and the body of what comes back."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(sent)
        came = b""
        while block := connection.recv(65536):
            came += block
    head, _, body = came.partition(b"\r\n\r\n")
    return head, body


# Too much ------------------------------------------------------------------------------------------------------------


def test_a_body_said_to_be_too_large(client: TestClient) -> None:
    path = f"/api/v1/videos/{video_id(client, 'red.mp4')}/rank-texts"
    for place in ("/api/v1/search", path, "/api/v1/index"):
        content = b'{"text": "' + b"a" * 65_600 + b'"}'
        detail = problem_of(client.post(place, content=content, headers={"Content-Type": "application/json"}), 413)
        assert detail == "the body is larger than 64 KiB, the most that is read; send less"


def test_a_body_that_goes_on_without_saying(client: TestClient) -> None:
    read = 0

    def blocks() -> Iterator[bytes]:
        nonlocal read
        for _ in range(10_000):
            read += 4096
            yield b"a" * 4096

    path = f"/api/v1/videos/{video_id(client, 'red.mp4')}/rank-texts"
    for place in ("/api/v1/search", path):
        answer = client.post(place, content=blocks(), headers={"Content-Type": "application/json"})
        assert "64 KiB" in problem_of(answer, 413)


def test_an_endless_body_is_cut_on_a_real_connection(library: Path) -> None:
    with listening(library) as url:
        address = urlsplit(url)
        head = b"POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
            connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
            sent = 0
            try:
                while sent < 64 << 20:
                    connection.sendall(b"1000\r\n" + b"a" * 4096 + b"\r\n")
                    sent += 4096
            except OSError:
                pass
            assert sent < 16 << 20  # what the buffers in between hold
        assert httpx.get(f"{url}/api/v1/health").status_code == 200


def test_a_picture_may_be_larger_than_json_but_not_too_large(client: TestClient) -> None:
    headers = {"Content-Type": "image/png"}
    buffer = io.BytesIO()
    Image.effect_noise((512, 512), 90).save(buffer, "PNG")
    assert len(buffer.getvalue()) > 65_536
    assert client.post("/api/v1/search", content=buffer.getvalue(), headers=headers).status_code == 200
    detail = problem_of(client.post("/api/v1/search", content=b"a" * (10 * 2**20 + 1), headers=headers), 413)
    assert "10240 KiB" in detail
    path = f"/api/v1/videos/{video_id(client, 'red.mp4')}/rank-texts"
    problem_of(
        client.post(path, content=b"a" * 70_000, headers=headers), 422
    )  # read as no JSON, never more than an image


def bomb(side: int) -> bytes:
    """A PNG of ``side²`` white pixels in few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + side // 8)
    rows = b"".join(packer.compress(row) for _ in range(min(side, 2000))) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_bomb_of_a_picture_is_refused_before_it_is_read(client: TestClient) -> None:
    began = time.perf_counter()
    answer = client.post("/api/v1/search", content=bomb(60_000), headers={"Content-Type": "image/png"})
    problem_of(answer, 422)
    assert time.perf_counter() - began < 5
    assert len(bomb(60_000)) < 2**20


def svg() -> bytes:
    return b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def eps() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "EPS")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["image/svg+xml", "application/postscript", "image/x-eps", "video/mp4", ""])
def test_kinds_of_pictures_that_are_not_taken(client: TestClient, kind: str) -> None:
    answer = client.post("/api/v1/search", content=svg(), headers={"Content-Type": kind})
    assert "send application/json, or a picture as one of image/jpeg" in problem_of(answer, 415)


@pytest.mark.parametrize(
    "content", [svg(), eps(), b"%!PS-Adobe-3.0 EPSF-3.0\n", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"%PDF-1.4"]
)
def test_other_pictures_under_a_false_name(client: TestClient, content: bytes) -> None:
    answer = client.post("/api/v1/search", content=content, headers={"Content-Type": "image/png"})
    assert "cannot be read as a picture" in problem_of(answer, 422)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_pictures_cut_short(client: TestClient, kind: str) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((128, 128), 90).convert("RGB").save(buffer, kind)
    content = buffer.getvalue()
    for part in (content[: len(content) // 2], content[:20]):
        answer = client.post("/api/v1/search", content=part, headers={"Content-Type": f"image/{kind.lower()}"})
        problem_of(answer, 422)


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=" + ",".join("0-" for _ in range(1000)),
        "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 4000, 2)),
        "bytes=" + "9" * 6000 + "-",
        "bytes=0-" + "9" * 6000,
        "bytes=-" + "9" * 30,
        "bytes=--1",
        "bytes=0-0,1-1,-1,0-0,0-,5-1",
        "bytes=\xb2-\xb3",
        "bytes=,,,,",
    ],
)
def test_ranges_ask_no_more_than_the_file(client: TestClient, library: Path, asked: str) -> None:
    size = (library.parent / "videos" / "red.mp4").stat().st_size
    headers = {"Range": asked.encode("latin-1")}
    answer = client.get(f"/api/v1/videos/{video_id(client, 'red.mp4')}/media", headers=headers)
    assert answer.status_code in (200, 206, 400, 416)
    assert len(answer.content) <= size + 8 * 200
    if answer.status_code >= 400:
        problem_of(answer, answer.status_code)


# Scripts -------------------------------------------------------------------------------------------------------------


def test_a_script_in_a_name_is_text_in_json(client: TestClient) -> None:
    for path in ("/api/v1/search?text=magenta", "/api/v1/videos", f"/api/v1/videos/{video_id(client, SCRIPT_NAME)}"):
        answer = client.get(path)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert SCRIPT_NAME in json.dumps(answer.json())
    file = client.get(f"/api/v1/videos/{video_id(client, SCRIPT_NAME)}/media")
    assert file.headers["content-type"] == "video/mp4"
    assert "<" not in file.headers["content-disposition"]


def test_a_script_in_a_query_comes_back_as_text_in_json(client: TestClient) -> None:
    script = "</script><script>alert(1)</script>"
    mixed = video_id(client, "mixed.mp4")
    ranked = client.post(f"/api/v1/videos/{mixed}/rank-texts", json={"texts": [script]})
    assert (ranked.json()["items"][0]["text"], ranked.headers["content-type"]) == (script, "application/json")
    refused = client.get("/api/v1/videos", params={"folder": script})
    assert script in problem_of(refused, 404)
    missing = client.get("/api/v1/videos/%3Cscript%3E")
    problem_of(missing, 422)
    problem_of(client.get("/%3Cscript%3Ealert(1)%3C/script%3E"), 404)


# Callers that take their time ----------------------------------------------------------------------------------------


def test_callers_that_never_finish_hold_up_nobody(tmp_path: Path) -> None:
    library, _ = one_video(tmp_path)
    with listening(library) as url:
        address = urlsplit(url)
        media = httpx.get(f"{url}/api/v1/videos").json()["items"][0]["media_url"]
        starts = (
            b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
            b"POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 50\r\n\r\n{",
            f"GET {media} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
        )
        slow = []
        for number in range(150):
            connection = socket.create_connection((address.hostname, address.port), timeout=20)
            connection.sendall(starts[number % 3])
            slow.append(connection)
        assert httpx.get(f"{url}/api/v1/health", timeout=10).status_code == 200
        assert httpx.get(f"{url}/api/v1/search", params={"text": "red"}, timeout=20).json()["items"]
        assert httpx.get(url + media, timeout=10).status_code == 200
        for connection in slow:
            connection.close()
        assert get_health(url)


def get_health(url: str) -> bool:
    return httpx.get(f"{url}/api/v1/health", timeout=10).json()["status"] == "ok"


def test_no_socket_is_opened(client: TestClient) -> None:
    from starlette.websockets import WebSocketDisconnect

    for path in ("/", "/api/v1/search"):
        with pytest.raises(WebSocketDisconnect), client.websocket_connect(path):
            pass
    assert get(client, "/health")["status"] == "ok"
