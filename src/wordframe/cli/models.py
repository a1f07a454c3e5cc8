"""``wordframe models``: the presets, what they are, and what their papers report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from wordframe.cli.options import JsonOption, print_json

if TYPE_CHECKING:
    from wordframe.models import Preset


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
