"""``wordframe models`` and ``wordframe convert``: the presets, and an authors' checkpoint as a folder of ours."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wordframe.cli.options import JsonOption, print_json
from wordframe.disk import one_line, shown_command
from wordframe.errors import CheckpointError, counted

if TYPE_CHECKING:
    from wordframe.models import Preset, TextVideoModel


def models(json: JsonOption = False) -> None:
    """List the presets: the published models by name.

    A preset is settings, not weights. One that needs training takes them from a checkpoint (wordframe convert makes one
    of the authors' files); --untrained tries it without.

    Examples:

        wordframe models

        wordframe search "a dog" --library my-library --model zero-shot
    """
    from wordframe.models import PRESETS

    if json:
        print_json([_as_json(preset) for preset in PRESETS.values()])
        return
    typer.echo("\n\n".join(_block(preset) for preset in PRESETS.values()))


def _as_json(preset: Preset) -> dict[str, object]:
    return {
        "name": preset.name,
        "title": preset.title,
        "paper": preset.paper,
        "needs_training": preset.needs_training,
        "published_t2v_recall_at_1": dict(preset.published),
        "note": preset.note,
        "settings": preset.settings.to_dict(),
    }


def _block(preset: Preset) -> str:
    state = "needs training" if preset.needs_training else "ready to use"
    lines = [f"{preset.name}  ({state})", f"  {preset.title}", f"  {preset.paper}"]
    if preset.published:
        numbers = ", ".join(f"{benchmark} {value}" for benchmark, value in preset.published.items())
        lines.append(f"  published text→video R@1: {numbers}")
    if preset.note:
        lines.append(f"  {preset.note}")
    return "\n".join(lines)


# The authors' files ---------------------------------------------------------------------------------------------------

_LEFTOVERS_SHOWN = 8

DropOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Convert without the tensors whose names begin so, although the file's model scores by them; repeatable.",
        show_default=False,
    ),
]
HeadsOption = Annotated[
    str,
    typer.Option(
        help="Attention heads, which no tensor tells: vision=12,text=8 (one per 64 channels if left out), "
        "cross= for tightTransf, conditional= for tcmgc, temporal= for seqTransf (one per 64 channels if left out)."
    ),
]


def convert(
    authors_file: Annotated[
        Path, typer.Argument(help="The .bin, .pt or .safetensors file.", show_default=False, readable=False)
    ],
    family: Annotated[str, typer.Option(help="clip4clip, ea-clip4clip, xclip or tcmgc.", show_default=False)],
    sim_header: Annotated[str, typer.Option(help="meanP, seqLSTM, seqTransf or tightTransf.", show_default=False)],
    max_words: Annotated[int, typer.Option(min=1, help="As in training.", show_default=False)],
    max_frames: Annotated[int, typer.Option(min=1, help="As in training.", show_default=False)],
    to: Annotated[Path, typer.Option(help="The folder to write.", show_default=False, readable=False)],
    heads: HeadsOption = "",
    se_type: Annotated[str | None, typer.Option(help="EA-CLIP4Clip: the design of its blocks.")] = None,
    variant: Annotated[str, typer.Option(help="EA-CLIP4Clip: unity, squeeze_expand or expand_squeeze.")] = "unity",
    reduction_ratio: Annotated[float | None, typer.Option(help="EA-CLIP4Clip: r.")] = None,
    keep_rate: Annotated[float | None, typer.Option(help="TC-MGC: the share of words kept.")] = None,
    softmax_lambda: Annotated[float, typer.Option(help="TC-MGC: λ of its aggregation.")] = 100.0,
    mask_padding: Annotated[
        bool, typer.Option(help="Leave padding out of every softmax; the released codes let it take part.")
    ] = False,
    normalize_frames: Annotated[
        bool, typer.Option(help="Normalise each frame; EA-CLIP4Clip's released code does not.")
    ] = True,
    drop: DropOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write into a folder that holds something.")] = False,
    json: JsonOption = False,
) -> None:
    """Convert a checkpoint of CLIP4Clip, EA-CLIP4Clip, X-CLIP or TC-MGC, as its authors' code saved it.

    Examples:

        wordframe convert pytorch_model.bin --family tcmgc --sim-header seqTransf --max-words 32 --max-frames 12
        --keep-rate 0.1 --heads conditional=1 --to my-tcmgc

        wordframe convert ea.bin --family ea-clip4clip --sim-header meanP --max-words 32 --max-frames 12
        --se-type excitation_aggregation --reduction-ratio 4 --to my-ea
    """
    given_heads = _parse_heads(heads)
    # asked before the file is read: a checkpoint of a gigabyte should not be converted only to be refused its place
    if to.is_file() or (to.is_dir() and any(to.iterdir()) and not overwrite):
        raise CheckpointError(f"{to}: there is something already; name a new folder, or say --overwrite")
    model = _load(
        authors_file,
        family=family,
        sim_header=sim_header,
        max_words=max_words,
        max_frames=max_frames,
        heads=given_heads,
        se_type=se_type,
        variant=variant,
        reduction_ratio=reduction_ratio,
        keep_rate=keep_rate,
        softmax_lambda=softmax_lambda,
        mask_padding=mask_padding,
        normalize_frames=normalize_frames,
        drop=drop or (),
    )
    _save(model, to)
    if json:
        print_json(_about(model, to))
    else:
        _tell(model, to)


def _parse_heads(text: str) -> dict[str, int]:
    heads: dict[str, int] = {}
    for pair in filter(None, text.split(",")):
        name, _, number = pair.partition("=")
        if not number.strip().isdecimal() or int(number) < 1:
            raise typer.BadParameter(f"--heads {text!r}: write name=number,…, such as vision=12,text=8,temporal=8")
        heads[name.strip()] = int(number)
    return heads


def _load(authors_file: Path, **settings: Any) -> TextVideoModel:
    from wordframe.models import load_authors_checkpoint

    try:
        return load_authors_checkpoint(authors_file, strict=True, **settings)
    except ValueError as error:  # settings that do not go together
        raise typer.BadParameter(str(error)) from error


def _save(model: TextVideoModel, to: Path) -> None:
    from safetensors import SafetensorError

    try:
        model.save(to)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{to}: cannot be written ({error})") from error


def _own_parameters(model: TextVideoModel) -> int:
    return sum(weight.numel() for name, weight in model.named_parameters() if not name.startswith("backbone."))


def _about(model: TextVideoModel, to: Path) -> dict[str, object]:
    return {
        "folder": str(to),
        "settings": model.settings.to_dict(),
        "dimension": model.dimension,
        "parameters_on_top": _own_parameters(model),
        "one_vector": model.one_vector,
        "leftovers": list(model.leftovers),
    }


def _tell(model: TextVideoModel, to: Path) -> None:
    place = one_line(str(to))
    print(f"{place}: {model.settings.label}, {_own_parameters(model):,} parameters on top of CLIP")
    if model.leftovers:
        shown = ", ".join(one_line(name) for name in model.leftovers[:_LEFTOVERS_SHOWN])
        more = len(model.leftovers) - _LEFTOVERS_SHOWN
        rest = f" and {more:,} more (--json lists all)" if more > 0 else ""
        print(f"{counted(len(model.leftovers), 'tensor')} in the file not used: {shown}{rest}", file=sys.stderr)
    print(f"It holds no vocabulary yet: put vocab.json and merges.txt of any OpenAI CLIP into {place}, then")
    print(f"  wordframe index VIDEOS --library NEW_FOLDER {shown_command('--encoder', to)}")
    print(f'  wordframe search "a sentence" --library NEW_FOLDER {shown_command("--model", to)}')
