"""Mutation testing: small faults are put into the code, one at a time; a good test suite notices each (`make mutants`).

    python -m tests.mutants [search library evaluate heads train/step] [--sample 40] [--seed 0] [--minutes 60]

The faults are those of cosmic-ray's operators (another comparison, a number one off, a condition turned round ...) and,
of our own, a statement left out. For each package a seeded random sample of places is drawn. The package's tests run
once to see which test reaches which line; a mutant is then met by the tests that reach its line, fast ones first, and
if it outlives them by all tests of their files. Work is done on a copy, results are kept in build/mutants, and a run
that was stopped goes on; a mutant of a file that has changed since is drawn and run anew.

killed: a test failed · timeout: the tests ran four times as long as without the fault · survived: nobody noticed.
Survivors are listed as diffs. Some are equivalent (no input can tell them): docs/testing.md names those that were read.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORK = ROOT / "build" / "mutants"
PACKAGES = ("search", "library", "evaluate", "heads", "train/step")
TEST_FOLDERS = ("unit", "contract", "parity")
"""Tests in this process. Those of whole commands (end_to_end) are left out: they take seconds each."""
MAX_TESTS = 150
"""That reach a line and are run first."""
MAX_STATEMENT_LINES = 8
SLOWDOWN, START_SECONDS = 4.0, 60.0
"""A mutant may take so many times the seconds of its tests, and so long to start."""


@dataclass(frozen=True)
class Mutant:
    """One fault: ``operator`` at its ``occurrence`` in ``file`` (whose content has this hash), on ``line``."""

    file: str
    content: str
    operator: str
    occurrence: int
    line: int


@dataclass(frozen=True)
class Reach:
    """Which tests reach which line, and the seconds that each takes."""

    lines: dict[str, dict[str, list[str]]]
    seconds: dict[str, float]

    def tests(self, mutant: Mutant) -> list[str]:
        """Tests that reach the mutant's line, fast ones first.

        A line inside a long statement counts as that statement's; one that runs on import alone (a constant, a default)
        is met by all that reach the file. A file of compiled kernels, whose lines coverage does not see, is met by all
        that reach the files beside and above it.
        """
        lines = {int(line): tests for line, tests in self.lines.get(mutant.file, {}).items() if tests}
        if not lines:
            around = str(Path(mutant.file).parent.parent)
            near = [tests for file, tests in self.lines.items() if str(Path(file).parent).startswith(around)]
            return self.fast_first({test for tests in near for found in tests.values() for test in found})
        above = [line for line in lines if mutant.line - MAX_STATEMENT_LINES < line <= mutant.line]
        return self.fast_first(
            set(lines[max(above)]) if above else {test for tests in lines.values() for test in tests}
        )

    def fast_first(self, tests: set[str]) -> list[str]:
        return sorted(tests, key=lambda test: (self.seconds.get(test, 0.0), test))


# --- what can be changed --------------------------------------------------------------------------------------------


def mutants_of(tree: Path, file: str) -> Iterator[tuple[str, Mutant]]:
    """(kind of place, mutant) for everything that can be changed in a file and matters."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    code = (tree / file).read_text(encoding="utf-8")
    content = hashlib.sha256(code.encode()).hexdigest()[:12]
    silent = silent_spans(code)
    nodes = list(ast_nodes(get_ast(code)))
    for name in sorted(operator_names()):
        operator = get_operator(name)
        if operator.arguments() or name in ("core/NoOp", "core/RemoveDecorator"):
            continue
        positions = (position for node in nodes for position in operator().mutation_positions(node))
        for occurrence, (start, _) in enumerate(positions):
            if not any(begin <= start <= end for begin, end in silent):
                # one of the many swaps of an operator is as good as another: a place counts once
                family = "ReplaceOperator" if "Operator_" in name else name
                yield f"{start} {family}", Mutant(file, content, name, occurrence, start[0])
    for occurrence, node in enumerate(removable(code)):
        yield f"{node.lineno} removed", Mutant(file, content, "statement-removed", occurrence, node.lineno)


def silent_spans(code: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """From where to where (line, column) no run can notice a change: annotations, and what type checkers alone read."""
    silent: list[ast.expr | ast.stmt | None] = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            silent.append(node.returns)
        elif isinstance(node, ast.arg | ast.AnnAssign):
            silent.append(node.annotation)
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            silent.append(node)
    return [
        ((node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)) for node in silent if node
    ]


def removable(code: str) -> list[ast.stmt]:
    """Statements inside functions that a file can be read without: calls, assignments, raises, loops, conditions."""
    found: list[ast.stmt] = []
    kinds = (ast.Expr, ast.Assign, ast.AugAssign, ast.Raise, ast.For, ast.While, ast.If, ast.Delete)
    for function in ast.walk(ast.parse(code)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            inside = (node for node in ast.walk(function) if isinstance(node, kinds))
            found += [
                node for node in inside if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
            ]
    return sorted({(node.lineno, node.col_offset): node for node in found}.values(), key=lambda node: node.lineno)


def mutated(code: str, mutant: Mutant) -> str:
    """The file's code with the fault in it."""
    if mutant.operator != "statement-removed":
        from cosmic_ray.mutating import mutate_code
        from cosmic_ray.plugins import get_operator

        changed = mutate_code(code, get_operator(mutant.operator)(), mutant.occurrence)
        assert isinstance(changed, str)
        return changed
    node = removable(code)[mutant.occurrence]
    lines = code.splitlines(keepends=True)
    assert node.end_lineno is not None
    before, after = lines[: node.lineno - 1], lines[node.end_lineno :]
    # an elif's If begins at its keyword: keep the chain whole
    kept = "elif False:\n" + " " * (node.col_offset + 4) if lines[node.lineno - 1].lstrip().startswith("elif") else ""
    return "".join([*before, " " * node.col_offset + kept + "pass\n", *after])


def sample(tree: Path, package: str, size: int, seed: int) -> list[Mutant]:
    """``size`` mutants of a package: places drawn at random, at each one of its mutants."""
    path = tree / "src" / "wordframe" / package
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    places: dict[tuple[str, str], list[Mutant]] = {}
    for file in files:
        name = file.relative_to(tree).as_posix()
        for place, mutant in mutants_of(tree, name):
            places.setdefault((name, place), []).append(mutant)
    draw = random.Random(f"{seed} {package}")
    chosen = draw.sample(sorted(places), min(size, len(places)))
    return [draw.choice(places[place]) for place in chosen]


# --- running the tests ----------------------------------------------------------------------------------------------


def tests_of(package: str) -> list[str]:
    """Test files that import a package, and its own doctests."""
    name = f"wordframe.{package.partition('/')[0]}"
    found = [f"src/{name.replace('.', '/')}"]
    for folder in TEST_FOLDERS:
        for path in sorted((ROOT / "tests" / folder).glob("test_*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
            modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
            if any(module == name or module.startswith(f"{name}.") or module == "wordframe" for module in modules):
                found.append(path.relative_to(ROOT).as_posix())
    return found


def environment(tree: Path) -> dict[str, str]:
    paths = os.pathsep.join([str(tree / "src"), str(tree), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}


def pytest(tree: Path, arguments: list[str], seconds: float | None) -> int | None:
    """The exit status of pytest in the copy; None if it took longer, and was ended with all that it had started."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *arguments]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(
        command, cwd=tree, env=environment(tree), stdout=quiet, stderr=quiet, stdin=quiet, start_new_session=True
    ) as process:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def copy_tree() -> Path:
    """A fresh copy of the files that git knows or does not ignore."""
    tree = WORK / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    return tree


def reach_of(tree: Path, package: str) -> Reach:
    """Run the package's tests once, faultless, and note who reaches what; kept until a source or test changes."""
    digest = hashlib.sha256()
    for path in sorted([*(tree / "src").rglob("*.py"), *(tree / "tests").rglob("*.py")]):
        digest.update(path.read_bytes())
    kept = WORK / f"{package.replace('/', '-')}-{digest.hexdigest()[:12]}.reach.json"
    if not kept.exists():
        print(f"{package}: running its tests once without a fault", flush=True)
        out = WORK / "reach.json"
        out.unlink(missing_ok=True)
        source = tree / "src" / "wordframe" / package.partition("/")[0]
        os.environ |= {"MUTANTS_REACH": str(out), "MUTANTS_SOURCE": str(source)}
        status = pytest(tree, ["-p", "tests.mutants_plugin", *tests_of(package)], None)
        if status != 0 or not out.exists():
            raise SystemExit(f"the tests of {package} do not pass without a fault (pytest ended with {status})")
        out.replace(kept)
    return Reach(**json.loads(kept.read_text(encoding="utf-8")))


def outcome(tree: Path, mutant: Mutant, reach: Reach) -> str:
    """What becomes of a mutant: ``killed``, ``timeout``, ``survived``, or ``unreached`` by any test."""
    path = tree / mutant.file
    code = path.read_text(encoding="utf-8")
    reaching = reach.tests(mutant)
    if not reaching:
        return "unreached"
    files = {test.partition("::")[0] for test in reaching}
    rest = [test for test in reach.seconds if test.partition("::")[0] in files and test not in reaching[:MAX_TESTS]]
    path.write_text(mutated(code, mutant), encoding="utf-8")
    try:
        for tests in (reaching[:MAX_TESTS], rest):
            if tests:
                limit = START_SECONDS + SLOWDOWN * sum(reach.seconds.get(test, 0.0) for test in tests)
                status = pytest(tree, tests, limit)
                if status != 0:
                    return "timeout" if status is None else "killed"
        return "survived"
    finally:
        path.write_text(code, encoding="utf-8")


def diff(tree: Path, mutant: Mutant) -> str:
    code = (tree / mutant.file).read_text(encoding="utf-8")
    lines = difflib.unified_diff(
        code.splitlines(), mutated(code, mutant).splitlines(), mutant.file, "mutant", "", "", 1, ""
    )
    return "\n".join(lines)


def run(tree: Path, package: str, mutants: list[Mutant], until: float) -> dict[str, int]:
    """Outcomes and their numbers; those of a run before are kept."""
    kept = WORK / f"{package.replace('/', '-')}.jsonl"
    lines = kept.read_text(encoding="utf-8").splitlines() if kept.exists() else []
    known = {Mutant(**entry["mutant"]): entry["outcome"] for entry in map(json.loads, lines)}
    reach = reach_of(tree, package) if any(mutant not in known for mutant in mutants) else Reach({}, {})
    counts: dict[str, int] = {}
    for number, mutant in enumerate(mutants, 1):
        if mutant not in known:
            if time.monotonic() > until:
                counts["not run"] = counts.get("not run", 0) + 1
                continue
            known[mutant] = outcome(tree, mutant, reach)
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"mutant": asdict(mutant), "outcome": known[mutant]}) + "\n")
        found = known[mutant]
        counts[found] = counts.get(found, 0) + 1
        print(f"{package} {number}/{len(mutants)} {found:9} {mutant.file}:{mutant.line} {mutant.operator}", flush=True)
        if found in ("survived", "unreached"):
            print(diff(tree, mutant), flush=True)
    return counts


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("packages", nargs="*", default=list(PACKAGES), help="; ".join(PACKAGES))
    parser.add_argument("--sample", type=int, default=40, help="mutants a package (40)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (0)")
    parser.add_argument("--minutes", type=float, default=120.0, help="for all; what is left is run by the next call")
    options = parser.parse_args(argv)
    WORK.mkdir(parents=True, exist_ok=True)
    # as Ctrl-C does: the tests that run are ended with us, and what is done is kept
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    tree, until = copy_tree(), time.monotonic() + 60 * options.minutes
    table = {
        package: run(tree, package, sample(tree, package, options.sample, options.seed), until)
        for package in options.packages
    }
    print()
    for package, counts in table.items():
        dead, done = counts.get("killed", 0) + counts.get("timeout", 0), sum(counts.values()) - counts.get("not run", 0)
        share = f"{100 * dead / done:.0f} %" if done else "–"
        print(
            f"{package:12} {dead} of {done} died ({share}): " + ", ".join(f"{n} {what}" for what, n in counts.items())
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
