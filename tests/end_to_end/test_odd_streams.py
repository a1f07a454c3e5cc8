"""The real command with standard streams that are closed, full or read by nobody, and in a folder that is gone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.colours import write_scenes

if sys.platform == "win32":
    pytest.skip("a shell of POSIX sets the streams up", allow_module_level=True)

OPENED = "import os, sys; from wordframe.cli import _streams; _streams.prepare_streams(); "


def shell(line: str, *arguments: str, folder: Path | None = None, **values: str) -> subprocess.CompletedProcess[str]:
    """Run ``line`` with the words of a command as ``"$@"``."""
    words = ["bash", "-c", f"set -o pipefail; {line}", "bash", sys.executable, *arguments]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120, env={**os.environ, **values})


def wordframe(line: str, *arguments: str, folder: Path | None = None, **values: str) -> tuple[int, str, str]:
    done = shell(line, "-m", "wordframe", *arguments, folder=folder, **values)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_seen_enough_is_no_failure(unbuffered: str) -> None:
    assert wordframe('"$@" | true', "models", PYTHONUNBUFFERED=unbuffered) == (0, "", "")
    assert wordframe('"$@" | true', "--help", PYTHONUNBUFFERED=unbuffered) == (0, "", "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_results_that_cannot_be_written_are_told(unbuffered: str) -> None:
    told = "wordframe: standard output cannot be written (no space left on device): what was to be printed is lost\n"
    assert wordframe('"$@" >/dev/full', "models", PYTHONUNBUFFERED=unbuffered) == (1, "", told)


def test_results_that_nobody_wants_are_told_and_no_failure() -> None:
    told = "wordframe: standard output is closed: what was to be printed is lost\n"
    assert wordframe('"$@" >&-', "models") == (0, "", told)
    status, _, err = wordframe('"$@" >&-', "models", "--nosuch")
    assert (status, err.count("\n")) == (2, 1)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_log_keeps_the_exit_status() -> None:
    assert wordframe('"$@" 2>/dev/full', "models", "--nosuch")[0] == 2
    assert wordframe('"$@" 2>/dev/full', "export", "nowhere.mp4", "0", "1")[0] == 1


def test_a_working_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    status, out, err = wordframe('mkdir gone && cd gone && rmdir ../gone && "$@"', "models", folder=tmp_path)
    told = "wordframe: the folder this was started in cannot be used (no such file or directory): go to another\n"
    assert (status, out, err) == (1, "", told)


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """What C libraries say to standard error must not land in the file that got its number."""
    code = OPENED + "print(open('next', 'w').fileno() > 2, file=open('told', 'w')); print(1); print(sys.stdin.read())"
    assert shell('"$@" <&- >&- 2>&-', "-c", code, folder=tmp_path).returncode == 0
    assert (tmp_path / "told").read_text() == "True\n"


def test_an_export_without_streams_is_whole(tmp_path: Path) -> None:
    write_scenes(tmp_path / "red.mp4", ("red", 2))
    export = ("export", "red.mp4", "0", "1", "--to")
    assert wordframe('"$@"', *export, "plain.mp4", folder=tmp_path)[0] == 0
    assert wordframe('"$@" <&- >&- 2>&-', *export, "closed.mp4", folder=tmp_path)[0] == 0
    assert (tmp_path / "closed.mp4").read_bytes() == (tmp_path / "plain.mp4").read_bytes()


START = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
START += "from wordframe.__main__ import entry_point\n"
STOP = "def stop(*given, **named): signal.raise_signal(signal.SIGINT)\n"


@pytest.mark.parametrize(
    "when",
    [
        "import wordframe.cli.models as models\nmodels.print_json = stop\n",  # in a command
        "import lazy_loader\nlazy_loader.attach_stub = stop\n",  # before anything of the command is loaded
    ],
)
def test_ctrl_c_is_told_wherever_it_comes(when: str) -> None:
    done = shell('"$@"', "-c", f"{START}{STOP}{when}entry_point()", "models", "--json")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "wordframe: interrupted\n")


def test_ctrl_c_after_the_last_word_changes_nothing() -> None:
    late = "import atexit, signal; atexit.register(signal.raise_signal, signal.SIGINT)\n"
    done = shell('"$@"', "-c", f"{late}{START}entry_point()", "models", "--nosuch")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such limit")
@pytest.mark.slow
def test_little_memory_is_enough_or_told_in_a_line(tmp_path: Path) -> None:
    """Threads of libraries reserve more than they use; OpenBLAS ended the process where it got none."""
    write_scenes(tmp_path / "videos" / "red.mp4", ("red", 2))
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[:2]))  # each brings threads with stacks of 8 MB
    index = ("index", "videos", "--library", "library")
    status, _, err = wordframe(f'ulimit -v 3000000; taskset -c {cores} "$@"', *index, folder=tmp_path)
    assert (status, err) == (0, "")
    status, _, err = wordframe(f'ulimit -v 700000; taskset -c {cores} "$@"', *index, folder=tmp_path)
    assert status == 1
    assert re.search(
        r"^wordframe: memory ran out \(.*\): this process may have 0.7 GB \(ulimit -v\); allow it more\n\Z", err, re.M
    )
