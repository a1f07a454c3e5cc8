"""What a shard of a large library's index holds and costs, beside a process that reads the whole index.

    python benchmarks/shards.py KEPT [--shards 2]

KEPT is a folder that ``large_library.py --keep`` left, of a library whose index has as many parts as there are shards.
The whole index and each shard are read in a process of its own, one after the other: memory beyond the imports once
its codes are read and all queries are asked, and the median of a look for 300 candidates. Then the answers of all
shards are merged: the share of the exact top 10 in them, and in what the whole index gives.
"""

from __future__ import annotations

import argparse
import json
import pickle
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from large_library import CANDIDATES, number_of
from results import save
from two_stage import NoEncoder

from wordframe.library import Effort, Library, Look, Shard


def ask(kept: Path, number: int, shards: int, answers: Path) -> None:
    """In a process of its own: one shard, or with ``shards`` 0 the whole index; prints its figures."""
    queries = np.load(kept / "truth.npz")["sentence"]
    process = psutil.Process()
    before = process.memory_info().rss
    library = Library.open(kept / "library", encoder=NoEncoder())
    version, lineage = library.snapshot().version, library.snapshot().lineage

    def asked(query: Any) -> Look:
        fingerprint = library.manifest.fingerprint
        return Look(fingerprint, "segments", lineage, version, "vectors", query, CANDIDATES, None, Effort())

    if shards:
        shard = Shard(library.place, number, shards)
        shard.warm()
        rows = shard.num_rows(asked(queries[0]))

        def look(query: Any) -> Any:
            return shard.nearest(asked(query))

    else:
        index = library.snapshot().disk_index
        assert index is not None
        rows = library.snapshot().num_segments
        look = partial(index.nearest, limit=CANDIDATES)
        look(queries[0])
    times, found = [], []
    for query in queries:
        start = time.perf_counter()
        found.append(look(query))
        times.append(1000 * (time.perf_counter() - start))
    more = (process.memory_info().rss - before) / 1e6
    answers.write_bytes(pickle.dumps(found))
    print(json.dumps({"segments": rows, "memory_mb": more, "median_ms": statistics.median(times)}))


def in_a_process(kept: Path, number: int, shards: int) -> tuple[dict[str, Any], list[Any]]:
    answers = kept / "answers.pickle"
    command = [sys.executable, __file__, str(kept), "--shards", str(shards), "--number", str(number)]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    figures = json.loads(told.splitlines()[-1])
    found = pickle.loads(answers.read_bytes())
    answers.unlink()
    name = f"shard {number} of {shards}" if shards else "the whole index"
    print(
        f"{name}: {figures['segments']:,} segments, {figures['memory_mb']:,.0f} MB more memory than its imports, "
        f"{figures['median_ms']:.0f} ms a look",
        flush=True,
    )
    return figures, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kept", type=Path)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--number", type=int, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.number is not None:
        return ask(wanted.kept, wanted.number, wanted.shards, wanted.kept / "answers.pickle")
    whole, by_whole = in_a_process(wanted.kept, 0, 0)
    parts = [in_a_process(wanted.kept, number, wanted.shards) for number in range(wanted.shards)]
    truth = np.load(wanted.kept / "truth.npz")["truth"]
    snapshot = Library.open(wanted.kept / "library", encoder=NoEncoder()).snapshot()
    shares: dict[str, list[float]] = {"whole": [], "merged": []}
    for place, exact in enumerate(truth):
        of_all = [found[place] for _, found in parts]
        rows = np.concatenate([found.rows for found in of_all])
        best = rows[np.argsort(np.concatenate([found.distances for found in of_all]), kind="stable")[:CANDIDATES]]
        for name, listed in (("whole", by_whole[place]), ("merged", best.tolist())):
            numbers = [number_of(fact) for fact in snapshot.facts(listed)]
            shares[name].append(float(np.isin(exact, numbers).mean()))
    found = {name: float(np.mean(each)) for name, each in shares.items()}
    print(f"share of the exact top 10: {found['whole']:.3f} by the whole index, {found['merged']:.3f} by its shards")
    of_each = {f"shard {number}": figures for number, (figures, _) in enumerate(parts)}
    save("shards", {"the whole index": whole, **of_each, "share of the exact top 10": found})


if __name__ == "__main__":
    main()
