"""Serving on a Ray cluster, as far as no cluster is needed for it; ``tests/scale`` has the rest."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.colours import ColourEncoder
from tests.served import make_library
from wordframe.errors import LibraryError, WordframeError
from wordframe.search import search
from wordframe.server import ServedLibrary
from wordframe.server.on_ray import _share, application
from wordframe.server.warming import Warming


def serve(tmp_path: Path, *options: str, before: str = "pass") -> tuple[int, str]:
    """Status and errors of ``wordframe serve`` over a library that is not there."""
    code = f"import sys; {before}; from wordframe.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "serve", "--library", str(tmp_path / "library"), *options]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"}, timeout=60)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("address", "status", "told"),
    [("somewhere", 2, "local, auto or HOST:PORT"), ("ray://127.0.0.1:10001", 1, "ray job submit")],
)
def test_what_is_no_address_of_a_cluster_is_refused(tmp_path: Path, address: str, status: int, told: str) -> None:
    ended, err = serve(tmp_path, "--ray", address)
    assert (ended, told in err, err.count("\n")) == (status, True, 1)


def test_a_host_for_others_needs_a_token_before_a_cluster_is_asked(tmp_path: Path) -> None:
    assert "say --token new" in serve(tmp_path, "--ray", "local", "--host", "0.0.0.0")[1]


def test_without_ray_serve_it_says_what_to_install(tmp_path: Path) -> None:
    ended, err = serve(tmp_path, "--ray", "local", before="sys.modules['ray.serve'] = None")
    assert (ended, "serving on many machines needs" in err, "pip install 'wordframe[ray-serve]'" in err) == (1, 1, 1)


@pytest.mark.parametrize(
    ("machines", "replicas", "most", "share"),
    [
        ([8], 2, None, 4),
        ([8], 3, None, 2),
        ([2], 3, None, 0.666),  # of a cluster of one's own several may share a core
        ([16, 16], 2, 4, 4),  # of one that others use, too, no more than that
        ([0, 3, 2], 2, 4, 2),  # the third replica's cores would not be on one machine
        ([0, 3, 2], 5, 4, 1),
    ],
)
def test_replicas_share_what_the_machines_have(
    machines: list[int], replicas: int, most: int | None, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_machines(machines, monkeypatch)
    assert _share(replicas, most) == share


def test_more_replicas_than_cores_are_refused_where_others_are(monkeypatch: pytest.MonkeyPatch) -> None:
    set_machines([2, 1], monkeypatch)
    with pytest.raises(WordframeError, match="4 replicas need a core each, and the Ray cluster has 3 cores"):
        _share(4, most=4)
    set_machines([0], monkeypatch)
    with pytest.raises(WordframeError, match="no machine with a core"):
        _share(1, most=4)


def set_machines(cores: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    nodes = [{"Alive": True, "Resources": {"CPU": float(count)} if count else {}} for count in cores]
    monkeypatch.setattr(ray, "nodes", lambda: [*nodes, {"Alive": False, "Resources": {"CPU": 64.0}}])


def test_an_application_that_others_reach_needs_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORDFRAME_TOKEN", raising=False)
    with pytest.raises(WordframeError, match="give it a token"):
        application({"library": "library", "any_address": "true"})
    with pytest.raises(ValueError, match="replica\n"):
        application({"library": "library", "replica": 2})


def test_waiting_for_a_first_search_ends_with_it_or_with_what_stands_in_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_search = threading.Event()

    def search_when_told(*arguments: Any, **options: Any) -> object:
        assert may_search.wait(60)
        return search(*arguments, **options)

    monkeypatch.setattr("wordframe.server.warming.search", search_when_told)
    served = ServedLibrary(make_library(tmp_path), encoder=ColourEncoder())
    warming = Warming(served)
    warming.start()
    threading.Timer(0.2, may_search.set).start()
    warming.wait()
    assert (may_search.is_set(), warming.is_ready) == (True, True)
    warming.close()

    def refuse() -> None:
        raise LibraryError("it is damaged")

    monkeypatch.setattr(served, "snapshot", refuse)
    hopeless = Warming(served)
    hopeless.start()
    hopeless.wait()
    assert not hopeless.is_ready
    hopeless.close()
