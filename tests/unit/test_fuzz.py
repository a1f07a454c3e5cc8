"""The campaign of damaged files itself: it knows the parts, gives the same files again, and sees what is a fault."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.fuzz.__main__ import KINDS, LATER, TURNS, Campaign, kind_of, table
from tests.fuzz.boxes import READERS, write_size
from tests.fuzz.damage import damaged
from tests.fuzz.serving import told_of_answer
from tests.fuzz.verdicts import verdicts_of
from tests.unit.test_query_pictures import ramp, written
from tests.videos import write_video


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("a.mp4", "moov trak mdia stbl stsd avc1 avcC stts"),
        ("a.mkv", "1a45dfa3 18538067 1f43b675 a3 ae e0 b0"),
        ("a.ts", "pid 0"),
        ("a.avi", "RIFF LIST avih strh strf idx1"),
        ("a.flv", "tag 9"),
    ],
)
def test_the_parts_of_a_file_are_known_and_their_sizes_are_where_they_stand(
    name: str, known: str, tmp_path: Path
) -> None:
    codec = {"a.flv": "flv", "a.avi": "mpeg4"}.get(name, "libx264")
    data = write_video(tmp_path / name, codec=codec).read_bytes()
    parts = list(READERS[Path(name).suffix](data))
    names = {part.name for part in parts}
    assert names >= (set(known.split()) if " " not in known or name not in ("a.ts", "a.flv") else {known})
    assert max(part.stop for part in parts) == len(data)
    again = bytearray(data)
    for part in parts:
        if name != "a.ts":
            write_size(again, part, part.size)
    if name != "a.mkv":  # where a size may be left open
        assert bytes(again) == data


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts", ".png", ".yaml", ".json", ".h264"])
def test_damage_is_a_function_of_its_seed_and_stands_any_bytes(suffix: str, tmp_path: Path) -> None:
    data = written(Image.fromarray(ramp()), "PNG")
    if suffix in (".yaml", ".json"):
        data = b'{"a": [1, 2],\n"b": "c"}\n'
    elif suffix != ".png":
        data = write_video(tmp_path / f"a{suffix}").read_bytes()
    first = [damaged(data, data[100:], suffix, random.Random(number)) for number in range(200)]
    assert first == [damaged(data, data[100:], suffix, random.Random(number)) for number in range(200)]
    assert sum(content != data for content, _ in first) > 150
    assert len({name for _, name in first}) > 5
    for number in range(100):  # what is left of a file after damage is damaged again
        damaged(first[number][0] or b"x", data, suffix, random.Random(number))


def answer(*ran: dict[str, Any], **more: Any) -> dict[str, Any]:
    told = [{"argv": ["search"], "status": 1, "out": "", "err": ""} | each for each in ran]
    return {"ran": told, "took": 0.1, "mebibytes": 300, "seconds": {}, "deaths": []} | more


@pytest.mark.parametrize(
    ("given", "faults"),
    [
        (answer({"err": "wordframe: a.png: cannot be read\n"}), []),
        (answer({"status": 0}), []),
        (answer({}), ["silence"]),
        (answer({"err": "one\ntwo\n"}), ["many lines"]),
        (answer({"err": "wordframe: a.png: KeyError: 'x'\n"}), ["unclear line"]),
        (answer({"err": "wordframe: 'KeyError.png': cannot be read\n"}), []),
        (answer({"traceback": "Traceback …"}), ["traceback"]),
        (answer({"err": "wordframe: no\n"}, took=61.0), ["hang"]),
        (answer({"err": "wordframe: no\n"}, mebibytes=2100), ["memory"]),
        (answer({"err": f"wordframe: {'x' * 2000}\n"}), ["long line"]),
    ],
)
def test_what_is_a_fault_is_seen(given: dict[str, Any], faults: list[str]) -> None:
    (verdict,) = verdicts_of("image", [Path("a.png")], given)
    assert verdict.faults == faults


def test_a_video_that_nothing_is_said_of_is_a_fault() -> None:
    summary = (
        '{"indexed": ["/a.mp4"], "partly": {}, "noted": {}, "failed": {"/b.mp4": "/b.mp4 is empty", "/c.mp4": '
        '"/c.mp4: IndexError: no"}, "copied": [], "passed_over": {}}'
    )
    files = [Path(f"/{name}.mp4") for name in "abcd"]
    died = [("/b.mp4", "Segmentation fault")]
    found = verdicts_of("video", files, answer({"out": summary, "err": ""}, deaths=died, seconds={"/a.mp4": 99.0}))
    assert [verdict.outcome for verdict in found] == ["indexed", "failed", "failed", "untold"]
    assert [verdict.faults for verdict in found] == [["hang"], [], ["unclear line"], ["silence"]]
    assert found[1].deaths == ["Segmentation fault"]


def test_every_kind_has_its_turn() -> None:
    numbers = [*range(0, 50 * len(TURNS.split()), 50), *range(LATER, LATER + 200, 50)]
    assert {kind_of(number) for number in numbers} == set(KINDS)


def test_a_damaged_request_is_mostly_one_still() -> None:
    whole = b'POST /api/v1/videos/a1/heat?q=a%20dog HTTP/1.1\nHost: HOST\nAccept: */*\n\n{"a": 1}'
    made = [damaged(whole, whole, ".http", random.Random(number))[0] for number in range(200)]
    like_one = re.compile(rb"POST /api/v1/\S* HTTP/1\.1\nHost: HOST\n[^\r\0]*?\n\n", re.DOTALL)
    assert sum(like_one.match(each) is not None for each in made) > 160
    assert sum(each != whole for each in made) > 150
    assert any(b"/videos/a1/" not in each for each in made)


@pytest.mark.parametrize(("status", "faults"), [(200, []), (404, []), (500, ["traceback"]), (None, ["silence"])])
def test_an_answer_is_told_as_a_command_is(status: int | None, faults: list[str]) -> None:
    told = told_of_answer("/clip", status, b'{"detail": "no such clip"}' if status else b"")
    (verdict,) = verdicts_of("served", [Path("a.mp4")], answer(told))
    assert verdict.faults == faults


@pytest.mark.slow
def test_a_campaign_goes_on_where_it_was(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, seed=3)
    campaign.run(list(range(6)))
    assert sorted(campaign.done()) == [0, 1, 2, 3, 4, 5]
    with campaign.journal.open("a") as journal:
        journal.write('{"number": 6, "ki')  # killed amid a line
    again = Campaign(tmp_path, seed=3)
    assert sorted(again.done()) == [0, 1, 2, 3, 4, 5]
    again.run([6, 7])
    assert sorted(again.done()) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert "| video | 8 |" in table(list(again.done().values()))
