"""``wordframe convert``: an authors' checkpoint into a folder that every other command takes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wordframe.cli.options import JsonOption, print_json

if TYPE_CHECKING:
    from wordframe.models import TextVideoModel

_LEFTOVERS_SHOWN = 8


def convert(
    authors_file: Annotated[
        Path, typer.Argument(help="The .bin, .pt or .safetensors file.", show_default=False, readable=False)
    ],
    family: Annotated[str, typer.Option(help="clip4clip, ea-clip4clip, xclip or tcmgc.", show_default=False)],
    sim_header: Annotated[str, typer.Option(help="meanP, seqLSTM, seqTransf or tightTransf.", show_default=False)],
    max_words: Annotated[int, typer.Option(min=1, help="As in training.", show_default=False)],
    max_frames: Annotated[int, typer.Option(min=1, help="As in training.", show_default=False)],
    to: Annotated[Path, typer.Option(help="The folder to write.", show_default=False, readable=False)],
    heads: Annotated[
        str,
        typer.Option(
            help="Attention heads, which no tensor tells: vision=12,text=8 (one per 64 channels if left out), "
            "temporal= for seqTransf, cross= for tightTransf, conditional= for tcmgc."
        ),
    ] = "",
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
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write into a folder that holds something.")] = False,
    json: JsonOption = False,
) -> None:
    """Convert a checkpoint of CLIP4Clip, EA-CLIP4Clip, X-CLIP or TC-MGC, as its authors' code saved it.

    Examples:

        wordframe convert pytorch_model.bin --family tcmgc --sim-header seqTransf --max-words 32 --max-frames 12
        --keep-rate 0.1 --heads temporal=8,conditional=1 --to my-tcmgc

        wordframe convert ea.bin --family ea-clip4clip --sim-header meanP --max-words 32 --max-frames 12
        --se-type excitation_aggregation --reduction-ratio 4 --to my-ea
    """
    given_heads = _parse_heads(heads)
    from wordframe.errors import CheckpointError
    from wordframe.models import load_authors_checkpoint

    if to.is_file() or (to.is_dir() and any(to.iterdir()) and not overwrite):
        raise CheckpointError(f"{to}: there is something already; name a new folder, or say --overwrite")
    try:
        model = load_authors_checkpoint(
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
        )
    except ValueError as error:  # settings that do not go together
        raise typer.BadParameter(str(error)) from error
    _save(model, to)
    if json:
        print_json(_as_json(model, to))
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


def _save(model: TextVideoModel, to: Path) -> None:
    from safetensors import SafetensorError

    from wordframe.errors import CheckpointError

    try:
        model.save(to)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{to}: cannot be written ({error})") from error


def _own_parameters(model: TextVideoModel) -> int:
    return sum(weight.numel() for name, weight in model.named_parameters() if not name.startswith("backbone."))


def _as_json(model: TextVideoModel, to: Path) -> dict[str, object]:
    return {
        "folder": str(to),
        "settings": model.settings.to_dict(),
        "dimension": model.dimension,
        "parameters_on_top": _own_parameters(model),
        "one_vector": model.one_vector,
        "leftovers": list(model.leftovers),
    }


def _tell(model: TextVideoModel, to: Path) -> None:
    from wordframe.disk import one_line
    from wordframe.errors import counted

    place = one_line(str(to))
    print(f"{place}: {model.settings.label}, {_own_parameters(model):,} parameters on top of CLIP")
    if model.leftovers:
        shown = ", ".join(one_line(name) for name in model.leftovers[:_LEFTOVERS_SHOWN])
        more = len(model.leftovers) - _LEFTOVERS_SHOWN
        rest = f" and {more:,} more (--json lists all)" if more > 0 else ""
        print(f"{counted(len(model.leftovers), 'tensor')} in the file not used: {shown}{rest}", file=sys.stderr)
    print(f"It holds no vocabulary yet: put vocab.json and merges.txt of any OpenAI CLIP into {place}, then")
    print(f"  wordframe index VIDEOS --library NEW_FOLDER --encoder {place}")
    print(f'  wordframe search "a sentence" --library NEW_FOLDER --model {place}')
