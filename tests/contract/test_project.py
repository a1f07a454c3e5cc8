"""What holds the project together: dependencies, extras, public names, links, versions.

Everything is read from the files; packages and names are found, not listed, so a new one needs no change here.
"""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import wordframe
from docs.public_names import FILE, ROOT, SOURCE, modules, public_names, text
from tests.lowest import EXTRAS, bounds, pinned_version

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OF_EXTRAS = {
    "train": ("train", "cli/train.py", "processes.py"),
    "report": ("evaluate", "train"),
    "mcp": ("mcp.py", "cli/mcp.py"),
    "openvino": ("encoders/_runtime.py",),
    "cloud": ("object_storage.py",),
    "ray": ("library/_ray", "library/_fragments.py", "library/_lance_index.py"),
    "ray-serve": ("server/on_ray.py",),
}
"""Which part of the source may import what an extra brings."""
NOT_BY_NAME = {"tensorboard", "sentencepiece", "protobuf"}
"""Needed by what others import for us: torch.utils.tensorboard; transformers for SigLIP's vocabulary."""


def names(lines: list[str]) -> set[str]:
    return {re.match(r"[A-Za-z0-9-]+", line)[0].lower() for line in lines}  # type: ignore[index]


CORE = names(PROJECT["dependencies"])
EXTRA = {extra: names(PROJECT["optional-dependencies"][extra]) for extra in EXTRAS}


def imported() -> Iterator[tuple[str, str]]:
    """(file, third-party package) of each import in the source."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found = [node.module]
            for name in found:
                package = name.partition(".")[0]
                if package not in sys.stdlib_module_names | {"wordframe"}:
                    yield path.relative_to(SOURCE).as_posix(), package


def test_each_imported_package_is_declared() -> None:
    distributions = packages_distributions()
    for place, package in imported():
        declared = {name.lower().replace("_", "-") for name in distributions.get(package, [])}
        assert declared, f"{place} imports {package}, which is not installed"
        extras = [extra for extra, brought in EXTRA.items() if declared & brought]
        allowed = bool(declared & CORE) or any(place.startswith(OF_EXTRAS[extra]) for extra in extras)
        assert allowed, (
            f"{place} imports {package}: add it to the dependencies in pyproject.toml (of {extras or 'core'})"
        )


def test_each_declared_package_is_imported() -> None:
    distributions = packages_distributions()
    used = {name.lower().replace("_", "-") for _, package in imported() for name in distributions[package]}
    source = "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    for name in sorted(CORE.union(*EXTRA.values()) - NOT_BY_NAME - used):
        # data packages are found by name, without importing them
        assert f'"{name.replace("-", "_")}"' in source, f"nothing imports {name}: take it out of pyproject.toml"


def test_everything_but_the_extras_own_parts_loads_without_them() -> None:
    """As in an install of the core alone; `make wheel-check` does it with a real one."""
    brought = {"accelerate", "matplotlib", "mcp", "openvino", "peft", "psutil", "tensorboard"}
    wanted = [name for name in public_names() if not name.startswith(("wordframe.train.", "wordframe.mcp."))]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({brought!r}))\n"
        f"import pkgutil\nfor name in {wanted!r}: pkgutil.resolve_name(name)\n"
        "import wordframe.cli.main\n"
        "print('loaded')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "loaded\n", done.stderr


def test_the_list_of_public_names_is_what_the_packages_offer() -> None:
    assert FILE.read_text(encoding="utf-8") == text(), "the public surface changed; if it should: make public-names"


@pytest.mark.parametrize("module", modules())
def test_each_public_name_is_there(module: str) -> None:
    loaded = importlib.import_module(module)
    missing = [name for name in getattr(loaded, "__all__", []) if not hasattr(loaded, name)]
    assert not missing, f"{module}.__all__ has {missing}, which it does not have"


def test_the_version_is_said_once() -> None:
    assert "version" in PROJECT["dynamic"]
    assert "version" not in PROJECT
    said = (SOURCE / "__init__.py").read_text(encoding="utf-8")
    assert re.findall(r'^__version__ = "(.+)"$', said, re.MULTILINE) == [wordframe.__version__]  # a plain literal
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## Unreleased" in changes or f"## {wordframe.__version__}" in changes


def test_the_tested_versions_are_within_the_declared_bounds() -> None:
    def numbers(version: str) -> tuple[int, ...]:
        return tuple(int(part) for part in version.split("."))

    lowest = bounds()
    assert lowest.keys() == CORE.union(*EXTRA.values()), "each dependency needs a lower bound, as name>=version"
    pinned = {line.partition("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    for name in sorted(lowest.keys() & pinned):
        assert numbers(pinned_version(name)) >= numbers(lowest[name]), name
    assert lowest.keys() <= pinned, f"constraints.txt lacks {lowest.keys() - pinned}"


LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s#]*)(?:#([^)\s]*))?\)")
PAGES = sorted(path for folder in (ROOT, ROOT / "docs", SOURCE / "recipes") for path in folder.glob("*.md"))


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub and the docs site make of a page's headings."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)):
        if re.match(r"[a-z]+:", target):
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page.name} has a link to {target}, which is not there"
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path), (
                f"{page.name} has a link to #{anchor} of {path.name}, which has no such heading"
            )


def test_the_makefile_explains_each_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split())  # type: ignore[index]
    explained = set(re.findall(r"^([a-z-]+):.*## \w", makefile, re.MULTILINE))
    assert targets == explained
    for page in PAGES:
        for target in re.findall(r"(?:^|`)make ([a-z][a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert target in targets, f"{page.name} says make {target}, which there is not"
