"""A library at ``s3://…`` is the same library: indexed, searched and looked after by the same commands."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from tests.colours import ColourEncoder, write_scenes
from tests.object_server import BUCKET, KEY, SECRET, Environ, ObjectServer, status_answer
from tests.served import serving
from wordframe.cli.main import main
from wordframe.errors import LibraryError, MissingExtraError
from wordframe.library import IndexProgress, Library, change_encoder, place_of, read_status, verify
from wordframe.object_storage import open_store
from wordframe.search import SearchEngine


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    write_scenes(folder / "red.mp4", ("red", 2))
    write_scenes(folder / "sea.mp4", ("blue", 3), ("green", 2))
    return folder


def found(library: Library, text: str) -> list[tuple[str, float, float]]:
    hits = SearchEngine(library).search(text)
    return [(hit.path, hit.score, hit.moments[0].start_seconds) for hit in hits]


def test_it_finds_what_the_same_library_in_a_folder_finds(on_store: str, videos: Path, tmp_path: Path) -> None:
    library = Library.open(on_store, encoder=ColourEncoder())
    assert not library.exists
    assert read_status(on_store) is None
    summary = library.index(videos)
    assert sorted(summary.indexed) == [str(videos / "red.mp4"), str(videos / "sea.mp4")]

    again = Library.open(on_store, encoder=ColourEncoder())
    local = Library.open(tmp_path / "library", encoder=ColourEncoder())
    local.index(videos)
    for text in ("red", "blue", "green"):
        assert found(again, text) == found(local, text) != []
    assert again.roots() == [str(videos)]
    status = read_status(on_store)
    assert status is not None
    assert (status.state, status.files_done) == ("finished", 2)
    assert len(again.index(videos).unchanged) == 2


def test_the_commands_take_its_address(on_store: str, videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", str(videos), "--library", on_store]) == 0
    assert f"--library {on_store}" in capsys.readouterr().out
    assert main(["search", "a red picture", "--library", on_store, "--json"]) == 0
    assert {hit["path"] for hit in json.loads(capsys.readouterr().out)} == {
        str(videos / "red.mp4"),
        str(videos / "sea.mp4"),
    }
    assert main(["doctor", "--library", on_store, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["library"]
    assert (told["folder"], told["videos"]) == (on_store, 2)
    assert told["bytes"] > 1000
    assert main(["upgrade", "--library", on_store]) == 0
    assert "is up to date" in capsys.readouterr().out


def test_a_server_shows_it_and_how_it_is_indexed(on_store: str, videos: Path) -> None:
    Library.open(on_store, encoder=ColourEncoder()).index(videos)
    with serving(on_store) as client:
        told = client.get("/api/v1/library").json()
        assert (told["name"], told["path"], told["num_videos"]) == ("library", on_store, 2)
        assert client.get("/api/v1/index").json()["state"] == "finished"
        assert client.post("/api/v1/search", json={"text": "red"}).json()["items"]


def test_a_change_shows_to_who_has_it_open(on_store: str, videos: Path, tmp_path: Path) -> None:
    reader = Library.open(on_store, encoder=ColourEncoder())
    Library.open(on_store, encoder=ColourEncoder()).index(videos)
    reader = Library.open(on_store, encoder=ColourEncoder())
    assert len(reader.videos()) == 2
    write_scenes(tmp_path / "more" / "new.mp4", ("yellow", 2))
    Library.open(on_store, encoder=ColourEncoder()).index(tmp_path / "more")
    assert len(reader.videos()) == 3


def test_what_only_a_folder_can_do_is_said(on_store: str, videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    library = Library.open(on_store, encoder=ColourEncoder())
    library.index(videos)
    with pytest.raises(LibraryError, match="the object store itself checks what it holds"):
        verify(on_store)
    assert main(["doctor", "--library", on_store, "--verify"]) == 2
    assert "is for a library in a folder: an object store checks" in capsys.readouterr().err
    with pytest.raises(LibraryError, match="index its videos into a new prefix with --encoder"):
        change_encoder(on_store, ColourEncoder(fingerprint="other"))
    with pytest.raises(LibraryError, match="has no folder"):
        _ = library.folder


def test_an_encoder_is_not_fetched_for_a_library_whose_own_is_not_changed(
    on_store: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wordframe.library._reencode.load_encoder", lambda *_, **__: pytest.fail("was loaded"))
    assert main(["upgrade", "--library", on_store, "--encoder", "clip-b32"]) == 1
    assert "index its videos into a new prefix with --encoder" in capsys.readouterr().err


def test_what_is_to_be_done_is_what_can_be_done_there(on_store: str, videos: Path) -> None:
    """Not what works in a folder: the commands that mend, and that change an encoder, refuse an address."""
    library = Library.open(on_store, encoder=ColourEncoder())
    library.index(videos)
    with pytest.raises(LibraryError, match="index its videos into a new prefix with --encoder colours") as other:
        Library.open(on_store, encoder=ColourEncoder(fingerprint="other"))
    store = open_store(on_store, "a library", LibraryError)
    store.delete([entry["path"] for page in store.list("tables/segments.lance/data") for entry in page])
    with pytest.raises(LibraryError, match="run it again, or bring back older versions of its objects") as tables:
        SearchEngine(Library.open(on_store, encoder=ColourEncoder())).search("red")
    library.place.write("wordframe.json", "{half")
    with pytest.raises(LibraryError, match="damaged; bring back older versions of its objects") as manifest:
        Library.open(on_store)
    for told in (other, tables, manifest):
        assert "wordframe doctor" not in str(told.value)
        assert "wordframe upgrade" not in str(told.value)


def test_who_is_told_to_end_gives_its_lease_up(on_store: str, videos: Path) -> None:
    """As a service, a timer or a container ends its programs."""

    def stop(progress: IndexProgress) -> None:
        if len(told) < 1:
            told.append(progress)
            signal.raise_signal(signal.SIGTERM)

    told: list[IndexProgress] = []
    before = signal.signal(signal.SIGTERM, lambda *_: pytest.fail("was not noted"))
    try:
        assert Library.open(on_store, encoder=ColourEncoder()).index(videos, on_progress=stop).interrupted
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not Library.open(on_store, encoder=ColourEncoder()).index(videos).interrupted


def test_a_prefix_that_holds_something_else_stays_as_it_is(
    on_store: str, videos: Path, object_server: ObjectServer
) -> None:
    place = place_of(on_store)
    place.write("letters.txt", "dear")
    with pytest.raises(LibraryError, match=r"holds 'letters.txt' but no library; name a new prefix"):
        Library.open(on_store, encoder=ColourEncoder()).index(videos)
    assert place.read("letters.txt") == "dear"


# What goes wrong is one line, soon, and without secrets ---------------------------------------------------------------


def problem(capsys: pytest.CaptureFixture[str], address: str, *options: str) -> str:
    """What the command says."""
    arguments = [item for option in options for item in ("--storage-option", option)]
    started = time.monotonic()
    assert main(["search", "red", "--library", address, *arguments]) == 1
    assert time.monotonic() - started < 30
    told = capsys.readouterr()
    assert told.err.count("\n") == 1, told.err
    assert not any(secret in told.err + told.out for secret in (KEY, SECRET))
    return told.err


def test_a_bucket_that_is_not_there_is_told(on_store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert problem(capsys, "s3://nobucket/library") == "wordframe: s3://nobucket/library: there is no such bucket\n"


def test_a_store_that_cannot_be_reached_is_told(on_store: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        assert "the store cannot be reached" in problem(capsys, on_store, f"aws_endpoint={endpoint}")


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied"])
def test_credentials_that_are_refused_are_told(code: str, on_store: str, object_server: ObjectServer) -> None:
    def refuse(environ: Environ, usual: object) -> list[bytes]:
        return status_answer(environ, "403 Forbidden", f"<Code>{code}</Code><AWSAccessKeyId>{KEY}</AWSAccessKeyId>")

    with object_server.failing(refuse), pytest.raises(LibraryError) as told:
        Library.open(on_store, storage_options={"aws_secret_access_key": "wrongwrong"})
    assert str(told.value).startswith(f"{on_store}: the store refuses these credentials; check them")
    assert KEY not in str(told.value)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("ftp://host/films", "ftp://: a library lies in a folder, or at s3://, gs:// or az:// BUCKET/PREFIX"),
        ("s3://bucket", "s3://bucket: has no prefix; an address is s3://BUCKET/PREFIX"),
        (f"s3://{KEY}:{SECRET}@bucket/films", "s3://: an address is s3://BUCKET/PREFIX and nothing else"),
    ],
)
def test_an_address_that_is_none_is_told(address: str, told: str) -> None:
    with pytest.raises(LibraryError) as error:
        Library.open(address)
    assert str(error.value).startswith(told)
    assert SECRET not in str(error.value)


def test_an_option_that_is_none_is_told_without_its_value(on_store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "red", "--library", on_store, "--storage-option", SECRET]) == 2
    assert "takes KEY=VALUE" in (error := capsys.readouterr().err)
    assert SECRET not in error
    with pytest.raises(LibraryError, match="a --storage-option that the store does not know") as told:
        Library.open(on_store, storage_options={"aws_nonsense": SECRET})
    assert SECRET not in str(told.value)


def test_options_reach_the_store_and_not_the_environment_after(
    object_server: ObjectServer, videos: Path, monkeypatch: pytest.MonkeyPatch, on_store: str
) -> None:
    options = {name.lower(): value for name, value in object_server.environment.items()}
    for name in object_server.environment:
        monkeypatch.delenv(name)
    Library.open(on_store, encoder=ColourEncoder(), storage_options=options).index(videos)
    given = [item for name, value in options.items() for item in ("--storage-option", f"{name}={value}")]
    assert main(["prepare", "--list", "--library", on_store, *given]) == 0
    assert "WORDFRAME_STORAGE_OPTIONS" not in os.environ


def test_options_of_a_store_without_an_address_are_refused(
    object_server: ObjectServer, on_store: str, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = Library.open(tmp_path / "library", encoder=ColourEncoder())
    library.index(videos)
    listed = ["prepare", "--list", "--library", str(tmp_path / "library"), "--storage-option", "aws_region=eu"]
    assert main(listed) == 2
    assert "no address (s3://…) is given here, nor does the library know any; leave it out" in capsys.readouterr().err
    object_server.put(f"{on_store}-of/red.mp4", (videos / "red.mp4").read_bytes())
    library.index(f"{on_store}-of")  # whoever serves it asks the store
    assert main(listed) == 0


def test_without_what_object_storage_needs_the_install_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'wordframe\[cloud\]'"):
        Library.open(f"s3://{BUCKET}/library")
