"""What all of ``wordframe evaluate`` begins with: the processes that share the work, the encoder and the model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from wordframe.cli.data import load_cutting

if TYPE_CHECKING:
    from wordframe.encoders import Encoder
    from wordframe.evaluate import Share
    from wordframe.models import TextVideoModel


@contextlib.contextmanager
def evaluating() -> Iterator[Share]:
    """This process's share: of the work of all that torchrun started, or the whole."""
    from wordframe.evaluate import Share
    from wordframe.processes import end_process_group, several_are_started, start_process_group

    if not several_are_started():
        yield Share()
        return
    start_process_group()
    try:
        yield Share.of_group()
    finally:
        end_process_group()


@contextlib.contextmanager
def bars_of(share: Share) -> Iterator[Callable[[str, int, int], None]]:
    """Bars of the first process, which speaks for all."""
    from wordframe.cli._terminal import bars_in_turn

    if share.rank:
        yield lambda title, done, total: None
        return
    with bars_in_turn() as on_progress:
        yield on_progress


def load_both(encoder: str | None, name: str, untrained: bool, words: int | None) -> tuple[Encoder, TextVideoModel]:
    """The encoder and the model; a checkpoint that brings its own CLIP is its own encoder unless another is named."""
    from wordframe.models import PRESETS, load_ready, refuse_other_features

    if name in PRESETS:
        used = load_cutting(encoder or "offline", words)
        return used, load_ready(name, dimension=used.dimension, untrained=untrained)
    model = load_ready(name, untrained=untrained)
    trained_on = "offline" if model.trained_on is None else model.trained_on.name
    used = load_cutting(encoder or (trained_on if model.backbone is None else name), words)
    refuse_other_features(
        model,
        name,
        encoder=used.name,
        fingerprint=used.fingerprint,
        dimension=used.dimension,
        remedy="leave --encoder out to use the model's own",
    )
    return used, model
