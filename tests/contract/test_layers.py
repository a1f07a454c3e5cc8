"""The architecture: which package may import which, and who alone may import a heavy library."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "wordframe"
LAYERS = [
    {"addresses", "cores", "disk", "errors", "features", "interrupts", "object_storage", "processes"},
    {"encoders", "heads", "losses", "video"},
    {"models", "extraction"},
    {"data", "train", "evaluate", "library"},
    {"search"},
    {"client"},
    {"cli", "server", "mcp"},
]
LAYERS[-1].add("__main__")
LEVEL = {package: level for level, packages in enumerate(LAYERS) for package in packages}
STRANGERS = [{"encoders", "heads", "losses", "video"}]
ALONE = {
    "av": {"video"},
    "obstore": {"object_storage.py"},
    "lance": {"library/_fragments.py", "library/_lance_index.py"},
    "ray": {
        "library/_ray.py",
        "library/_ray_pool.py",
        "library/_ray_preparer.py",
        "library/_ray_index.py",
        "library/_ray_reader.py",
        "server/on_ray.py",
    },
    # beside the store: old formats, and tables that are too damaged for it
    "lancedb": {
        "library/_store.py",
        "library/_lance_index.py",
        "library/_upgrade.py",
        "library/_rescue.py",
        "library/_paths_left.py",
    },
    "numba": {"heads/_kernels"},
    "openvino": {"encoders/_runtime.py"},
    "typer": {"cli"},
    "fastapi": {"server"},
    "starlette": {"server"},
    "uvicorn": {"cli"},
    "mcp": {"mcp.py"},
    "httpx": {"client"},
    "PIL": {"video", "encoders/preprocess.py", "search/_picture.py"},
}


def modules() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if path.parent != SOURCE or path.name != "__init__.py")


def imports(path: Path) -> list[str]:
    """Every module that a file imports, anywhere in it."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
    return names


def package_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_imports_only_packages_below_its_own(path: Path) -> None:
    mine = package_of(path)
    for name in imports(path):
        if not name.startswith("wordframe."):
            continue
        theirs = name.split(".")[1]
        if theirs == mine:
            continue
        assert LEVEL[theirs] <= LEVEL[mine], f"{path.name} ({mine}) imports {name}, which lies above it"
        assert not any({mine, theirs} <= group for group in STRANGERS), f"{mine} and {theirs} must not know each other"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_package_is_known_to_others_by_its_public_names_alone(path: Path) -> None:
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "wordframe" and len(parts) > 2 and parts[1] != package_of(path):
            assert not (SOURCE / parts[1]).is_dir(), f"{path.name} imports {name}; take it from wordframe.{parts[1]}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_heavy_libraries_have_one_door(path: Path) -> None:
    place = path.relative_to(SOURCE).as_posix()
    for name in imports(path):
        allowed = ALONE.get(name.split(".")[0])
        if allowed is not None:
            assert any(place == door or place.startswith(f"{door}/") for door in allowed), f"{place} imports {name}"


def test_every_package_has_a_layer() -> None:
    packages = {package_of(path) for path in modules()}
    assert packages <= set(LEVEL), f"no layer for {packages - set(LEVEL)}"


def test_importing_wordframe_loads_nothing_heavy() -> None:
    code = "import sys, wordframe; print([m for m in ('torch', 'transformers', 'lancedb', 'av') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_client_loads_nothing_heavy() -> None:
    """It shares the classes of what a search finds, and not what finds it."""
    code = (
        "import sys; from wordframe.client import Client; "
        "print([m for m in ('torch', 'transformers', 'lancedb', 'av', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_line_loads_nothing_heavy_before_a_command_runs() -> None:
    code = (
        "import sys, wordframe.cli.main; "
        "print([m for m in ('torch', 'transformers', 'lancedb', 'av', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def loaded_by(code: str, names: str) -> list[str]:
    """Those of some modules that a new process has loaded after it ran ``code``."""
    told = f"{code}; import sys; print(*(name for name in {names.split()} if name in sys.modules))"
    return subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout.split()


def test_an_agent_of_a_server_loads_nothing_heavy() -> None:
    pytest.importorskip("mcp")
    assert loaded_by("import wordframe.cli.mcp, wordframe.mcp", "torch lancedb av numpy pyarrow") == []


def test_a_search_loads_no_decoder_and_nothing_that_only_writing_needs() -> None:
    code = "from wordframe.search import SearchEngine; from wordframe.library import Library; SearchEngine, Library"
    code += "; from wordframe.encoders import load_encoder; load_encoder('offline')"
    assert loaded_by(code, "torch av PIL ftfy filelock pathspec transformers") == ["torch"]
