"""Prints pip constraints that hold each dependency at the lower bound pyproject.toml declares: for `make test-lowest`.

    python tests/lowest.py [lowest]

torch is held at the version of constraints.txt, unless ``lowest`` is said (see the Makefile).
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTRAS = ("train", "report", "mcp", "openvino", "cloud", "ray", "ray-serve")
"""Of users; the tools of developers are not held."""


def bounds() -> dict[str, str]:
    """The lowest version of each dependency of the core and of the users' extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [
        *project["dependencies"],
        *(line for extra in EXTRAS for line in project["optional-dependencies"][extra]),
    ]
    found = [re.fullmatch(r"([A-Za-z0-9-]+)(?:>=|==)([0-9.]+)", line) for line in declared]
    return {match[1]: match[2] for match in found if match is not None}


def pinned_version(name: str) -> str:
    """The version in constraints.txt."""
    found = re.search(rf"^{name}==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE | re.IGNORECASE)
    assert found is not None, f"constraints.txt has no {name}"
    return found[1]


if __name__ == "__main__":
    lowest = bounds() | ({} if sys.argv[1:] == ["lowest"] else {"torch": pinned_version("torch")})
    print("".join(f"{name}=={version}\n" for name, version in lowest.items()), end="")
