"""The command ``wordframe``: parses, calls the packages below, prints, and turns errors into one line.

Exit status: 0 done, 1 something failed and was told, 2 wrong usage, 130 interrupted. Heavy libraries are imported
inside the commands, so that ``--help`` is quick.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from wordframe import __version__
from wordframe.cli._memory import save_memory, shortage_line
from wordframe.cli._storage import on_object_storage
from wordframe.cli._streams import is_lost, output_fault, prepare_streams, tell
from wordframe.cli._terminal import print_as_the_terminal_can
from wordframe.cli.data import cache, data
from wordframe.cli.doctor import doctor
from wordframe.cli.encoders import encoders
from wordframe.cli.evaluate import evaluate
from wordframe.cli.index import index
from wordframe.cli.mcp import mcp
from wordframe.cli.models import convert, models
from wordframe.cli.prepare import prepare
from wordframe.cli.runs import compare, runs
from wordframe.cli.search import export, search
from wordframe.cli.serve import serve
from wordframe.cli.train import train
from wordframe.cli.try_folder import try_folder
from wordframe.cli.upgrade import upgrade
from wordframe.errors import WordframeError

_LOOK_FOR_GARBAGE_AFTER = 50_000
"""New objects."""


class _Commands(TyperGroup):
    """Typer makes a status of Ctrl-C, and nobody is told; as an end of its own it comes to ``_run``."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Abort from None


app = typer.Typer(
    name="wordframe",
    cls=_Commands,
    help="Finds the videos, and the moments in them, that a sentence describes. Everything stays on this machine.",
    epilog="Start with: wordframe try ~/Videos",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("try")(on_object_storage(try_folder))
app.command()(on_object_storage(index))
app.command()(on_object_storage(search))
app.command()(on_object_storage(serve))
app.command()(on_object_storage(prepare))
app.command()(on_object_storage(mcp))
app.command()(on_object_storage(export))
app.command()(on_object_storage(evaluate))
app.command()(compare)
app.command()(runs)
app.command()(on_object_storage(train))
app.command()(models)
app.command()(encoders)
app.command()(convert)
app.command()(on_object_storage(doctor))
app.command()(on_object_storage(upgrade))
app.add_typer(data, name="data")
app.add_typer(cache, name="cache")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"wordframe {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Show the version."),
) -> None:
    pass


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; ``argv`` without the program's name. Returns the exit status."""
    out = sys.stdout
    try:
        status = _run(list(sys.argv[1:] if argv is None else argv))
        fault = output_fault(out)
    except (OSError, SystemExit) as error:  # typer makes the second of a pipe that nobody reads
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        status, fault = 1, output_fault(out)
        if fault is None:  # no stream of ours: the disk, a limit of the system
            tell(shortage_line(cause) or _os_error_line(cause))
    except Exception as error:
        line = shortage_line(error)
        if line is None:
            raise
        status, fault = 1, output_fault(out)
        tell(line)
    if is_lost(out):
        tell("standard output is closed: what was to be printed is lost")
    if isinstance(fault, BrokenPipeError):  # the reader of our output, such as `head`, has seen enough
        return 0
    if fault is not None:
        tell(f"standard output cannot be written ({_reason(fault)}): what was to be printed is lost")
        return status or 1
    return status


def _run(arguments: list[str]) -> int:
    """One command; what it raises on bad input becomes a line and a status."""
    # not standalone: errors come here as exceptions, so that tests and programs get a status and not an exit
    command = typer.main.get_command(app)
    try:
        _check_working_folder()
        status = command.main(args=arguments, standalone_mode=False)
        return status if isinstance(status, int) else 0
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        name = context.command_path if context is not None else "wordframe"
        told = error.format_message().replace(
            ": Value error, ", ": "
        )  # what checks an option's values says that of all
        tell(f"{told} ({name} --help shows the usage)")
        return error.exit_code
    except WordframeError as error:
        tell(str(error))
        return 1
    except (KeyboardInterrupt, typer.Abort):
        tell("interrupted")
        return 130


def _check_working_folder() -> None:
    """Without one no path can be made absolute, and libraries that load others die of it in their own words."""
    try:
        os.getcwd()
    except OSError as error:
        raise WordframeError(
            f"the folder this was started in cannot be used ({_reason(error)}): go to another"
        ) from None


def _os_error_line(error: OSError) -> str:
    place = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    return f"{place}{_reason(error)}"


def _reason(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower()


def entry_point() -> None:
    """What the installed script calls."""
    # Read when torch loads. Threads of OpenMP that wait for work spin by default, which takes the cores from whoever
    # has work where others use them, too (docs/evaluation.md has figures of two busy cores).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Read when LanceDB loads: its warnings are for its own people. What fails is raised, and told in a line.
    os.environ.setdefault("LANCEDB_LOG", "error")
    save_memory()
    # What imports make stays; looking it through for garbage after each 700 objects is a tenth of a command's start.
    gc.set_threshold(_LOOK_FOR_GARBAGE_AFTER)
    prepare_streams()
    print_as_the_terminal_can()
    status = main()
    # All is said and done, and what is left is Python's: no Ctrl-C may change what the status says.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(status)
