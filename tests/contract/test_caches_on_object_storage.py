"""Caches at an address: copied once, file by file, checked; refused in a line that holds no credentials."""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from moto.server import ThreadedMotoServer
from obstore.store import S3Store

from tests.colours import ColourEncoder, write_scenes
from wordframe.cli import main
from wordframe.data import (
    CachedFeatures,
    CacheError,
    FrameCache,
    FrameSettings,
    Split,
    VideoFiles,
    build_feature_cache,
    build_frame_cache,
    feature_part,
)
from wordframe.errors import MissingExtraError, VideoError

CAPTIONS = {name: (f"a {name} one", f"{name} at last") for name in ("red", "green", "blue", "cyan", "white", "black")}
RECIPE = """
name: small
model: {preset: clip4clip-mean, max_words: 8, max_frames: 4}
batch_size: 4
epochs: 1
validation: {every_steps: 1}
"""
SECRET = "a-secret-that-nobody-prints"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``train`` and ``val``, as ``wordframe cache features`` makes them, and ``frames``, as ``cache frames`` does."""
    folder = tmp_path_factory.mktemp("features")
    paths = {name: write_scenes(folder / "videos" / f"{name}.mp4", (name, 2)) for name in CAPTIONS}
    for split in ("train", "val"):
        build_feature_cache(
            folder / split, Split("own", split, CAPTIONS), VideoFiles(paths, 16), ColourEncoder(), num_frames=4
        )
    build_frame_cache(folder / "frames", paths, FrameSettings(num_frames=4, short_side=260, quality=None))
    return folder


@pytest.fixture
def store(server: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    """A bucket of this test's with all caches below ``own/features``, and the environment that leads to it."""
    import boto3

    for name, value in (
        ("AWS_ENDPOINT_URL", server),
        ("AWS_ACCESS_KEY_ID", "someone"),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_REGION", "us-east-1"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("WORDFRAME_CACHE", str(tmp_path / "copies")),
    ):
        monkeypatch.setenv(name, value)
    bucket = "".join(letter for letter in tmp_path.name.lower() if letter.isalnum())[:60]
    boto3.client("s3", endpoint_url=server).create_bucket(Bucket=bucket)
    opened = S3Store(bucket, client_options={"allow_http": True})
    for cache in ("train", "val", "frames"):
        for file in (place / cache).rglob("*.*"):
            if not file.name.startswith("."):
                obstore.put(opened, f"own/features/{file.relative_to(place).as_posix()}", file.read_bytes())
    return opened


def address_of(store: S3Store, part: str = "") -> str:
    return f"s3://{store.config['bucket']}/own/features{part}"


def copies(tmp_path: Path) -> dict[Path, int]:
    """Blocks of all copies and when each was written."""
    return {path: path.stat().st_mtime_ns for path in (tmp_path / "copies").rglob("*.safetensors")}


def test_a_copy_is_the_cache_and_is_made_once(store: S3Store, place: Path, tmp_path: Path) -> None:
    copied, expected = CachedFeatures.open(address_of(store, "/train")), CachedFeatures.open(place / "train")
    assert copied.fingerprint == expected.fingerprint
    assert copied.captions() == expected.captions()
    assert copied.words(3).tolist() == expected.words(3).tolist()
    assert copied.frames(2).tolist() == expected.frames(2).tolist()
    before = copies(tmp_path)
    CachedFeatures.open(address_of(store, "/train/"))
    assert copies(tmp_path) == before
    assert len(before) == 2
    # one that lacks a block, as one that was cut short does, is completed
    next(iter(before)).unlink()
    CachedFeatures.open(address_of(store, "/train"))
    assert copies(tmp_path).keys() == before.keys()


def test_a_cache_that_was_made_anew_is_copied_anew(store: S3Store, tmp_path: Path) -> None:
    CachedFeatures.open(address_of(store, "/train"))
    described = json.loads(bytes(obstore.get(store, "own/features/train/wordframe-features.json").bytes()))
    changed = json.dumps({**described, "encoder": "another name"}).encode()
    obstore.put(store, "own/features/train/wordframe-features.json", changed)
    assert CachedFeatures.open(address_of(store, "/train")).description.encoder == "another name"
    assert len(copies(tmp_path)) == 4


def test_training_and_evaluating_from_an_address(
    store: S3Store, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "small.yaml").write_text(RECIPE)
    logs = []
    for name, features in (("there", address_of(store)), ("here", str(place))):
        arguments = ["train", str(tmp_path / "small.yaml"), "--features", features, "--out", str(tmp_path / name)]
        assert main(arguments) == 0, capsys.readouterr().err
        lines = map(json.loads, (tmp_path / name / "metrics.jsonl").read_text().splitlines())
        logs.append([line.get("loss", line.get("validation")) for line in lines])
    assert logs[0] == logs[1]
    assert any(isinstance(line, dict) for line in logs[0]), "the validation cache beside it was not found"
    reports = []
    for features in (address_of(store, "/val"), str(place / "val")):
        capsys.readouterr()
        assert main(["evaluate", "--features", features, "--qb-norm", features, "--json"]) == 0
        reports.append(json.loads(capsys.readouterr().out))
    assert reports[0] == reports[1]


def test_frames_are_copied_and_followed(store: S3Store, place: Path, tmp_path: Path) -> None:
    """What is there is not copied again; what is new, made anew, or gone there is so here."""
    address, here = address_of(store, "/frames"), FrameCache.open(place / "frames")
    cache = FrameCache.open(address)
    for video in CAPTIONS:
        copied, expected = cache.read(video, 4), here.read(video, 4)
        assert copied.rgb.tolist() == expected.rgb.tolist()
        assert (copied.seconds.tolist(), cache.stamp(video)) == (expected.seconds.tolist(), here.stamp(video))
    before = copies(tmp_path)
    assert len(before) == len(CAPTIONS)
    FrameCache.open(address)
    assert copies(tmp_path) == before

    red, green, blue = (here._file(name).relative_to(place / "frames").as_posix() for name in ("red", "green", "blue"))
    obstore.delete(store, f"own/features/frames/{green}")
    obstore.put(store, f"own/features/frames/{red}", (place / "frames" / blue).read_bytes() + b" ")
    (cache.folder / blue).unlink()
    obstore.put(store, "own/features/frames/videos/ab/odd.safetensors", b"not one of a cache")
    again = FrameCache.open(address)
    assert "green" not in again
    assert again.stamp("blue") == here.stamp("blue")
    with pytest.raises(VideoError, match="damaged"):
        again.read("red", 4)
    assert len(copies(tmp_path)) == len(CAPTIONS) - 1
    with pytest.raises(CacheError, match=r"no-such: there is no frame cache; copy one there"):
        FrameCache.open(address_of(store, "/no-such"))


def test_features_are_made_of_frames_at_an_address(
    store: S3Store, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = without_the_usual_variables(monkeypatch)
    given = [item for name, value in options.items() for item in ("--storage-option", f"{name}={value}")]
    captions = tmp_path / "captions.json"
    captions.write_text(json.dumps({name: list(several) for name, several in CAPTIONS.items()}))
    made = ["cache", "features", "--captions", str(captions), "--frames", "2", "--frame-cache"]
    for frames, to in ((str(place / "frames"), "here"), (address_of(store, "/frames"), "there")):
        of_store = given if to == "there" else []
        assert main([*made, frames, "--to", str(tmp_path / to), *of_store]) == 0, capsys.readouterr().err
    here, there = (CachedFeatures.open(tmp_path / to) for to in ("here", "there"))
    assert here.fingerprint == there.fingerprint
    assert here.frames(1).tolist() == there.frames(1).tolist()


def without_the_usual_variables(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment says nothing of the store; gives what it said, as options."""
    options = {}
    for name, option in (
        ("AWS_ENDPOINT_URL", "aws_endpoint"),
        ("AWS_ACCESS_KEY_ID", "aws_access_key_id"),
        ("AWS_SECRET_ACCESS_KEY", "aws_secret_access_key"),
        ("AWS_REGION", "aws_region"),
    ):
        options[option] = os.environ[name]
        monkeypatch.delenv(name)
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    return options


def test_options_of_the_store_are_those_of_other_addresses(
    store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = without_the_usual_variables(monkeypatch)
    given = [item for name, value in options.items() for item in ("--storage-option", f"{name}={value}")]
    (tmp_path / "small.yaml").write_text(RECIPE)
    trained = ["train", str(tmp_path / "small.yaml"), "--features", address_of(store), "--out", str(tmp_path / "run")]
    assert main([*trained, *given]) == 0, capsys.readouterr().err
    assert main(["evaluate", "--features", address_of(store, "/val"), "--json", *given]) == 0, capsys.readouterr().err
    assert "WORDFRAME_STORAGE_OPTIONS" not in os.environ
    # those of another kind of store, as for videos elsewhere, do not matter
    monkeypatch.setenv("WORDFRAME_STORAGE_OPTIONS", json.dumps(options | {"google_service_account": "nowhere"}))
    assert CachedFeatures.open(address_of(store, "/train")).dimension == ColourEncoder().dimension


@pytest.mark.parametrize(("options", "told"), [("{", "is no JSON object"), ('{"aws_odd": "1"}', "does not know")])
def test_options_that_make_no_sense_are_told(
    store: S3Store, monkeypatch: pytest.MonkeyPatch, options: str, told: str
) -> None:
    monkeypatch.setenv("WORDFRAME_STORAGE_OPTIONS", options)
    with pytest.raises(CacheError, match=told):
        CachedFeatures.open(address_of(store, "/train"))


def test_a_full_disk_is_not_blamed_on_the_store(
    store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WORDFRAME_CACHE", str(tmp_path / "file"))
    with pytest.raises(CacheError, match=r"cannot be written .*; name another place for copies by WORDFRAME_CACHE"):
        CachedFeatures.open(address_of(store, "/train"))
    monkeypatch.setenv("WORDFRAME_CACHE", str(tmp_path / "copies"))
    CachedFeatures.open(address_of(store, "/train"))
    for block in copies(tmp_path):
        block.unlink()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(CacheError, match=r"cannot be written .*; name another place"):
            CachedFeatures.open(address_of(store, "/train"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def spoil(store: S3Store, name: str, data: bytes | None) -> None:
    path = f"own/features/train/{name}"
    if data is None:
        obstore.delete(store, path)
    else:
        obstore.put(store, path, data)


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("videos-00000.safetensors", b"other", "videos-00000.safetensors: missing, or not what was written"),
        ("texts-00000.safetensors", None, "texts-00000.safetensors: missing, or not what was written"),
        ("captions.json", b"[]", "captions.json: missing, or not what was written"),
        ("captions.json", None, "captions.json: missing, or not what was written"),
        ("wordframe-features.json", b"{", "wordframe-features.json: missing, or not what was written"),
        ("wordframe-features.json", b'{"captions": "", "blocks": {"../../x": 1}}', "missing, or not what was written"),
        ("wordframe-features.json", None, "train: there is no feature cache; copy one there"),
    ],
)
def test_what_is_missing_or_damaged_there_is_told(
    store: S3Store, tmp_path: Path, name: str, data: bytes | None, told: str
) -> None:
    spoil(store, name, data)
    with pytest.raises(CacheError, match=told) as refusal:
        CachedFeatures.open(address_of(store, "/train"))
    assert "\n" not in str(refusal.value)
    assert not list((tmp_path / "copies").rglob("*.part*"))


def test_a_store_that_is_not_there_is_told_without_what_it_was_sent(
    store: S3Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    address = address_of(store, "/train")
    for place, told in (
        (
            "s3://no-such-bucket/features",
            "s3://no-such-bucket/features/wordframe-features.json: there is no such bucket",
        ),
        ("s3://someone:" + SECRET + "@bucket/features", "s3://: an address is s3://BUCKET/PREFIX and nothing else"),
        ("s3://bucket", "s3://bucket: has no prefix; an address is s3://BUCKET/PREFIX"),
        ("ftp://host/features", "ftp://: a cache lies in a folder, or at s3://, gs:// or az:// BUCKET/PREFIX"),
    ):
        assert main(["evaluate", "--features", place]) == 1
        shown = capsys.readouterr().err
        assert told in shown
        assert SECRET not in shown
    monkeypatch.setattr("wordframe.object_storage._TRIES", 0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert main(["evaluate", "--features", address]) == 1
    shown = capsys.readouterr().err
    assert "wordframe-features.json: the store cannot be reached, or the connection broke" in shown
    assert SECRET not in shown
    assert shown.count("\n") == 1


def test_without_the_extra_the_line_that_installs_it(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(MissingExtraError, match=r"on object storage needs more than .*'wordframe\[cloud\]'"):
        feature_part(address_of(store), "train")
