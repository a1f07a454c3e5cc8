"""Options that several commands share, and how their results are printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

LibraryOption = Annotated[
    Path,
    typer.Option(
        "--library", "-l", envvar="WORDFRAME_LIBRARY", help="Folder of the library.", show_default=False, readable=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, nothing else.")]
ModelOption = Annotated[
    str, typer.Option("--model", help="What scores: a preset (wordframe models lists them) or a checkpoint's folder.")
]
UntrainedOption = Annotated[
    bool, typer.Option("--untrained", help="Allow a preset whose heads need training, with their starting values.")
]

RuntimeOption = Annotated[
    Literal["auto", "torch", "openvino"],
    typer.Option(help="What encodes frames, with the same features; auto is the fastest that is installed."),
]


def print_json(value: Any) -> None:
    """JSON for programs; plain ASCII, so that any file name survives any terminal."""
    print(json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False))
