"""Moments of files whose times start anew inside: sound and pictures stay together, on the one clock of all parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest

from tests.films import watch
from tests.joined_films import RATE, Codecs, Part, write_joined
from tests.videos import plain_frames
from wordframe.video import ExportReport, export_moment
from wordframe.video._clock import Join
from wordframe.video._reader import Reader

PARTS = [Part(80, (0.8, 2.8)), Part(65, (0.36, 1.2, 2.24)), Part(110, (0.48, 1.6, 3.4))]
"""3.2 s, 2.6 s and 4.4 s; no beep of one lies where another has one."""
AHEAD = [
    Part(80, (0.8, 2.8)),
    Part(65, (0.36, 1.2, 2.24), start_seconds=500.0),
    Part(60, (0.48, 1.6), start_seconds=20),
]
MPEG = Codecs("mpeg2video", "mp2", options=(("b", "2000000"), ("bf", "2")), container="vob")
FRAGMENTS = (("movflags", "frag_keyframe+empty_moov+default_base_moof"),)
LIVE = (("live", "1"),)
KINDS: dict[str, tuple[list[Part], Codecs]] = {
    "back.ts": (PARTS, Codecs(options=(("bf", "2"),))),
    "two.ts": (PARTS[:2], Codecs()),
    "ahead.ts": (AHEAD, Codecs(options=(("bf", "0"),))),
    "mpeg2.ts": (PARTS, Codecs("mpeg2video", "mp2", options=(("b", "2000000"), ("bf", "2")))),
    "back.mpg": (PARTS, MPEG),
    "ahead.vob": (AHEAD, MPEG),
    "back.flv": (PARTS, Codecs()),
    "mp3.flv": (PARTS, Codecs("flv", "libmp3lame")),
    "fragments.mp4": (PARTS, Codecs(options=(("bf", "2"),), container_options=FRAGMENTS)),
    "live.mkv": (PARTS, Codecs(container_options=LIVE)),
    "live.webm": (
        PARTS,
        Codecs("libvpx", "libopus", options=(("cpu-used", "8"), ("deadline", "realtime")), container_options=LIVE),
    ),
}


def check(source: Path, parts: list[Part], report: ExportReport, start_seconds: float, end_seconds: float) -> None:
    """Each picture of the moment is there, and each beep at the picture at which it was."""
    assert (report.is_copy, report.has_sound) == (False, True)
    assert (report.start_seconds, report.end_seconds) == pytest.approx((start_seconds, end_seconds))
    late = float(plain_frames(source)[0][0])  # sound may start before the first picture
    seen = watch(report.target)
    numbers = [number for _, number in seen.pictures]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    for at, number in seen.pictures[1:]:
        assert start_seconds + at == pytest.approx(late + number / RATE, abs=0.002)
    starts = accumulate((part.num_frames for part in parts), initial=0)
    flashes = [start / RATE + beep for start, part in zip(starts, parts, strict=False) for beep in part.beeps]
    inside = [late + at for at in flashes if start_seconds + 0.05 < late + at < end_seconds - 0.05]
    assert len(inside) >= 1
    assert [start_seconds + at for at in seen.beeps if at > 0.04] == pytest.approx(inside, abs=0.05)
    assert seen.sound_span == pytest.approx((0, end_seconds - start_seconds), abs=0.06)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("joined")


def file_of(folder: Path, name: str) -> Path:
    source = folder / name
    return source if source.exists() else write_joined(source, *KINDS[name])


@pytest.mark.parametrize("name", KINDS)
def test_sound_stays_with_its_picture(folder: Path, name: str) -> None:
    """Around the first join, inside the second part, and from there over the second join."""
    source, (parts, _) = file_of(folder, name), KINDS[name]
    for start, end in [(2.5, 4.0), (3.5, 4.7), (5.0, 7.0)][: len(parts)]:
        report = export_moment(source, folder / f"{name}.{start}.mp4", start, end)
        check(source, parts, report, start, end)
        told = "its times start anew inside the file"
        assert report.notes[0].endswith(told)
        assert report.notes[1].startswith("sound encoded anew from")


@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
@pytest.mark.parametrize("name", ["back.ts", "back.mpg", "back.flv"])
def test_sound_goes_into_any_container(folder: Path, name: str, suffix: str) -> None:
    report = export_moment(file_of(folder, name), folder / f"{name}{suffix}", 2.5, 4.8)
    check(folder / name, PARTS, report, 2.5, 4.8)


@pytest.mark.parametrize("name", ["long.ts", "long.mpg"])
def test_sound_that_is_longer_or_shorter_than_its_pictures_moves_no_other(tmp_path: Path, name: str) -> None:
    parts = [
        Part(80, (0.8, 2.8), sound_seconds=(0.0, 3.8)),
        Part(65, (0.36, 1.2), sound_seconds=(0.2, 1.6)),
        Part(60, (0.48, 1.6)),
    ]
    source = write_joined(tmp_path / name, parts, KINDS["back.mpg"][1] if name == "long.mpg" else KINDS["back.ts"][1])
    report = export_moment(source, tmp_path / "x.mp4", 2.4, 8.0)
    check(source, parts, report, 2.4, 8.0)


def test_a_part_without_sound_is_silent(tmp_path: Path) -> None:
    parts = [PARTS[0], Part(65, (), sound_seconds=(0.0, 0.0)), PARTS[2]]
    source = write_joined(tmp_path / "source.ts", parts, Codecs())
    report = export_moment(source, tmp_path / "x.mp4", 2.5, 8.0)
    check(source, parts, report, 2.5, 8.0)
    assert report.notes[2:] == ("silent for 2.6 s: no sound to be read there",)


@pytest.mark.parametrize(("first", "second"), [("aac", "mp2"), ("mp2", "aac")])
def test_sound_of_another_codec_behind_a_join_is_told(tmp_path: Path, first: str, second: str) -> None:
    whole = b"".join(
        write_joined(tmp_path / f"{codec}.ts", [Part(80, (0.8, 2.8))], Codecs(sound=codec)).read_bytes()
        for codec in (first, second)
    )
    source = tmp_path / "source.ts"
    source.write_bytes(whole)
    report = export_moment(source, tmp_path / "x.mp4", 2.0, 6.0)
    assert [round(at, 1) for at in watch(report.target).beeps] == [0.8]
    assert report.notes[2:] == ("silent for 2.8 s: no sound to be read there",)
    report = export_moment(source, tmp_path / "y.mp4", 3.6, 6.0)
    assert not report.has_sound
    assert report.notes[1:] == (f"of its sound ({first}) nothing can be read there",)


def test_parts_may_differ_in_their_sound(tmp_path: Path) -> None:
    """Another rate behind the join, so that what decodes it is set up anew."""
    slow = replace(MPEG, sound_rate=32_000)
    whole = b"".join(
        write_joined(tmp_path / f"{number}.mpg", [Part(80, (0.8, 2.8))], codecs).read_bytes()
        for number, codecs in enumerate((MPEG, slow, MPEG))
    )
    source = tmp_path / "source.mpg"
    source.write_bytes(whole)
    seen = watch(export_moment(source, tmp_path / "x.mp4", 2.0, 9.0).target)
    assert [round(at, 1) for at in seen.beeps] == [0.8, 2.0, 4.0, 5.2]


def test_sound_may_lie_far_behind_its_pictures_in_the_file(tmp_path: Path) -> None:
    """As in broadcasts: by 0.7 s, so that a part's first sound comes long after its first picture."""
    data, first = b"", 0
    for part in PARTS:
        whole = write_joined(tmp_path / "part.ts", [part], Codecs(), first_number=first).read_bytes()
        first += part.num_frames
        data += _sound_later(whole, 45)
    source = tmp_path / "source.ts"
    source.write_bytes(data)
    check(source, PARTS, export_moment(source, tmp_path / "x.mp4", 2.5, 8.0), 2.5, 8.0)


def _sound_later(stream: bytes, num_packets: int) -> bytes:
    """A transport stream with each packet of its sound so many of them later."""
    others: list[bytes] = []
    waiting: list[bytes] = []
    for at in range(0, len(stream), 188):
        packet = stream[at : at + 188]
        if int.from_bytes(packet[1:3]) & 0x1FFF != 0x101:
            others.append(packet)
            continue
        waiting.append(packet)
        if len(waiting) > num_packets:
            others.append(waiting.pop(0))
    return b"".join(others + waiting)


def test_many_joins_add_up_to_no_delay(tmp_path: Path) -> None:
    parts = [Part(33, (0.4,))] * 25
    source = write_joined(tmp_path / "source.ts", parts, Codecs())
    check(source, parts, export_moment(source, tmp_path / "x.mp4", 28.0, 33.0), 28.0, 33.0)


def test_one_wrong_time_of_a_picture_moves_no_sound(tmp_path: Path) -> None:
    source = write_joined(tmp_path / "source.flv", PARTS[:1], Codecs(options=(("bf", "0"),)))
    data = bytearray(source.read_bytes())
    tags = list(_picture_tags(data))
    at = tags[len(tags) // 2]
    data[at + 4 : at + 8] = (4_000_000 & 0xFFFFFF).to_bytes(3) + bytes([4_000_000 >> 24])
    source.write_bytes(data)
    assert len(_joins_of(source)) == 2
    report = export_moment(source, tmp_path / "x.mp4", 0.4, 3.0)
    assert [report.start_seconds + at for at in watch(report.target).beeps] == pytest.approx([0.8, 2.8], abs=0.05)


def _picture_tags(data: bytearray) -> Iterator[int]:
    """Where the tags of pictures begin in an FLV."""
    at = 13
    while at < len(data):
        if data[at] == 9:
            yield at
        at += 11 + int.from_bytes(data[at + 1 : at + 4]) + 4


def _joins_of(source: Path) -> list[Join]:
    reader = Reader(source, threads=1)
    reader.container.close()
    return reader.joins


def test_a_joined_file_is_read_for_its_times_once(folder: Path) -> None:
    source = file_of(folder, "two.ts")
    _joins_of(source)
    before = Reader.packets_ever_read
    assert len(_joins_of(source)) == 1
    assert Reader.packets_ever_read == before
