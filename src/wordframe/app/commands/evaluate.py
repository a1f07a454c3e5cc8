"""``wordframe evaluate``: recall of a model on a folder of captioned videos."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wordframe.app.commands.options import JsonOption, ModelOption, UntrainedOption, print_json

if TYPE_CHECKING:
    from wordframe.encoders import Encoder
    from wordframe.models import TextVideoModel


def evaluate(
    videos: Annotated[Path, typer.Option(help="Folder of the videos.", show_default=False, readable=False)],
    captions: Annotated[
        Path,
        typer.Option(
            help='Captions: JSON {"file": "caption" or [captions]}, JSONL or CSV.', show_default=False, readable=False
        ),
    ],
    encoder: Annotated[
        str | None,
        typer.Option(
            help="offline, a hub id, a folder, or OpenAI's .pt file; default: the model's own CLIP, else offline."
        ),
    ] = None,
    model: ModelOption = "zero-shot",
    untrained: UntrainedOption = False,
    frames: Annotated[int, typer.Option(min=1, help="Frames a video.")] = 12,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Evaluate on fewer videos if some are missing or broken.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Measure how well captions find their videos, and videos their captions.

    Prints R@1, R@5, R@10, median and mean rank both ways, with 95 % intervals.

    Examples:

        wordframe evaluate --videos clips --captions clips/captions.json

        wordframe evaluate --videos clips --captions clips/captions.json --model my-tcmgc
    """
    from wordframe.app.progress import counting_progress
    from wordframe.app.text import printable
    from wordframe.data.captions import read_captions
    from wordframe.data.folder import match_videos
    from wordframe.evaluation import render
    from wordframe.evaluation.folder import evaluate_folder

    matched = match_videos(videos, read_captions(captions))
    used_encoder, used_model = _load(encoder, model, untrained)
    with counting_progress("Reading videos", len(matched.pairs)) as on_progress:
        report = evaluate_folder(
            matched,
            used_encoder,
            used_model,
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


def _load(encoder: str | None, name: str, untrained: bool) -> tuple[Encoder, TextVideoModel]:
    """The encoder and the model; a checkpoint that brings its own CLIP is its own encoder unless another is named."""
    from wordframe.encoders import load_encoder
    from wordframe.models import PRESETS
    from wordframe.models.in_use import load_ready, refuse_other_features

    if name in PRESETS:
        used = load_encoder(encoder or "offline")
        return used, load_ready(name, dimension=used.dimension, untrained=untrained)
    model = load_ready(name, untrained=untrained)
    used = load_encoder(encoder or ("offline" if model.backbone is None else name))
    refuse_other_features(
        model,
        name,
        encoder=used.name,
        fingerprint=used.fingerprint,
        dimension=used.dimension,
        remedy="leave --encoder out to use the model's own",
    )
    return used, model
