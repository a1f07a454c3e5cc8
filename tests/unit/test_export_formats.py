"""Moments of films in many formats: each picture of the moment, the sound beside it, and true times in the report."""

from __future__ import annotations

import functools
from fractions import Fraction
from pathlib import Path

import pytest

from tests.films import Film, Seen, watch, write_film
from wordframe.video import ExportReport, export_moment

FILMS = {
    "h264.mp4": Film(),
    "h264.mov": Film(),
    "h264_ntsc.mp4": Film(rate=Fraction(30000, 1001)),
    "h264_opus.mkv": Film(sound="libopus"),
    "h264.ts": Film(),
    "h264.m2ts": Film(container="mpegts"),
    "h264.mts": Film(container="mpegts"),
    "h264.flv": Film(options=(("bf", "0"),)),
    "open_groups.mkv": Film(options=(("x264-params", "open-gop=1:bframes=3:scenecut=0"),)),
    "hevc.mp4": Film(pictures="libx265", options=(("x265-params", "log-level=none"), ("preset", "ultrafast"))),
    "vp9.webm": Film(pictures="libvpx-vp9", sound="libopus", options=(("cpu-used", "8"), ("deadline", "realtime"))),
    "vp8.ogv": Film(pictures="libvpx", sound="libopus", options=(("cpu-used", "8"), ("deadline", "realtime"))),
    "av1.webm": Film(pictures="libsvtav1", sound="libopus", options=(("preset", "10"),)),
    "mpeg4.avi": Film(pictures="mpeg4", sound="libmp3lame"),
    "mpeg2.mpg": Film(pictures="mpeg2video", sound="mp2", container="vob", options=(("b", "2000000"), ("bf", "2"))),
    "wmv2.wmv": Film(pictures="wmv2", sound="wmav2", container="asf", options=(("b", "2000000"),)),
    "long.mp4": Film(rate=Fraction(5), keyframe_interval=5, seconds=50),
    "long_opus.mkv": Film(rate=Fraction(5), keyframe_interval=5, seconds=50, sound="libopus"),
    "long.ts": Film(rate=Fraction(5), keyframe_interval=5, seconds=50),
    "raw.y4m": Film(pictures="rawvideo", sound=None, container="yuv4mpegpipe"),
}


COPIED_ALIKE = {"h264.mov", "h264_ntsc.mp4", "h264.mts", "long_opus.mkv", "long.ts"}
"""Of each of these another film shows nearly the same."""
ENCODED_FIRST = {"h264.mp4", "open_groups.mkv", "vp9.webm", "mpeg2.mpg", "raw.y4m"}


def each_film(slow: set[str]) -> pytest.MarkDecorator:
    names = [pytest.param(name, marks=pytest.mark.slow if name in slow else []) for name in FILMS]
    return pytest.mark.parametrize("name", names)


def check(source: Path, film: Film, report: ExportReport, start_seconds: float, end_seconds: float) -> None:
    """Nothing is missing, nothing comes twice, and everything is where the report says; times are the source's own."""
    step = float(1 / film.rate)
    whole, seen = watched(source), watch(report.target)
    shown_at = {number: at for at, number in whole.pictures}
    assert list(shown_at) == list(range(round(film.seconds * film.rate)))
    numbers = [number for _, number in seen.pictures]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert shown_at[numbers[0]] <= max(start_seconds, shown_at[0]) + 1e-3
    assert shown_at[numbers[0]] > report.start_seconds - step
    assert end_seconds - step - 1e-3 <= shown_at[numbers[-1]] < report.end_seconds
    for at, number in seen.pictures[1:]:
        assert report.start_seconds + at == pytest.approx(shown_at[number], abs=2e-3)
    assert seen.pictures[0][0] == pytest.approx(0, abs=0.03)
    assert seen.pictures[-1][0] + step == pytest.approx(report.end_seconds - report.start_seconds, abs=step)
    assert report.has_sound == (film.sound is not None) == (seen.sound_span is not None)
    if seen.sound_span is not None:
        packet_seconds = 0.26 if film.sound == "wmav2" else 0.06  # a packet is copied whole or not at all
        assert seen.sound_span[0] == pytest.approx(0, abs=packet_seconds)
        assert report.start_seconds + seen.sound_span[1] == pytest.approx(end_seconds, abs=packet_seconds)
        beeps = [report.start_seconds + at for at in seen.beeps if at > 0.1]
        expected = [at for at in whole.beeps if report.start_seconds + 0.1 < at < end_seconds - 0.01]
        assert beeps == pytest.approx(expected, abs=0.02)
        assert len(beeps) >= 1


@functools.cache
def watched(source: Path) -> Seen:
    return watch(source)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("films")


def film_of(folder: Path, name: str) -> Path:
    source = folder / name
    return source if source.exists() else write_film(source, FILMS[name])


@each_film(slow=COPIED_ALIKE)
def test_a_moment_is_copied_with_its_sound(folder: Path, name: str) -> None:
    source, film = film_of(folder, name), FILMS[name]
    for span in ((0.0, 1.5), (film.seconds - 2.5, film.seconds - 1.3)):
        report = export_moment(source, folder / f"{span[0]}_{name}", *span)
        assert (report.is_copy, report.notes) == (True, ())
        assert report.start_seconds > span[0] - 1.3
        check(source, film, report, *span)


@each_film(slow=set(FILMS) - ENCODED_FIRST)
def test_a_moment_is_encoded_with_its_sound(folder: Path, name: str) -> None:
    source, film = film_of(folder, name), FILMS[name]
    span = (film.seconds - 2.5, film.seconds - 1.3)
    report = export_moment(source, folder / f"{name}.anew.mp4", *span, copy=False)
    assert (report.is_copy, report.start_seconds, report.end_seconds) == (False, *span)
    check(source, film, report, *span)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".ts", ".flv", ".avi"])
def test_what_is_encoded_goes_into_any_usual_container(folder: Path, suffix: str) -> None:
    source = film_of(folder, "h264_opus.mkv")
    report = export_moment(source, folder / f"anew{suffix}", 0.0, 1.5, copy=False)
    assert (report.is_copy, report.end_seconds) == (False, 1.5)
    check(source, FILMS["h264_opus.mkv"], report, 0.0, 1.5)


def test_sound_alone_is_encoded_where_only_the_pictures_fit(folder: Path) -> None:
    source = film_of(folder, "h264_opus.mkv")
    report = export_moment(source, folder / "opus.mov", 2.5, 3.7)
    assert (report.is_copy, report.notes) == (True, ("sound encoded anew from opus as AAC",))
    check(source, FILMS["h264_opus.mkv"], report, 2.5, 3.7)
