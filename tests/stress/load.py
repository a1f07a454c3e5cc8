"""A day of twenty people in a quarter of an hour: memory, handles and threads of ``wordframe serve`` stay as they are.

``python -m tests.stress.load [--requests 6000] [--seed 0]``: eight callers ask as fast as they are answered, in a
seeded mixture: searches by sentence and by picture, explanations, lists, pictures, clips, ranges of files, some read
slowly or left half-way, and questions that are wrong. Meanwhile the library is indexed, moments are exported, and
videos change, come and are pruned. Memory, open handles and threads of the server are taken twice a second; the means
of the second and the last quarter are compared (the first one loads the model and fills what is kept on purpose). Fails
on growth, on answers that it should not give, and where the server ends.
"""

from __future__ import annotations

import argparse
import itertools
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil

from tests.colours import COLOURS, plain_colour, write_scenes
from tests.stress.ground import ROOT, WORDFRAME, environment, table

CALLERS = 8
NUM_VIDEOS = 40
LOOK_SECONDS = 0.5
MORE = {"memory, MB": (0.05, 30.0), "open handles": (0.1, 4.0), "threads": (0.1, 4.0)}
"""How much more the last quarter may have than the second: a share of it, and so many beside."""
SHARES = {
    "search": 40,
    "picture": 4,
    "explain": 8,
    "videos": 8,
    "thumbnail": 16,
    "clip": 5,
    "range": 10,
    "slow": 4,
    "wrong": 5,
}


class Caller:
    """Asks at random; one a thread. counts: the answers, by kind and status."""

    def __init__(self, address: str, seed: int) -> None:
        self._http = httpx.Client(base_url=f"{address}api/v1", timeout=120, trust_env=False)
        self._chance = random.Random(seed)
        self.counts: Counter[tuple[str, int]] = Counter()
        self._segments: list[str] = []
        self._known: list[str] = []

    def ask(self) -> None:
        """One question, of a kind that chance chooses."""
        kind = self._chance.choices(list(SHARES), list(SHARES.values()))[0]
        if kind in ("explain", "thumbnail", "clip") and not self._segments:
            kind = "search"
        if kind in ("range", "slow") and not self._known:
            kind = "videos"
        self.counts[kind, getattr(self, kind)()] += 1

    def _sentence(self) -> str:
        return " ".join(self._chance.choices([*COLOURS, "dog", "beach", "a", "house"], k=self._chance.randint(1, 6)))

    def _segment(self) -> str:
        return f"/segments/{self._chance.choice(self._segments)}"

    def search(self) -> int:
        answer = self._http.get("/search", params={"text": self._sentence(), "limit": self._chance.randint(1, 20)})
        if answer.status_code == 200:
            self._segments = [each["moments"][0]["segment_id"] for each in answer.json()["items"]] or self._segments
        return answer.status_code

    def picture(self) -> int:
        picture = plain_colour(self._chance.choice(list(COLOURS)))
        return self._http.post("/search", content=picture, headers={"content-type": "image/png"}).status_code

    def explain(self) -> int:
        return self._http.get(f"{self._segment()}/explain", params={"q": self._sentence()}).status_code

    def thumbnail(self) -> int:
        return self._http.get(f"{self._segment()}/thumbnail").status_code

    def clip(self) -> int:
        return self._http.get(f"{self._segment()}/clip").status_code

    def videos(self) -> int:
        answer = self._http.get("/videos", params={"limit": self._chance.randint(1, 50)})
        self._known = [each["video_id"] for each in answer.json()["items"]] or self._known
        return answer.status_code

    def range(self) -> int:
        start = self._chance.randrange(2000)
        asked = {"range": f"bytes={start}-{start + self._chance.randrange(4000)}"}
        return self._http.get(f"/videos/{self._chance.choice(self._known)}/media", headers=asked).status_code

    def slow(self) -> int:
        """Reads a file bit by bit, and one time in two goes away in the middle."""
        with self._http.stream("GET", f"/videos/{self._chance.choice(self._known)}/media") as answer:
            for number, _ in enumerate(answer.iter_raw(256)):
                time.sleep(0.005)
                if number == 20 and self._chance.random() < 0.5:
                    break
            return answer.status_code

    def wrong(self) -> int:
        wrong = ("/search", "/search?q=a&limit=-1", "/segments/nosuch/clip", "/videos/nosuch/media", "/nosuch")
        return self._http.get(self._chance.choice(wrong)).status_code


def make_place(place: Path) -> None:
    """Videos and their library; of the last ten videos some come, go and change while the server is asked."""
    if (place / "whole").exists():
        return
    shutil.rmtree(place, ignore_errors=True)
    names = list(COLOURS)
    for number in range(NUM_VIDEOS):
        write_scenes(
            place / "videos" / f"{number:02d}.mp4", (names[number % 8], 2.0), (names[number % 7], 1 + number / 10)
        )
    command = [*WORDFRAME, "index", "videos", "--library", "library"]
    subprocess.run(command, cwd=place, env=environment(), check=True, stdout=subprocess.DEVNULL)
    (place / "whole").touch()


def keep_indexing(place: Path, over: threading.Event, seed: int) -> Counter[str]:
    """Change some videos and index with ``--prune``, export a moment, again and again; gives how often."""
    chance, done = random.Random(seed), Counter[str]()
    while not over.is_set():
        for number in chance.sample(range(NUM_VIDEOS - 10, NUM_VIDEOS), 4):
            path = place / "videos" / f"{number}.mp4"
            if path.exists() and chance.random() < 0.4:
                path.unlink()
            else:
                write_scenes(path, (chance.choice(list(COLOURS)), chance.uniform(1, 4)))
        for arguments in (
            ["index", "videos", "--library", "library", "--prune"],
            ["export", "videos/00.mp4", "0", "1", "--to", "cut.mp4", "--overwrite"],
        ):
            ended = subprocess.run([*WORDFRAME, *arguments], cwd=place, env=environment(), capture_output=True)
            done[f"{arguments[0]}, status {ended.returncode}"] += 1
    return done


def look(process: psutil.Process, over: threading.Event, seen: list[dict[str, float]]) -> None:
    """Note what the server takes, twice a second."""
    while not over.wait(LOOK_SECONDS):
        with process.oneshot():
            values = (process.memory_info().rss / 1e6, float(process.num_fds()), float(process.num_threads()))
        seen.append(dict(zip(MORE, values, strict=True)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--to", type=Path, default=ROOT / "build" / "stress" / "load")
    given = parser.parse_args()
    make_place(given.to)
    started = time.monotonic()
    with tempfile.TemporaryFile() as err:
        command = [*WORDFRAME, "serve", "--library", "library", "--port", "0", "--allow-index"]
        server = subprocess.Popen(
            command, cwd=given.to, env=environment(), stdout=subprocess.PIPE, stderr=err, text=True
        )
        try:
            assert server.stdout is not None
            link = re.search(r"http://\S+", server.stdout.readline())
            assert link, "the server did not begin"
            counts, work, seen = ask_all(link[0], server.pid, given.to, given.requests, given.seed)
            alive = server.poll() is None
        finally:
            server.send_signal(signal.SIGINT)
            status = server.wait(60)
        err.seek(0)
        told = err.read().decode(errors="replace")
    faults = [] if alive and status in (0, 130) else [f"the server ended with status {status}"]
    faults += [told] if "Traceback" in told else []
    print(
        f"{sum(counts.values()):,} requests in {(time.monotonic() - started) / 60:.1f} min; beside them: {dict(work)}"
    )
    return report(counts, seen, faults)


def ask_all(
    address: str, process: int, place: Path, requests: int, seed: int
) -> tuple[Counter[tuple[str, int]], Counter[str], list[dict[str, float]]]:
    """All requests by all callers, while the library is written and the server watched."""
    callers = [Caller(address, seed + number) for number in range(CALLERS)]
    tickets, over, seen = itertools.count(), threading.Event(), list[dict[str, float]]()

    def work(caller: Caller) -> None:
        while next(tickets) < requests:
            caller.ask()

    with ThreadPoolExecutor(CALLERS + 2) as pool:
        watching = pool.submit(look, psutil.Process(process), over, seen)
        indexing = pool.submit(keep_indexing, place, over, seed)
        asking = [pool.submit(work, caller) for caller in callers]
        try:
            for each in asking:
                each.result()
        finally:
            over.set()
        watching.result()
        return sum((caller.counts for caller in callers), Counter()), indexing.result(), seen


def _right(kind: str) -> tuple[int, ...]:
    """The statuses that an answer may have; a video may be gone or changed since it was found (404, 409, 410),
    or shorter than the range (416)."""
    return (404, 422) if kind == "wrong" else (200, 206, 404, 409, 410, 416)


def report(counts: Counter[tuple[str, int]], seen: list[dict[str, float]], faults: list[str]) -> int:
    """Print the answers and what the server took; gives the exit status."""
    kinds = [
        [kind, *(" ".join(f"{s}: {n:,}" for (k, s), n in sorted(counts.items()) if k == kind),)] for kind in SHARES
    ]
    print(table(["asked for", "answers by status"], kinds))
    faults += [
        f"{kind}: {number} answers with status {s}" for (kind, s), number in counts.items() if s not in _right(kind)
    ]
    size = max(1, len(seen) // 4)
    quarters = [seen[start : start + size] for start in range(0, 4 * size, size)]
    rows = []
    for name, (share, more) in MORE.items():
        means = [sum(each[name] for each in quarter) / len(quarter) for quarter in quarters if quarter]
        rows.append([name, *(f"{mean:.1f}" for mean in means)])
        if means[-1] > means[1] * (1 + share) + more:
            faults.append(f"{name}: grew from {means[1]:.1f} to {means[-1]:.1f}")
    print(table(["mean of a quarter", "1st", "2nd", "3rd", "4th"], rows))
    print("\n".join(faults) or "nothing grew")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
