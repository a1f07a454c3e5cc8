"""The command ``wordframe``: parses, calls the packages below, prints, and turns errors into one line.

Exit status: 0 done, 1 something failed and was told, 2 wrong usage, 130 interrupted. Heavy libraries are imported
inside the commands, so that ``--help`` is quick.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from wordframe import __version__
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
from wordframe.disk import one_line
from wordframe.errors import WordframeError

app = typer.Typer(
    name="wordframe",
    help="Finds the videos, and the moments in them, that a sentence describes. Everything stays on this machine.",
    epilog="Start with: wordframe try ~/Videos",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("try")(try_folder)
app.command()(index)
app.command()(search)
app.command()(serve)
app.command()(prepare)
app.command()(mcp)
app.command()(export)
app.command()(evaluate)
app.command()(compare)
app.command()(runs)
app.command()(train)
app.command()(models)
app.command()(encoders)
app.command()(convert)
app.command()(doctor)
app.command()(upgrade)
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
    # not standalone: errors come here as exceptions, so that tests and programs get a status and not an exit
    command = typer.main.get_command(app)
    try:
        status = command.main(args=list(sys.argv[1:] if argv is None else argv), standalone_mode=False)
        return status if isinstance(status, int) else 0
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        name = context.command_path if context is not None else "wordframe"
        print(f"wordframe: {error.format_message()} ({name} --help shows the usage)", file=sys.stderr)
        return error.exit_code
    except WordframeError as error:
        print(f"wordframe: {one_line(str(error))}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, typer.Abort):
        print("wordframe: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def entry_point() -> None:
    """What the installed script calls."""
    # Read when torch loads. Threads of OpenMP that wait for work spin by default, which takes the cores from whoever
    # has work where others use them, too (docs/evaluation.md has figures of two busy cores).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    print_as_the_terminal_can()
    sys.exit(main())
