"""What ``make docs`` adds to the pages of this folder (a hook of mkdocs, see mkdocs.yml): a reference, and the
README, CONTRIBUTING, CHANGELOG and SECURITY as pages.

The reference has a page for each package with its public names (docs/public_names.py); mkdocstrings reads docstrings
and signatures from the source, without importing it. Pages from outside this folder keep their links: to a page of
the site as it is, to another file of the project as its path, since the site does not hold it; to nothing, an error.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))  # mkdocs loads a hook by its path
from public_names import ROOT, modules, names_of

PAGES = {"README.md": "index.md"} | {f"{name}.md": f"{name.lower()}.md" for name in ("CONTRIBUTING", "CHANGELOG")}
PAGES["SECURITY.md"] = "security.md"
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_config(config: Any) -> Any:
    """The reference's pages at the end of the navigation."""
    config["nav"].append({"Reference": [{module: page_of(module)} for module in modules()]})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Reference and pages from outside, made in memory."""
    made = {page_of(module): reference(module) for module in modules()}
    made |= {page: moved(source) for source, page in PAGES.items()}
    for page, content in made.items():
        files.append(File.generated(config, page, content=content))
    return files


def page_of(module: str) -> str:
    return f"reference/{module}.md"


def reference(module: str) -> str:
    """The page of one module: what it is for, then each of its names."""
    lines = [f"# {module}", "", f"::: {module}", "    options: {members: false, show_root_heading: false}", ""]
    for name in names_of(module):
        if not name.startswith("__"):
            lines += [f"::: {module}.{name}", ""]
    return "\n".join(lines)


def moved(source: str) -> str:
    """The text of a page at the project's root with its links as they are from the site's root."""

    def link(match: re.Match[str]) -> str:
        picture, label, target, anchor = match[1], match[2], match[3], match[4] or ""
        if re.match(r"[a-z]+:", target):
            return match[0]
        if target in PAGES:
            return f"{picture}[{label}]({PAGES[target]}{anchor})"
        if target.startswith("docs/"):
            return f"{picture}[{label}]({target.removeprefix('docs/')}{anchor})"
        if not (ROOT / target).exists():
            raise PluginError(f"{source} has a link to {target}, which is not there")
        return f"{label} (`{target}`)" if label.strip("`") != target else f"`{target}`"

    return _LINK.sub(link, (ROOT / source).read_text(encoding="utf-8"))
