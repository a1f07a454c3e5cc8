"""A package that runs when something is asked of it."""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from wordframe.library._on_demand import run_on_demand


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package that takes a while and notes that it ran; ``package.part`` is a submodule."""
    name = f"late_{abs(hash(tmp_path)):x}"
    (tmp_path / name).mkdir()
    log = f"open({str(tmp_path / 'ran')!r}, 'a').write('x')"
    early = "import sys\nassert not hasattr(sys.modules[__name__], 'ANSWER')"
    (tmp_path / name / "__init__.py").write_text(f"import time\n{early}\n{log}\ntime.sleep(0.05)\nANSWER = 42\n")
    (tmp_path / name / "part.py").write_text("PART = 'here'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in (name, f"{name}.part"):
        monkeypatch.setitem(sys.modules, module, sys)  # so that what the test puts there is taken away again
        del sys.modules[module]
    return name


def times_run(tmp_path: Path) -> int:
    place = tmp_path / "ran"
    return len(place.read_text()) if place.exists() else 0


def test_importing_it_and_its_parts_runs_nothing(package: str, tmp_path: Path) -> None:
    run_on_demand(package)
    assert importlib.import_module(f"{package}.part").PART == "here"
    assert importlib.import_module(package).part.PART == "here"
    assert times_run(tmp_path) == 0


def test_the_first_name_runs_it_once_for_all_threads(package: str, tmp_path: Path) -> None:
    run_on_demand(package)
    module = importlib.import_module(package)
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(module.ANSWER)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [42] * 4
    assert times_run(tmp_path) == 1
    with pytest.raises(AttributeError, match="no attribute 'QUESTION'"):
        _ = module.QUESTION


def test_a_package_that_ran_or_is_not_there_is_left_alone(package: str, tmp_path: Path) -> None:
    before = importlib.import_module(package)
    run_on_demand(package)
    assert sys.modules[package] is before
    run_on_demand("no_such_package_anywhere")
    assert "no_such_package_anywhere" not in sys.modules


def test_lancedb_starts_without_the_client_of_its_server_which_works_when_asked() -> None:
    code = (
        "import sys, wordframe.library, lancedb; client = 'lance_namespace_urllib3_client'; "
        "print(f'{client}.api' in sys.modules); print(sys.modules[client].TableApi.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "TableApi"]
