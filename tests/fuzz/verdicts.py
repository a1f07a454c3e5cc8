"""What became of each file of a trial, and what of it is a fault.

An outcome is what wordframe may do with a damaged file: index it, in part or whole, recognise it as a copy, pass over
it, or fail with one clear line. Everything else is a fault.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HANG_SECONDS = 60.0
MOST_MEBIBYTES = 2048
_INNER = re.compile(r"\b(\w+Error|\w+Exception|\w*Panic\w*|Traceback|\w+Warning)\b|\bpanicked at\b|\.rs:\d+")
"""Names of Python's and Rust's insides, which tell a user nothing."""


@dataclass
class Verdict:
    """Of one file. outcome: one word; line: what was told of it; faults: each in a few words, none if all is well."""

    outcome: str
    line: str = ""
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)
    deaths: list[str] = field(default_factory=list)
    detail: str = ""


def verdicts_of(kind: str, files: list[Path], answer: dict[str, Any]) -> list[Verdict]:
    """One for each file; a fault that cannot be laid to one file is each one's, so that the caller divides them."""
    whole = _faults_of_all(answer)
    found = [_of_video(file, answer) for file in files] if kind == "video" else [_of_commands(kind, answer)]
    for verdict in found:
        verdict.faults = list(dict.fromkeys([*verdict.faults, *whole]))
        verdict.detail = verdict.detail or "\n".join(ran.get("traceback", "") for ran in answer["ran"])
    return found


def _faults_of_all(answer: dict[str, Any]) -> list[str]:
    faults = ["traceback"] if any("traceback" in ran for ran in answer["ran"]) else []
    if answer["mebibytes"] > MOST_MEBIBYTES:
        faults.append("memory")
    return faults


def _of_commands(kind: str, answer: dict[str, Any]) -> Verdict:
    """A file that met commands by itself: each may succeed, or tell one line."""
    refused = [ran for ran in answer["ran"] if ran.get("status") not in (0, None)]
    lines = [line for ran in refused for line in _told(ran)]
    verdict = Verdict("refused" if refused else "taken", " | ".join(lines), answer["took"])
    if kind == "library" and (
        answer["ran"][1].get("status") == 0 and answer["ran"][1]["out"] != answer["ran"][0]["out"]
    ):
        verdict.outcome = "other results"
    for ran in answer["ran"]:
        verdict.faults += _faults_of_command(ran)
    if answer["took"] > HANG_SECONDS:
        verdict.faults.append("hang")
    return verdict


def _told(ran: dict[str, Any]) -> list[str]:
    """What a command that failed said of it: standard error, but for notes; the doctor's lines, and data check's."""
    lines = [line for line in ran["err"].splitlines() if not line.startswith(("note: ", "not prepared for "))]
    if ran["argv"][0] == "doctor":
        lines += [line for line in ran["out"].splitlines() if line.startswith("BROKEN:")]
    if ran["argv"][0] == "data" and not lines:
        lines = ran["out"].splitlines()[:1]
    return lines


def _faults_of_command(ran: dict[str, Any]) -> list[str]:
    if "traceback" in ran:
        return []
    lines, faults = _told(ran), []
    if ran["status"] and not lines:
        faults.append("silence")
    if len(lines) > 1 and ran["argv"][0] != "index":  # which has a line for each file
        faults.append("many lines")
    if any(_INNER.search(_without_names(line)) for line in lines):
        faults.append("unclear line")
    if len(max(lines, default="", key=len)) > 1000:
        faults.append("long line")
    return faults


def _without_names(line: str) -> str:
    """The line without paths and quoted text, whose words are not ours."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|\S*/\S*", "", line)


def _of_video(file: Path, answer: dict[str, Any]) -> Verdict:
    path, ran = str(file), answer["ran"][0]
    seconds = answer["seconds"].get(path, 0.0)
    deaths = [reason for name, reason in answer["deaths"] if name == path]
    if "traceback" in ran:
        return Verdict("lost", seconds=seconds, deaths=deaths)
    outcome, line = _in_summary(path, json.loads(ran["out"]))
    verdict = Verdict(outcome, line, seconds, deaths=deaths)
    if seconds > HANG_SECONDS:
        verdict.faults.append("hang")
    if outcome == "untold":
        verdict.faults.append("silence")
    if _INNER.search(_without_names(line)):
        verdict.faults.append("unclear line")
    return verdict


def _in_summary(path: str, summary: dict[str, Any]) -> tuple[str, str]:
    for outcome, key in (("failed", "failed"), ("partly", "partly"), ("noted", "noted")):
        if path in summary[key]:
            return outcome, summary[key][path]
    for outcome, key in (("indexed", "indexed"), ("copied", "copied")):
        if path in summary[key]:
            return outcome, ""
    return ("passed over", "") if Path(path).suffix in summary["passed_over"] else ("untold", "")
