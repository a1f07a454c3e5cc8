"""Videos at ``s3://…`` are to a library what files are: found, read once, followed, forgotten, played, cut."""

from __future__ import annotations

import glob
import json
import os
import resource
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import av
import httpx
import obstore
import pytest
from obstore.store import S3Store

from tests.colours import ColourEncoder, write_scenes
from tests.object_server import BUCKET, KEY, SECRET, Environ, ObjectServer, status_answer
from tests.served import problem_of, serving
from wordframe.cli.main import main
from wordframe.errors import LibraryError, MissingExtraError
from wordframe.library import IndexSummary, Library, file_states, find_videos, local_copy
from wordframe.library._claims import Claims
from wordframe.library._reading import Settings, VideoJob, read_videos
from wordframe.search import Filters, SearchEngine

_DATE = "Sun, 01 Nov 2026 10:00:00 GMT"


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    write_scenes(folder / "red.mp4", ("red", 2))
    write_scenes(folder / "more" / "sea ä#1.mp4", ("blue", 3), ("green", 2))
    return folder


@pytest.fixture
def store(object_server: ObjectServer) -> S3Store:
    return S3Store(
        BUCKET,
        endpoint=object_server.endpoint,
        access_key_id=KEY,
        secret_access_key=SECRET,
        region="us-east-1",
        client_options={"allow_http": True},
    )


@pytest.fixture
def there(on_store: str, store: S3Store, videos: Path) -> str:
    """The address below which the videos lie, each at the key that its path has."""
    address = on_store.removesuffix("library") + "videos"
    for path in sorted(videos.rglob("*.mp4")):
        put(store, f"{address}/{path.relative_to(videos)}", path.read_bytes())
    return address


@pytest.fixture(autouse=True)
def _no_copy_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    yield
    assert glob.glob(f"{scratch}/wordframe-*") == []


def key(address: str) -> str:
    return address.removeprefix(f"s3://{BUCKET}/")


def put(store: S3Store, address: str, content: bytes) -> None:
    obstore.put(store, key(address), content, use_multipart=False)


def index(library: Path | str, *paths: str, prune: bool = False) -> IndexSummary:
    return Library.open(library, encoder=ColourEncoder()).index(list(paths), prune=prune)


def found(library: Path | str, text: str) -> list[tuple[str, float, float]]:
    hits = SearchEngine(Library.open(library, encoder=ColourEncoder())).search(text)
    return [(hit.path, hit.score, hit.moments[0].start_seconds) for hit in hits]


def reads(requests: Iterable[tuple[str, str]]) -> list[str]:
    """The videos that were asked for."""
    return [path for method, path in requests if method == "GET" and path.endswith(".mp4")]


# Indexing -------------------------------------------------------------------------------------------------------------


def test_they_are_found_as_the_same_files_are(there: str, videos: Path, tmp_path: Path) -> None:
    summary = index(tmp_path / "library", f"{there}/")
    assert sorted(summary.indexed) == [f"{there}/more/sea ä#1.mp4", f"{there}/red.mp4"]
    index(tmp_path / "local", str(videos))
    for text in ("red", "blue", "green"):
        local = [(path.replace(str(videos), there), *rest) for path, *rest in found(tmp_path / "local", text)]
        assert found(tmp_path / "library", text) == local != []
    assert Library.open(tmp_path / "library").roots() == [there]


def test_library_and_videos_may_both_lie_there(on_store: str, there: str, videos: Path) -> None:
    summary = index(on_store, there, str(videos))
    assert len(summary.indexed) == 2
    assert len(summary.copied) == 2  # the same contents as files
    assert Library.open(on_store).roots() == [str(videos), there]
    assert len(index(on_store, there, str(videos)).unchanged) == 4


def test_an_unchanged_object_is_listed_and_not_read(there: str, tmp_path: Path, object_server: ObjectServer) -> None:
    with object_server.counted() as first:
        index(tmp_path / "library", there)
    assert len(reads(first)) == 2
    assert len(first) == 4  # beside these, whether anything is there, and the listing
    with object_server.counted() as again:
        assert len(index(tmp_path / "library", there).unchanged) == 2
    assert again == [("GET", f"/{BUCKET}")] * 2


def test_a_changed_object_is_read_again_though_size_and_second_are_the_same(
    there: str, store: S3Store, videos: Path, tmp_path: Path
) -> None:
    index(tmp_path / "library", there)
    content = bytearray((videos / "red.mp4").read_bytes())
    content[-1] ^= 1
    put(store, f"{there}/red.mp4", bytes(content))
    summary = index(tmp_path / "library", there)
    assert summary.indexed == [f"{there}/red.mp4"]
    assert summary.unchanged == [f"{there}/more/sea ä#1.mp4"]


def test_an_object_that_is_replaced_amid_its_copy_is_never_half_of_each(
    there: str, videos: Path, tmp_path: Path, object_server: ObjectServer
) -> None:
    new = (videos / "more" / "sea ä#1.mp4").read_bytes()

    def replaced(environ: Environ, usual: Callable[..., Iterable[bytes]]) -> Iterable[bytes] | None:
        if environ["REQUEST_METHOD"] != "GET" or not environ["PATH_INFO"].endswith("red.mp4"):
            return None
        object_server.fault = None  # the first answer alone breaks
        body = b"".join(usual(environ["start"]))

        def parts() -> Iterator[bytes]:
            yield body[: len(body) // 2]
            object_server.put(f"{there}/red.mp4", new)
            environ["cut"]()

        return parts()

    with object_server.failing(replaced):
        summary = index(tmp_path / "library", f"{there}/red.mp4")
    assert "the connection broke; check the endpoint and run it again" in summary.failed[f"{there}/red.mp4"]
    assert index(tmp_path / "library", f"{there}/red.mp4").indexed == [f"{there}/red.mp4"]


def test_a_moved_object_is_recognised(there: str, store: S3Store, tmp_path: Path) -> None:
    index(tmp_path / "library", there)
    obstore.rename(store, key(f"{there}/red.mp4"), key(f"{there}/elsewhere/rot.mp4"))
    summary = index(tmp_path / "library", there)
    assert (summary.moved, summary.indexed, summary.missing) == ([f"{there}/elsewhere/rot.mp4"], [], [])


def test_one_that_came_from_a_prefix_not_listed_now_is_recognised(there: str, store: S3Store, tmp_path: Path) -> None:
    index(tmp_path / "library", there)
    obstore.rename(store, key(f"{there}/red.mp4"), key(f"{there}2/red.mp4"))
    assert index(tmp_path / "library", f"{there}2").moved == [f"{there}2/red.mp4"]


def test_a_copy_of_one_that_is_still_there_is_a_copy(there: str, store: S3Store, tmp_path: Path) -> None:
    index(tmp_path / "library", there)
    obstore.copy(store, key(f"{there}/red.mp4"), key(f"{there}2/red.mp4"))
    assert index(tmp_path / "library", f"{there}2").copied == [f"{there}2/red.mp4"]


def test_a_deleted_object_is_missing_and_pruned(there: str, store: S3Store, tmp_path: Path) -> None:
    index(tmp_path / "library", there)
    obstore.delete(store, key(f"{there}/red.mp4"))
    assert index(tmp_path / "library", there).missing == [f"{there}/red.mp4"]
    summary = index(tmp_path / "library", there, prune=True)
    assert (summary.pruned, summary.away) == ([f"{there}/red.mp4"], {})
    assert [hit[0] for hit in found(tmp_path / "library", "red")] == [f"{there}/more/sea ä#1.mp4"]


def test_what_lies_below_an_empty_prefix_is_kept_unless_forced(there: str, store: S3Store, tmp_path: Path) -> None:
    library = Library.open(tmp_path / "library", encoder=ColourEncoder())
    library.index(there)
    for name in ("red.mp4", "more/sea ä#1.mp4"):
        obstore.delete(store, key(f"{there}/{name}"))
    with pytest.raises(LibraryError, match="videos: no such object, and none below it"):
        library.index(there, prune=True)
    assert len(library.videos()) == 2
    assert len(library.index(there, prune=True, force=True).pruned) == 2


def test_the_rules_of_folders_hold_for_keys(there: str, store: S3Store, object_server: ObjectServer) -> None:
    for name, content in (
        (".hidden.mp4", b"x"),
        (".trash/a.mp4", b"x"),
        (".cache/a.mp4", b"x"),
        ("@eaDir/a.mp4", b"x"),
        ("@eaDir/b.mp4", b"x"),
        ("notes.txt", b"x"),
        ("cat.gif", b"x"),
        ("drafts/a.mp4", b"x"),
        ("drafts/b.mp4", b"x"),
        ("app.ts", b"import a from 'b';"),
        ("cut.ts", b"G\x00\x11\x10" * 300),
        ("empty.ts", b""),
        ("more/.wordframeignore", b"!keep.mp4\nraw*\n"),
        ("more/raw.mp4", b"x"),
        (".wordframeignore", b"drafts/\nkeep.mp4\n"),
        ("more/keep.mp4", b"x"),
        ("keep.mp4", b"x"),
    ):
        put(store, f"{there}/{name}", content)
    findings = find_videos([there, f"{there}/more"])
    taken = [file.path.removeprefix(f"{there}/") for file in findings.files]
    assert taken == ["cut.ts", "more/keep.mp4", "more/sea ä#1.mp4", "red.mp4"]
    assert findings.passed_over == {".gif": 1, ".trash/": 1, "@eaDir/": 1, ".wordframeignore": 4}
    assert findings.unreadable == {}
    named = f"{there}/notes.txt"
    assert [file.path for file in find_videos([named]).files] == [named]


# What goes wrong ------------------------------------------------------------------------------------------------------


def test_the_empty_object_that_shows_a_folder_is_none(there: str, object_server: ObjectServer) -> None:
    """As consoles of stores make them: a key that ends in a slash."""
    for folder in (there, f"{there}/more", f"{there}/empty"):
        address = f"{object_server.endpoint}/{BUCKET}/{key(folder)}/"
        httpx.put(address, content=b"", timeout=60).raise_for_status()
    found = find_videos([there])
    assert [os.path.basename(each.path) for each in found.files] == ["sea ä#1.mp4", "red.mp4"]
    assert found.unreadable == {}
    assert list(find_videos([f"{there}/empty"]).unreadable) == [f"{there}/empty"]


def test_an_object_that_vanishes_after_the_listing_is_its_own_failure(
    there: str, tmp_path: Path, object_server: ObjectServer
) -> None:
    def gone(environ: Environ, _: object) -> list[bytes] | None:
        if environ["PATH_INFO"].endswith("red.mp4"):
            return status_answer(environ, "404 Not Found", "<Code>NoSuchKey</Code>")
        return None

    with object_server.failing(gone):
        summary = index(tmp_path / "library", there)
    assert summary.failed == {f"{there}/red.mp4": f"{there}/red.mp4: cannot be read (no such object)"}
    assert summary.indexed == [f"{there}/more/sea ä#1.mp4"]
    assert index(tmp_path / "library", there).indexed == [f"{there}/red.mp4"]  # not remembered as unreadable


def test_a_run_that_is_to_stop_gives_up_its_copies_and_blames_no_file(there: str, object_server: ObjectServer) -> None:
    stop = threading.Event()

    def stopping(environ: Environ, _: object) -> None:
        if environ["PATH_INFO"].endswith(".mp4"):
            stop.set()

    jobs = [VideoJob(file, str(number)) for number, file in enumerate(find_videos([there]).files)]
    settings = Settings(ColourEncoder())
    with object_server.failing(stopping), object_server.counted() as requests:
        events = list(read_videos(jobs, settings, claim=Claims().claim, should_stop=stop.is_set, cores=2))
    assert events == []
    assert len(reads(requests)) > 0


def test_an_answer_that_breaks_off_is_told_and_read_again_by_the_next_run(
    there: str, tmp_path: Path, object_server: ObjectServer
) -> None:
    def short(environ: Environ, usual: Callable[[], Iterable[bytes]]) -> list[bytes] | None:
        if environ["REQUEST_METHOD"] != "GET" or not environ["PATH_INFO"].endswith("red.mp4"):
            return None
        body = b"".join(usual())
        environ["start"]("200 OK", [("Content-Length", str(len(body))), ("ETag", '"a"'), ("Last-Modified", _DATE)])
        return [body[: len(body) // 2]]

    with object_server.failing(short):
        (reason,) = index(tmp_path / "library", there).failed.values()
    assert reason.startswith(f"{there}/red.mp4: ")
    assert index(tmp_path / "library", there).indexed == [f"{there}/red.mp4"]


def test_a_copy_that_finds_no_room_is_told(there: str) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(LibraryError, match=r"red\.mp4: no room for its copy .* TMPDIR names another"):
            local_copy(f"{there}/red.mp4").__enter__()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_key_that_is_no_path_is_told(there: str, tmp_path: Path, object_server: ObjectServer) -> None:
    address = f"{object_server.endpoint}/{BUCKET}/{key(there)}//double.mp4"
    httpx.put(address, content=b"x").raise_for_status()
    with pytest.raises(LibraryError, match="a key below it has an empty part"):
        index(tmp_path / "library", there)


def test_without_what_object_storage_needs_the_install_line_is_told(
    there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'wordframe\[cloud\]'"):
        index(tmp_path / "library", there)


def test_one_that_is_no_video_is_told_by_its_address_and_remembered(there: str, store: S3Store, tmp_path: Path) -> None:
    put(store, f"{there}/odd.mp4", b"no video at all" * 100)
    (reason,) = index(tmp_path / "library", there).failed.values()
    assert reason.startswith(f"{there}/odd.mp4 cannot be read as a video: ")
    assert "wordframe-" not in reason
    assert index(tmp_path / "library", there).known_failures == {f"{there}/odd.mp4": reason}


def refused(environ: Environ, _: object) -> list[bytes]:
    return status_answer(environ, "403 Forbidden", f"<Code>AccessDenied</Code><AWSAccessKeyId>{KEY}</AWSAccessKeyId>")


def test_a_store_that_refuses_is_a_line_and_the_rest_goes_on(
    there: str, videos: Path, tmp_path: Path, object_server: ObjectServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with object_server.failing(refused):
        assert main(["index", there, "--library", str(tmp_path / "library")]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"wordframe: {there}: the store refuses these credentials")
        assert KEY not in line
        summary = index(tmp_path / "colours", there, str(videos))
    assert len(summary.indexed) == 2
    assert summary.failed[there].startswith(f"{there}: the store refuses these credentials")
    assert Library.open(tmp_path / "colours").roots() == [str(videos)]


def test_videos_of_a_store_that_is_away_are_not_missing(
    there: str, videos: Path, tmp_path: Path, object_server: ObjectServer
) -> None:
    index(tmp_path / "library", there, str(videos))
    library = Library.open(tmp_path / "library", encoder=ColourEncoder())
    with object_server.failing(refused):
        summary = library.index([there, str(videos)], prune=True, force=True)
        states = file_states(library.videos(), library.roots())
    assert (summary.pruned, summary.missing) == ([], [])
    assert [state for path, state in sorted(states.items())] == ["same", "same", "unknown", "unknown"]
    assert len(library.videos()) == 4


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("s3://nothing-here/videos", "s3://nothing-here/videos: there is no such bucket"),
        ("ftp://films/videos", "ftp://: videos lie in folders, or at s3://, gs:// or az:// BUCKET/PREFIX"),
        (f"s3://{KEY}:{SECRET}@films/videos", "s3://: an address is s3://BUCKET/PREFIX and nothing else"),
        (f"s3://{BUCKET}/nothing/here", f"s3://{BUCKET}/nothing/here: no such object, and none below it"),
    ],
)
def test_an_address_at_which_nothing_is_is_told(
    address: str, told: str, on_store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["index", address, "--library", str(tmp_path / "library")]) == 1
    error = capsys.readouterr().err
    assert told in error
    assert SECRET not in error


def test_options_that_make_no_sense_stop_a_run_over_addresses_alone(
    there: str, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORDFRAME_STORAGE_OPTIONS", "{")
    assert len(index(tmp_path / "library", str(videos)).indexed) == 2
    with pytest.raises(LibraryError, match="WORDFRAME_STORAGE_OPTIONS: is no JSON object"):
        index(tmp_path / "library", there)


# Searching, playing, cutting ------------------------------------------------------------------------------------------


def test_filters_take_addresses(there: str, videos: Path, tmp_path: Path) -> None:
    index(tmp_path / "library", there, str(videos))
    engine = SearchEngine(Library.open(tmp_path / "library", encoder=ColourEncoder()))
    for filters, expected in (
        (Filters(folder=there), [f"{there}/more/sea ä#1.mp4", f"{there}/red.mp4"]),
        (Filters(folder=f"{there}/more"), [f"{there}/more/sea ä#1.mp4"]),
        (Filters(path=f"{there}/r*.mp4"), [f"{there}/red.mp4"]),
    ):
        hits = engine.search("red", filters=filters)
        assert sorted(path for hit in hits for path in (hit.path, *hit.copies) if path.startswith("s3:")) == expected


def test_the_doctor_does_not_miss_them(
    there: str, store: S3Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["index", there, "--library", str(tmp_path / "library")]) == 0
    put(store, f"{there}/red.mp4", b"another")
    capsys.readouterr()
    main(["doctor", "--library", str(tmp_path / "library"), "--json"])
    told = json.loads(capsys.readouterr().out)["library"]
    assert (told["files_gone"], told["files_unknown"]) == ([], [])
    assert told["files_changed"] == [f"{there}/red.mp4"]


def test_the_page_plays_ranges_of_them(
    there: str, store: S3Store, videos: Path, tmp_path: Path, object_server: ObjectServer
) -> None:
    library = tmp_path / "library"
    index(library, there)
    content = (videos / "red.mp4").read_bytes()
    with serving(library) as client:
        (video,) = [each for each in client.get("/api/v1/videos").json()["items"] if each["name"] == "red.mp4"]
        address = video["media_url"]
        assert video["path"] == f"{there}/red.mp4"
        with object_server.counted() as requests:
            part = client.get(address, headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, content[10:20])
        assert part.headers["content-range"] == f"bytes 10-19/{len(content)}"
        assert len(reads(requests)) == len(requests) == 1
        whole = client.get(address)
        assert (whole.status_code, whole.content) == (200, content)
        assert whole.headers["content-type"] == "video/mp4"
        assert whole.headers["content-disposition"] == 'inline; filename="red.mp4"'
        assert whole.headers["content-length"] == str(len(content))
        head = client.head(address, headers={"Range": "bytes=-7"})
        assert (head.status_code, head.content, head.headers["content-length"]) == (206, b"", "7")
        tag = whole.headers["etag"]
        assert client.get(address, headers={"If-None-Match": tag}).status_code == 304
        assert client.get(address, headers={"Range": "bytes=0-1", "If-Range": '"old"'}).content == content
        assert client.get(address, headers={"Range": "bytes=0-1", "If-Range": tag}).content == content[:2]
        outside = client.get(address, headers={"Range": f"bytes={len(content)}-"})
        problem_of(outside, 416)
        assert outside.headers["content-range"] == f"bytes */{len(content)}"
        problem_of(client.get(address, headers={"Range": "lines=1-2"}), 400)

        put(store, f"{there}/red.mp4", content[:-1] + b"x")
        problem_of(client.get(address), 409)
        problem_of(client.get(address, headers={"If-None-Match": tag}), 409)
        obstore.delete(store, key(f"{there}/red.mp4"))
        problem_of(client.get(address), 410)
        assert client.head(address).status_code == 410


def test_one_outside_of_the_roots_is_not_served(there: str, tmp_path: Path) -> None:
    library = tmp_path / "library"
    index(library, there)
    (library / "roots.json").write_text(json.dumps([f"{there}/more"]))
    with serving(library) as client:
        for video in client.get("/api/v1/videos").json()["items"]:
            status = client.get(video["media_url"]).status_code
            assert status == (200 if video["name"].startswith("sea") else 403)


def test_a_store_that_refuses_is_told_by_the_page_without_its_address(
    there: str, tmp_path: Path, object_server: ObjectServer
) -> None:
    library = tmp_path / "library"
    index(library, there)
    with serving(library) as client:
        (address,) = [
            each["media_url"] for each in client.get("/api/v1/videos").json()["items"] if each["name"] == "red.mp4"
        ]
        with object_server.failing(refused):
            told = problem_of(client.get(address), 503)
    assert told.startswith("red.mp4: the store refuses these credentials")


def test_a_moment_is_cut_out_of_one(
    there: str, tmp_path: Path, object_server: ObjectServer, capsys: pytest.CaptureFixture[str]
) -> None:
    library = tmp_path / "library"
    index(library, there)
    with serving(library) as client:
        (item,) = client.post("/api/v1/search", json={"text": "green", "limit": 1}).json()["items"]
        with object_server.counted() as requests:
            clip = client.get(item["moments"][0]["clip_url"])
        assert [method for method, _ in requests] == ["HEAD", "GET"]
        assert clip.status_code == 200
        (tmp_path / "clip.mp4").write_bytes(clip.content)
    target = tmp_path / "cut.mp4"
    assert main(["export", f"{there}/more/sea ä#1.mp4", "3", "5", "--to", str(target)]) == 0
    assert f"of {there}/more/sea ä#1.mp4" in capsys.readouterr().out
    for made in (tmp_path / "clip.mp4", target):
        with av.open(os.fspath(made)) as container:
            assert container.duration is not None
            assert container.duration > 1e6
    assert main(["export", f"{there}/none.mp4", "3", "5", "--to", str(target)]) == 1
    assert capsys.readouterr().err == f"wordframe: {there}/none.mp4: no such object\n"
