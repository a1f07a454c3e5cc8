"""Models from a hub on loopback: what is asked for, what is fetched, what is said when it cannot be had."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.colours import write_scenes
from tests.hub import TOKEN, Hub, hub_on_loopback
from tests.hub_models import FAMILIES, make
from wordframe.cli import main
from wordframe.encoders import NAMED_ENCODERS, ClipEncoder, NamedEncoder, cached_model, load_encoder, quiet_transformers
from wordframe.errors import EncoderError

SETTINGS = {"config.json", "preprocessor_config.json", "tokenizer_config.json"}
GEMMA = {"tokenizer.json"}
FETCHED = {
    "clip": {"vocab.json", "merges.txt", "pytorch_model.bin"},
    "clip-half": {"vocab.json", "merges.txt", "model.safetensors"},
    "siglip": {
        "spiece.model",
        "special_tokens_map.json",
        "model.safetensors.index.json",
        *(f"model-{part:05d}-of-00006.safetensors" for part in range(1, 7)),
    },
    "siglip2": {*GEMMA, "model.safetensors"},
    "siglip2-naflex": {*GEMMA, "model.safetensors"},
    "metaclip2": {*GEMMA, "model.safetensors"},
    "metaclip2-mt5": {*GEMMA, "model.safetensors"},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each family."""
    place = tmp_path_factory.mktemp("models")
    with quiet_transformers():
        for family in FAMILIES:
            make(family, place / family)
    return place


@pytest.fixture
def hub(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with a model of each family, and an empty cache."""
    with hub_on_loopback() as served:
        for family in FAMILIES:
            served.add(f"tiny/{family}", models / family)
        set_endpoint(monkeypatch, served.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)  # what was received is kept by so many bytes
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield served


def set_endpoint(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """As HF_ENDPOINT would, which huggingface_hub reads when it is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def refused(name: str) -> str:
    with pytest.raises(EncoderError) as caught:
        load_encoder(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# What is fetched -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_only_what_is_needed_is_fetched(hub: Hub, models: Path, family: str) -> None:
    encoder = load_encoder(f"tiny/{family}")
    assert encoder.fingerprint == ClipEncoder.load(str(models / family)).fingerprint
    repository = hub.repositories[f"tiny/{family}"]
    folder = cached_model(f"tiny/{family}")
    assert folder is not None
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*")} == SETTINGS | FETCHED[family]
    assert encoder.name == f"tiny/{family}@{repository.commit}"


def test_a_commit_in_the_cache_asks_nobody(hub: Hub) -> None:
    name = load_encoder("tiny/clip").name
    hub.asked.clear()
    assert load_encoder(name).name == name
    assert hub.asked == []


def test_without_a_commit_the_hub_is_asked_and_nothing_is_fetched_twice(hub: Hub, models: Path, tmp_path: Path) -> None:
    before = load_encoder("tiny/siglip2")
    hub.asked.clear()
    assert load_encoder("tiny/siglip2").name == before.name
    assert hub.fetched() == []
    moved = shutil.copytree(models / "siglip", tmp_path / "pushed")
    hub.add("tiny/siglip2", Path(moved), commit="b" * 40)
    assert load_encoder("tiny/siglip2").name == f"tiny/siglip2@{'b' * 40}"
    assert load_encoder(before.name).fingerprint == before.fingerprint


def test_an_unsupported_model_is_refused_before_its_weights_are_fetched(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "bert" / "model.safetensors").write_bytes(b"long")
    hub.add("tiny/bert", tmp_path / "bert")
    assert "type 'bert' is not supported" in refused("tiny/bert")
    assert hub.fetched() == []
    (tmp_path / "bert" / "config.json").unlink()
    hub.add("tiny/bert", tmp_path / "bert", commit="d" * 40)
    assert "the hub's tiny/bert has no config.json: it is no model in transformers' format" in refused("tiny/bert")
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "clip"}')
    (tmp_path / "bert" / "model.safetensors").rename(tmp_path / "bert" / "open_clip_pytorch_model.bin")
    hub.add("tiny/bert", tmp_path / "bert", commit="e" * 40)
    assert "has no weights (model.safetensors or pytorch_model.bin)" in refused("tiny/bert")


def test_weights_that_another_program_fetched_alone_are_completed(hub: Hub) -> None:
    name = load_encoder("tiny/clip-half").name
    folder = cached_model("tiny/clip-half")
    assert folder is not None
    (folder / "tokenizer_config.json").unlink()
    assert load_encoder(name).name == name
    assert (folder / "tokenizer_config.json").is_file()


# Short names ---------------------------------------------------------------------------------------------------------


def named(monkeypatch: pytest.MonkeyPatch, repository: str, revision: str | None) -> None:
    """A row of the table that points to the hub on loopback."""
    row = NamedEncoder(
        name="tiny",
        title="",
        repository=repository,
        revision=revision,
        weights_bytes=None,
        licence="",
        dimension=48,
        picture_side=32,
    )
    monkeypatch.setitem(NAMED_ENCODERS, "tiny", row)


def test_a_pinned_name_stays_with_its_commit(hub: Hub, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = hub.repositories["tiny/clip"].commit
    named(monkeypatch, "tiny/clip", commit)
    assert load_encoder("tiny").name == "tiny"
    hub.add("tiny/clip", models / "siglip", commit="b" * 40)  # a push to main
    assert load_encoder("tiny").dimension == 48
    assert load_encoder(f"tiny@{'b' * 40}").name == f"tiny@{'b' * 40}"


def test_an_unpinned_name_tells_the_commit_it_met(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, "tiny/metaclip2", None)
    name = load_encoder("tiny").name
    assert name == f"tiny@{hub.repositories['tiny/metaclip2'].commit}"
    hub.asked.clear()
    assert load_encoder(name).name == name
    assert hub.asked == []


def test_the_table() -> None:
    assert {"clip-b32", "clip-b16", "clip-l14", "siglip2-b16", "siglip2-so400m", "metaclip2-b32"} <= set(NAMED_ENCODERS)
    for name, row in NAMED_ENCODERS.items():
        assert row.name == name
        assert re.fullmatch(r"[a-z0-9-]+", name)
        assert re.fullmatch(r"[\w-]+/[\w.-]+", row.repository)
        assert row.revision is None or re.fullmatch(r"[0-9a-f]{40}", row.revision)
        assert row.title
        assert row.licence


def test_the_docs_have_the_same_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "encoders.md").read_text(encoding="utf-8")
    for name, row in NAMED_ENCODERS.items():
        (line,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        _, _, what, weights, licence, dimension, side, _ = (cell.strip() for cell in line.split("|"))
        assert row.title.startswith(what.split(",")[0])
        assert weights == ("not known" if row.weights_bytes is None else f"{row.weights_bytes / 1e6:,.0f} MB")
        assert row.licence.split(" ")[0] == licence
        assert (str(row.dimension), str(row.picture_side)) == (dimension, side)


def test_the_list_of_encoders(hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    commit = hub.repositories["tiny/clip"].commit
    named(monkeypatch, "tiny/clip", commit)
    assert main(["encoders"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("offline  (the default; no download)")
    assert "tiny  (size not known, not downloaded)" in said
    assert f"tiny/clip, revision {commit}" in said
    load_encoder("tiny")
    assert main(["encoders", "--json"]) == 0
    listed = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert [name for name, row in listed.items() if row["downloaded"]] == ["offline", "tiny"]
    assert listed["metaclip2-b16"]["revision"] is None
    assert listed["siglip2-so400m"]["dimension"] == 1152
    assert main(["encoders"]) == 0
    said = capsys.readouterr().out
    assert "tiny  (size not known, downloaded)" in said
    assert "revision not pinned: the hub's main at first use, which the library then keeps" in said


# Interrupted and resumed ---------------------------------------------------------------------------------------------


def test_a_connection_that_breaks_is_taken_up_where_it_broke(hub: Hub, models: Path) -> None:
    hub.break_after, hub.breaks = 100_000, 2
    encoder = load_encoder("tiny/siglip2")
    assert encoder.fingerprint == ClipEncoder.load(str(models / "siglip2")).fingerprint
    ranges = [line.rpartition(" ")[2] for line in hub.asked if line.startswith("GET content/tiny/siglip2/")]
    assert ranges[1:] == ["bytes=100000-", "bytes=200000-"]


class GaveUpError(Exception):
    pass


def interrupted_download(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run that ends in the middle of a file of weights: huggingface_hub waits a second before it tries again."""

    def give_up(seconds: float) -> None:
        raise GaveUpError

    hub.break_after, hub.breaks = 100_000, 1
    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.file_download.time.sleep", give_up)
        told = refused("tiny/siglip2")
    assert cached_model("tiny/siglip2") is None
    hub.asked.clear()
    return told


def test_a_download_that_was_given_up_goes_on_in_the_next_run(
    hub: Hub, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = interrupted_download(hub, monkeypatch)
    assert told.startswith(f"cannot fetch tiny/siglip2 from the hub at {hub.endpoint} (GaveUpError")
    assert "the same command again, which goes on where the download was" in told
    encoder = load_encoder("tiny/siglip2")
    assert encoder.fingerprint == ClipEncoder.load(str(models / "siglip2")).fingerprint
    assert [line for line in hub.asked if line.startswith("GET content")] == [
        "GET content/tiny/siglip2/model.safetensors bytes=100000-"
    ]


def test_a_part_that_was_spoilt_is_not_taken(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted_download(hub, monkeypatch)
    (part,) = (tmp_path / "cache").rglob("*.wordframe-part")
    part.write_bytes(b"x" * 100_000)
    assert "what the hub sent of tiny/siglip2 is damaged; run the same command again" in refused("tiny/siglip2")
    assert load_encoder("tiny/siglip2").dimension == 64


# Refused and out of reach --------------------------------------------------------------------------------------------


def test_a_gated_model(hub: Hub, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("tiny/gated", models / "siglip2", is_gated=True)
    told = f"the model tiny/gated is gated: accept its terms at {hub.endpoint}/tiny/gated, then log in with "
    assert refused("tiny/gated").startswith(told + "`hf auth login` or set HF_TOKEN")
    monkeypatch.setenv("HF_TOKEN", "hf_somebodyelse")
    assert refused("tiny/gated").startswith(told)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert load_encoder("tiny/gated").dimension == 64
    assert hub.tokens_at_content == []


def test_a_model_that_is_not_there(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    told = f"the hub at {hub.endpoint} has no model tiny/nothing, or it is private: check the spelling"
    assert refused("tiny/nothing").startswith(told)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert refused("tiny/nothing").startswith(told)
    assert "the model tiny/clip has no revision 'v9' at http" in refused("tiny/clip@v9")


def test_a_hub_out_of_reach(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        told = refused("tiny/clip")
    assert told.startswith("cannot fetch tiny/clip from the hub at http://127.0.0.1:9 (")
    assert "check the network and HF_ENDPOINT" in told
    assert "meanwhile --encoder offline needs no download" in told
    hub.is_down = True
    assert "503" in refused("tiny/clip")
    hub.is_down = False
    name = load_encoder("tiny/clip").name
    hub.is_down = True
    assert load_encoder("tiny/clip").name == name  # what is in the cache serves meanwhile


def test_offline_by_order(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.break_after, hub.breaks = 1000, 99
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    refused("tiny/siglip2")  # leaves a part in the cache
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    told = refused("tiny/siglip2")
    assert "HF_HUB_OFFLINE is set, and the model is not whole in" in told
    assert "--encoder offline" in told


# The command ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_with_a_mirror_and_then_without_a_network(hub: Hub, tmp_path: Path) -> None:
    """As a person does it: the environment names a mirror, a library is made, the mirror goes away."""
    write_scenes(tmp_path / "videos" / "a.mp4", ("red", 1))
    library = str(tmp_path / "library")

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "wordframe", *arguments],
            capture_output=True,
            text=True,
            env=os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home")} | environment,
        )

    done = run("index", str(tmp_path / "videos"), "--library", library, "--encoder", "tiny/clip")
    assert (done.returncode, done.stderr) == (0, "")  # no terminal, so no bars
    assert "1 video indexed" in done.stdout
    commit = hub.repositories["tiny/clip"].commit
    assert f"tiny/clip@{commit}" in Path(library, "wordframe.json").read_text()
    hub.asked.clear()
    done = run("search", "red", "--library", library, HF_ENDPOINT="http://127.0.0.1:9")
    assert (done.returncode, done.stderr) == (0, "")
    done = run("index", str(tmp_path / "videos"), "-l", library, "--encoder", "tiny/clip", HF_HUB_OFFLINE="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert hub.asked == []
    done = run("index", str(tmp_path / "videos"), "-l", f"{library}-2", "--encoder", "tiny/siglip", HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("wordframe: cannot fetch tiny/siglip from the hub (HF_HUB_OFFLINE is set")


@pytest.mark.slow
def test_bars_at_a_terminal(hub: Hub, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    program = "from wordframe.encoders import load_encoder; load_encoder('tiny/siglip2')"
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home"), "COLUMNS": "80"},
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # what a terminal says when the last program has left it
        while part := os.read(ours, 65536):
            shown += part
    os.close(ours)
    assert process.communicate() == (b"", None)
    assert process.returncode == 0
    assert re.search(rb"model\.safetensors: +100%", shown)
