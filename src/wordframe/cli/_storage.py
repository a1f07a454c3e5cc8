"""``--storage-option``: what commands can be told of the object store that a library, videos or caches lie on.

The options go into the environment for as long as the command runs, where ``wordframe.object_storage`` and the
processes that a server starts find them: on a command line all users of the machine could read them.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from wordframe.addresses import is_address, parse_address
from wordframe.errors import WordframeError
from wordframe.object_storage import STORAGE_OPTIONS, options_of_environment

_OPTION = "--storage-option"
_Option = Annotated[
    list[str] | None,
    typer.Option(
        _OPTION,
        metavar="KEY=VALUE",
        help="Of the object store that library, videos or caches lie on, such as aws_endpoint=https://…; can be "
        "repeated. Others are read from the usual variables (AWS_ACCESS_KEY_ID …), which keep secrets off the command "
        "line.",
        show_default=False,
    ),
]


def on_object_storage(command: Callable[..., None]) -> Callable[..., None]:
    """The command, with the option ``--storage-option`` before its ``--json``."""

    @functools.wraps(command)
    def with_options(*, storage_option: list[str] | None = None, **values: Any) -> None:
        with _in_environment(storage_option or []):
            if storage_option and not _concerns_a_store(values):
                raise typer.BadParameter(
                    f"{_OPTION} is for object storage, and no address (s3://…) is given here, nor does the library "
                    "know any; leave it out"
                )
            command(**values)

    signature = inspect.signature(command, eval_str=True)
    parameter = inspect.Parameter("storage_option", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_Option)
    parameters = [item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for item in signature.parameters.values()]
    with_options.__signature__ = signature.replace(parameters=[*parameters, parameter])  # type: ignore[attr-defined]
    with_options.__annotations__ = {item.name: item.annotation for item in [*parameters, parameter]}
    return with_options


def _concerns_a_store(values: Mapping[str, Any]) -> bool:
    """Whether one of a command's values is an address, or its library in a folder holds videos of one."""
    given = [each for value in values.values() for each in (value if isinstance(value, (list, tuple)) else [value])]
    try:
        paths = [each for each in given if isinstance(each, (str, Path))]
        if any(parse_address(path, "it lies on a disk", WordframeError, is_any_key=True) for path in paths):
            return True
        if values.get("library") is None:
            return False
        from wordframe.library import place_of, read_roots  # no more of it: Ray is started before LanceDB is loaded

        return any(map(is_address, read_roots(place_of(values["library"]))))
    except (WordframeError, OSError, ValueError):  # which the command tells
        return True


@contextmanager
def _in_environment(options: list[str]) -> Iterator[None]:
    before = os.environ.get(STORAGE_OPTIONS)
    if not options:
        yield
        return
    os.environ[STORAGE_OPTIONS] = json.dumps(options_of_environment() | dict(map(_pair, options)))
    try:
        yield
    finally:
        os.environ.pop(STORAGE_OPTIONS)
        if before is not None:
            os.environ[STORAGE_OPTIONS] = before


def _pair(option: str) -> tuple[str, str]:
    name, is_pair, value = option.partition("=")
    if not (is_pair and name):
        # not the text itself: it may be a secret
        raise typer.BadParameter(f"{_OPTION} takes KEY=VALUE, such as aws_endpoint=https://store.example")
    return name.strip(), value
