"""A library of files whose times are odd: parts joined byte for byte, and pictures that stay for minutes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.colours import COLOURS, ColourEncoder
from wordframe.cli.index import print_problems
from wordframe.library import Library
from wordframe.search import Query, encode, search
from wordframe.search._widening import MAX_SECONDS


def write_slides(path: Path, *slides: tuple[str, float], codec: str = "libx264") -> Path:
    """Colours, each from a second on; the last one as long as the one before it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=10, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 90_000)
        for colour, seconds in slides:
            rgb = np.broadcast_to(np.array(COLOURS[colour], np.uint8), (48, 64, 3)).copy()
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = round(90_000 * seconds), Fraction(1, 90_000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def test_parts_that_were_joined_are_found_at_their_seconds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = b""
    for colour in ("red", "green", "blue"):
        part = write_slides(tmp_path / "part.ts", *((colour, number / 10) for number in range(60)))
        data += part.read_bytes()
    path = tmp_path / "videos" / "joined.ts"
    path.parent.mkdir()
    path.write_bytes(data)
    library = Library.open(tmp_path / "library", encoder=ColourEncoder())
    summary = library.index([path.parent])
    told = "its times jump back at 6.0 s and 12.0 s; what follows is joined on"
    assert (summary.noted, summary.partly) == ({str(path): told}, {})
    assert summary.seconds_of_video == pytest.approx(18, abs=0.1)
    print_problems(summary)
    assert capsys.readouterr().err == f"note: {path}: {told}\n"
    snapshot = library.snapshot()
    for colour, start in (("red", 0), ("green", 6), ("blue", 12)):
        (hit,) = search(snapshot, encode(snapshot, Query(text=colour)), top=1)
        assert start <= hit.moments[0].peak_seconds < start + 6
    assert library.index([path.parent]).noted == {}


def test_a_slide_of_ten_minutes_gives_a_moment_of_at_most_one(tmp_path: Path) -> None:
    colours = ("red", "green", "blue", "white", "black", "cyan")
    slides = [(colour, 600.0 * number) for number, colour in enumerate((*colours, "black"))]
    path = write_slides(tmp_path / "videos" / "talk.mp4", *slides)
    encoder = ColourEncoder()
    library = Library.open(tmp_path / "library", encoder=encoder)
    summary = library.index([path.parent])
    assert summary.frames <= 12 * (len(colours) + 1)
    assert encoder.frames_encoded <= len(colours) + 1
    snapshot = library.snapshot()
    for number, colour in enumerate(("red", "green", "blue")):
        (hit,) = search(snapshot, encode(snapshot, Query(text=colour)), top=1)
        moment = hit.moments[0]
        assert 600 * number <= moment.start_seconds <= moment.peak_seconds <= moment.end_seconds <= 600 * (number + 1)
        assert moment.end_seconds - moment.start_seconds <= MAX_SECONDS + 1e-6
