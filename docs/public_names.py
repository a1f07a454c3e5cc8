"""The public surface of wordframe: what each package and module offers to callers, one name a line.

``make public-names`` writes the list into docs/public-names.txt; a test holds it to what ``__all__`` gives, so that a
name that comes or goes is seen in review. The reference (docs/site.py) is made from the same list. Nothing heavy is
imported: packages load their names on first use.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "wordframe"
FILE = ROOT / "docs" / "public-names.txt"


def modules() -> list[str]:
    """``wordframe``, its packages, and the modules beside them, by their full names."""
    packages = [path.parent.name for path in SOURCE.glob("[!_]*/__init__.py")]
    files = [path.stem for path in SOURCE.glob("[!_]*.py")]
    return ["wordframe", *(f"wordframe.{name}" for name in sorted(packages + files))]


def names_of(module: str) -> list[str]:
    """Public names of one module: its ``__all__``; for a single file without one, what it defines at its top."""
    path = SOURCE.parent.joinpath(*module.split(".")).with_suffix(".py")
    if not path.exists():
        return sorted(importlib.import_module(module).__all__)
    found = list(_defined(ast.parse(path.read_text(encoding="utf-8"))))
    listed = [names for name, names in found if name == "__all__"]
    return sorted(listed[0] if listed else [name for name, _ in found if not name.startswith("_")])


def public_names() -> list[str]:
    """Every public name in full: ``wordframe.video.open_frames``."""
    return [f"{module}.{name}" for module in modules() for name in names_of(module)]


def text() -> str:
    return "".join(f"{name}\n" for name in public_names())


def _defined(tree: ast.Module) -> Iterator[tuple[str, list[str]]]:
    """(name, the strings it is set to if it is a list of strings) of what a file defines at its top."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, []
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            values = node.value.elts if isinstance(node.value, ast.List | ast.Tuple) else []
            strings = [value.value for value in values if isinstance(value, ast.Constant)]
            for target in targets:
                if isinstance(target, ast.Name):
                    yield target.id, [value for value in strings if isinstance(value, str)]


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
    print(f"{len(public_names())} names in {FILE.relative_to(ROOT)}")
