"""One page of all kept figures, with plots: benchmarks/results/index.html, from the JSON files beside it.

    python benchmarks/page.py

Nothing is measured here and nothing is typed in: every number comes out of a result file, and what has no file yet is
listed as not measured. Each section names the program that measures it and the baseline that it compares with.
"""

from __future__ import annotations

import html
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from results import FOLDER, load

mpl.rcParams["svg.fonttype"] = "none"
mpl.rcParams["svg.hashsalt"] = "wordframe"  # the same figures give the same file
mpl.rcParams["font.size"] = 9
BLUE, GREY, ORANGE = "#2456c4", "#9aa3ad", "#c4622d"
Results = dict[str, Any]
Rows = list[tuple[str, str]]


@dataclass(frozen=True)
class Section:
    """A part of the page. sources: result files, any number of which may be missing; show: rows and a plot."""

    title: str
    command: str
    baseline: str
    sources: tuple[str, ...]
    show: Callable[[Results], tuple[Rows, Figure | None]]


def bars(labels: list[str], values: list[float], *, unit: str, reference: float | None = None) -> Figure:
    """Horizontal bars; reference: a line to compare with."""
    figure = Figure(figsize=(7, 0.6 + 0.32 * len(labels)), layout="constrained")
    axes = figure.subplots()
    axes.barh(labels[::-1], values[::-1], color=BLUE)
    for place, value in enumerate(values[::-1]):
        axes.text(value, place, f" {value:.3g}", va="center")
    if reference is not None:
        axes.axvline(reference, color=ORANGE, linewidth=1)
    axes.set_xlabel(unit)
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def scoring(results: Results) -> tuple[Rows, Figure | None]:
    figures = results["scoring"]
    parts = {name: value for name, value in figures.items() if isinstance(value, dict) and "times_faster" in value}
    rows = [
        (
            name.replace("_", " "),
            f"{part['times_faster']:.0f} times the published order; {part['pairs_per_second']:,} pairs a second"
            + (f"; {100 * part['share_of_limit_scoring']:.0f} % of the products' limit" if _limit(part) else "")
            + f"; largest error in a logit {part['largest_error_in_logits']:.1e}",
        )
        for name, part in parts.items()
    ]
    for name, part in figures.items():
        if name.startswith("rerank"):
            told = ", ".join(
                f"{key.removesuffix('_ms').replace('_', ' ')} {value} ms"
                for key, value in part.items()
                if key.endswith("_ms")
            )
            rows.append((f"reranking {part['candidates']} candidates", told))
    if "peak_mb" in figures:
        rows.append(("peak memory", f"{figures['peak_mb']:,} MB"))
    labels = [name.replace("_", " ") for name in parts]
    return rows, bars(
        labels, [part["times_faster"] for part in parts.values()], unit="times as fast as the published order"
    )


def _limit(part: dict[str, Any]) -> bool:
    return bool(part.get("share_of_limit_scoring"))


def two_stage(results: Results) -> tuple[Rows, Figure | None]:
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    rows: Rows = []
    for name, content in sorted(results.items(), key=lambda item: int(item[0].rsplit("_", 1)[1])):
        segments = int(name.rsplit("_", 1)[1])
        for setting in content["settings"]:
            kind = "easy" if setting["share"] >= 1 else "hard"
            lists = setting["shortlists"]
            sizes = [each["candidates"] for each in lists]
            style = {"marker": "o", "markersize": 3, "linestyle": "-" if kind == "easy" else "--"}
            label = f"{segments:,} {kind}"
            left.plot(sizes, [each["recall_at_10"] for each in lists], label=label, **style)
            right.plot(sizes, [each["median_ms"] for each in lists], label=label, **style)
            rows += [
                (
                    f"{segments:,} segments, {kind}, {each['candidates']} candidates",
                    f"recall@1 {each['recall_at_1']:.3f}, recall@10 {each['recall_at_10']:.3f}; median "
                    f"{each['median_ms']:.0f} ms, p99 {each['p99_ms']:.0f} ms; {each['bytes_read'] / 1e6:.1f} MB read",
                )
                for each in lists
            ]
    left.set(xlabel="candidates", ylabel="recall@10 of the exhaustive answer")
    left.axhline(0.99, color=ORANGE, linewidth=0.8)
    right.set(xlabel="candidates", ylabel="median ms, without text encoding", yscale="log")
    left.legend(fontsize=7)
    for axes in (left, right):
        axes.set_xscale("log")
        axes.spines[["top", "right"]].set_visible(False)
    return rows, figure


def model_cost(results: Results) -> tuple[Rows, Figure | None]:
    models = results["model_cost"]["models"]
    labels = [f"{model['preset']} ({model['method']})" for model in models]
    figure = bars(labels, [model["per_pair"] for model in models], unit="multiplications a (text, video) pair")
    figure.axes[0].set_xscale("log")
    rows = [
        (label, f"{model['per_pair']:,} a pair, {model['per_video']:,} a video, {model['parameters']:,} parameters")
        for label, model in zip(labels, models, strict=True)
    ]
    return rows, figure


def precision(results: Results) -> tuple[Rows, Figure | None]:
    rows = [
        (
            f"{setting}: {name}",
            f"largest error in a logit {part['largest_error_in_logits']:.2g}, mean {part['mean_error_in_logits']:.2g}; "
            f"R@1 {part['recall_at_1_difference']:+.2f}, R@10 {part['recall_at_10_difference']:+.2f} points; "
            f"{part['pairs_per_second']:,} pairs a second; {part['bytes_a_video']:,} bytes a video",
        )
        for setting, parts in results["precision"]["settings"].items()
        for name, part in parts.items()
    ]
    return rows, None


def flat(results: Results) -> tuple[Rows, Figure | None]:
    """Every number of the files, by its name."""
    rows: Rows = []
    for name, content in results.items():
        rows += [
            (f"{name}: {key}".replace("_", " ") if len(results) > 1 else key.replace("_", " "), _told(value))
            for key, value in _leaves({k: v for k, v in content.items() if k != "machine"})
        ]
    return rows, None


def _leaves(content: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if isinstance(content, dict):
        return [leaf for key, value in content.items() for leaf in _leaves(value, f"{prefix}{key} ")]
    if isinstance(content, list) and content and isinstance(content[0], dict):
        return [
            leaf
            for number, value in enumerate(content, 1)
            for leaf in _leaves(value, f"{prefix}{value.get('name', number)} ")
        ]
    return [(prefix.strip(), content)]


def _told(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


SECTIONS = (
    Section(
        "Scoring 1,000 texts × 1,000 videos, exactly",
        "benchmarks/scoring.py --captions MSRVTT_JSFUSION_test.csv",
        "the published order of operations (language-video attention computed once), in blocks, in the same run; "
        "the limit is the matrix products alone",
        ("scoring",),
        scoring,
    ),
    Section(
        "MSR-VTT's full test: 59,800 captions × 2,990 videos",
        "benchmarks/full_test.py --captions msrvtt_full_test_captions.json",
        "none; the same code as every evaluation",
        ("full_test",),
        flat,
    ),
    Section(
        "Two-stage search against the exhaustive answer",
        "benchmarks/two_stage.py --segments 10000 (100000, 1000000)",
        "scoring every segment exactly",
        ("two_stage_10000", "two_stage_100000", "two_stage_1000000"),
        two_stage,
    ),
    Section("Reduced precision", "benchmarks/precision.py", "float32 throughout", ("precision",), precision),
    Section(
        "A training step of TC-MGC",
        "benchmarks/training_step.py",
        "the plain published computation under autograd, in the same run",
        ("training_step",),
        flat,
    ),
    Section(
        "A step that tunes CLIP",
        "benchmarks/tuning_step.py",
        "all weights tuned, in the same run",
        ("tuning_step",),
        flat,
    ),
    Section("What a model costs", "benchmarks/model_cost.py", "counted, not timed", ("model_cost",), model_cost),
    Section("Decoding", "benchmarks/decode.py CLIPS", "seeking with OpenCV", ("decode",), flat),
    Section(
        "Indexing", "benchmarks/indexing.py CLIPS", "decoding and encoding alone, on all cores", ("indexing",), flat
    ),
    Section(
        "Frames that hardly differ",
        "benchmarks/reuse.py FOLDER --captioned CLIPS",
        "every frame encoded, in the same run",
        ("reuse",),
        flat,
    ),
    Section(
        "Keyframes alone", "benchmarks/keyframes.py CLIPS", "a frame a second, in the same run", ("keyframes",), flat
    ),
    Section(
        "Where the time of indexing goes",
        "benchmarks/frame_costs.py",
        "the decoder's own time",
        ("frame_costs",),
        flat,
    ),
    Section(
        "What encodes frames: torch or OpenVINO", "benchmarks/runtime.py CLIPS", "torch, in turns", ("runtime",), flat
    ),
    Section("Memory while indexing", "benchmarks/memory.py CLIPS", "none", ("memory",), flat),
    Section("A search, process open", "benchmarks/search_latency.py", "none", ("search_latency_10000",), flat),
    Section(
        "A search from a standing start",
        "benchmarks/cold_search.py LIBRARY",
        "importing torch and LanceDB and loading the encoder",
        ("cold_search",),
        flat,
    ),
    Section(
        "A large library's index in shards",
        "benchmarks/shards.py KEPT",
        "the whole index, read alone",
        ("shards",),
        flat,
    ),
    Section("The server under load", "benchmarks/server.py", "none", ("server",), flat),
    Section("The page in a browser", "benchmarks/page_latency.py", "none", ("page_latency",), flat),
    Section(
        "Frames kept as pictures",
        "benchmarks/frame_cache.py CLIPS",
        "decoding the videos again",
        ("frame_cache",),
        flat,
    ),
)


def page() -> str:
    """The whole page."""
    body: list[str] = []
    machines: dict[str, list[str]] = {}
    missing: list[str] = []
    for section in SECTIONS:
        found = {name: content for name in section.sources if (content := load(name)) is not None}
        if not found:
            missing.append(f"{section.title} ({section.command})")
            continue
        for name, content in found.items():
            machines.setdefault(json.dumps(content["machine"]), []).append(name)
        body.append(_section(section, found))
    told = "".join(
        f"<li>{html.escape(', '.join(f'{k} {v}' for k, v in json.loads(machine).items()))}"
        f" <small>({html.escape(', '.join(names))})</small></li>"
        for machine, names in machines.items()
    )
    left_out = "".join(f"<li>{html.escape(line)}</li>" for line in missing)
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>wordframe, measured</title>"
        "<style>body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}"
        "table{border-collapse:collapse;width:100%}td{border-top:1px solid #ddd;padding:.25rem .5rem .25rem 0;"
        "vertical-align:top}td:first-child{width:40%}svg{max-width:100%;height:auto}small{color:#59616b}</style>"
        "<h1>wordframe, measured</h1><p>Written by <code>benchmarks/page.py</code> from the result files beside it. "
        f"Times are of the machines below; ratios are within one run.</p><ul>{told}</ul>"
        + (f"<p>Not measured yet:</p><ul>{left_out}</ul>" if missing else "")
        + "".join(body)
        + "</html>\n"
    )


def _section(section: Section, found: Results) -> str:
    rows, figure = section.show(found)
    table = "".join(f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for name, value in rows)
    return (
        f"<h2>{html.escape(section.title)}</h2><p><code>{html.escape(section.command)}</code><br>"
        f"<small>Baseline: {html.escape(section.baseline)}.</small></p>{_drawn(figure)}<table>{table}</table>"
    )


def _drawn(figure: Figure | None) -> str:
    if figure is None:
        return ""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]


def main() -> None:
    """Write the page."""
    path = FOLDER / "index.html"
    path.write_text(page())
    print(f"written: {path}")


if __name__ == "__main__":
    main()
