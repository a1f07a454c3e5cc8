"""The real ``wordframe mcp`` in a real session: tools, answers, refusals, and nothing but the protocol on stdout."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.colours import write_scenes
from tests.served import LINES_NAME, one_video
from wordframe.cli import main

TOOLS = {"search_videos", "find_similar", "explain_moment", "rank_sentences", "list_videos", "library_info"}
BEGIN = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("agents")
    write_scenes(folder / "videos" / "red.mp4", ("red", 3))
    write_scenes(folder / "videos" / "holiday" / LINES_NAME, ("green", 3))
    assert main(["index", str(folder / "videos"), "--library", str(folder / "library")]) == 0
    return folder / "library"


class Agent:
    """A session as an agent's program has it."""

    def __init__(self, session: ClientSession) -> None:
        self.session = session

    async def ask(self, tool: str, **arguments: Any) -> Any:
        """What a tool answers, if it is no error."""
        result = await self.session.call_tool(tool, arguments)
        assert not result.is_error, result.content
        return result.structured_content

    async def refusal(self, tool: str, **arguments: Any) -> str:
        """The line of an error."""
        result = await self.session.call_tool(tool, arguments)
        assert result.is_error
        return str(result.content[0].text)


@asynccontextmanager
async def session(log: Any, *arguments: str | Path) -> AsyncIterator[Agent]:
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "wordframe", "mcp", *map(str, arguments)],
        env=dict(os.environ),  # by default it would get next to nothing, and perhaps another wordframe
    )
    async with stdio_client(server, errlog=log) as streams, ClientSession(*streams) as opened:
        await opened.initialize()
        yield Agent(opened)


def is_agents_server(process: psutil.Process) -> bool:
    try:
        return "mcp" in process.cmdline()
    except psutil.Error:  # another test's, dead by now
        return False


def listening_children() -> list[object]:
    """Sockets that the programs started from here listen on."""
    mine = [child for child in psutil.Process().children(recursive=True) if is_agents_server(child)]
    assert mine
    return [socket for child in mine for socket in child.net_connections("inet")]


def run(tmp_path: Path, talk: Callable[[Agent], Awaitable[None]], *arguments: str | Path) -> str:
    """Have a talk; gives what was written to standard error."""

    async def whole() -> None:
        with (tmp_path / "stderr").open("w") as log:
            async with session(log, *arguments) as agent:
                await talk(agent)

    # a thread of its own: the browser of other tests keeps an event loop in this one
    with ThreadPoolExecutor(1) as thread:
        thread.submit(anyio.run, whole).result()
    return (tmp_path / "stderr").read_text()


def test_a_library_for_an_agent(library: Path, tmp_path: Path) -> None:
    async def talk(agent: Agent) -> None:
        tools = (await agent.session.list_tools()).tools
        assert {tool.name for tool in tools} == TOOLS
        assert all(tool.description and tool.annotations and tool.annotations.read_only_hint for tool in tools)

        assert listening_children() == []

        told = await agent.ask("library_info")
        assert (told["num_videos"], told["indexing"]) == (2, "finished")
        folders = [folder["name"] for folder in told["folders"]]
        videos = await agent.ask("list_videos", limit=1)
        assert (len(videos["videos"]), videos["num_videos"]) == (1, 2)
        rest = await agent.ask("list_videos", cursor=videos["next_cursor"])
        assert rest["next_cursor"] is None

        found = await agent.ask("search_videos", sentence="a red picture", limit=1)
        first = found["items"][0]
        assert {"video_id", "path", "score", "weak", "moments"} == set(first)
        moment = first["moments"][0]
        assert {"segment_id", "start_seconds", "end_seconds", "peak_seconds", "score"} == set(moment)
        more = await agent.ask("search_videos", sentence="a red picture", limit=1, cursor=found["next_cursor"])
        assert more["items"][0]["video_id"] != first["video_id"]
        in_folder = await agent.ask("search_videos", sentence="a red picture", folder=max(folders, key=len))
        assert [item["path"].rsplit("/", 1)[1] for item in in_folder["items"]] == [LINES_NAME]
        none = await agent.ask("search_videos", sentence="a red picture", after="2200-01-01")
        assert none["items"] == []

        similar = await agent.ask("find_similar", segment_id=moment["segment_id"])
        assert similar["items"][0]["video_id"] == first["video_id"]
        why = await agent.ask("explain_moment", segment_id=moment["segment_id"], sentence="a red picture")
        assert why["score"] == moment["score"]
        assert moment["start_seconds"] <= why["sentence_points_to_seconds"] < moment["end_seconds"]
        ranked = await agent.ask("rank_sentences", video_id=first["video_id"], sentences=["a red picture", "a dog"])
        assert {each["sentence"] for each in ranked["result"]} == {"a red picture", "a dog"}

        assert "no segment 'none'" in await agent.refusal("find_similar", segment_id="none")
        assert "no video 'none' in this library" in await agent.refusal(
            "rank_sentences", video_id="none", sentences=["a"]
        )
        assert "the query is empty" in await agent.refusal("search_videos", sentence="  ")
        assert "no video of this library lies" in await agent.refusal("search_videos", sentence="a", folder="/none")
        assert "less than or equal to 50" in await agent.refusal("search_videos", sentence="a", limit=1000)

    told = run(tmp_path, talk, "--library", library)
    assert told == f"wordframe: serving {library} to this agent\n"


@pytest.mark.slow
def test_the_library_of_a_running_server(tmp_path: Path) -> None:
    from tests.served import listening

    folder, _ = one_video(tmp_path)

    async def talk(agent: Agent) -> None:
        moment = (await agent.ask("search_videos", sentence="red"))["items"][0]["moments"][0]
        assert moment["clip_url"].startswith(f"{url}/api/v1/segments/{moment['segment_id']}/clip?start=")

    with listening(folder, token="a-token-of-some-length", root_path="/of/ada") as server:
        url = f"{server}/of/ada"
        assert run(tmp_path, talk, "--url", url, "--token", "a-token-of-some-length") == ""


@pytest.mark.slow
def test_standard_output_is_the_protocols_alone(library: Path) -> None:
    command = [sys.executable, "-m", "wordframe", "mcp", "--library", str(library)]
    done = subprocess.run(command, input=json.dumps(BEGIN) + "\n", capture_output=True, text=True, timeout=120)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["id"] for line in lines] == [1]
    assert lines[0]["result"]["serverInfo"]["name"] == "wordframe"
    assert done.returncode == 0


def test_it_ends_by_ctrl_c_while_it_waits_for_a_line(library: Path) -> None:
    command = [sys.executable, "-m", "wordframe", "mcp", "--library", str(library)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(json.dumps(BEGIN).encode() + b"\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr.read().endswith(b"wordframe: interrupted\n")


def test_a_missing_extra_names_the_line_that_installs_it(
    library: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wordframe.mcp", None)
    monkeypatch.delitem(sys.modules, "wordframe.mcp")
    monkeypatch.setitem(sys.modules, "mcp", None)  # as if it were not installed
    for name in [name for name in sys.modules if name.startswith("mcp.")]:
        monkeypatch.delitem(sys.modules, name)
    assert main(["mcp", "--library", str(library)]) == 1
    assert capsys.readouterr().err == (
        "wordframe: wordframe mcp needs more than the core of wordframe; "
        "install it with: pip install 'wordframe[mcp]'\n"
    )


def test_refusals(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--url", "http://127.0.0.1:9", "--library", str(library)]):
        assert main(["mcp", *arguments]) == 2
        assert "give either --url of a running server or --library" in capsys.readouterr().err
    assert main(["mcp", "--url", "http://127.0.0.1:9"]) == 1
    assert "is wordframe serve running?" in capsys.readouterr().err
    assert main(["mcp", "--url", "nonsense"]) == 1
    assert "is no address of a server" in capsys.readouterr().err
    assert main(["mcp", "--library", str(library), "--model", "no-such-model"]) == 1
    assert "no-such-model" in capsys.readouterr().err
