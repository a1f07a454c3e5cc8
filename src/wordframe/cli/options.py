"""Options that several commands share, and how their results are printed."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from wordframe.library import RayExecutor


def library_option(help: str) -> Any:
    """``--library``, or the environment's; whoever can do without one says so."""
    return typer.Option("--library", "-l", envvar="WORDFRAME_LIBRARY", help=help, show_default=False)


LibraryOption = Annotated[str, library_option("Folder of the library, or s3://, gs:// or az:// BUCKET/PREFIX.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, nothing else.")]
ModelOption = Annotated[
    str, typer.Option("--model", help="What scores: a preset (wordframe models lists them) or a checkpoint's folder.")
]
UntrainedOption = Annotated[
    bool, typer.Option("--untrained", help="Allow a preset whose heads need training, with their starting values.")
]

RuntimeOption = Annotated[
    Literal["auto", "torch", "openvino", "openvino-bfloat16"],
    typer.Option(
        help="What encodes frames, with the same features; auto is the fastest that is installed. openvino-bfloat16 is "
        "twice as fast as openvino, or more, where the processor has instructions for it; its features differ a little."
    ),
]

RayOption = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Use a Ray cluster: auto or HOST:PORT for one that runs, local for one of this machine alone. All "
        "machines must see videos and library under the same paths or addresses.",
        show_default=False,
    ),
]


RayActorsOption = Annotated[
    int | None, typer.Option(min=1, help="With --ray: how many work; default as many as fit.", show_default=False)
]
RayCoresOption = Annotated[
    int | None, typer.Option(min=1, help="With --ray: cores for each of them; default up to 4.", show_default=False)
]


def check_ray_address(address: str) -> None:
    """Refuse what is no address of a cluster."""
    if address not in ("local", "auto") and ":" not in address:
        raise typer.BadParameter(f"--ray takes local, auto or HOST:PORT, not {address!r}")


def ray_executor(
    address: str | None, actors: int | None, cores: int | None, gpus: float | None = None
) -> contextlib.AbstractContextManager[RayExecutor | None]:
    """Who works on a cluster, if one was asked for. Made before the library is opened: LanceDB is not to be forked."""
    if address is None:
        if (actors, cores, gpus) != (None, None, None):
            raise typer.BadParameter("what begins with --ray- goes with --ray ADDRESS")
        return contextlib.nullcontext()
    check_ray_address(address)
    from wordframe.library import RayExecutor

    return RayExecutor(address, actors=actors, cores=cores, gpus=gpus)


# captioned videos: which, and how much of each

BenchmarkOption = Annotated[
    str | None, typer.Option(help="A benchmark's name; wordframe data list shows them.", show_default=False)
]
AnnotationsOption = Annotated[
    Path | None,
    typer.Option(help="Folder of the benchmark's annotation files.", show_default=False, readable=False),
]
CaptionsOption = Annotated[
    Path | None,
    typer.Option(
        help='Captions of your own, instead of a benchmark: JSON {"file": "caption" or [captions]}, JSONL or CSV.',
        show_default=False,
        readable=False,
    ),
]
SplitOption = Annotated[str, typer.Option(help="train, val or test of the benchmark.")]
VideosOption = Annotated[Path, typer.Option(help="Folder of the videos.", show_default=False, readable=False)]
VideosIfAnyOption = Annotated[
    Path | None, typer.Option(help="Folder of the videos.", show_default=False, readable=False)
]
CutOption = Annotated[
    Literal["uniform", "first", "last"],
    typer.Option(help="Which frames are kept where a video has more: spread evenly, the first, or the last ones."),
]
FramesOption = Annotated[
    int | None,
    typer.Option(
        "--frames", min=1, help="Frames a video at most; default: the benchmark's, or 12.", show_default=False
    ),
]
WordsOption = Annotated[
    int | None,
    typer.Option(
        "--words",
        min=3,
        help="Token positions a caption at most; default: the benchmark's, or the encoder's own.",
        show_default=False,
    ),
]
AllowMissingOption = Annotated[
    bool, typer.Option("--allow-missing", help="Go on without videos that are missing or broken, and say so.")
]


def print_json(value: Any) -> None:
    """JSON for programs; plain ASCII, so that any file name survives any terminal."""
    print(json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False))
