"""A hub on loopback: speaks to ``huggingface_hub`` as the real one does, as far as fetching a model goes.

One server answers for the API and for ``resolve``; large files are redirected to a second one, which stands for the
content network: another address, ranges, no sight of anybody's token. Each can be told to misbehave.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

TOKEN = "hf_letsyouin"
_LARGE = (".safetensors", ".bin", ".model", ".h5", ".msgpack")
_API = re.compile(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?")
_RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


@dataclass
class Repository:
    """A model: a folder of files under one commit, which is ``main``, too."""

    folder: Path
    commit: str
    is_gated: bool = False

    def files(self) -> dict[str, Path]:
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path for path in paths}


@dataclass
class Hub:
    """What the servers hold, how they behave, and what they were asked.

    break_after: the content network drops the connection after so many bytes of a file, ``breaks`` times.
    is_down: every answer of the API is a 503.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    endpoint: str = ""
    content: str = ""
    break_after: int = 0
    breaks: int = 0
    is_down: bool = False
    asked: list[str] = field(default_factory=list)
    tokens_at_content: list[str] = field(default_factory=list)

    def add(self, name: str, folder: Path, *, commit: str = "", is_gated: bool = False) -> Repository:
        made = Repository(folder, commit or hashlib.sha1(name.encode()).hexdigest(), is_gated)
        self.repositories[name] = made
        return made

    def fetched(self) -> list[str]:
        """The names of the files whose content was asked for, each once."""
        return sorted({line.split("/")[-1].split(" ")[0] for line in self.asked if line.startswith("GET content")})


class _Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def reply(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, code: str) -> None:
        self.reply(status, json.dumps({"error": code}).encode(), {"X-Error-Code": code, "X-Error-Message": code})


class _Api(_Quiet):
    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        if self.hub.is_down:
            return self.reply(503, b"down for repair")
        if match := _API.fullmatch(path):
            return self._describe(*match.groups())
        if match := _RESOLVE.fullmatch(path):
            return self._resolve(*match.groups())
        return self.refuse(404, "EntryNotFound")

    do_HEAD = do_GET  # noqa: N815

    def _find(self, name: str, revision: str | None) -> Repository | None:
        found = self.hub.repositories.get(name)
        if found is None:
            # the real hub does not tell strangers whether a repository is private or not there
            self.refuse(404 if "Authorization" in self.headers else 401, "RepoNotFound")
        elif revision not in (None, "main", found.commit):
            self.refuse(404, "RevisionNotFound")
        else:
            return found
        return None

    def _describe(self, name: str, what: str | None, revision: str | None) -> None:
        found = self._find(name, revision)
        if found is None:
            return
        files = found.files()
        answer: object = {
            "id": name,
            "modelId": name,
            "sha": found.commit,
            "private": False,
            "gated": "manual" if found.is_gated else False,
            "tags": [],
            "downloads": 0,
            "siblings": [{"rfilename": file} for file in files],
        }
        if what == "tree":
            answer = [self._entry(file, path) for file, path in files.items()]
        self.reply(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _entry(self, file: str, path: Path) -> dict[str, object]:
        size = path.stat().st_size
        entry: dict[str, object] = {"type": "file", "path": file, "size": size, "oid": _sha(path, "sha1")}
        if file.endswith(_LARGE):
            entry["lfs"] = {"oid": _sha(path, "sha256"), "size": size, "pointerSize": 134}
        return entry

    def _resolve(self, name: str, revision: str, file: str) -> None:
        found = self._find(name, revision)
        if found is None:
            return
        if found.is_gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.refuse(403 if "Authorization" in self.headers else 401, "GatedRepo")
        path = found.files().get(file)
        if path is None:
            return self.refuse(404, "EntryNotFound")
        headers = {"X-Repo-Commit": found.commit, "Accept-Ranges": "bytes"}
        if file.endswith(_LARGE):
            linked = {"X-Linked-Etag": f'"{_sha(path, "sha256")}"', "X-Linked-Size": str(path.stat().st_size)}
            place = f"{self.hub.content}/{name}/{file}?signature=abc"
            return self.reply(302, b"", headers | linked | {"ETag": '"of-the-redirect"', "Location": place})
        return self.reply(200, path.read_bytes(), headers | {"ETag": f'"{_sha(path, "sha1")}"'})


class _Content(_Quiet):
    def do_GET(self) -> None:
        owner, model, file = unquote(urlsplit(self.path).path).lstrip("/").split("/", 2)
        wanted = self.headers.get("Range", "")
        self.hub.asked.append(f"{self.command} content/{owner}/{model}/{file} {wanted}".rstrip())
        if token := self.headers.get("Authorization"):
            self.hub.tokens_at_content.append(token)
        body = self.hub.repositories[f"{owner}/{model}"].files()[file].read_bytes()
        start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
        part = body[start:]
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("ETag", '"of-the-content-network"')
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        if self.hub.breaks > 0 and len(part) > self.hub.break_after:
            self.hub.breaks -= 1
            part = part[: self.hub.break_after]
            self.close_connection = True
        if self.command != "HEAD":
            self.wfile.write(part)

    do_HEAD = do_GET  # noqa: N815


def _sha(path: Path, algorithm: str) -> str:
    return hashlib.new(algorithm, path.read_bytes()).hexdigest()


@contextlib.contextmanager
def hub_on_loopback() -> Iterator[Hub]:
    """A hub with its content network, within the block."""
    hub = Hub()
    servers = [
        ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (kind,), {"hub": hub})) for kind in (_Api, _Content)
    ]
    hub.endpoint, hub.content = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()
