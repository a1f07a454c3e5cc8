"""How fast one frame a second is decoded, against OpenCV seeking frame by frame (the published way), in one run.

    python benchmarks/decode.py FOLDER [--videos N] [--short-side 288]

The published preparation of frames asks OpenCV for frame ``second · rate`` of each second by ``CAP_PROP_POS_FRAMES``
and reads it. Both ways read each file in turn, each time is the best of ``--repeats``. ``frames per core second`` is by
processor time, one video after the other in one thread: the bound for what a core can feed to an encoder.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
from results import save

from wordframe.video import open_frames, per_second

SUFFIXES = {".mp4", ".mkv", ".avi", ".webm", ".mov", ".m4v", ".ts"}


def decode_with_opencv(path: Path) -> int:
    """Seek to each second's first frame and read it; the number of frames read."""
    capture = cv2.VideoCapture(str(path))
    rate = max(1, int(capture.get(cv2.CAP_PROP_FPS)))
    num_seconds = (int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) + rate - 1) // rate
    num_frames = 0
    for second in range(num_seconds):
        capture.set(cv2.CAP_PROP_POS_FRAMES, second * rate)
        is_read, frame = capture.read()
        if not is_read:
            break
        cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        num_frames += 1
    capture.release()
    return num_frames


def decode_with_wordframe(path: Path, short_side: int) -> int:
    """One frame a second; the number of frames."""
    with open_frames(path, per_second(1.0, 0.0, None), short_side=short_side) as frames:
        return sum(1 for _ in frames)


def best_of(repeats: int, run: Callable[[], int]) -> tuple[float, float, int]:
    """Wall and processor seconds of the fastest of ``repeats`` runs, and its result."""
    outcomes = []
    for _ in range(repeats):
        wall, core = time.perf_counter(), time.process_time()
        result = run()
        outcomes.append((time.perf_counter() - wall, time.process_time() - core, result))
    return min(outcomes)


def measure(paths: list[Path], *, short_side: int, repeats: int) -> dict[str, float]:
    """Summed figures over the files."""
    cv2.setNumThreads(1)
    opencv, ours = [], []
    for path in paths:
        opencv.append(best_of(repeats, partial(decode_with_opencv, path)))
        ours.append(best_of(repeats, partial(decode_with_wordframe, path, short_side)))
    opencv_wall, ours_wall = sum(wall for wall, _, _ in opencv), sum(wall for wall, _, _ in ours)
    ours_core, num_frames = sum(core for _, core, _ in ours), sum(count for _, _, count in ours)
    return {
        "videos": len(paths),
        "frames": num_frames,
        "opencv_frames": sum(count for _, _, count in opencv),
        "opencv_seconds": round(opencv_wall, 3),
        "wordframe_seconds": round(ours_wall, 3),
        "times_faster": round(opencv_wall / ours_wall, 2),
        "milliseconds_per_video": round(1000 * ours_wall / len(paths), 1),
        "frames_per_second": round(num_frames / ours_wall, 1),
        "frames_per_core_second": round(num_frames / ours_core, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--videos", type=int, help="how many, spread over the folder (default: all)")
    parser.add_argument("--short-side", type=int, default=288, help="pixels (default 288)")
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    found = sorted(path for path in arguments.folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        parser.error(f"no videos under {arguments.folder}")
    count = min(arguments.videos or len(found), len(found))
    paths = [found[number * len(found) // count] for number in range(count)]
    figures = measure(paths, short_side=arguments.short_side, repeats=arguments.repeats)
    for name, value in figures.items():
        print(f"{name.replace('_', ' '):24} {value}")
    save("decode", figures)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
