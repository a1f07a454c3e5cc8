"""Every command under every odd condition: it works, or says why not in one line with the right status.

``python -m tests.stress.conditions [--commands NAME,…] [--conditions NAME,…]``: each pair runs in a copy of the ground,
as a process of its own. No traceback, no hang, no status but 0, 1, 2 and 130, one line that begins with ``wordframe:``
where it failed, and a library that is afterwards what it was. Conditions that need mounts are left out, and said so,
where the system does not let this user make them.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.stress.ground import ROOT, WORDFRAME, Results, environment, make_ground, table

LIMIT_SECONDS = 240.0
_LIBRARY = ["--library", "library"]
_CAPTIONS = ["--videos", "videos", "--captions", "captions.json"]
_CONVERTED = ["--max-words", "32", "--max-frames", "12", "--to", "model"]
COMMANDS: dict[str, list[str]] = {
    "index": ["index", "videos", *_LIBRARY],
    "index new": ["index", "videos", "--library", "other"],
    "index --prune": ["index", "videos", *_LIBRARY, "--prune", "--json"],
    "search": ["search", "grün, a — green one", *_LIBRARY, "--explain"],
    "search --json": ["search", "green", *_LIBRARY, "--json"],
    "search --image": ["search", "--image", "picture.png", *_LIBRARY],
    "export": ["export", "videos/grün — 緑.mp4", "0:01", "0:03"],
    "prepare": ["prepare", "tcmgc-msrvtt", "--untrained", *_LIBRARY],
    "prepare --list": ["prepare", "--list", *_LIBRARY],
    "upgrade": ["upgrade", *_LIBRARY],
    "upgrade --encoder": ["upgrade", "--encoder", "offline", *_LIBRARY],
    "doctor": ["doctor", *_LIBRARY],
    "serve": ["serve", *_LIBRARY, "--port", "0"],
    "try": ["try", "videos", "--library", "library", "--no-open"],
    "mcp": ["mcp", *_LIBRARY],
    "evaluate": ["evaluate", *_CAPTIONS, "--to", "new run"],
    "evaluate --moments": ["evaluate", "--moments", *_CAPTIONS],
    "compare": ["compare", "run", "run"],
    "runs": ["runs"],
    "train": ["train", "recipe.yaml", "--dry-run", "2"],
    "train --list": ["train", "--list"],
    "models": ["models"],
    "encoders": ["encoders"],
    "convert": ["convert", "captions.json", "--family", "tcmgc", "--sim-header", "meanP", *_CONVERTED],
    "data list": ["data", "list"],
    "data check": ["data", "check", *_CAPTIONS],
    "cache frames": ["cache", "frames", *_CAPTIONS, "--to", "frames"],
    "cache features": ["cache", "features", *_CAPTIONS, "--to", "features"],
    "--help": ["--help"],
    "a wrong option": ["search", "green", "--nosuch"],
    "no library": ["search", "green", "--library", "nowhere"],
}
SERVERS = ("serve", "try", "mcp")  # which go on until they are ended; mcp where its input does not end


@dataclass(frozen=True)
class Condition:
    """How a command is run. shell: what runs ``"$@"``; values: of the environment, None for none; a ``mount`` needs
    rights of its own; loud: standard error can be read; needs: a program the system must have."""

    shell: str = 'exec "$@"'
    values: dict[str, str | None] = field(default_factory=dict)
    mounts: bool = False
    loud: bool = True
    terminal: bool = False


_READ_ONLY = "mount --bind {0} {0} && mount -o remount,bind,ro {0} && "
_ASCII: dict[str, str | None] = {
    "LC_ALL": "C",
    "LANG": "C",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONIOENCODING": None,
}
CONDITIONS: dict[str, Condition] = {
    "nothing odd": Condition(),
    "read-only library": Condition(_READ_ONLY.format("library") + 'exec "$@"', mounts=True),
    "read-only disk": Condition(_READ_ONLY.format('"$PWD"') + 'cd "$PWD" && exec "$@"', mounts=True),
    "64 open files": Condition('ulimit -n 64 && exec "$@"'),
    "no HOME": Condition(values={"HOME": None, "XDG_DATA_HOME": None, "XDG_CACHE_HOME": None}),
    "HOME cannot be written": Condition(values={"HOME": "/proc", "XDG_DATA_HOME": None, "XDG_CACHE_HOME": None}),
    "stdout closed": Condition('exec "$@" >&-'),
    "stdin closed": Condition('exec "$@" <&-'),
    "stderr closed": Condition('exec "$@" 2>&-', loud=False),
    "all three closed": Condition('exec "$@" <&- >&- 2>&-', loud=False),
    "stdout is a full disk": Condition('exec "$@" >/dev/full'),
    "stderr is a full disk": Condition('exec "$@" 2>/dev/full', loud=False),
    "stdout read by nobody": Condition('set -o pipefail; "$@" | true'),
    "stdout read for a line": Condition('set -o pipefail; "$@" | head -1'),
    "LANG=C": Condition(values=_ASCII),
    "PYTHONIOENCODING=ascii": Condition(values={"PYTHONIOENCODING": "ascii"}),
    "TMPDIR is missing": Condition(values={"TMPDIR": "/nonexistent"}),
    "nowhere for temporary files": Condition(
        'mount --bind "$PWD" "$PWD" && cd "$PWD" && '
        + "".join(_READ_ONLY.format(place) for place in ("/tmp", "/var/tmp", "/dev/shm"))
        + 'exec "$@"',
        mounts=True,
    ),
    "terminal of 20 columns": Condition(values={"TERM": "xterm", "COLUMNS": None}, terminal=True),
    "working folder is gone": Condition('mkdir gone && cd gone && rmdir ../gone && exec "$@"'),
    "one process's memory of 3 GB": Condition('ulimit -v 3000000 && exec "$@"'),
}


@dataclass
class Ended:
    """A command that has ended. status: negative for a signal, None for one that had to be ended."""

    status: int | None
    out: str
    err: str


class Rest:
    """Whether a process has begun, and waits: it and its children have hardly computed for two seconds."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._since, self._spent = time.monotonic(), -1.0

    def has_come(self) -> bool:
        spent = 0.0
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self._number)
            spent = sum(sum(each.cpu_times()[:2]) for each in (process, *process.children(recursive=True)))
        if not 0 <= spent - self._spent < 0.05:
            self._since, self._spent = time.monotonic(), spent
        return time.monotonic() - self._since > 2.0 and spent > 1.0


def may_mount() -> bool:
    """Whether this user may make mounts of its own."""
    return subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


def run(place: Path, arguments: list[str], condition: Condition, *, until_ready: bool) -> Ended:
    """Run a command of wordframe in ``place``; one that serves is interrupted when it has had time to begin."""
    command = ["bash", "-c", condition.shell, "bash", *WORDFRAME, *arguments]
    if condition.mounts:
        command = ["unshare", "-m", *command]
    master, slave = pty.openpty() if condition.terminal else (-1, -1)
    if condition.terminal:
        os.set_blocking(master, False)
        subprocess.run(["stty", "cols", "20", "rows", "24"], stdin=slave, check=True)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            command,
            cwd=place,
            env=environment(WORDFRAME_LIBRARY=None, **condition.values),
            stdin=slave if condition.terminal else subprocess.DEVNULL,
            stdout=slave if condition.terminal else out,
            stderr=slave if condition.terminal else err,
            start_new_session=True,
        )
        shown: list[bytes] = []
        started = time.monotonic()
        rest = Rest(process.pid)
        interrupts = [12.0, 32.0] if until_ready else []
        while process.poll() is None:
            time.sleep(0.1)
            if condition.terminal:
                _drain(master, shown)
            taken = time.monotonic() - started
            if interrupts and (taken > interrupts[0] or (len(interrupts) == 2 and rest.has_come())):
                interrupts.pop(0)
                os.killpg(process.pid, signal.SIGINT)
            if taken > LIMIT_SECONDS:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return Ended(None, "", "")
        if condition.terminal:
            _drain(master, shown)
            os.close(master)
            os.close(slave)
        out.seek(0)
        err.seek(0)
        told = out.read() + b"".join(shown)
        heard = err.read() + b"".join(shown)
        return Ended(process.returncode, told.decode(errors="replace"), heard.decode(errors="replace"))


def _drain(master: int, shown: list[bytes]) -> None:
    try:
        while data := os.read(master, 65536):
            shown.append(data)
    except OSError:
        pass


def fault_of(ended: Ended, condition: Condition) -> str:
    """What is wrong with how a command ended; empty for nothing."""
    if ended.status is None:
        return f"hangs: no end in {LIMIT_SECONDS:.0f} s"
    for sign in ("Traceback (most recent call last)", "Exception ignored", "Fatal Python error", "panicked at"):
        if sign in ended.err:
            return f"{sign}: {ended.err.strip().splitlines()[-1]}"
    if ended.status not in (0, 1, 2, 130):
        return f"status {ended.status}"
    if ended.status == 130 and condition.loud and not ended.err.strip():
        return "interrupted without a line"
    lines = [line for line in re.split(r"[\r\n]+", ended.err) if line.startswith("wordframe: ")]
    if (
        ended.status in (1, 2)
        and condition.loud
        and not condition.terminal
        and len(lines) != 1
        and not _told(ended.err)
    ):
        return f"status {ended.status} with {len(lines)} lines that say why"
    return ""


def _told(err: str) -> bool:
    return any(line.startswith("failed: ") for line in err.splitlines())


def trial(ground: Path, name: str, under: str) -> dict[str, object]:
    """One command under one condition."""
    with tempfile.TemporaryDirectory(dir=ground.parent) as temporary:
        place = Path(temporary) / "place"
        shutil.copytree(ground, place)
        condition = CONDITIONS[under]
        arguments = COMMANDS[name]
        if under == "working folder is gone":  # what is named from there must be named whole
            arguments = [str(place / word) if (place / word).exists() and word != "run" else word for word in arguments]
        ended = run(place, arguments, condition, until_ready=name in SERVERS)
        fault = fault_of(ended, condition)
        if not fault and name != "index new":
            before, after = rows_of(ground / "library"), rows_of(place / "library")
            fault = "" if after == before else "the library has changed"
        last = (ended.err.strip().splitlines() or [""])[-1]
        return {"status": ended.status, "fault": fault, "last": last[:300].replace(str(place), "PLACE")}


_reading = threading.Lock()


def rows_of(library: Path) -> set[tuple[object, ...]]:
    """All segments with their features, as they are stored; the copy of a video at another path changes nothing."""
    import lancedb

    with _reading:
        rows = lancedb.connect(library / "tables").open_table("segments").search().to_arrow().to_pylist()
    return {(row["content_hash"], row["start_seconds"], bytes(row["frames"])) for row in rows}


def _listed(text: str) -> list[str]:
    return text.split(",")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commands", type=_listed, default=list(COMMANDS), help="separated by commas")
    parser.add_argument("--conditions", type=_listed, default=list(CONDITIONS), help="separated by commas")
    parser.add_argument("--to", type=Path, default=ROOT / "build" / "stress" / "conditions.json")
    parser.add_argument("--again", action="store_true", help="also what is known already")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    given.to.parent.mkdir(parents=True, exist_ok=True)
    results = Results(given.to)
    ground = make_ground(given.to.parent / "ground")
    mounting = may_mount()
    pairs = [
        (name, under)
        for under in given.conditions
        for name in given.commands
        if (given.again or f"{name} / {under}" not in results.known) and (mounting or not CONDITIONS[under].mounts)
    ]
    with concurrent.futures.ThreadPoolExecutor(given.workers) as pool:
        running = {pool.submit(trial, ground, *pair): pair for pair in pairs}
        for done in concurrent.futures.as_completed(running):
            name, under = running[done]
            results.note(f"{name} / {under}", done.result())
            print(f"{name} / {under}: {results.known[f'{name} / {under}']}", flush=True)
    return report(results, mounting)


def report(results: Results, mounting: bool) -> int:
    """Print a row a condition; gives the exit status."""
    rows, faults = [], []
    for under, condition in CONDITIONS.items():
        known = {name: results.known[f"{name} / {under}"] for name in COMMANDS if f"{name} / {under}" in results.known}
        works = sum(not each["fault"] and each["status"] in (0, 130) for each in known.values())
        told = sum(not each["fault"] for each in known.values()) - works
        bad = [f"{name} / {under}: {each['fault']} ({each['last']})" for name, each in known.items() if each["fault"]]
        faults += bad
        skipped = "no mounts here" if condition.mounts and not mounting else len(bad)
        rows.append([under, len(known), works, told, skipped])
    print(table(["condition", "commands", "work", "say why not", "faults"], rows))
    print("\n".join(faults))
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
