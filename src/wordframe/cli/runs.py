"""``wordframe compare``: is one evaluation better than another, or was it luck?
``wordframe runs``: all runs below a folder with their figures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from wordframe.cli.options import JsonOption, print_json
from wordframe.disk import one_line


def compare(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Folders of evaluate --to; the others are compared with the first.", show_default=False, readable=False
        ),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(
            help="Several seeds of one model, NAME=RUN,RUN,…; the others are compared with the first.",
            show_default=False,
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compare evaluations query by query.

    Prints R@1, R@5, R@10, median rank and mean reciprocal rank both ways, or of evaluate --moments all its numbers,
    their differences with 95 % intervals, and p-values. Three seeds against three can never give p below 0.05; four
    against four can.

    Examples:

        wordframe evaluate --videos clips --captions clips/captions.json --to run-a

        wordframe compare run-a run-b

        wordframe compare --group xclip=x1,x2,x3 --group tcmgc=t1,t2,t3
    """
    from wordframe.evaluate import (
        compare_folders,
        compare_moment_folders,
        comparison_table,
        is_moment_run,
        read_moment_run,
        read_run,
    )

    groups = _groups(runs or [], group or [])
    if any(is_moment_run(folder) for folders in groups.values() for folder in folders):
        moments = {name: [read_moment_run(folder) for folder in folders] for name, folders in groups.items()}
        comparison = compare_moment_folders(moments)
    else:
        whole = {name: [read_run(folder) for folder in folders] for name, folders in groups.items()}
        comparison = compare_folders(whole)
    if json:
        print_json(comparison.to_json())
    else:
        from rich.console import Console

        Console().print(comparison_table(comparison), crop=False)


def _groups(runs: list[Path], given: list[str]) -> dict[str, list[Path]]:
    """Folders by group; a run by itself is a group of one."""
    if bool(runs) == bool(given):
        raise typer.BadParameter("give either two or more RUN folders, or two or more --group NAME=RUN,RUN")
    pairs = [(str(run), [run]) for run in runs]
    for each in given:
        name, equals, folders = each.partition("=")
        members = [Path(folder) for folder in folders.split(",") if folder]
        if not (name and equals and members):
            raise typer.BadParameter(f"--group {each!r} must be NAME=RUN,RUN, such as xclip=x1,x2")
        pairs.append((name, members))
    groups = dict(pairs)
    if len(groups) < len(pairs):
        raise typer.BadParameter("two runs or groups have one name; give each its own")
    if len(groups) < 2:
        raise typer.BadParameter("give at least two runs, or two groups")
    return groups


def runs(
    folder: Annotated[Path, typer.Argument(help="A folder that holds runs, at any depth.", readable=False)] = Path("."),
    json: JsonOption = False,
) -> None:
    """List the runs below a folder with their figures: trainings, evaluations, and those of moments.

    Of a training: R@1 of its best validation. In percent.

    Examples:

        wordframe runs

        wordframe runs experiments --json
    """
    from wordframe.evaluate import list_runs

    found = list_runs(folder)
    if json:
        print_json([run.to_json() for run in found])
        return
    if not found:
        print(f"no runs below {one_line(folder)}; wordframe train --out and wordframe evaluate --to make them")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in ("run", "kind", "what", "figures, %", "state"):
        table.add_column(heading, overflow="fold")
    for run in found:
        figures = ", ".join(f"{name} {value:.1f}" for name, value in run.figures.items())
        place = os.path.relpath(run.folder, folder)
        cells = (one_line(place), run.kind, one_line(run.what), figures, one_line(run.state))
        table.add_row(*map(Text, cells))
    Console().print(table)
