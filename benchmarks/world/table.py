"""The rendered world's runs into tables: every head over its seeds, paired tests, and what they say.

Recalls are means over seeds with their standard deviation. A difference is tested twice, as ``wordframe compare`` does:
``p (queries)`` swaps the two models film by film, on each query's mean over the seeds; ``p (seeds)`` deals the runs out
anew. ``rendered_world.py table`` writes the tables into docs/rendered-world.md between two markers, from the results
that a sweep left in benchmarks/results.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wordframe.evaluate import Difference, compare_runs, summarize_seeds
from wordframe.features import PART_NAMES
from world.heads import Sweep, untrained

END = "<!-- end of tables -->"
ORDER = (("mean", "xclip"), ("xclip", "tcmgc"), ("mean", "tcmgc"))
"""The papers' order, pair by pair: the second ahead of the first."""
FURTHER = (
    ("mean", "transformer"),
    ("transformer", "xclip"),
    ("transformer", "tcmgc"),
    ("mean", "tight"),
    ("tight", "xclip"),
    ("tight", "tcmgc"),
    ("mean", "ea-mean"),
    ("lstm", "ea-lstm"),
    ("transformer", "ea-transformer"),
    ("tight", "ea-tight"),
    ("mean", "xpool"),
    ("xpool", "tcmgc"),
    ("xclip", "wti"),
    ("xpool", "tmass"),
)
P_LIMIT = 0.05


def packed(numbers: Iterable[int]) -> str:
    """Whole numbers in one line: a JSON file of them stays readable."""
    return " ".join(map(str, numbers))


def unpacked(line: str) -> NDArray[np.int64]:
    """The numbers of ``packed``."""
    return np.array(line.split(), dtype=np.int64)


def arms(sweep: Sweep) -> dict[str, Any]:
    """What ``tables`` needs of each arm that has runs; the attention that needs no training comes first."""
    sweep.choose()
    found: dict[str, Any] = {}
    for job in sweep.reported():
        if (result := job.result()) is None:
            continue
        row = found.setdefault(job.arm.name, {"title": job.arm.title, "rate": job.rate, "runs": []})
        row["trained_numbers"], row["steps"] = result["trained_numbers"], result["steps"]
        row["validation_recall_at_1"] = {
            f"{rate:g}": value for rate, value in sweep.tried.get(job.arm.name, {}).items()
        }
        told = {"seed": job.seed, "cpu_seconds": result["cpu_seconds"], "parts": result.get("parts", {})}
        row["runs"].append({**told, **_packed_ranks(result)})
    bare = {"seed": None, "cpu_seconds": 0.0, **_packed_ranks(untrained(sweep.place))}
    first = {"title": "untrained attention (zero-shot)", "rate": None, "runs": [bare], "trained_numbers": 0, "steps": 0}
    in_order = {arm.name: found[arm.name] for arm in sweep.arms if arm.name in found}
    return {"zero-shot": {**first, "validation_recall_at_1": {}}, **in_order}


def _packed_ranks(result: Mapping[str, Any]) -> dict[str, str]:
    return {way: packed(result[way]) for way in ("t2v", "v2t")}


def tables(figures: Mapping[str, Any]) -> str:
    """All tables in Markdown."""
    rows = figures["arms"]
    owners = unpacked(figures["world"]["owners"])
    heads = [name for name in rows if not name.startswith("tcmgc-")]
    ablations = [name for name in rows if name.startswith("tcmgc-")]
    present = [pair for pair in (*ORDER, *FURTHER) if set(pair) <= set(rows)]
    sections = [
        _setting(figures),
        "### Heads\n\n" + _recalls(rows, heads),
        "### Paired tests\n\n" + _comparisons(rows, present, owners),
        _verdict(rows, owners),
        _parts({name: rows[name] for name in ("xclip", "tcmgc") if name in rows}),
    ]
    if ablations:
        pairs = [("tcmgc", name) for name in ablations]
        sections.append("### Ablations of TC-MGC\n\n" + _recalls(rows, ["tcmgc", *ablations]))
        sections.append(_comparisons(rows, pairs, owners))
    return "\n\n".join(section for section in sections if section)


def ranks_of(row: Mapping[str, Any], way: str) -> NDArray[np.int64]:
    """``(S, Q)`` of one arm."""
    return np.stack([unpacked(run[way]) for run in row["runs"]])


def _setting(figures: Mapping[str, Any]) -> str:
    world, sweep = figures["world"], figures["sweep"]
    rates = ", ".join(f"{rate:g}" for rate in sweep["rates"])
    steps = max(row["steps"] for row in figures["arms"].values())
    return (
        f"World: seed {world['seed']}, {world['films']['train']:,} / {world['films']['val']:,} / "
        f"{world['films']['test']:,} films for training / validation / test, "
        f"{len(unpacked(world['owners'])):,} test captions. A reader who sees everything would reach "
        f"R@1 {world['best_recall_at_1']:.1f} text→video, since some captions fit several films. "
        f"CLIP: {figures['clip']['steps']:,} steps. Heads: {steps:,} steps of {sweep['batch']} pairs, "
        f"learning rates tried: {rates}."
    )


def _recalls(rows: Mapping[str, Any], names: Iterable[str]) -> str:
    lines = [
        "| head | seeds | rate | trained numbers | CPU s a run "
        "| t2v R@1 | t2v R@5 | t2v MdR | v2t R@1 | v2t R@5 | v2t MdR |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name in names:
        row = rows[name]
        cells = [row["title"], str(len(row["runs"])), "–" if row["rate"] is None else f"{row['rate']:g}"]
        cells += [f"{row['trained_numbers']:,}", _mean([run["cpu_seconds"] for run in row["runs"]])]
        for way in ("t2v", "v2t"):
            found = summarize_seeds(ranks_of(row, way))
            cells += [_spread(found[number]) for number in ("recall_at_1", "recall_at_5", "median_rank")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.0f}"


def _spread(spread: Any) -> str:
    return f"{spread.mean:.1f}" if spread.std is None else f"{spread.mean:.1f} ± {spread.std:.1f}"


def compared(rows: Mapping[str, Any], pair: tuple[str, str], way: str, owners: NDArray[np.int64]) -> Difference:
    """R@1 of two arms; the captions of a film are drawn and swapped together."""
    one, two = (ranks_of(rows[name], way) for name in pair)
    return compare_runs(one, two, clusters=owners if way == "t2v" else None)["recall_at_1"]


def _comparisons(rows: Mapping[str, Any], pairs: Iterable[tuple[str, str]], owners: NDArray[np.int64]) -> str:
    lines = [
        "| second against first | t2v R@1 difference, 95 % | p (queries) | p (seeds) | v2t R@1 difference, 95 % "
        "| p (queries) | p (seeds) |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for pair in pairs:
        cells = [f"{rows[pair[1]]['title']} against {rows[pair[0]]['title']}"]
        for way in ("t2v", "v2t"):
            found = compared(rows, pair, way, owners)
            cells += [f"{found.difference:+.1f} [{found.low:+.1f}, {found.high:+.1f}]"]
            cells += [_p(found.p_queries), _p(found.p_seeds)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _p(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _verdict(rows: Mapping[str, Any], owners: NDArray[np.int64]) -> str:
    """Which steps of the papers' order hold: a difference above zero with both p-values below ``P_LIMIT``."""
    lines = []
    for pair in ORDER:
        if not set(pair) <= set(rows):
            continue
        for way, told in (("t2v", "text→video"), ("v2t", "video→text")):
            found = compared(rows, pair, way, owners)
            p = [value for value in (found.p_queries, found.p_seeds) if value is not None]
            sure = max(p) < P_LIMIT
            says = ("ahead" if found.difference > 0 else "behind") if sure else "not told apart"
            lines.append(f"- {told}: {rows[pair[1]]['title']} against {rows[pair[0]]['title']}: {says}")
    return f"The papers' order, with both p below {P_LIMIT:g}:\n\n" + "\n".join(lines)


def _parts(rows: Mapping[str, Any]) -> str:
    """What each similarity of a trained model finds alone: R@1 text→video / video→text, mean over the seeds."""
    known = {name: row for name, row in rows.items() if all(run.get("parts") for run in row["runs"])}
    if not known:
        return ""
    lines = [
        f"| R@1 t2v / v2t, ranked by | {' | '.join(name.replace('_', '-') for name in PART_NAMES)} | all together |",
        f"|---|{'--:|' * (len(PART_NAMES) + 1)}",
    ]
    for row in known.values():
        alone = [np.mean([run["parts"][part] for run in row["runs"]], axis=0) for part in PART_NAMES]
        together = [summarize_seeds(ranks_of(row, way))["recall_at_1"].mean for way in ("t2v", "v2t")]
        cells = [f"{t2v:.1f} / {v2t:.1f}" for t2v, v2t in (*alone, together)]
        lines.append(f"| {row['title']} | {' | '.join(cells)} |")
    return "### The four similarities of one trained model, each alone\n\n" + "\n".join(lines)


def start(results: str) -> str:
    """The marker in front of the tables of a file of results."""
    return f"<!-- {results}: written by benchmarks/rendered_world.py table -->"


def insert(page: str, generated: str, results: str) -> str:
    """``page`` with everything between the markers replaced that stand around the tables of a file of results."""
    before, rest = page.split(start(results))
    _, after = rest.split(END, 1)
    return f"{before}{start(results)}\n\n{generated}\n\n{END}{after}"
