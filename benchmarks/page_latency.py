"""How long a person waits on the page: for the first result of a search, and for the picture after a jump in a video.

    python benchmarks/page_latency.py [--segments 10000] [--searches 120] [--seeks 60]

``wordframe serve`` runs as a process of its own on the library of ``search_latency.py``, with a video of 320 seconds
beside it (H.264, 640 × 360, 25 frames a second, keyframes as x264 sets them) whose frames carry their numbers as bars;
headless Chromium looks at the page. A search is timed from the submitting of its sentence until the first card is
drawn with its poster, and no sentence is asked twice. A jump is a press of the mouse on another moment or on another
place of the strip, timed until the browser presents the frame of that time (``requestVideoFrameCallback``); that it is
that frame is read from the picture. Wanted: the first result p95 below 1 s, a jump p50 below 300 ms.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import av
import numpy as np
from playwright.sync_api import Page
from results import save
from search_latency import made_up_library
from server import VIDEO_ID, add_file, picture, served

from wordframe.search import plain_sentences

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.browser import NO_BROWSER, browser_path, launched, ready, settled

VIDEO_SECONDS, RATE, BITS = 320, 25, 13
WIDTH, HEIGHT = 640, 360
WARM = 5
WANTED = {"first result": (95, 1000), "seek": (50, 300)}
"""A percentile, and the milliseconds that it should stay below."""

FIRST_RESULT = """async sentence => {
  const list = document.querySelector("#results");
  document.querySelector("#query").value = sentence;
  const began = performance.now();
  document.querySelector("#search").requestSubmit();
  while (list.getAttribute("aria-busy") !== "false") await new Promise(requestAnimationFrame);
  await list.querySelector(".card img").decode();
  await new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)));
  return performance.now() - began;
}"""
WATCH = """([rate, bits]) => {
  const video = document.querySelector("video");
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const context = canvas.getContext("2d", {willReadFrequently: true});
  const number = () => {
    context.drawImage(video, 0, 0);
    const bars = context.getImageData(0, 8, canvas.width, 1).data;
    let read = 0;
    for (let bit = 0; bit < bits; bit += 1) {
      read += 2 ** bit * (bars[4 * Math.floor((bit + 0.5) * canvas.width / bits)] > 127);
    }
    return read;
  };
  window.jump = wanted => new Promise(landed => {
    let began = 0;
    addEventListener("pointerdown", () => { began = performance.now(); }, {capture: true, once: true});
    const presented = (_, {mediaTime}) => {
      const target = wanted ?? Number(document.querySelector(".slider").value);
      if (began && Math.abs(mediaTime - target) < 3 / rate) {
        landed({milliseconds: performance.now() - began, target, mediaTime, frame: number()});
      } else video.requestVideoFrameCallback(presented);
    };
    video.requestVideoFrameCallback(presented);
    setTimeout(() => landed(null), 10000);
  });
}"""


def write_numbered_video(path: Path) -> None:
    """A picture that drifts, each frame with its number as black and white bars at the top."""
    chance = np.random.default_rng(0)
    ground = np.kron(chance.integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=RATE, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(VIDEO_SECONDS * RATE):
            frame = np.roll(ground, number, axis=1)
            bits = (number >> np.arange(WIDTH) * BITS // WIDTH) & 1
            frame[:24] = 255 * bits[:, None]
            output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        output.mux(stream.encode())


def searches(page: Page, url: str, count: int) -> list[float]:
    """Milliseconds to the first result of each of ``count`` sentences; a few others go before, to warm up."""
    page.goto(url)
    settled(page)
    return [page.evaluate(FIRST_RESULT, sentence) for sentence in plain_sentences(WARM + count)][WARM:]


def seeks(page: Page, url: str, count: int) -> list[float]:
    """Milliseconds of jumps through the long video, to moments and along the strip by turns."""
    page.goto(f"{url}/?q=a+dog&v={VIDEO_ID}&t=0")
    page.wait_for_selector(".bars rect")
    ready(page)
    page.evaluate(WATCH, [RATE, BITS])
    chance = random.Random(0)
    return [(press_moment if number % 2 else press_strip)(page, chance) for number in range(count)]


def press_moment(page: Page, chance: random.Random) -> float:
    rows = page.locator(".moment-list .row:not([aria-current=true])")
    row = rows.nth(chance.randrange(rows.count()))
    minutes, seconds = (row.text_content() or "").partition("–")[0].split(":")
    return landed(page, row, None, float(60 * int(minutes) + int(seconds)))


def press_strip(page: Page, chance: random.Random) -> float:
    strip = page.locator(".slider")
    box = strip.bounding_box()
    assert box is not None
    x = box["width"] * chance.uniform(0.02, 0.98)
    return landed(page, strip, {"x": x, "y": box["height"] / 2}, None)


def landed(page: Page, target: Any, position: Any, seconds: float | None) -> float:
    """Press, and check that what is shown then is the frame of that time."""
    target.scroll_into_view_if_needed()
    page.evaluate("wanted => { window.landing = window.jump(wanted); }", seconds)
    target.click(position=position)
    told = page.evaluate("window.landing")
    assert told is not None, "no frame of the time that was pressed came within 10 s"
    expected = round(told["mediaTime"] * RATE)
    assert abs(told["frame"] - expected) <= 2, f"frame {told['frame']} is shown at frame {expected}"
    page.locator("video").evaluate("video => video.pause()")
    return float(told["milliseconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, default=10_000)
    parser.add_argument("--searches", type=int, default=120)
    parser.add_argument("--seeks", type=int, default=60)
    wanted = parser.parse_args()
    browser = browser_path()
    if browser is None:
        sys.exit(NO_BROWSER)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library = made_up_library(folder / "library", wanted.segments, picture=picture(np.random.default_rng(0)))
        write_numbered_video(folder / "numbered.mp4")
        add_file(library, folder / "numbered.mp4", VIDEO_SECONDS)
        with served(folder / "library") as (url, _), launched(browser) as opened:
            page = opened.new_page(viewport={"width": 1280, "height": 860})
            taken = {
                "first result": searches(page, url, wanted.searches),
                "seek": seeks(page, url, wanted.seeks),
            }
    save("page_latency", {"segments": wanted.segments, **tell(taken)})


def tell(taken: dict[str, list[float]]) -> dict[str, Any]:
    """All figures, printed."""
    figures: dict[str, Any] = {}
    for name, values in taken.items():
        percentile, most = WANTED[name]
        median, p95 = np.median(values), np.percentile(values, 95)
        told = "reached" if np.percentile(values, percentile) < most else "MISSED"
        print(
            f"{name:<12} {len(values):4d} times: median {median:7.1f} ms, p95 {p95:7.1f} ms "
            f"(wanted p{percentile} below {most}: {told})"
        )
        figures[name.replace(" ", "_")] = {"times": len(values), "median_ms": median, "p95_ms": p95}
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    return figures | {"load": os.getloadavg()[0]}


if __name__ == "__main__":
    main()
