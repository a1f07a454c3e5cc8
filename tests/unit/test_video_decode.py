"""Decoding: the stated frame at the stated time, from every kind of file, and a clear line for what is no video."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.videos import picture, plain_frames, shown_at, write_video
from wordframe.errors import VideoError
from wordframe.video import Frame, VideoInfo, open_frames, probe

DENSE = [number / 8 for number in range(400)]

FORMATS: dict[str, dict[str, object]] = {
    "h264.mp4": {},
    "h264_no_b.mp4": {"codec_options": {"bf": "0"}},
    "h264_pyramid.mp4": {"codec_options": {"bf": "8", "b-pyramid": "normal", "refs": "5"}, "num_frames": 60},
    "h264_open_gop.mp4": {
        "keyframe_interval": 7,
        "codec_options": {"x264-params": "open-gop=1:bframes=3:b-adapt=0:scenecut=0"},
        "num_frames": 60,
    },
    "h264_refresh.mp4": {"keyframe_interval": 8, "codec_options": {"intra-refresh": "1"}, "num_frames": 40},
    "h264_refresh.ts": {"keyframe_interval": 8, "codec_options": {"intra-refresh": "1"}, "num_frames": 40},
    "h264_intra.mov": {"keyframe_interval": 1},
    "h264_interlaced.mp4": {"codec_options": {"x264-params": "interlaced=1:bframes=3"}, "height": 96},
    "h264_10bit.mkv": {"pixel_format": "yuv420p10le"},
    "h264_444.mp4": {"pixel_format": "yuv444p"},
    "h264_odd.mkv": {"width": 129, "height": 71, "pixel_format": "yuv444p"},
    "h264.avi": {"codec_options": {"bf": "2"}},
    "h264.ts": {"audio_seconds": 3.0},
    "h264.mkv": {"audio_seconds": 3.0},
    "h264_fragmented.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "h265.mp4": {"codec": "libx265", "codec_options": {"x265-params": "log-level=none"}, "num_frames": 40},
    "h265_10bit.mkv": {
        "codec": "libx265",
        "pixel_format": "yuv420p10le",
        "codec_options": {"x265-params": "log-level=none:keyint=9:bframes=4:open-gop=1"},
    },
    "vp9.webm": {"codec": "libvpx-vp9", "codec_options": {"cpu-used": "8", "deadline": "realtime"}},
    "av1.mkv": {"codec": "libsvtav1", "codec_options": {"preset": "12"}},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mpeg4_b.mp4": {"codec": "mpeg4", "codec_options": {"bf": "2"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "rate": 25.0, "codec_options": {"bf": "2"}},
    "mpeg2.ts": {"codec": "mpeg2video", "rate": 25.0, "codec_options": {"bf": "2"}, "keyframe_interval": 6},
    "mjpeg.avi": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
    "mjpeg.mov": {"codec": "mjpeg", "pixel_format": "yuvj422p"},
    "prores.mov": {"codec": "prores_ks", "pixel_format": "yuv422p10le"},
    "ffv1.mkv": {"codec": "ffv1", "pixel_format": "yuv420p", "width": 65, "height": 33},
    "gray.mkv": {"codec": "ffv1", "pixel_format": "gray"},
    "rgb.avi": {"codec": "rawvideo", "pixel_format": "bgr24"},
    "raw.h264": {"container": "h264"},
    "animated.gif": {"codec": "gif", "pixel_format": "rgb8"},
    "tiny.mkv": {"codec": "ffv1", "width": 2, "height": 2},
    "one_frame.mp4": {"num_frames": 1},
    "flv.flv": {"codec": "flv1"},
    "late_start.mkv": {"start_seconds": 7.25},
    "late_start.ts": {"start_seconds": 7.25, "rate": 25.0},
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for name, settings in FORMATS.items():
        write_video(folder / name, **settings)  # type: ignore[arg-type]
    return folder


def check_against_plain(path: Path, times: Sequence[float], **options: int) -> None:
    """The stream equals the slow reference: every wanted time while the video lasts, the right picture, in order."""
    plain = plain_frames(path)
    with open_frames(path, times, **options) as frames:  # type: ignore[arg-type]
        given = list(frames)
        duration = frames.info.duration_seconds
    assert frames.problem is None
    if duration is None:
        assert len(given) >= 1
        wanted: Sequence[float] = times[: len(given)]
        assert wanted[-1] <= plain[-1][0] + 1
    else:
        wanted = [time for time in times if time < duration]
    assert [frame.seconds for frame in given] == list(wanted)
    for frame, expected in zip(given, shown_at(plain, wanted), strict=True):
        np.testing.assert_array_equal(frame.rgb, expected)


@pytest.mark.parametrize("name", FORMATS)
def test_dense_times_equal_plain_decoding(clips: Path, name: str) -> None:
    check_against_plain(clips / name, DENSE)


@pytest.mark.parametrize("name", FORMATS)
def test_sparse_times_equal_plain_decoding(clips: Path, name: str) -> None:
    check_against_plain(clips / name, [0.0, 0.95, 2.0])


def test_real_clips_equal_plain_decoding(shared: Path) -> None:
    """Phones, cameras and web encoders make files that a test's own encoder does not."""
    paths = sorted(path for path in (shared / "clips" / "formats").iterdir() if path.stat().st_size < 600_000)
    paths = [path for path in paths if path.suffix in {".mp4", ".mkv", ".avi"}]
    assert len(paths) >= 8
    for path in paths:
        check_against_plain(path, [0.5, 1.5, 2.5, 3.5])
        check_against_plain(path, [0.7, 1.9, 11.95, 27.3])


@pytest.mark.parametrize("name", ["h264_pyramid.mp4", "h264_open_gop.mp4", "h265.mp4", "av1.mkv", "h264.avi"])
def test_threads_change_nothing(clips: Path, name: str) -> None:
    check_against_plain(clips / name, [0.3, 1.1, 2.7], threads=2)


def test_every_single_frame_is_found_alone(clips: Path) -> None:
    for name in ("h264_open_gop.mp4", "h264_pyramid.mp4", "mpeg2.ts"):
        plain = plain_frames(clips / name)
        for seconds, expected in plain:
            with open_frames(clips / name, [float(seconds)]) as frames:
                np.testing.assert_array_equal(next(frames).rgb, expected)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm"])
def test_variable_frame_rate(tmp_path: Path, suffix: str) -> None:
    seconds = [0.0, 0.04, 0.5, 0.52, 2.0, 2.9, 3.0, 7.5, 7.6]
    codec = (
        {"codec": "libvpx-vp9", "codec_options": {"cpu-used": "8"}}
        if suffix == "webm"
        else {"codec_options": {"bf": "0"}}
    )
    path = write_video(tmp_path / f"vfr.{suffix}", seconds=seconds, **codec)  # type: ignore[arg-type]
    plain = plain_frames(path)
    times = [0.0, 0.3, 0.51, 1.99, 2.0, 2.95, 5.0, 7.4, 7.55]
    with open_frames(path, times) as frames:
        given = list(frames)
    shown = [max(number for number, start in enumerate(seconds) if start <= time) for time in times]
    assert [frame.seconds for frame in given] == times
    for frame, number in zip(given, shown, strict=True):
        np.testing.assert_array_equal(frame.rgb, plain[number][1])


def test_a_picture_shown_twice_is_converted_once(tmp_path: Path) -> None:
    path = write_video(tmp_path / "slides.mp4", seconds=[0.0, 10.0, 20.0])
    with open_frames(path, [1.0, 5.0, 9.0, 11.0]) as frames:
        given = list(frames)
    assert given[0].rgb is given[1].rgb is given[2].rgb
    assert given[3].rgb is not given[2].rgb


def test_far_apart_times_are_exact_and_read_little(tmp_path: Path) -> None:
    for suffix in ("mp4", "mkv"):
        path = write_video(tmp_path / f"long.{suffix}", num_frames=1200, keyframe_interval=20, width=64, height=48)
        times = [3.33, 61.0, 61.05, 115.2]
        check_against_plain(path, times)
        with open_frames(path, times) as frames:
            assert len(list(frames)) == 4
            assert frames._reader.packets_read < 500


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation(tmp_path: Path, degrees: int) -> None:
    path = write_video(tmp_path / "turned.mp4", num_frames=3, rotation_degrees=degrees)
    stored = plain_frames(path)[0][1]
    with open_frames(path, [0.0]) as frames:
        frame = next(frames)
        assert frames.info.rotation_degrees == degrees
        assert (frames.info.width, frames.info.height) == ((72, 128) if degrees in (90, 270) else (128, 72))
    np.testing.assert_array_equal(frame.rgb, np.rot90(stored, -degrees // 90))


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    path = write_video(tmp_path / "wide.mp4", num_frames=3, width=72, height=72, pixel_aspect=Fraction(16, 9))
    assert (probe(path).width, probe(path).height) == (128, 72)
    with open_frames(path, [0.0]) as frames:
        assert next(frames).rgb.shape == (72, 128, 3)


def test_large_frames_are_scaled_on_the_short_side(tmp_path: Path) -> None:
    path = write_video(tmp_path / "large.mp4", num_frames=2, width=640, height=360, rotation_degrees=90)
    with open_frames(path, [0.0], short_side=90) as frames:
        frame = next(frames)
    assert frame.rgb.shape == (160, 90, 3)
    assert np.abs(frame.rgb[80, 45].astype(int) - np.rot90(picture(0, 640, 360), -1)[320, 180]).max() < 40
    with open_frames(path, [0.0], short_side=1000) as frames:
        assert next(frames).rgb.shape == (640, 360, 3)


def test_times_may_depend_on_the_file_and_have_no_end(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", num_frames=30)
    with open_frames(path, lambda info: [0.25 * (info.duration_seconds or 0)]) as frames:
        assert [frame.seconds for frame in frames] == [0.75]
    with open_frames(path, itertools.count()) as frames:
        assert [frame.seconds for frame in frames] == [0, 1, 2]


def test_unknown_length_ends_with_the_last_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "live.mkv", num_frames=35, container_options={"live": "1"})
    with open_frames(path, itertools.count()) as frames:
        assert frames.info.duration_seconds is None
        assert [frame.seconds for frame in frames] == [0, 1, 2, 3]
        assert frames.problem is None
        assert frames.decoded_until_seconds == pytest.approx(3.5, abs=0.02)


def test_times_beyond_the_end_still_give_one_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", num_frames=5)
    with open_frames(path, [99.0]) as frames:
        given = list(frames)
    assert [frame.seconds for frame in given] == [0.0]
    with open_frames(path, []) as frames:
        assert list(frames) == []


def test_sound_longer_than_the_picture_is_no_loss(tmp_path: Path) -> None:
    path = write_video(tmp_path / "music.mkv", num_frames=20, audio_seconds=6.0)
    with open_frames(path, itertools.count()) as frames:
        given = list(frames)
    assert frames.problem is None
    assert len(given) == 7
    assert given[6].rgb is given[2].rgb is not given[1].rgb


def test_truncated_files_give_what_decodes_and_say_so(tmp_path: Path) -> None:
    for suffix, options in (("mkv", {}), ("avi", {}), ("mp4", {"movflags": "faststart"})):
        whole = write_video(
            tmp_path / f"whole.{suffix}", num_frames=200, keyframe_interval=10, container_options=options
        )
        cut = tmp_path / f"cut.{suffix}"
        cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
        with open_frames(cut, itertools.count()) as frames:
            given = list(frames)
        assert 6 <= len(given) <= 16
        assert frames.problem is not None
        assert f"ends early: decoded until {frames.decoded_until_seconds:.1f} s of 20.0 s" in frames.problem
        for frame, expected in zip(given[:6], shown_at(plain_frames(whole), range(6)), strict=True):
            np.testing.assert_array_equal(frame.rgb, expected)


def test_names_that_are_hard_to_write(tmp_path: Path) -> None:
    source = write_video(tmp_path / "plain.mp4", num_frames=3).read_bytes()
    names = [b"a b.mp4", b'it\'s "q".mp4', b"two\nlines.mp4", b"\xff\xfe.mp4", b"http:x.mp4", b"-i.mp4", b"100%d.mp4"]
    for name in names:
        path = os.path.join(os.fsencode(tmp_path), name)
        with open(path, "wb") as file:
            file.write(source)
        assert probe(path).width == 128
        assert probe(os.fsdecode(path)).width == 128
        assert probe(Path(os.fsdecode(path))).width == 128


def test_several_threads_one_video_each(clips: Path) -> None:
    def read(name: str) -> int:
        with open_frames(clips / name, [0.0, 1.0, 2.0]) as frames:
            return len(list(frames))

    names = ["h264.mp4", "h265.mp4", "vp9.webm", "ffv1.mkv"] * 4
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read, names)) == [3] * len(names)


def test_what_the_file_says(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mkv", num_frames=30)
    info = probe(path)
    assert info == VideoInfo("matroska,webm", "h264", 128, 72, 0, info.duration_seconds, 10.0)
    assert info.duration_seconds == pytest.approx(3.0, abs=0.05)


def test_a_closed_stream_ends(tmp_path: Path) -> None:
    frames = open_frames(write_video(tmp_path / "clip.mp4"), itertools.count())
    next(frames)
    frames.close()
    assert list(frames) == []


class TestNotAVideo:
    def expect(self, path: Path, text: str) -> None:
        with pytest.raises(VideoError) as caught:
            open_frames(path, [0.0])
        message = str(caught.value)
        assert text in message
        assert path.name in message
        assert "\n" not in message

    def test_missing_file(self, tmp_path: Path) -> None:
        self.expect(tmp_path / "none.mp4", "cannot be opened: No such file or directory")

    def test_folder(self, tmp_path: Path) -> None:
        self.expect(tmp_path, "is a folder, not a video")

    def test_empty_file(self, tmp_path: Path) -> None:
        (tmp_path / "empty.mp4").touch()
        self.expect(tmp_path / "empty.mp4", "is empty (0 bytes)")

    def test_pipe(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.mp4")
        self.expect(tmp_path / "pipe.mp4", "is not a regular file")

    def test_text(self, tmp_path: Path) -> None:
        for name in ("notes.mp4", "notes.txt"):
            (tmp_path / name).write_text("no video here\n" * 200)
            self.expect(tmp_path / name, "")

    def test_picture(self, tmp_path: Path) -> None:
        for name in ("photo.png", "photo.jpg", "photo.webp", "photo.mp4"):
            kind = {"jpg": "jpeg", "ebp": "webp"}.get(name[-3:], "png")
            Image.fromarray(picture(0, 64, 48)).save(tmp_path / name, format=kind)
            self.expect(tmp_path / name, "cannot be read as a video: it is a picture, a text, a playlist")

    def test_sound(self, tmp_path: Path) -> None:
        path = tmp_path / "sound.m4a"
        with av.open(str(path), "w", format="mp4") as output:
            stream = output.add_stream("aac", rate=8000, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 8000
            output.mux(stream.encode(frame))
            output.mux(stream.encode())
        self.expect(path, "has no video in it")

    def test_sound_with_a_cover_picture(self, tmp_path: Path) -> None:
        path = tmp_path / "song.m4a"
        write_video(path, num_frames=1, codec="mjpeg", pixel_format="yuvj420p", container="mp4", audio_seconds=1.0)
        with av.open(str(path)) as source, av.open(str(tmp_path / "song.mp3"), "w") as output:
            sound = output.add_stream("mp3", rate=8000, layout="mono")
            cover = output.add_stream_from_template(source.streams.video[0])
            cover.disposition = av.stream.Disposition.attached_pic
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 8000
            packets = sound.encode(frame) + sound.encode()
            output.start_encoding()
            for packet in source.demux(source.streams.video[0]):
                if packet.size:
                    packet.stream = cover
                    output.mux(packet)
            output.mux(packets)
        self.expect(tmp_path / "song.mp3", "has no video in it")

    def test_absurd_size(self, tmp_path: Path) -> None:
        path = tmp_path / "huge.avi"
        data = bytearray(write_video(path, codec="rawvideo", pixel_format="bgr24", num_frames=2).read_bytes())
        at = data.index(b"strf") + 12
        data[at : at + 8] = (10_000).to_bytes(4, "little") * 2
        path.write_bytes(data)
        self.expect(path, "declares no frame size, or one beyond all bounds; at most 67108864 pixels are decoded")

    def test_playlists_cannot_reach_out(self, tmp_path: Path) -> None:
        (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:5,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")
        self.expect(tmp_path / "list.m3u8", "cannot be read as a video")


class TestWrongUse:
    def test_values(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "clip.mp4", num_frames=3)
        with pytest.raises(ValueError, match="short_side must be at least 1 pixel or None, got 0"):
            open_frames(path, [], short_side=0)
        with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
            open_frames(path, [], threads=0)
        with (
            pytest.raises(ValueError, match=r"times must be ascending seconds from 0 on, got 0\.1 after 0\.2"),
            open_frames(path, [0.2, 0.1]) as frames,
        ):
            list(frames)

    def test_frames_and_infos_check_themselves(self) -> None:
        with pytest.raises(ValueError, match=r"rgb must be \(h, w, 3\) uint8, got \(2, 2\) uint8"):
            Frame(0.0, np.zeros((2, 2), np.uint8))
        with pytest.raises(ValueError, match="width and height must be at least 1 pixel, got 0 × 5"):
            VideoInfo("mp4", "h264", 0, 5, 0, None, None)
        with pytest.raises(ValueError, match="rotation_degrees must be 0, 90, 180 or 270, got 45"):
            VideoInfo("mp4", "h264", 5, 5, 45, None, None)
        with pytest.raises(ValueError, match="duration_seconds must be a positive number or None, got nan"):
            VideoInfo("mp4", "h264", 5, 5, 0, float("nan"), None)
