"""``wordframe evaluate``: recall of a model on a folder of captioned videos."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from wordframe.app.commands.options import JsonOption, ModelOption, print_json


def evaluate(
    videos: Annotated[Path, typer.Option(help="Folder of the videos.", show_default=False)],
    captions: Annotated[
        Path, typer.Option(help='Captions: JSON {"file": "caption" or [captions]}, JSONL or CSV.', show_default=False)
    ],
    encoder: Annotated[str, typer.Option(help="offline, a hub id, a folder, or OpenAI's .pt file.")] = "offline",
    model: ModelOption = "zero-shot",
    frames: Annotated[int, typer.Option(min=1, help="Frames a video.")] = 12,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Evaluate on fewer videos if some are missing or broken.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Measure how well captions find their videos, and videos their captions.

    Prints R@1, R@5, R@10, median and mean rank both ways, with 95 % intervals.

    Example:

        wordframe evaluate --videos clips --captions clips/captions.json
    """
    from wordframe.app.progress import counting_progress
    from wordframe.app.text import printable
    from wordframe.data.captions import read_captions
    from wordframe.data.folder import match_videos
    from wordframe.encoders import load_encoder
    from wordframe.evaluation import render
    from wordframe.evaluation.folder import evaluate_folder
    from wordframe.models import load_model

    matched = match_videos(videos, read_captions(captions))
    loaded = load_encoder(encoder)
    with counting_progress("Reading videos", len(matched.pairs)) as on_progress:
        report = evaluate_folder(
            matched,
            loaded,
            load_model(model, dimension=loaded.dimension),
            model_name=model,
            num_frames=frames,
            allow_missing=allow_missing,
            on_progress=on_progress,
        )
    for video in report.skipped:
        print(f"skipped: {printable(video.file)}: {printable(video.reason)}", file=sys.stderr)
    if json:
        print_json(report.to_json())
    else:
        from rich.console import Console

        Console().print(render(report))
    if report.skipped:
        raise typer.Exit(1)
