"""What made exports lose sound, pictures or their true times: one test for each kind."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.films import Film, watch, write_film
from tests.videos import plain_frames, write_video
from wordframe.errors import WordframeError
from wordframe.video import export_moment, probe


def numbers(path: Path) -> list[int]:
    return [number for _, number in watch(path).pictures]


@pytest.mark.parametrize("rate", [24, 25, 30, 60])
def test_each_picture_is_encoded_once_at_round_rates(tmp_path: Path, rate: int) -> None:
    film = Film(rate=Fraction(rate), sound=None, seconds=2.5)
    source = write_film(tmp_path / "source.mp4", film)
    for start, stop in ((0, rate), (rate // 20, 2 * rate + 7), (rate + 1, rate + 2)):
        report = export_moment(source, tmp_path / "x.mp4", start / rate, stop / rate, copy=False, overwrite=True)
        assert numbers(report.target) == list(range(start, stop))


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(30), Fraction(30000, 1001), Fraction(60)])
@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_each_picture_of_a_raw_stream_is_encoded_once(tmp_path: Path, codec: str, rate: Fraction) -> None:
    """The library takes raw streams to have 25 pictures a second, whatever their own header says."""
    source = tmp_path / f"source.{'h264' if codec == 'libx264' else 'm2v'}"
    write_film(source, Film(pictures=codec, rate=rate, sound=None, seconds=2.5, options=(("bf", "2"),)))
    assert probe(source).frame_rate == pytest.approx(float(rate))
    report = export_moment(source, tmp_path / "x.mp4", 10.4 / float(rate), 40 / float(rate))
    assert numbers(report.target) == list(range(10, 40))


@pytest.mark.parametrize("start", [1.5, 1.51, 1.53])
def test_each_picture_is_encoded_where_only_numbers_are_stored_and_the_start_is_between_two(
    tmp_path: Path, start: float
) -> None:
    source = write_film(tmp_path / "source.mp4", Film())
    report = export_moment(source, tmp_path / "x.avi", start, 3.72, copy=False)
    seen = watch(report.target)
    assert [number for _, number in seen.pictures] == list(range(int(start * 25), 93))
    assert [start + at for at in seen.beeps] == pytest.approx([2, 3], abs=0.03)
    shown = {number: start + at for at, number in seen.pictures}
    assert [shown[number] for number in (50, 75)] == pytest.approx([2, 3], abs=0.041)


def test_a_start_that_was_rounded_shows_nothing_of_the_picture_before(tmp_path: Path) -> None:
    plain = (("bf", "0"),)
    source = write_film(tmp_path / "source.mp4", Film(rate=Fraction(30), sound=None, seconds=3, options=plain))
    for copy in (True, False):
        report = export_moment(source, tmp_path / f"{copy}.mp4", round(25 / 30, 3), round(52 / 30, 3), copy=copy)
        assert numbers(report.target)[-1] == 51
        assert numbers(report.target)[0] == round(report.start_seconds * 30)


def test_a_variable_rate_stays_one(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.15, 0.9, 1.0, 1.7, 1.75, 2.5]
    source = write_video(tmp_path / "source.mp4", seconds=times, codec_options={"bf": "0"})
    report = export_moment(source, tmp_path / "x.mp4", 0.5, 2.0, copy=False)
    assert [float(at) for at, _ in plain_frames(report.target)] == pytest.approx([0, 0.4, 0.5, 1.2, 1.25], abs=1e-3)
    assert probe(report.target).duration_seconds == pytest.approx(1.5, abs=1e-3)


def test_pictures_that_come_in_by_and_by_are_no_keyframes(tmp_path: Path) -> None:
    """A rolling refresh marks places from which all is whole some pictures later."""
    rolling = Film(sound=None, options=(("x264-params", "intra-refresh=1:bframes=0:keyint=40:scenecut=0"),))
    source = write_film(tmp_path / "source.mkv", rolling)
    report = export_moment(source, tmp_path / "x.mkv", 3.0, 4.0)
    assert numbers(report.target) == list(range(75, 100))
    assert report.notes == ("pictures encoded anew from h264 as H.264: its keyframes are no whole pictures",)


def test_a_copy_does_not_start_long_before_its_moment(tmp_path: Path) -> None:
    one_key = Film(sound=None, rate=Fraction(5), seconds=60, options=(("x264-params", "keyint=1000:scenecut=0"),))
    source = write_film(tmp_path / "source.mkv", one_key)
    assert export_moment(source, tmp_path / "near.mkv", 29.0, 30.0).is_copy
    report = export_moment(source, tmp_path / "far.mkv", 50.0, 51.0)
    assert (report.is_copy, numbers(report.target)) == (False, list(range(250, 255)))
    assert report.notes[0].endswith("its keyframes lie more than 30 s apart there")


def test_pictures_that_lean_on_what_is_left_out_are_left_out(tmp_path: Path) -> None:
    """An open group: after its keyframe come pictures that are shown before it."""
    options = (("x264-params", "open-gop=1:bframes=3:b-adapt=0:scenecut=0"),)
    source = write_film(tmp_path / "source.mkv", Film(sound=None, options=options))
    for second in (0.5, 1.5, 2.5):
        report = export_moment(source, tmp_path / "x.mkv", second, second + 1, overwrite=True)
        assert report.is_copy
        seen = numbers(report.target)
        assert seen == list(range(seen[0], seen[0] + len(seen)))
        assert seen[0] == round(report.start_seconds * 25)


def test_pictures_that_an_edit_list_hides_stay_hidden(tmp_path: Path) -> None:
    source = write_video(
        tmp_path / "source.mp4", num_frames=40, start_seconds=-0.5, codec_options={"bf": "0"}, keyframe_interval=20
    )
    whole = plain_frames(source)
    report = export_moment(source, tmp_path / "x.mp4", 0.0, 1.0)
    assert report.notes[0].endswith("the keyframe before it is hidden by an edit list")
    shown = plain_frames(report.target)
    assert len(shown) == 10
    assert np.abs(shown[0][1].astype(int) - whole[0][1]).mean() < 10
    assert export_moment(source, tmp_path / "y.mp4", 2.0, 3.0).start_seconds == pytest.approx(1.5, abs=0.11)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_shape_that_only_the_container_knows_is_kept(tmp_path: Path, suffix: str) -> None:
    source = write_video(
        tmp_path / "source.mp4",
        num_frames=30,
        codec="libvpx-vp9",
        codec_options={"cpu-used": "8"},
        pixel_aspect=Fraction(4, 3),
    )
    report = export_moment(source, tmp_path / f"x{suffix}", 0.0, 2.0)
    wide = probe(report.target)
    assert wide.width / wide.height == pytest.approx(128 * 4 / 3 / 72, abs=0.02)
    assert report.is_copy == (suffix == ".mp4")


def test_only_named_codecs_are_copied(tmp_path: Path) -> None:
    source = write_film(tmp_path / "source.mkv", Film(pictures="mpeg4", sound="libmp3lame", seconds=3))
    report = export_moment(source, tmp_path / "x.mp4", 0.5, 2.0, copy=("h264", "aac"))
    assert report.notes == ("pictures encoded anew from mpeg4 as H.264", "sound encoded anew from mp3 as AAC")
    assert report.has_sound
    assert export_moment(source, tmp_path / "y.mp4", 0.5, 2.0, copy=("mpeg4", "mp3")).notes == ()


def test_hevc_is_marked_as_apple_wants_it(tmp_path: Path) -> None:
    options = (("x265-params", "log-level=none"), ("preset", "ultrafast"))
    source = write_film(tmp_path / "source.mkv", Film(pictures="libx265", options=options, seconds=2))
    report = export_moment(source, tmp_path / "x.mp4", 0.0, 1.0)
    with av.open(str(report.target)) as container:
        assert (report.is_copy, container.streams.video[0].codec_context.codec_tag) == (True, "hvc1")


class TestAnotherContainer:
    def test_is_chosen_where_the_sources_holds_no_times(self, tmp_path: Path) -> None:
        source = write_film(tmp_path / "source.m2v", Film(pictures="mpeg2video", sound=None, container="mpeg2video"))
        report = export_moment(source, tmp_path / "x.m2v", 1.0, 2.0, other_container=True)
        assert report.target == tmp_path / "x.mp4"
        assert report.notes[0] == "an .mp4 since a .m2v file cannot hold it"
        assert len(set(numbers(report.target))) == 25
        assert sorted(path.name for path in tmp_path.iterdir()) == ["source.m2v", "x.mp4"]

    def test_is_not_chosen_where_one_was_named(self, tmp_path: Path) -> None:
        source = write_film(tmp_path / "source.m2v", Film(pictures="mpeg2video", sound=None, container="mpeg2video"))
        with pytest.raises(WordframeError, match=r"'.m2v' names no video container"):
            export_moment(source, tmp_path / "x.m2v", 1.0, 2.0)

    def test_overwrites_nothing(self, tmp_path: Path) -> None:
        source = write_film(tmp_path / "source.m2v", Film(pictures="mpeg2video", sound=None, container="mpeg2video"))
        (tmp_path / "x.mp4").write_bytes(b"mine")
        with pytest.raises(WordframeError, match=r"x\.mp4 exists already"):
            export_moment(source, tmp_path / "x.m2v", 1.0, 2.0, other_container=True)


def test_sound_that_begins_late_or_has_a_gap_stays_with_its_picture(tmp_path: Path) -> None:
    source, gapped = write_film(tmp_path / "source.mkv", Film(sound="libopus")), tmp_path / "gapped.mkv"
    with av.open(str(source)) as whole, av.open(str(gapped), "w") as output:
        copies = [output.add_stream_from_template(stream, opaque=True) for stream in whole.streams]
        for packet in whole.demux():
            seconds = 0 if packet.pts is None else packet.pts * packet.time_base
            is_sound = packet.stream_index == 1
            if packet.size and not (is_sound and (seconds < 1.5 or 2.5 < seconds < 3.5)):
                packet.stream = copies[packet.stream_index]
                output.mux(packet)
    report = export_moment(gapped, tmp_path / "x.mp4", 1.0, 4.4, copy=False)
    assert [round(at, 1) for at in watch(report.target).beeps] == [1, 3]


class TestSharedFiles:
    """The right values of the files that showed these faults."""

    def test_a_transport_stream_keeps_its_sound(self, shared: Path, tmp_path: Path) -> None:
        source = shared / "hard_files" / "export_loses_sound_mpegts.mts"
        report = export_moment(source, tmp_path / "x.mts", 3.0, 6.0, other_container=True)
        assert (report.is_copy, report.has_sound) == (True, True)
        assert report.start_seconds == pytest.approx(1.623, abs=1e-3)  # its last keyframe before 3.0
        assert numbers(report.target)[0] == 16

    def test_a_moment_from_zero_is_copied(self, shared: Path, tmp_path: Path) -> None:
        source = shared / "hard_files" / "export_from_zero_loses_sound_opus.mkv"
        report = export_moment(source, tmp_path / "x.mkv", 0.0, 3.0)
        assert (report.is_copy, report.has_sound, report.start_seconds) == (True, True, 0.007)
        assert numbers(report.target) == list(range(30))

    def test_av1_is_copied(self, shared: Path, tmp_path: Path) -> None:
        report = export_moment(shared / "hard_files" / "export_av1_never_copied.webm", tmp_path / "x.webm", 2.0, 4.0)
        assert (report.is_copy, report.has_sound, report.notes) == (True, True, ())
        with av.open(str(report.target)) as container:
            assert container.streams.video[0].codec_context.codec.canonical_name == "av1"
            assert container.streams.audio[0].codec_context.name == "opus"

    @pytest.mark.parametrize("suffix", [".mp4", ".ts"])
    def test_each_picture_at_60_a_second_comes_once(self, shared: Path, tmp_path: Path, suffix: str) -> None:
        source = shared / "hard_files" / "export_reencoded_60fps_repeats_frames.ts"
        report = export_moment(source, tmp_path / f"x{suffix}", 2.05, 4.55, copy=False)
        assert numbers(report.target) == list(range(123, 273))

    def test_a_rolling_refresh_loses_no_picture(self, shared: Path, tmp_path: Path) -> None:
        source = shared / "hard_files" / "export_intra_refresh_loses_start.mkv"
        assert numbers(export_moment(source, tmp_path / "x.mkv", 101.0, 103.4).target) == list(range(1010, 1034))

    def test_a_shape_in_the_container_alone_is_kept(self, shared: Path, tmp_path: Path) -> None:
        report = export_moment(shared / "hard_files" / "sar_container.mp4", tmp_path / "x.mp4", 1.0, 2.0)
        assert report.is_copy
        assert (probe(report.target).width, probe(report.target).height) == (213, 120)


@pytest.mark.parametrize("suffix", [".mkv", ".ogv"])
def test_theora_is_copied_with_its_vorbis(tmp_path: Path, suffix: str) -> None:
    """``tests/theora.ogv``, since PyAV has no encoder of Theora. Made of ``write_film(film.mkv, Film(pictures="ffv1",
    sound="flac", rate=10, seconds=3))`` by Debian's ``ffmpeg -i film.mkv -vf scale=96:48:flags=area -c:v libtheora
    -q:v 2 -g 10 -c:a libvorbis -q:a -1 -bitexact -map_metadata -1 theora.ogv``."""
    source = Path(__file__).parents[1] / "theora.ogv"
    whole = plain_frames(source)
    for start, end, first, last in ((0.0, 1.5, 0, 14), (1.5, 2.7, 10, 26)):
        report = export_moment(source, tmp_path / f"{start}{suffix}", start, end)
        assert (report.is_copy, report.has_sound, report.notes) == (True, True, ())
        assert report.start_seconds == pytest.approx(first / 10)
        assert numbers(report.target) == list(range(first, last + 1))
        for (at, copied), (seconds, original) in zip(plain_frames(report.target), whole[first:], strict=False):
            assert report.start_seconds + float(at) == pytest.approx(float(seconds), abs=2e-3)
            np.testing.assert_array_equal(copied, original)
        beeps = [report.start_seconds + at for at in watch(report.target).beeps if at > 0.1]
        assert beeps == pytest.approx([1.0] if start == 0 else [2.0], abs=0.02)


def test_theora_is_encoded_for_containers_that_do_not_take_it(tmp_path: Path) -> None:
    report = export_moment(Path(__file__).parents[1] / "theora.ogv", tmp_path / "x.mp4", 0.5, 2.5)
    told = ("pictures encoded anew from theora as H.264", "sound encoded anew from vorbis as AAC")
    assert (report.is_copy, report.notes) == (False, told)
    seen = watch(report.target)
    assert [number for _, number in seen.pictures] == list(range(5, 25))
    assert seen.beeps == pytest.approx([0.5, 1.5], abs=0.03)


def test_sound_that_an_avi_would_play_at_wrong_times_is_encoded(tmp_path: Path) -> None:
    report = export_moment(Path(__file__).parents[1] / "theora.ogv", tmp_path / "x.avi", 1.0, 2.5)
    assert report.notes == ("sound encoded anew from vorbis as MP3",)
    seen = watch(report.target)
    assert seen.sound_span == pytest.approx((0, 1.5), abs=0.06)
    assert [at for at in seen.beeps if at > 0.1] == pytest.approx([1.0], abs=0.03)
