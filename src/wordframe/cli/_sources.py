"""What ``wordframe evaluate`` measures, by where it comes from: cached features, own captions, a benchmark.

Neighbours: ``evaluate.py`` has the command and its options, ``moments.py`` its ``--moments``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from wordframe.cli._evaluating import bars_of, load_both

if TYPE_CHECKING:
    from wordframe.data import FrameCache, MatchedVideos
    from wordframe.encoders import Encoder
    from wordframe.evaluate import Outcome, Provenance, Share
    from wordframe.models import TextVideoModel
    from wordframe.video import Cut, FrameRule

UNFINISHED = "unfinished"
"""Where, in the run's folder, the state of a run is kept until it is done."""
_OWN_FRAMES = 12
_TRAIN = "train"


@dataclass(frozen=True)
class Asked:
    """The options that all three forms share."""

    model: str
    untrained: bool
    frames: int | None
    cut: Cut
    words: int | None
    allow_missing: bool
    dsl: bool
    bank: str | None
    to: Path | None
    max_memory_mb: int
    videos: Path | None
    frame_cache: Path | None

    def match(self, captions: Mapping[str, Sequence[str]]) -> tuple[MatchedVideos, FrameCache | None]:
        """The captioned videos in the folder, or in the frame cache, whichever is given."""
        from wordframe.data import FrameCache, match_cached, match_videos

        if self.frame_cache is None:
            assert self.videos is not None
            return match_videos(self.videos, captions), None
        cache = FrameCache.open(self.frame_cache)
        return match_cached(cache, captions), cache

    @property
    def top(self) -> int | None:
        """Candidates of each query that the folder will hold."""
        from wordframe.evaluate import TOP

        return None if self.to is None else TOP


def from_features(asked: Asked, features: str, share: Share) -> Outcome:
    from wordframe.data import CachedFeatures
    from wordframe.evaluate import evaluate_cached
    from wordframe.models import PRESETS, load_ready, refuse_other_features

    with share.failing_together():
        description = CachedFeatures.open(features).description
        model = load_ready(
            asked.model, dimension=description.dimension if asked.model in PRESETS else None, untrained=asked.untrained
        )
        refuse_other_features(
            model,
            asked.model,
            encoder=description.encoder,
            fingerprint=description.fingerprint,
            dimension=description.dimension,
            remedy="cache features by the model's own",
        )
    with bars_of(share) as on_progress:
        return evaluate_cached(
            features,
            model,
            model_name=asked.model,
            num_frames=asked.frames,
            num_words=asked.words,
            top=asked.top,
            dsl=asked.dsl,
            bank=asked.bank,
            max_memory_mb=asked.max_memory_mb,
            checkpoint=None if asked.to is None else asked.to / UNFINISHED,
            share=share,
            on_progress=lambda done, total: on_progress("Scoring pairs", done, total),
        )


def from_captions(asked: Asked, file: Path, encoder: str | None, share: Share) -> Outcome:
    from wordframe.data import read_captions
    from wordframe.evaluate import Provenance

    if asked.bank == _TRAIN:
        raise typer.BadParameter("--qb-norm train goes with --benchmark; name a file of training captions")
    with share.failing_together():
        matched = asked.match(read_captions(file))
        loaded = load_both(encoder, asked.model, asked.untrained, asked.words)
        bank = None if asked.bank is None else _captions_of(read_captions(Path(asked.bank)))
        source = Provenance.of_captions(file)
    return _evaluate(asked, share, matched, loaded, source, None, asked.frames or _OWN_FRAMES, asked.words, bank)


def from_benchmark(
    asked: Asked, name: str, annotations: Path, split: str, encoder: str | None, share: Share
) -> Outcome:
    from wordframe.data import SPLITS, load_benchmark, protocol, read_captions
    from wordframe.evaluate import Provenance

    if split not in SPLITS:
        raise typer.BadParameter(f"--split {split!r} is not there; use {', '.join(SPLITS)}")
    with share.failing_together():
        sizes, benchmark = protocol(name), load_benchmark(name, annotations, splits=(split,))
        found: Mapping[str, Sequence[str]] = {}
        if asked.bank is not None:
            is_train = asked.bank == _TRAIN
            train = load_benchmark(name, annotations, splits=(_TRAIN,)).splits[_TRAIN].captions if is_train else None
            found = train if train is not None else read_captions(Path(asked.bank))
        matched = asked.match(benchmark.splits[split].captions)
        words = asked.words or sizes.num_words
        loaded = load_both(encoder, asked.model, asked.untrained, words)
    bank = None if asked.bank is None else _captions_of(found)
    source = Provenance.of_benchmark(benchmark, split)
    rule = benchmark.splits[split].rule(asked.cut)
    return _evaluate(asked, share, matched, loaded, source, rule, asked.frames or sizes.num_frames, words, bank)


def _evaluate(
    asked: Asked,
    share: Share,
    found: tuple[MatchedVideos, FrameCache | None],
    loaded: tuple[Encoder, TextVideoModel],
    source: Provenance,
    rule: FrameRule | None,
    frames: int,
    words: int | None,
    bank: list[str] | None,
) -> Outcome:
    from wordframe.evaluate import evaluate_videos
    from wordframe.video import WHOLE_VIDEO

    (matched, cache), (encoder, model) = found, loaded
    if cache is not None:
        frames = frames if asked.frames else min(frames, cache.settings.num_frames)
        cache.refuse_less(num_frames=frames, short_side=encoder.short_side)
        if rule is None:
            rule = cache.rule
        else:
            cache.refuse_other_rule(rule)
    with bars_of(share) as on_progress:
        return evaluate_videos(
            matched,
            encoder,
            model,
            model_name=asked.model,
            source=source,
            sampling="uniform" if rule is None else "seconds",
            rule=rule or WHOLE_VIDEO,
            num_frames=frames,
            num_words=words,
            allow_missing=asked.allow_missing,
            cache=cache,
            top=asked.top,
            dsl=asked.dsl,
            bank=bank,
            max_memory_mb=asked.max_memory_mb,
            share=share,
            on_read=lambda done: on_progress("Reading videos", done, len(share.own(matched.pairs))),
            on_progress=lambda done, total: on_progress("Scoring pairs", done, total),
        )


def _captions_of(captions: Mapping[str, Sequence[str]]) -> list[str]:
    return [caption for several in captions.values() for caption in several]
