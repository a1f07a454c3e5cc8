"""A disk that is full at any write: one clear line, nothing lost, and the same command goes on when there is room.

``python -m tests.stress.full_disk [--steps 40]``. Two ways: the n-th write below the library's folder, and all later
ones or it alone, fail (``full_disk.c``, put before the C library; needs a compiler), so each write is met, LanceDB's
too; and a real tmpfs that is too small by more and more (needs the right to mount). What cannot be had is said and left
out. Afterwards the library must hold what it held, and a second run must make of it what an undisturbed one does.
"""

from __future__ import annotations

import argparse
import ctypes
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.colours import COLOURS, write_scenes
from tests.stress.ground import ROOT, Results, environment, table
from tests.stress.kill_target import MODEL, encoder_of, opened
from tests.stress.kills import rows_of
from wordframe.errors import WordframeError
from wordframe.library import change_encoder
from wordframe.video import export_moment

_PRELOADED = "full_disk.so"


def index(place: Path) -> None:
    """What is new, changed and gone."""
    opened(place).index([place.parent / "videos"], prune=True)


def prepare(place: Path) -> None:
    opened(place).prepare(MODEL, untrained=True)


def upgrade(place: Path) -> None:
    change_encoder(place / "library", encoder_of("other"), allow_missing=True)


def export(place: Path) -> None:
    export_moment(place.parent / "videos" / "0.mp4", place / "cut.mp4", 0, 2, overwrite=True, copy=False)


OPERATIONS: dict[str, Callable[[Path], None]] = {work.__name__: work for work in (index, prepare, upgrade, export)}


def make_ground(folder: Path) -> Path:
    """``videos``, and ``before/library``, made when some of them were not there, others else, and one more was."""
    if (folder / "whole").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    names = list(COLOURS)
    for number in range(6):
        write_scenes(folder / "videos" / f"{number}.mp4", (names[number], 1 + number / 10))
    opened(folder / "before").index([folder / "videos"])
    opened(folder / "before").prepare("clip4clip-mean", untrained=True)
    (folder / "videos" / "5.mp4").unlink()
    write_scenes(folder / "videos" / "4.mp4", ("black", 2))
    write_scenes(folder / "videos" / "6.mp4", ("white", 2), ("red", 3))
    (folder / "whole").touch()
    return folder


def state(place: Path, operation: str) -> object:
    """What the operation is to bring about."""
    library = opened(place)
    cut = (place / "cut.mp4").read_bytes() if (place / "cut.mp4").exists() else b""
    left = sorted(path.name for path in place.rglob("*.part*"))
    unprepared = len(library.snapshot(library.load_model(MODEL, untrained=True)).unprepared())
    return rows_of(library), library.manifest.encoder, cut, left, unprepared if operation != "upgrade" else None


def fault_of(place: Path, operation: str, full: Callable[[], None], room: Callable[[], None], right: object) -> str:
    """Run an operation on a disk that is full, then with room; what is wrong, or how it ended after a ``+``."""
    told = "+done all the same"
    full()
    try:
        OPERATIONS[operation](place)
    except (WordframeError, OSError) as error:  # the command tells both in a line
        told = f"+{type(error).__name__}: {str(error).replace(str(place), 'PLACE')}"
    except BaseException as error:
        room()
        return f"{type(error).__name__}: {error}"
    room()
    try:
        kept = len({row[0] for row in rows_of(opened(place))})
        OPERATIONS[operation](place)
    except BaseException as error:
        return f"afterwards {type(error).__name__}: {error} (first {told[1:]})"
    if kept < 4:  # of six videos one is gone and another may be between its contents
        return f"only {kept} videos were left (first {told[1:]})"
    return told if state(place, operation) == right else f"not what an undisturbed run makes (first {told[1:]})"


def every_write(ground: Path, results: Results, steps: int) -> None:
    """The n-th write fails, with ``steps`` values of n spread over all."""
    library = ctypes.CDLL(None)
    library.full_disk_from.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_long]
    for operation in OPERATIONS:
        right, total = _undisturbed(ground, operation, library)
        for once in (0, 1):
            for number in sorted({1 + step * total // steps for step in range(steps)}):
                name = f"{operation} / write {number} of {total} {'alone' if once else 'and on'}"
                if name not in results.known:
                    place = _fresh(ground)
                    full = partial(library.full_disk_from, str(place).encode(), number, once)
                    fault = fault_of(place, operation, full, partial(library.full_disk_from, b"", 0, 0), right)
                    results.note(name, {"operation": operation, "way": "write", "told": fault})
                    print(name, fault, flush=True)


def _undisturbed(ground: Path, operation: str, library: ctypes.CDLL) -> tuple[object, int]:
    """What the operation makes where nothing is in its way, and how many writes that takes."""
    place = _fresh(ground)
    library.full_disk_from(str(place).encode(), 1 << 40, 0)
    OPERATIONS[operation](place)
    writes = library.full_disk_writes()
    library.full_disk_from(b"", 0, 0)
    return state(place, operation), writes


def _fresh(ground: Path) -> Path:
    """A copy of the library as it was before."""
    place = ground / "place"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(ground / "before", place)
    return place


def small_disks(ground: Path, results: Results, steps: int) -> None:
    """A tmpfs with more and more room beyond what the library takes."""
    for operation in OPERATIONS:
        place = ground / "place"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        right: object = None
        for step in range(-1, steps):
            name = f"{operation} / {step * 8} kB free"
            if step >= 0 and name in results.known:
                continue
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)], check=True)
            try:
                shutil.copytree(ground / "before", place, dirs_exist_ok=True)
                if step < 0:
                    OPERATIONS[operation](place)
                    right = state(place, operation)
                    continue
                used = shutil.disk_usage(place).used + step * 8192
                full, room = partial(_resize, place, used), partial(_resize, place)
                fault = fault_of(place, operation, full, room, right)
                results.note(name, {"operation": operation, "way": "tmpfs", "told": fault})
                print(name, fault, flush=True)
            finally:
                subprocess.run(["umount", "-l", str(place)], check=True)


def _resize(place: Path, size: int = 64 << 20) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(place)], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--to", type=Path, default=ROOT / "build" / "stress" / "full_disk")
    parser.add_argument("--part", choices=["writes", "disks"], help=argparse.SUPPRESS)  # this program, in its place
    given = parser.parse_args()
    given.to.mkdir(parents=True, exist_ok=True)
    results = Results(given.to / "results.json")
    if given.part == "writes":
        every_write(make_ground(given.to / "ground"), results, given.steps)
    elif given.part == "disks":
        small_disks(make_ground(given.to / "ground"), results, given.steps)
    else:
        return _both(given.to, given.steps)
    return 0


def _both(to: Path, steps: int) -> int:
    again = [sys.executable, "-m", "tests.stress.full_disk", "--steps", str(steps), "--to", str(to), "--part"]
    preloaded = to / _PRELOADED
    source = Path(__file__).with_suffix(".c")
    build = ["cc", "-shared", "-fPIC", "-O1", "-o", str(preloaded), str(source), "-ldl"]
    if shutil.which("cc") and subprocess.run(build).returncode == 0:
        subprocess.run([*again, "writes"], env=environment(LD_PRELOAD=str(preloaded)), cwd=ROOT, check=True)
    else:
        print("left out: there is no C compiler, so no write can be made to fail")
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0:
        subprocess.run(["unshare", "-m", *again, "disks"], env=environment(), cwd=ROOT, check=True)
    else:
        print("left out: this user may not mount a small disk")
    return report(Results(to / "results.json"))


def report(results: Results) -> int:
    """Print a row an operation and way; gives the exit status."""
    rows = []
    for operation in OPERATIONS:
        for way in ("write", "tmpfs"):
            told = [str(e["told"]) for e in results.known.values() if (e["operation"], e["way"]) == (operation, way)]
            done = sum(each == "+done all the same" for each in told)
            bad = sum(not each.startswith("+") for each in told)
            rows.append([operation, way, len(told), len(told) - done - bad, done, bad])
    print(table(["operation", "full", "times", "told in a line", "done all the same", "faults"], rows))
    bad = {name: each["told"] for name, each in results.known.items() if not str(each["told"]).startswith("+")}
    print("\n".join(f"{name}: {told}" for name, told in bad.items()))
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
