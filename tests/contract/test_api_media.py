"""Files by id: ranges, caches, clips, and refusals of what is not, or no longer, the file that was indexed."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.colours import ColourEncoder, write_scenes
from tests.films import Film, watch, write_film
from tests.joined_films import Codecs, Part, write_joined
from tests.served import LINES_NAME, get, index, make_library, one_video, problem_of, serving, video_id
from wordframe.library import Library


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_library(tmp_path_factory.mktemp("media"))


@pytest.fixture(scope="module")
def client(library: Path) -> Iterator[TestClient]:
    with serving(library) as client:
        yield client


@pytest.fixture(scope="module")
def content(library: Path) -> bytes:
    return (library.parent / "videos" / "red.mp4").read_bytes()


@pytest.fixture(scope="module")
def address(client: TestClient) -> str:
    return f"/api/v1/videos/{video_id(client, 'red.mp4')}/media"


def test_a_whole_file(client: TestClient, address: str, content: bytes) -> None:
    answer = client.get(address)
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["content-disposition"] == 'inline; filename="red.mp4"'


def test_the_headers_only(client: TestClient, address: str, content: bytes) -> None:
    answer = client.head(address)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(content))
    part = client.head(address, headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.content, part.headers["content-length"]) == (206, b"", "10")


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("0-0", 0, 1), ("10-19", 10, 20), ("100-", 100, None), ("-7", -7, None), ("5-999999999", 5, None)],
)
def test_one_range(client: TestClient, address: str, content: bytes, asked: str, start: int, stop: int | None) -> None:
    answer = client.get(address, headers={"Range": f"bytes={asked}"})
    part = content[start:stop]
    first = start % len(content)
    assert (answer.status_code, answer.content) == (206, part)
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(part) - 1}/{len(content)}"


def test_several_ranges(client: TestClient, address: str, content: bytes) -> None:
    answer = client.get(address, headers={"Range": "bytes=0-4,10-14,-5"})
    assert answer.status_code == 206
    kind, _, boundary = answer.headers["content-type"].partition("; boundary=")
    assert kind == "multipart/byteranges"
    parts = answer.content.split(f"--{boundary}".encode())
    assert [part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in parts[1:-1]] == [
        content[:5],
        content[10:15],
        content[-5:],
    ]


def test_more_ranges_than_anybody_needs_give_the_whole(client: TestClient, address: str, content: bytes) -> None:
    eight = ",".join(f"{20 * n}-{20 * n + 1}" for n in range(8))
    assert client.get(address, headers={"Range": f"bytes={eight}"}).status_code == 206
    answer = client.get(address, headers={"Range": f"bytes={eight},200-201"})
    assert (answer.status_code, answer.content) == (200, content)


def test_ranges_outside_and_ranges_without_sense(client: TestClient, address: str, content: bytes) -> None:
    outside = client.get(address, headers={"Range": f"bytes={len(content)}-"})
    problem_of(outside, 416)
    assert outside.headers["content-range"] == f"bytes */{len(content)}"
    for asked in ("bytes=9-5", "lines=1-2", "bytes", "bytes=a-b"):
        problem_of(client.get(address, headers={"Range": asked}), 400)


def test_a_range_of_an_older_file_gives_the_whole(client: TestClient, address: str, content: bytes) -> None:
    tag = client.head(address).headers["etag"]
    same = client.get(address, headers={"Range": "bytes=0-9", "If-Range": tag})
    other = client.get(address, headers={"Range": "bytes=0-9", "If-Range": '"other"'})
    assert (same.status_code, same.content) == (206, content[:10])
    assert (other.status_code, other.content) == (200, content)


@pytest.mark.parametrize("known", ["{tag}", "W/{tag}", '"other", {tag}', "*"])
def test_what_the_caller_has_is_not_sent_again(client: TestClient, address: str, known: str) -> None:
    picture = get(client, "/search", text="red")["items"][0]["moments"][0]["thumbnail_url"]
    for place in (address, picture):
        tag = client.get(place).headers["etag"]
        answer = client.get(place, headers={"If-None-Match": known.format(tag=tag)})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
        assert client.get(place, headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_thumbnail_shows_its_segment(client: TestClient) -> None:
    moment = get(client, "/search", text="green", exact=True)["items"][0]["moments"][0]
    answer = client.get(moment["thumbnail_url"])
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.format == "JPEG"


def test_a_clip_plays_and_leaves_nothing_behind(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    segment = f"{video_id(client, 'mixed.mp4')}-00000"
    answer = client.get(f"/api/v1/segments/{segment}/clip", params={"start": 9, "end": 12})
    assert answer.headers["content-disposition"] == 'attachment; filename="mixed_9-12s.mp4"'
    with av.open(io.BytesIO(answer.content)) as clip:
        assert 2.5 <= float(clip.duration or 0) / av.time_base <= 12.5
        assert clip.streams.video[0].codec_context.name == "h264"
    assert list(tmp_path.iterdir()) == []


def test_a_clip_tells_which_seconds_it_shows(client: TestClient) -> None:
    """A copy starts at a keyframe: the last second of white is asked for, and what comes is more."""
    segment = f"{video_id(client, 'mixed.mp4')}-00000"
    answer = client.get(f"/api/v1/segments/{segment}/clip", params={"start": 7.9, "end": 8.1})
    start, end = (float(answer.headers[f"clip-{name}-seconds"]) for name in ("start", "end"))
    assert answer.headers["clip-notes"] == "no sound"
    assert start <= 7.9
    assert end >= 8.1
    with av.open(io.BytesIO(answer.content)) as clip:
        assert float(clip.duration or 0) / av.time_base == pytest.approx(end - start, abs=0.05)


def test_what_browsers_do_not_play_is_encoded_with_its_sound_and_told(tmp_path: Path) -> None:
    options = (("x265-params", "log-level=none"), ("preset", "ultrafast"))
    (tmp_path / "videos").mkdir()
    write_film(tmp_path / "videos" / "phone.mp4", Film(pictures="libx265", options=options, seconds=3))
    write_film(tmp_path / "videos" / "tv.ts", Film(sound="mp2", seconds=3))
    with serving(index(tmp_path, "videos", 2)) as client:
        told = {}
        for name in ("phone.mp4", "tv.ts"):
            place = f"/api/v1/segments/{video_id(client, name)}-00000/clip"
            answer = client.get(place, params={"start": 0.5, "end": 2.5})
            told[name] = answer.headers["clip-notes"]
            (tmp_path / "clip.mp4").write_bytes(answer.content)
            seen = watch(tmp_path / "clip.mp4")
            start = float(answer.headers["clip-start-seconds"])
            assert [round(start + at) for at in seen.beeps if at > 0.1] == [1, 2]
            with av.open(io.BytesIO(answer.content)) as clip:
                assert [stream.codec_context.name for stream in clip.streams] == ["h264", "aac"]
    assert told == {
        "phone.mp4": "pictures encoded anew from hevc as H.264; sound encoded anew from aac as AAC",
        "tv.ts": "sound encoded anew from mp2 as AAC",
    }


def test_a_clip_of_a_file_whose_times_start_anew_has_its_sound(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    write_joined(tmp_path / "videos" / "tv.ts", [Part(80, (0.8, 2.8)), Part(65, (0.36, 1.2, 2.24))], Codecs())
    with serving(index(tmp_path, "videos", 1)) as client:
        place = f"/api/v1/segments/{video_id(client, 'tv.ts')}-00000/clip"
        answer = client.get(place, params={"start": 2.5, "end": 5})
    (tmp_path / "clip.mp4").write_bytes(answer.content)
    seen = watch(tmp_path / "clip.mp4")
    assert seen.beeps == pytest.approx([2.8 - 2.5, 3.56 - 2.5, 4.4 - 2.5], abs=0.05)
    for beep, number in zip(seen.beeps, (70, 89, 110), strict=True):
        assert {shown: at for at, shown in seen.pictures}[number] == pytest.approx(beep, abs=0.05)
    told = "its times start anew inside the file"
    assert (
        answer.headers["clip-notes"]
        == f"pictures encoded anew from h264 as H.264: {told}; sound encoded anew from aac as AAC"
    )


@pytest.mark.parametrize(
    "asked", [{"start": 5, "end": 5}, {"start": 6, "end": 5}, {"start": 0, "end": 61}, {"start": 1e6, "end": 1e6 + 5}]
)
def test_clips_without_sense(
    client: TestClient, asked: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    segment = f"{video_id(client, 'mixed.mp4')}-00000"
    problem_of(client.get(f"/api/v1/segments/{segment}/clip", params=asked), 422)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_changed_and_one_that_is_gone(tmp_path: Path) -> None:
    library, video = one_video(tmp_path)
    with serving(library) as client:
        one = video_id(client, "one.mp4")
        places = (f"/api/v1/videos/{one}/media", f"/api/v1/segments/{one}-00000/clip")
        video.write_bytes(video.read_bytes() + b"more")
        for place in places:
            assert "has changed since it was indexed" in problem_of(client.get(place), 409)
        video.unlink()
        for place in places:
            assert "the file is gone" in problem_of(client.get(place), 410)
        os.mkfifo(video)
        problem_of(client.get(places[0]), 409)
        assert client.get(f"/api/v1/segments/{one}-00000/thumbnail").status_code == 200


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library, video = one_video(tmp_path)
    with serving(library) as client:
        one = video_id(client, "one.mp4")
        monkeypatch.setattr("os.access", lambda path, mode: path != str(video))  # root may read everything
        assert "check its permissions" in problem_of(client.get(f"/api/v1/videos/{one}/media"), 403)


def test_links_are_followed_within_the_indexed_folders_only(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    inside = write_scenes(videos / ".kept" / "real.mp4", ("red", 2))  # hidden, so that it is indexed by its link
    outside = write_scenes(tmp_path / "private" / "secret.mp4", ("blue", 2))
    (videos / "inside.mp4").symlink_to(inside)
    (videos / "outside.mp4").symlink_to(outside)
    with serving(index(tmp_path, "videos", 2)) as client:
        assert client.get(f"/api/v1/videos/{video_id(client, 'inside.mp4')}/media").content == inside.read_bytes()
        out = video_id(client, "outside.mp4")
        for place in (f"/api/v1/videos/{out}/media", f"/api/v1/segments/{out}-00000/clip"):
            detail = problem_of(client.get(place), 403)
            assert detail == "this file leads out of the folders that were indexed"


def test_a_file_replaced_by_a_link_out_of_the_folders(tmp_path: Path) -> None:
    library, video = one_video(tmp_path)
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    video.unlink()
    video.symlink_to(secret)
    with serving(library) as client:
        problem_of(client.get(f"/api/v1/videos/{video_id(client, 'one.mp4')}/media"), 403)


def test_a_file_is_checked_without_looking_at_every_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write_scenes(tmp_path / "videos" / "00.mp4", ("red", 1))
    paths = [first, *(first.with_name(f"{number:02}.mp4") for number in range(1, 30))]
    for path in paths[1:]:
        path.write_bytes(first.read_bytes())
    Library.open(tmp_path / "library", encoder=ColourEncoder()).index(paths)
    with serving(tmp_path / "library") as client:
        place = f"/api/v1/videos/{video_id(client, '29.mp4')}/media"
        assert client.get(place).status_code == 200
        real, resolved = os.path.realpath, []
        monkeypatch.setattr(os.path, "realpath", lambda path, **given: (resolved.append(path), real(path, **given))[1])
        assert client.get(place).status_code == 200
        assert 1 <= len(resolved) <= 3


def test_nowhere_for_a_clip_is_told(client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A full or missing folder for temporary files is an answer, and no traceback in the server's log."""
    segment = get(client, "/search", text="red")["items"][0]["moments"][0]["segment_id"]
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    told = problem_of(client.get(f"/api/v1/segments/{segment}/clip"), 503)
    assert told == "the server's machine cannot do this now: no such file or directory"


def test_a_name_cannot_add_headers(client: TestClient) -> None:
    shown = next(video for video in get(client, "/videos")["items"] if "Set-Cookie" in video["name"])
    assert shown["name"] == LINES_NAME
    for place in (shown["media_url"], f"/api/v1/segments/{shown['video_id']}-00000/clip"):
        answer = client.get(place)
        assert answer.status_code == 200
        assert "set-cookie" not in answer.headers
        assert "%0D%0ASet-Cookie%3A%20a%3Db%22%3B" in answer.headers["content-disposition"]


def test_a_name_that_is_no_text_is_served(tmp_path: Path) -> None:
    write_scenes(tmp_path / "videos" / os.fsdecode(b"caf\xe9.mp4"), ("red", 2))
    with serving(index(tmp_path, "videos", 1)) as client:
        told = get(client, "/videos")["items"][0]
        assert told["name"] == "caf\ufffd.mp4"
        assert client.get(told["media_url"]).status_code == 200
        assert client.get(get(client, "/search", text="red")["items"][0]["moments"][0]["clip_url"]).status_code == 200
        assert get(client, "/videos", folder=told["folder"])["num_videos"] == 1
