"""``wordframe encoders``: what ``--encoder`` takes by name, how large it is, its licence, and whether it is here."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from wordframe.cli.options import JsonOption, print_json

if TYPE_CHECKING:
    from wordframe.encoders import NamedEncoder


def encoders(json: JsonOption = False) -> None:
    """List the encoders that have a name.

    The first use downloads a model into the cache of the Hugging Face Hub, with bars at a terminal; a download that
    was cut short goes on where it was. HF_ENDPOINT names a mirror, HF_TOKEN lets into gated models, HF_HUB_OFFLINE=1
    forbids the network. offline needs none of it.

    Any other CLIP, MetaCLIP 2, SigLIP, SigLIP 2, Chinese-CLIP or AltCLIP model goes by its hub id, with or without
    @revision, or by the path of its folder.

    Examples:

        wordframe encoders

        wordframe index ~/Videos --library my-library --encoder clip-b32

        wordframe upgrade --library my-library --encoder siglip2-b16

        HF_ENDPOINT=https://hub.example.org wordframe index ~/Videos -l my-library --encoder clip-l14
    """
    from wordframe.encoders import NAMED_ENCODERS, OfflineEncoder, cached_model

    rows = [(row, cached_model(row.repository, row.revision) is not None) for row in NAMED_ENCODERS.values()]
    offline = {
        "name": OfflineEncoder.name,
        "title": "EfficientNet-Lite2 and all-MiniLM-L6-v2: comes with wordframe",
        "dimension": OfflineEncoder.dimension,
        "downloaded": True,
    }
    if json:
        print_json([offline, *(asdict(row) | {"downloaded": here} for row, here in rows)])
        return
    head = f"{offline['name']}  (the default; no download)\n  {offline['title']}\n  {offline['dimension']} dimensions"
    typer.echo("\n\n".join([head, *(_block(row, here) for row, here in rows)]))


def _block(row: NamedEncoder, here: bool) -> str:
    size = "size not known" if row.weights_bytes is None else f"{row.weights_bytes / 1e6:,.0f} MB"
    pin = row.revision or "not pinned: the hub's main at first use, which the library then keeps"
    return "\n".join(
        [
            f"{row.name}  ({size}, {'downloaded' if here else 'not downloaded'})",
            f"  {row.title}",
            f"  {row.dimension} dimensions, pictures of {row.picture_side} × {row.picture_side}, "
            f"sentences in {row.languages}",
            f"  licence: {row.licence}",
            f"  {row.repository}, revision {pin}",
        ]
    )
