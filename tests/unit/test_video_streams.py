"""Which of several video streams is shown: the film, and never a still beside it."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from tests.videos import picture
from wordframe.video import open_frames, probe

FILM, STILL = (160, 120), (320, 320)


def write_streams(path: Path, streams: list[tuple[str, tuple[int, int], int, bool]], rate: int = 10) -> Path:
    """Streams of a codec, size and number of frames, the default one or not; their packets in the order of time."""
    with av.open(str(path), "w") as output:
        made, packets = [], []
        for codec, (width, height), num_frames, is_default in streams:
            stream = output.add_stream(codec, rate=rate)
            stream.width, stream.height = width, height
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.disposition = Disposition.default if is_default else Disposition(0)
            made.append((stream, num_frames))
        output.start_encoding()
        for stream, num_frames in made:
            for number in range(num_frames):
                frame = av.VideoFrame.from_ndarray(picture(number, stream.width, stream.height), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, rate)
                packets += stream.encode(frame)
            packets += stream.encode()
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            output.mux(packet)
    return path


def size(path: Path) -> tuple[int, int]:
    info = probe(path)
    return info.width, info.height


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "avi"])
@pytest.mark.parametrize("still_first", [True, False])
def test_a_still_that_is_larger_and_the_default_is_not_the_film(tmp_path: Path, suffix: str, still_first: bool) -> None:
    streams = [("mjpeg", STILL, 1, True), ("mpeg4", FILM, 60, False)]
    path = write_streams(tmp_path / f"cover.{suffix}", streams if still_first else streams[::-1])
    assert size(path) == FILM
    with open_frames(path, [0.5, 3.5, 5.5]) as frames:
        assert len({frame.rgb.tobytes() for frame in frames}) == 3
        assert frames.problem is None


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_of_angles_the_default_is_shown_then_the_largest(tmp_path: Path, suffix: str) -> None:
    lengths = (60, 58)  # angles end a moment apart
    default = write_streams(
        tmp_path / f"default.{suffix}", [("mpeg4", STILL, lengths[0], False), ("mpeg4", FILM, lengths[1], True)]
    )
    assert size(default) == FILM
    largest = write_streams(
        tmp_path / f"largest.{suffix}", [("mpeg4", FILM, lengths[0], True), ("mpeg4", STILL, lengths[1], True)]
    )
    assert size(largest) == STILL


def test_two_streams_of_a_transport_stream(tmp_path: Path) -> None:
    path = write_streams(tmp_path / "two.ts", [("mpeg2video", STILL, 2, True), ("mpeg2video", FILM, 75, True)], rate=25)
    assert size(path) == FILM


def test_a_shared_file_whose_still_is_the_default(shared: Path) -> None:
    path = shared / "hard_files" / "coverdefault.mp4"
    assert size(path) == (160, 120)
    with open_frames(path, [number + 0.5 for number in range(24)]) as frames:
        given = [frame.rgb for frame in frames]
    assert len(given) == 24
    assert not any(np.array_equal(one, other) for one, other in itertools.pairwise(given))


def test_a_codec_has_its_own_name_and_not_its_decoders(shared: Path) -> None:
    assert probe(shared / "hard_files" / "export_av1_never_copied.webm").codec == "av1"
