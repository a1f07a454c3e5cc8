"""The real ``wordframe try``: a folder, its page at once, results that grow, and an end in order."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser import search, settled, violations
from tests.colours import write_scenes
from wordframe.cli import main
from wordframe.client import Client
from wordframe.library import Library

PATIENCE = 60_000


@contextmanager
def trying(
    folder: Path, *arguments: str, home: Path, **environment: str
) -> Iterator[tuple[str, str, subprocess.Popen[str]]]:
    """``wordframe try`` in a terminal's place: a process group of its own, as a shell makes it. Gives what it says of
    the library, its link and its process."""
    command = [sys.executable, "-m", "wordframe", "try", str(folder), *arguments]
    surroundings = {**os.environ, "XDG_DATA_HOME": str(home), **environment}
    surroundings.pop("WORDFRAME_LIBRARY", None)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=surroundings, start_new_session=True
    )
    try:
        assert process.stdout is not None
        told, line = process.stdout.readline(), process.stdout.readline()
        found = re.fullmatch(r"wordframe is at (http://127\.0\.0\.1:\d+/)  \(Ctrl-C ends it\)\n", line)
        assert found, told + line + (process.stderr.read() if process.stderr and process.poll() is not None else "")
        yield told, found[1], process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)


def interrupt(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Ctrl-C, which the whole process group gets; what was printed until the end."""
    os.killpg(process.pid, signal.SIGINT)
    return process.communicate(timeout=60)


def wait_until_indexed(client: Client) -> None:
    until = time.monotonic() + 120
    while client.index_status().state != "finished":
        assert time.monotonic() < until, client.index_status()
        time.sleep(0.1)


def test_from_a_folder_to_a_search_and_how_to_go_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_scenes(tmp_path / "my videos" / "red.mp4", ("red", 3))
    write_scenes(tmp_path / "my videos" / "green.mp4", ("green", 3))
    (tmp_path / "my videos" / "torn.mp4").write_bytes(b"no video")
    library = tmp_path / "data" / "wordframe" / "library"
    with trying(tmp_path / "my videos", "--no-open", home=tmp_path / "data") as (told, link, process):
        assert told == f"Indexing {tmp_path}/my videos into the library {library}\n"
        with Client(link) as client:
            wait_until_indexed(client)
            assert client.search("a red picture").num_videos == 2
            assert client.library().allow_index
        assert process.stdout is not None
        indexed = process.stdout.readline()
        out, err = interrupt(process)
        assert process.returncode == 0
    assert indexed == "Indexed: 2 videos, 6.0 s. The page goes on until Ctrl-C.\n"
    assert out.endswith(
        "Ended. The library is kept; go on with:\n"
        f"  wordframe try '{tmp_path}/my videos' --library {library}\n"
        f"  wordframe serve --library {library} --open\n"
        f'  wordframe search "a dog runs on the beach" --library {library}\n'
    )
    assert err.startswith("failed: ")
    assert "torn.mp4" in err
    assert "Traceback" not in err
    assert main(["search", "a red picture", "--library", str(library), "--top", "1"]) == 0
    assert ".mp4" in capfd.readouterr().out


@pytest.mark.slow
def test_ended_while_it_indexes_it_keeps_what_is_done_and_goes_on(tmp_path: Path) -> None:
    first = write_scenes(tmp_path / "videos" / "0.mp4", *[("blue", 1), ("green", 1)] * 30, rate=2)
    for number in range(1, 8):
        first.with_name(f"{number}.mp4").write_bytes(first.read_bytes() + bytes(number))
    with trying(tmp_path / "videos", "--no-open", home=tmp_path) as (_, link, process):
        with Client(link) as client:
            until = time.monotonic() + 120
            while not client.index_status().frames:
                assert time.monotonic() < until
                time.sleep(0.05)
        out, err = interrupt(process)
        assert process.returncode == 130
    assert "Ended before all was indexed. What was finished is kept; go on with:\n  wordframe try " in out
    assert err.endswith("interrupted: what was finished is kept\n")
    assert "Traceback" not in err
    library = tmp_path / "wordframe" / "library"
    with Library.open(library).locked():  # nobody is left who writes
        pass
    kept = len(Library.open(library).videos())
    assert kept < 8
    with trying(tmp_path / "videos", "--no-open", home=tmp_path) as (_, link, process):
        with Client(link) as client:
            wait_until_indexed(client)
            assert client.library().num_videos == 8
        interrupt(process)


@pytest.mark.slow
def test_results_grow_on_the_page(page: Page, tmp_path: Path) -> None:
    """The page is there before the first video, and a search that stays on it finds more as they come in."""
    first = write_scenes(tmp_path / "videos" / "0.mp4", *[("red", 1), ("green", 1)] * 60, rate=2)
    for number in range(1, 6):
        first.with_name(f"{number}.mp4").write_bytes(first.read_bytes() + bytes(number))
    with trying(tmp_path / "videos", "--no-open", home=tmp_path) as (_, link, process):
        page.goto(link)
        settled(page)
        expect(page.locator("#indexing")).to_contain_text("Indexing", timeout=PATIENCE)
        expect(page.locator(".card").first).to_be_visible(timeout=PATIENCE)
        search(page, "a red picture")
        before = page.locator(".card").count()
        assert violations(page) == []
        expect(page.locator(".card")).to_have_count(6, timeout=PATIENCE)  # without a word or a reload
        assert before < 6
        expect(page.locator("#status")).to_have_text("The best of 6 videos.")
        interrupt(process)


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {},
        pytest.param({"BROWSER": "/bin/false"}, marks=pytest.mark.slow),
        pytest.param({"BROWSER": "/nowhere/at-all"}, marks=pytest.mark.slow),
    ],
)
def test_where_there_is_no_browser_the_link_is_enough(tmp_path: Path, environment: dict[str, str]) -> None:
    write_scenes(tmp_path / "videos" / "red.mp4", ("red", 2))
    nothing = {"DISPLAY": "", "WAYLAND_DISPLAY": "", "BROWSER": "", "PATH": str(tmp_path)} | environment
    with trying(tmp_path / "videos", home=tmp_path, **nothing) as (_, link, process):
        with Client(link) as client:
            wait_until_indexed(client)
        _, err = interrupt(process)
    assert "There is no browser to open here; follow the link above.\n" in err
    assert "Traceback" not in err


def test_a_folder_that_cannot_be_tried_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no video")
    video = write_scenes(tmp_path / "videos" / "red.mp4", ("red", 1))
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "wordframe.json").write_text("{")
    library = ["--library", str(tmp_path / "library"), "--no-open"]
    for arguments, problem in [
        ([tmp_path / "nowhere", *library], f"{tmp_path}/nowhere: no such folder; name one that holds videos"),
        (
            [tmp_path / "empty", *library],
            f"{tmp_path}/empty: no videos in it or below it; name a folder that holds some",
        ),
        ([video, *library], f"{video}: is not a folder; name the one that holds it, or use wordframe index"),
    ]:
        assert main(["try", *map(str, arguments)]) == 1
        assert capsys.readouterr() == ("", f"wordframe: {problem}\n")
    assert not (tmp_path / "library").exists()
    assert main(["try", str(video.parent), "--library", str(tmp_path / "strange"), "--no-open"]) == 1
    assert str(tmp_path / "strange") in capsys.readouterr().err
