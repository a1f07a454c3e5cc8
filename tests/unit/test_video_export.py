"""Exporting a moment: the copy holds the wanted frames, and nothing is overwritten or left behind."""

from __future__ import annotations

import io
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.videos import picture, plain_frames, shown_at, write_video
from wordframe.errors import VideoError, WordframeError
from wordframe.library import find_videos
from wordframe.video import ExportReport, export_moment, probe, thumbnail


def check_copy(source: Path, target: Path, start_seconds: float, end_seconds: float) -> ExportReport:
    """The copy spans the moment and its pictures are the source's, bit for bit, at their times."""
    report = export_moment(source, target, start_seconds, end_seconds)
    assert report.is_copy
    assert report.start_seconds <= start_seconds
    assert report.end_seconds >= end_seconds - 0.15
    original, copied = plain_frames(source), plain_frames(target)
    offset = report.start_seconds
    times = [float(seconds) for seconds, _ in copied if offset + float(seconds) < end_seconds - 0.2]
    assert len(times) >= (end_seconds - start_seconds) * 10 - 3
    moments = [offset + time + 0.01 for time in times]
    for expected, actual in zip(shown_at(original, moments), [rgb for _, rgb in copied], strict=False):
        np.testing.assert_array_equal(actual, expected)
    return report


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
@pytest.mark.parametrize("source_suffix", ["mp4", "mkv"])
def test_copies_start_at_the_keyframe_before(tmp_path: Path, source_suffix: str, suffix: str) -> None:
    source = write_video(
        tmp_path / f"source.{source_suffix}",
        num_frames=100,
        keyframe_interval=20,
        codec_options={"x264-params": "scenecut=0"},
    )
    report = check_copy(source, tmp_path / f"moment.{suffix}", 4.5, 6.5)
    assert report.start_seconds == pytest.approx(4.0, abs=0.02)
    assert not report.has_sound


def test_sound_is_kept(tmp_path: Path) -> None:
    source = write_video(tmp_path / "source.mp4", num_frames=100, keyframe_interval=10, audio_seconds=10.0)
    report = check_copy(source, tmp_path / "moment.mp4", 3.0, 6.0)
    assert report.has_sound
    with av.open(str(tmp_path / "moment.mp4")) as container:
        sound = container.streams.audio[0]
        assert sound.duration * sound.time_base == pytest.approx(3.0, abs=0.3)


def test_rotation_is_kept(tmp_path: Path) -> None:
    source = write_video(tmp_path / "source.mp4", num_frames=30, rotation_degrees=90)
    assert export_moment(source, tmp_path / "moment.mp4", 1.0, 2.0).is_copy
    assert probe(tmp_path / "moment.mp4").rotation_degrees == 90


def test_what_cannot_be_copied_is_encoded_again(tmp_path: Path) -> None:
    """A codec that mp4 does not take, in an odd size; and an AVI, which has no display times."""
    for name, settings in {
        "odd.flv": {"codec": "flv1", "width": 129},
        "old.avi": {"codec_options": {"bf": "2"}},
    }.items():
        source = write_video(tmp_path / name, num_frames=60, **settings)  # type: ignore[arg-type]
        target = tmp_path / f"{name}.mp4"
        report = export_moment(source, target, 2.05, 4.05)
        assert (report.is_copy, report.start_seconds, report.end_seconds) == (False, 2.05, 4.05)
        info = probe(target)
        assert (info.codec, info.width, info.height) == ("h264", 128, 72)
        assert info.duration_seconds == pytest.approx(2.0, abs=0.11)
        expected = shown_at(plain_frames(source), [2.05])[0][:, :128]
        assert np.abs(plain_frames(target)[0][1].astype(int) - expected).mean() < 10


def test_a_moment_may_run_over_the_end(tmp_path: Path) -> None:
    source = write_video(tmp_path / "source.mp4", num_frames=30)
    assert export_moment(source, tmp_path / "moment.mp4", 2.0, 60.0).end_seconds == pytest.approx(3.0)


def test_hard_names(tmp_path: Path) -> None:
    source = write_video(tmp_path / "source.mp4", num_frames=10)
    for name in (b"a 'b'\n.mp4", b"\xff.mp4", b"x:y.mp4"):
        target = os.path.join(os.fsencode(tmp_path), name)
        export_moment(os.fsencode(source), target, 0.0, 0.5)
        assert probe(target).codec == "h264"


class TestRefused:
    def expect(self, source: Path, target: Path, text: str, *, start: float = 0.0, end: float = 1.0) -> None:
        before = sorted(target.parent.iterdir()) if target.parent.is_dir() else []
        with pytest.raises(WordframeError) as caught:
            export_moment(source, target, start, end)
        assert text in str(caught.value)
        assert "\n" not in str(caught.value)
        if before:
            assert sorted(target.parent.iterdir()) == before

    def test_targets(self, tmp_path: Path) -> None:
        source = write_video(tmp_path / "source.mp4", num_frames=10)
        (tmp_path / "there.mp4").write_bytes(b"mine")
        self.expect(source, tmp_path / "there.mp4", "exists already; name another target, or allow overwriting it")
        self.expect(source, source, "is the source itself")
        self.expect(source, tmp_path / "none" / "x.mp4", "is not a folder; make it first")
        self.expect(source, tmp_path / "x.docx", "'.docx' names no video container; use .mp4 or .mkv")
        self.expect(source, tmp_path / "x", "'' names no video container")
        self.expect(source, tmp_path / "x.hls", "'.hls' names no video container")  # it would write other files, too
        assert (tmp_path / "there.mp4").read_bytes() == b"mine"
        assert not export_moment(source, tmp_path / "there.mp4", 0.0, 0.5, overwrite=True).has_sound

    def test_moments(self, tmp_path: Path) -> None:
        source = write_video(tmp_path / "source.mp4", num_frames=10)
        text = "a moment needs 0 <= start < end, got 2.0 s to 1.0 s"
        self.expect(source, tmp_path / "x.mp4", text, start=2.0)
        text = "the moment starts at 5 s, but the video ends at 1.000 s"
        self.expect(source, tmp_path / "x.mp4", text, start=5.0, end=6.0)

    def test_sources(self, tmp_path: Path) -> None:
        (tmp_path / "notes.mp4").write_text("no video")
        for name in ("notes.mp4", "missing.mp4"):
            with pytest.raises(VideoError):
                export_moment(tmp_path / name, tmp_path / "x.mp4", 0.0, 1.0)
        assert [path.name for path in tmp_path.iterdir()] == ["notes.mp4"]

    def test_codecs_that_fit_nowhere(self, tmp_path: Path) -> None:
        source = write_video(tmp_path / "source.mp4", num_frames=10)
        text = "a .ogv file cannot hold this moment, neither copied nor encoded anew; use .mp4 or .mkv"
        self.expect(source, tmp_path / "x.ogv", text)

    def test_no_room_on_the_disk(self, tmp_path: Path) -> None:
        source = write_video(tmp_path / "source.mp4", num_frames=60, width=320, height=240)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2048, hard))
        try:
            self.expect(source, tmp_path / "x.mp4", "cannot be written", end=6.0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_thumbnails() -> None:
    small = Image.open(io.BytesIO(thumbnail(picture(0, 640, 360))))
    assert (small.format, small.size) == ("JPEG", (320, 180))
    assert Image.open(io.BytesIO(thumbnail(picture(0, 64, 48), width=100))).size == (64, 48)
    with pytest.raises(ValueError, match=r"rgb must be \(h, w, 3\) uint8, got \(2, 2\) uint8"):
        thumbnail(np.zeros((2, 2), np.uint8))
    with pytest.raises(ValueError, match="width must be at least 1 pixel, got 0"):
        thumbnail(picture(0, 4, 4), width=0)


def test_what_a_killed_export_left_goes_with_the_next_and_is_never_a_video(tmp_path: Path) -> None:
    source = write_video(tmp_path / "source.mp4", num_frames=30)
    target = tmp_path / "moment.mp4"
    code = (
        "import os, signal, sys; from wordframe.video import export, export_moment\n"
        "export._notes = lambda *given: os.kill(os.getpid(), signal.SIGKILL)\n"
        "export_moment(sys.argv[1], sys.argv[2], 0, 2)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(source), str(target)])
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.glob(".*")
    assert left.stat().st_size > 1000
    assert [file.path for file in find_videos([str(tmp_path)]).files] == [str(source)]
    mine = left.with_name(f".moment.{os.getpid()}-1f.part.mp4")  # another thread's, that still writes
    for path in (left, shutil.copy(left, mine)):
        os.utime(path, (1, 1))
    export_moment(source, target, 0, 1)
    assert {path.name for path in tmp_path.iterdir()} == {"source.mp4", "moment.mp4", mine.name}
    shutil.copy(mine, left)  # written a moment ago, perhaps by a process of another machine
    export_moment(source, target, 0, 1, overwrite=True)
    assert left.exists()
