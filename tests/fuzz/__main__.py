"""Thousands of damaged files against the real commands: no crash, no hang, no gigabytes, each told in a line.

    python -m tests.fuzz [--files 10000] [--seed 0] [--minutes 60] [--only video image ...]

File ``n`` of seed ``s`` is always the same: a whole file of ``seeds.py``, damaged by ``damage.py`` as random numbers of
``s`` and ``n`` say. They come in lots of fifty of one kind; a lot of videos is indexed in one run, as a folder is, the
others meet their commands, or a server, one by one, all in a process apart (``trial.py``). A lot that ends, hangs or
grows is halved until the file is found. Verdicts are kept in build/fuzz/journal-SEED.jsonl, so that a run that was
stopped goes on; files at fault are kept in build/fuzz/failures. Ends with status 1 if there is any.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.fuzz.damage import damaged
from tests.fuzz.verdicts import HANG_SECONDS, Verdict, verdicts_of

ROOT = Path(__file__).parents[2]
WORK = ROOT / "build" / "fuzz"
KINDS = ("video", "image", "checkpoint", "captions", "recipe", "library", "export", "clip", "served", "request")
LOT = 50
TURNS = ("video " * 6 + "image ") * 5 + "captions checkpoint captions recipe library"
"""Lots of these kinds, one after the other, again and again."""
LATER = 1_000_000
LATER_TURNS = "export clip served request"
"""Kinds that came later have numbers of their own, so that those of the others stay: a fifth as many."""
_SOURCES = dict.fromkeys(("export", "clip", "served"), "video")
"""Of kinds that are made of another's whole files."""
_LOT_SECONDS = 300.0
"""A lot of videos takes a few. One file alone gets ``HANG_SECONDS``, and as much again on a busy machine."""
_SPARE_SECONDS = 60.0
_OF_ALL = {"crash", "hang", "memory", "traceback"}
"""Faults that are of a lot, until it is divided."""
_LIBRARY_LEFT_OUT = (".lock",)


@dataclass(frozen=True)
class Made:
    """A damaged file, or a library with one: its number, the seed's name, and what was done to it."""

    number: int
    source: str
    damage: str
    file: Path


class Campaign:
    """All files of one seed, in ``work``."""

    def __init__(self, work: Path, seed: int) -> None:
        self.work, self.seed = work, seed
        self.seeds, self.journal = work / "seeds", work / f"journal-{seed}.jsonl"
        if not all((self.seeds / f"{_SOURCES.get(kind, kind)}.whole").exists() for kind in KINDS):
            from tests.fuzz.seeds import write_seeds  # brings torch, which a run that goes on does without

            write_seeds(self.seeds)
        self._trial = Trial(self.seeds)
        self._sources = {kind: self._sources_of(kind) for kind in KINDS}

    def _sources_of(self, kind: str) -> list[Path]:
        folder = self.seeds / _SOURCES.get(kind, kind)
        if kind == "library":
            files = (path for path in (folder / "library").rglob("*") if path.is_file())
            return sorted(path for path in files if path.suffix not in _LIBRARY_LEFT_OUT)
        return sorted(path for path in folder.iterdir() if path.is_file())

    def done(self) -> dict[int, dict[str, Any]]:
        """The journal by numbers; a line that a stopped run left half is none."""
        records: dict[int, dict[str, Any]] = {}
        if self.journal.exists():
            for line in self.journal.read_text().splitlines():
                if line.endswith("}"):
                    record = json.loads(line)
                    records[record["number"]] = record
        return records

    def make(self, kind: str, number: int, folder: Path) -> Made:
        """Write file ``number`` into ``folder``."""
        chance = random.Random(f"{self.seed} {number}")
        source, other = chance.choice(self._sources[kind]), chance.choice(self._sources[kind])
        content, name = damaged(source.read_bytes(), other.read_bytes(), source.suffix, chance)
        if kind != "library":
            file = folder / f"{number:06d}-{source.name}"
            file.write_bytes(content)
            return Made(number, source.name, name, file)
        copy = folder / f"{number:06d}-library"
        whole = self.seeds / "library" / "library"
        shutil.copytree(whole, copy)
        (copy / source.relative_to(whole)).write_bytes(content)
        return Made(number, source.relative_to(whole).as_posix(), name, copy)

    def run(self, numbers: list[int]) -> None:
        """One lot: make the files, try them, write the journal."""
        kind = kind_of(numbers[0])
        folder = self.work / "lot"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "files").mkdir(parents=True)
        lot = [self.make(kind, number, folder / "files") for number in numbers]
        torn = self.journal.exists() and not self.journal.read_bytes().endswith(b"\n")
        with self.journal.open("a") as journal:
            journal.write("\n" if torn else "")
            for made, verdict in self._tried(kind, lot):
                if verdict.faults:
                    self._keep(kind, made)
                record = {"number": made.number, "kind": kind, "source": made.source, "damage": made.damage}
                journal.write(json.dumps(record | asdict(verdict)) + "\n")
                journal.flush()

    def _tried(self, kind: str, lot: list[Made]) -> Iterator[tuple[Made, Verdict]]:
        if kind == "video":
            yield from zip(lot, self._videos(lot), strict=True)
            return
        for made in lot:
            yield made, self._trial.verdicts(kind, [made.file], HANG_SECONDS + _SPARE_SECONDS)[0]

    def _videos(self, lot: list[Made]) -> list[Verdict]:
        """In one run; what ends, hangs or grows there in halves."""
        folder = self.work / "lot" / "together"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        files = [made.file.rename(folder / made.file.name) for made in lot]
        alone = len(lot) == 1
        verdicts = self._trial.verdicts("video", files, HANG_SECONDS + _SPARE_SECONDS if alone else _LOT_SECONDS)
        for made, file in zip(lot, files, strict=True):
            file.rename(made.file)
        if alone or not any(_OF_ALL & set(verdict.faults) for verdict in verdicts):
            return verdicts
        middle = len(lot) // 2
        return self._videos(lot[:middle]) + self._videos(lot[middle:])

    def _keep(self, kind: str, made: Made) -> None:
        target = self.work / "failures" / f"{self.seed}-{kind}-{made.file.name}"
        if not target.exists() and kind == "library":
            self.make(kind, made.number, target.parent)  # as it was: the trial has written into it
            (target.parent / made.file.name).rename(target)
        elif not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(made.file, target)


class Trial:
    """A running ``trial.py``: begun anew after one that ended, hung or grew."""

    def __init__(self, seeds: Path) -> None:
        self._seeds, self._folder = seeds, seeds.parent / "lot" / "trial"
        self._errors = seeds.parent / "stderr.txt"
        self._process: subprocess.Popen[bytes] | None = None

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-m", "tests.fuzz.trial", str(self._seeds)]
        with self._errors.open("w") as errors:
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
            return subprocess.Popen(command, **pipes, env=os.environ | environment, cwd=ROOT)

    def verdicts(self, kind: str, files: list[Path], limit_seconds: float) -> list[Verdict]:
        """Of the files together; where the process ends, hangs or grows, that is each one's fault."""
        if self._process is None:
            self._process = self._start()
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        trial = {"kind": kind, "files": list(map(str, files)), "folder": str(self._folder)}
        process.stdin.write(json.dumps(trial).encode() + b"\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], limit_seconds)[0]:
            self.close()
            return [Verdict("lost", faults=["hang"], seconds=limit_seconds) for _ in files]
        line = process.stdout.readline()
        if not line.endswith(b"\n"):
            detail = f"status {process.wait()}\n{self._errors.read_text(errors='replace')[-4000:]}"
            self.close()
            return [Verdict("lost", faults=["crash"], detail=detail) for _ in files]
        verdicts = verdicts_of(kind, files, json.loads(line))
        if any("memory" in verdict.faults for verdict in verdicts):
            self.close()  # its peak would be each later one's
        return verdicts

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def kind_of(number: int) -> str:
    turns = (LATER_TURNS if number >= LATER else TURNS).split()
    return turns[number % LATER // LOT % len(turns)]


def check_seeds(campaign: Campaign, kinds: Collection[str]) -> None:
    """What is not damaged must be taken, or the campaign would show nothing."""
    for kind, sources in campaign._sources.items():
        if kind == "library" or kind not in kinds:
            continue
        folder = campaign.work / "lot" / "files"
        shutil.rmtree(folder.parent, ignore_errors=True)
        folder.mkdir(parents=True)
        whole = [Made(0, source.name, "none", Path(shutil.copy(source, folder))) for source in sources]
        for made, verdict in campaign._tried(kind, whole):
            fits = verdict.outcome in ("indexed", "taken") or kind == "recipe" or made.source == "two.webp"
            if not fits or verdict.faults:
                raise SystemExit(f"{made.source}, a whole file: {verdict}")


def table(records: list[dict[str, Any]]) -> str:
    """Markdown: a row a kind, what became of its files and what was a fault."""
    outcomes = ("indexed", "taken", "copied", "noted", "partly", "failed", "refused", "other results", "passed over")
    faults = ("crash", "traceback", "hang", "memory", "silence", "many lines", "unclear line", "long line")
    lines = [
        "| kind | files | became | decoders that died | longest | faults |",
        "|---|---|---|---|---|---|",
    ]
    for kind in KINDS:
        mine = [record for record in records if record["kind"] == kind]
        if not mine:
            continue
        became = Counter(record["outcome"] for record in mine)
        wrong = Counter(fault for record in mine for fault in record["faults"])
        deaths = sum(len(record["deaths"]) for record in mine)
        longest = max((record["seconds"] for record in mine), default=0.0)
        told = ", ".join(f"{became[each]:,} {each}" for each in (*outcomes, "lost", "untold") if became[each])
        at_fault = ", ".join(f"{wrong[each]} {each}" for each in faults if wrong[each]) or "none"
        lines.append(f"| {kind} | {len(mine):,} | {told} | {deaths} | {longest:.1f} s | {at_fault} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--only", nargs="*", choices=KINDS, default=KINDS)
    parser.add_argument("--work", type=Path, default=WORK, help="Folder of the seeds, the journal and what failed.")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    campaign = Campaign(given.work.resolve(), given.seed)
    done = campaign.done()
    if not done:
        check_seeds(campaign, given.only)
    until = time.monotonic() + 60 * given.minutes
    for start in (*range(0, given.files, LOT), *range(LATER, LATER + given.files // 5, LOT)):
        stop = given.files if start < LATER else LATER + given.files // 5
        left = [number for number in range(start, min(start + LOT, stop)) if number not in done]
        if left and kind_of(start) in given.only and time.monotonic() < until:
            campaign.run(left)
            print(f"\r{kind_of(start)} {start % LATER + len(left):,}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    records = list(campaign.done().values())
    print(table(records))
    for record in records:
        if record["faults"]:
            print(f"{record['number']} {', '.join(record['faults'])}: {record['source']}, {record['damage']}")
            print(f"    {record['line'] or record['detail'].strip()[-300:]}")
    return int(any(record["faults"] for record in records))


if __name__ == "__main__":
    sys.exit(main())
