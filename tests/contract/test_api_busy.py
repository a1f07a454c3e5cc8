"""Under load and beside an indexer: searches wait or are told to come back, everything else stays quick."""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import httpx
import pytest

from tests.colours import COLOURS, ColourEncoder, write_scenes
from tests.served import index, listening, one_video
from wordframe.client import Client
from wordframe.features import TextFeatures


class SlowEncoder(ColourEncoder):
    """Takes its time over sentences, once ``gate`` is closed; ``at_work`` is released for each that it has begun."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.at_work = threading.Semaphore(0)

    def encode_text(self, sentences: list[str]) -> TextFeatures:  # type: ignore[override]
        self.at_work.release()
        assert self.gate.wait(20)
        return super().encode_text(sentences)


class MeetingEncoder(ColourEncoder):
    """Goes on with a sentence only when two are being encoded at once."""

    def __init__(self) -> None:
        super().__init__()
        self.both = threading.Barrier(2, timeout=20)

    def encode_text(self, sentences: list[str]) -> TextFeatures:  # type: ignore[override]
        self.both.wait()
        return super().encode_text(sentences)


class Watching(httpx.HTTPTransport):
    """Notes that the server has sent a caller away."""

    def __init__(self) -> None:
        super().__init__()
        self.refused = threading.Event()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        if answer.status_code == 503:
            self.refused.set()
        return answer


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return one_video(tmp_path_factory.mktemp("busy"))[0]


def search(url: str) -> httpx.Response:
    return httpx.get(f"{url}/api/v1/search", params={"text": "red"}, timeout=30)


def test_searches_run_side_by_side(library: Path) -> None:
    with listening(library, encoder=MeetingEncoder(), at_once=2) as url, ThreadPoolExecutor(2) as pool:
        found = [each.result() for each in [pool.submit(search, url) for _ in range(2)]]
    assert [each.status_code for each in found] == [200, 200]
    assert found[0].json()["items"] == found[1].json()["items"]


def test_overload_is_told_and_the_rest_stays_quick(library: Path) -> None:
    encoder = SlowEncoder()
    with listening(library, encoder=encoder, at_once=1, waiting=2) as url, ThreadPoolExecutor(12) as pool:
        item = search(url).json()["items"][0]
        encoder.gate.clear()
        asked = [pool.submit(search, url) for _ in range(10)]
        refused = [each.result() for each in itertools.islice(as_completed(asked, timeout=20), 7)]
        assert [each.status_code for each in refused] == [503] * 7
        assert all(each.headers["retry-after"] == "1" for each in refused)
        assert refused[0].json()["detail"] == "too many searches at once; try again in a moment"
        with httpx.Client(base_url=url) as quick:  # one search runs, two wait
            began = time.perf_counter()
            for path in ("/api/v1/health", "/api/v1/library", "/api/v1/videos", "/", item["video"]["media_url"],
                         item["moments"][0]["thumbnail_url"], item["moments"][0]["clip_url"]):  # fmt: skip
                assert quick.get(path).status_code == 200, path
            assert time.perf_counter() - began < 5
        encoder.gate.set()
        assert [each.result().status_code for each in asked if each.result() not in refused] == [200] * 3
        assert search(url).status_code == 200  # all places were given back


def test_a_patient_client_gets_its_answer_after_all(library: Path) -> None:
    encoder, transport = SlowEncoder(), Watching()
    with (
        listening(library, encoder=encoder, at_once=1, waiting=0) as url,
        ThreadPoolExecutor(2) as pool,
        Client(url, transport=transport) as client,
    ):
        encoder.gate.clear()
        first = pool.submit(search, url)
        assert encoder.at_work.acquire(timeout=20)
        second = pool.submit(client.search, "red")
        assert transport.refused.wait(20)
        assert not second.done()
        encoder.gate.set()
        assert first.result().status_code == 200
        assert second.result().items[0].video.name == "one.mp4"


def test_searches_whose_callers_left_give_their_places_back(library: Path) -> None:
    encoder = SlowEncoder()
    with listening(library, encoder=encoder, at_once=1, waiting=1) as url, Client(url) as client:
        encoder.gate.clear()
        for _ in range(2):
            with pytest.raises(httpx.ReadTimeout):
                httpx.get(f"{url}/api/v1/search", params={"text": "red"}, timeout=0.3)
        assert search(url).status_code == 503
        encoder.gate.set()
        assert client.search("red").num_videos == 1  # asks again until a place is free


def test_answers_are_whole_while_an_indexer_writes(tmp_path: Path) -> None:
    colours = list(COLOURS)
    for number in range(24):
        write_scenes(tmp_path / "videos" / f"{number:02d}.mp4", (colours[number % 8], 0.5 + number / 10))
    one_video(tmp_path / "first")
    (tmp_path / "first" / "library").rename(tmp_path / "library")
    with listening(tmp_path / "library") as url, Client(url) as client:
        writer = threading.Thread(target=index, args=(tmp_path, "videos", 24))
        writer.start()
        seen = []
        while writer.is_alive():
            found = client.search("red", limit=100)
            seen.append(found.num_videos)
            assert [item.rank for item in found.items] == list(range(1, len(found.items) + 1))
            for item in found.items[:3]:
                assert client.video(item.video_id).segments
                assert client.thumbnail(item.moments[0].segment_id)
        writer.join()
        assert seen
        assert seen == sorted(seen)
        assert client.library().num_videos == 25
        assert client.index_status().state == "finished"
