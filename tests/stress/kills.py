"""SIGKILL at random moments of everything that writes: nothing lost or double, and equal to an undisturbed run.

``python -m tests.stress.kills [--kills 200] [--seed 0]``: a process that indexes, prunes, prepares, changes the
encoder, exports or serves is killed after a random time; after each kill the library is opened, must be whole and hold
every video that nobody took away, and the next operation goes on with it. At the end one ordinary run brings it up to
date; its rows must be those of a library that was made in one go, and no file of a killed process may be left in it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from tests.colours import COLOURS, write_scenes
from tests.stress.ground import ROOT, Results, environment, table
from tests.stress.kill_target import OPERATIONS, encoder_of, opened, work
from wordframe.library import Library, change_encoder
from wordframe.video import probe

NUM_VIDEOS = 24
# Each victim is a fork of a process that has imported nearly all, which is most of what a kill would take otherwise.
# Not LanceDB, whose threads do not survive a fork: that is imported by the victim.
_FORKING = multiprocessing.get_context("forkserver")
_IMPORTED_BEFORE = ["torch", "av", "pyarrow.dataset", "fastapi", "uvicorn", "httpx", "lance_namespace", "tests.colours"]
_IMPORTED_BEFORE += ["wordframe.extraction.pipeline", "wordframe.models.inference", "wordframe.video.export"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--to", type=Path, default=ROOT / "build" / "stress" / "kills")
    given = parser.parse_args()
    given.to.mkdir(parents=True, exist_ok=True)
    os.environ |= environment()  # the victims'
    _FORKING.set_forkserver_preload(_IMPORTED_BEFORE)
    results = Results(given.to / f"kills-{given.seed}.json")
    place = given.to / f"place-{given.seed}"
    make_place(place)
    for number in range(given.kills):
        chance = random.Random(f"{given.seed}-{number}")
        operation = list(OPERATIONS)[number % len(OPERATIONS)]
        if str(number) not in results.known:
            landed = kill_once(place, operation, chance.uniform(0.0, 1.5))
            fault = fault_of(place) if landed else "ended before it was killed"  # none of them ever does by itself
            results.note(str(number), {"operation": operation, "landed": landed, "fault": fault})
            print(number, results.known[str(number)], flush=True)
    return report(results, place)


def make_place(place: Path) -> None:
    """Videos, of which some move about, a film to cut, and the library after one whole run."""
    if (place / "whole").exists():
        return
    shutil.rmtree(place, ignore_errors=True)
    names = list(COLOURS)
    for number in range(NUM_VIDEOS):
        folder = place / "videos" / ("moving" if number < 4 else "staying")
        write_scenes(folder / f"{number:02d}.mp4", (names[number % 8], 0.5 + 0.05 * number), ("white", 0.5))
    for number in range(10, NUM_VIDEOS):  # beside the folders, where ``index`` touches them
        (place / "videos" / "staying" / f"{number}.mp4").rename(place / "videos" / f"{number}.mp4")
    (place / "cuts").mkdir()
    write_scenes(place / "film.mp4", *((name, 1.0) for name in names), ("red", 2.0))
    opened(place).index([place / "videos"])
    (place / "whole").touch()


def kill_once(place: Path, operation: str, seconds: float) -> bool:
    """Whether the operation was still at work when it was killed."""
    ready, told = _FORKING.Pipe(duplex=False)
    process = _FORKING.Process(target=work, args=(operation, place, told))
    process.start()
    told.close()
    assert ready.recv() == "ready"
    time.sleep(seconds)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def fault_of(place: Path) -> str:
    """What is wrong with the library as the killed process left it, as the next one finds it; empty for nothing."""
    try:
        library = opened(place)
        rows = library.snapshot().select("true", ["segment_id", "video_id", "path", "num_segments"])
    except Exception as error:  # whatever it is, it is the finding
        return f"{type(error).__name__}: {error}"
    segments = Counter(row["video_id"] for row in rows)
    names = {Path(row["path"]).name for row in rows}
    staying = {f"{number:02d}.mp4" for number in range(4, NUM_VIDEOS)}
    if len({row["segment_id"] for row in rows}) != len(rows):
        return "segments are doubled"
    if any(segments[row["video_id"]] != row["num_segments"] for row in rows):
        return "a video is not whole"
    if lost := staying - names:
        return f"lost: {sorted(lost)}"
    for cut in (place / "cuts").glob("*.mp4"):
        if not cut.name.startswith(".") and not (probe(cut).duration_seconds or 0) > 1.5:
            return f"{cut.name}: not whole"
    return ""


def rows_of(library: Library) -> list[tuple[object, ...]]:
    """What a library holds, without the ids that are made up anew."""
    columns = ["path", "start_seconds", "end_seconds", "frames", "centroids", "thumbnail", "content_hash"]
    return sorted(tuple(row[name] for name in columns) for row in library.snapshot().select("true", columns))


def report(results: Results, place: Path) -> int:
    """One ordinary run, then the comparison; prints a row an operation and gives the exit status."""
    if (place / "elsewhere").exists():
        (place / "elsewhere").rename(place / "videos" / "moving")
    if (place / "library.upgrading").exists():  # cut short; the same command goes on
        change_encoder(
            place / "library", encoder_of("other" if opened(place).manifest.encoder == "colours" else "colours")
        )
    library = opened(place)
    summary = library.index([place / "videos"], prune=True)
    fresh = place.parent / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    undisturbed = Library.open(fresh, encoder=library.encoder)
    undisturbed.index([place / "videos"])
    faults = [f"kill {number}: {each['fault']}" for number, each in results.known.items() if each["fault"]]
    faults += [f"failed: {reason}" for reason in summary.failed.values()]
    if rows_of(library) != rows_of(undisturbed):
        faults.append("the rows are not those of an undisturbed run")
    left = [path.name for path in (place / "library").rglob("*") if ".part" in path.name]
    beside = [path.name for path in place.iterdir() if path.name.startswith("library.")]
    faults += [f"left behind: {name}" for name in left + beside]
    known = list(results.known.values())
    rows = []
    for operation in OPERATIONS:
        those = [each for each in known if each["operation"] == operation]
        rows.append(
            [
                operation,
                len(those),
                sum(bool(each["landed"]) for each in those),
                sum(bool(each["fault"]) for each in those),
            ]
        )
    print(table(["killed", "times", "still at work", "faults"], rows))
    size, first = (
        sum(path.stat().st_size for path in where.rglob("*") if path.is_file()) for where in (place / "library", fresh)
    )
    cuts = len(list((place / "cuts").glob(".*.part*")))
    print(f"library {size / 1e6:.1f} MB, made in one go {first / 1e6:.1f} MB; unfinished exports left: {cuts}")
    print("\n".join(faults) or "equal to an undisturbed run")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
