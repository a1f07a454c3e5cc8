"""``wordframe prepare``: what is done once to a library so that later searches with a model are quick."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from wordframe.cli.options import (
    JsonOption,
    LibraryOption,
    RayActorsOption,
    RayCoresOption,
    RayOption,
    UntrainedOption,
    print_json,
    ray_executor,
)

if TYPE_CHECKING:
    from wordframe.library import ModelEntry


def prepare(
    library: LibraryOption,
    model: Annotated[
        str | None, typer.Argument(help="A preset or a checkpoint's folder, as for --model.", show_default=False)
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="List the models that the library is prepared for.")] = False,
    remove: Annotated[str | None, typer.Option(help="Remove what is kept for a model.", show_default=False)] = None,
    untrained: UntrainedOption = False,
    ray: RayOption = None,
    ray_actors: RayActorsOption = None,
    ray_cores: RayCoresOption = None,
    json: JsonOption = False,
) -> None:
    """Store what a model needs of each segment, so that searches with it are quick.

    A model that looks at frames alone needs nothing. What was prepared is kept up to date by every later index.

    Examples:

        wordframe prepare my-tcmgc --library my-library

        wordframe prepare my-tcmgc -l /shared/library --ray auto

        wordframe prepare --list -l my-library

        wordframe prepare --remove my-tcmgc -l my-library
    """
    if [model is not None, listing, remove is not None].count(True) != 1:
        raise typer.BadParameter("give one of a model, --list and --remove MODEL")
    if model is None and (untrained or (ray, ray_actors, ray_cores) != (None, None, None)):
        raise typer.BadParameter("--ray and --untrained go with a model")
    with ray_executor(ray, ray_actors, ray_cores) as executor:
        from wordframe.library import Library  # loads LanceDB, which a cluster that starts must not fork

        opened = Library.open(library)
        if listing:
            return _list(opened.models(), json)
        if remove is not None:
            return _print({"removed": opened.forget_model(remove)}, f"removed what was kept for {remove}", json)
        assert model is not None
        with _bar() as (on_progress, state):
            made = opened.prepare(model, untrained=untrained, on_progress=on_progress, executor=executor)
        total = state.get("total", 0)
        _print({"prepared": made, "missing": total - made}, _summary(model, made, total), json)
        if made < total:  # Ctrl-C; the library ends in order and raises nothing
            print("interrupted: what was done is kept; the same command goes on from here", file=sys.stderr)
            raise typer.Exit(130)


@contextlib.contextmanager
def _bar() -> Iterator[tuple[Callable[[int, int], None], dict[str, int]]]:
    """A bar, which appears with the first word of how much there is to do; that total is noted in the dictionary."""
    from wordframe.cli._terminal import counting_progress

    with contextlib.ExitStack() as stack:
        bars: list[Callable[[int], None]] = []
        state: dict[str, int] = {}

        def show(done: int, total: int) -> None:
            if not bars:
                state["total"] = total
                bars.append(stack.enter_context(counting_progress("Preparing", total)))
            bars[0](done)

        yield show, state


def _summary(model: str, made: int, total: int) -> str:
    from wordframe.errors import counted

    if not total:
        return f"nothing to do: the library has all that {model} needs"
    return f"{counted(made, 'segment')} prepared for {model}"


def _list(models: list[ModelEntry], json: bool) -> None:
    from wordframe.disk import one_line

    if json:
        print_json([asdict(entry) for entry in models])
        return
    for entry in models:
        print(f"{one_line(entry.name)}  ({entry.fingerprint}{', untrained' if entry.untrained else ''})")
    if not models:
        print("The library is prepared for no model; those that look at frames alone need nothing.")


def _print(values: dict[str, object], line: str, json: bool) -> None:
    from wordframe.disk import one_line

    if json:
        print_json(values)
    else:
        print(one_line(line))
