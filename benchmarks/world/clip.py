"""A small CLIP trained from nothing on the frames of the rendered world: pixels and words into one space.

CLIP's own recipe (Radford et al., ICML 2021, arXiv 2103.00020) at a hundredth of the size: a batch holds one frame and
one sentence of each of 128 scenes, the loss is symmetric InfoNCE. The frames come out of the world's mp4 files through
the project's decoder, the tokenizer learns its byte pairs from the training sentences, and the result is a folder that
``load_encoder`` opens. Only the training films are learned from. benchmarks/rendered_world.py calls this.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from wordframe import losses
from wordframe.encoders import ClipBackbone, Preprocessing, quiet_transformers
from wordframe.heads import unit
from wordframe.video import open_frames, uniform
from world.films import Film, read_films

START, END = "<|startoftext|>", "<|endoftext|>"
MAX_WORDS = 40
"""Token positions of the text tower; a caption of two scenes has up to 36."""
FRAMES_A_SHOT = 5
BATCH, RATE, WEIGHT_DECAY, WARMUP = 128, 1e-3, 0.1, 0.1
REPORT_EVERY = 50


def make_tokenizer(sentences: Sequence[str]) -> CLIPTokenizer:
    """CLIP's tokenizer with byte pairs learned from ``sentences``; SOS and EOS have the highest ids, as in CLIP."""
    symbols = list(bytes_to_unicode().values())
    letters = [*symbols, *(symbol + "</w>" for symbol in symbols)]
    empty = CLIPTokenizer(vocab={token: place for place, token in enumerate([*letters, START, END])}, merges=[])
    learned = empty.train_new_from_iterator(sentences, vocab_size=1200, show_progress=False)
    merges = [(one, two) for one, two in _merges(learned)]
    tokens = dict.fromkeys([*letters, *(one + two for one, two in merges), START, END])
    vocabulary = {token: place for place, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_WORDS)


def _merges(tokenizer: CLIPTokenizer) -> list[list[str]]:
    merges: list[list[str]] = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    return merges


def shots(folder: Path, films: Sequence[Film]) -> tuple[NDArray[np.uint8], list[tuple[str, ...]]]:
    """Frames ``(S, K, h, w, 3)`` of all shots, decoded from the films' files, and each shot's sentences."""
    pictures: list[NDArray[np.uint8]] = []
    for film in films:
        times = [
            second for shot in film.shots for second in uniform(shot.start_seconds, shot.end_seconds, FRAMES_A_SHOT)
        ]
        with open_frames(folder / film.file, times) as stream:
            frames = np.stack([frame.rgb for frame in stream])
        pictures.append(frames.reshape(len(film.shots), FRAMES_A_SHOT, *frames.shape[1:]))
    return np.concatenate(pictures), [shot.sentences for film in films for shot in film.shots]


def new_backbone(vocabulary: int, size: int) -> ClipBackbone:
    """Both towers four blocks deep and 128 wide, D = 128, patches of 8 × 8 pixels."""
    return ClipBackbone(
        dimension=128,
        image_size=size,
        patch_size=8,
        vision_width=128,
        vision_layers=4,
        vision_heads=4,
        vocabulary=vocabulary,
        max_words=MAX_WORDS,
        text_width=128,
        text_layers=4,
        text_heads=2,
    )


def train_clip(world: Path, target: Path, *, steps: int, seed: int, tell: Callable[[str], None]) -> None:
    """Train on ``world/train`` and write the encoder to ``target``, which appears only when it is complete."""
    torch.manual_seed(seed)
    chance = np.random.default_rng(seed)
    pictures, sentences = shots(world / "train", read_films(world, "train"))
    tell(f"{len(pictures):,} scenes decoded, {pictures.nbytes / 1e6:.0f} MB of frames")
    held_pictures, held_sentences = shots(world / "val", read_films(world, "val"))
    tokenizer = make_tokenizer([sentence for several in sentences for sentence in several])
    preprocess = Preprocessing(height=pictures.shape[2], width=pictures.shape[2])
    backbone = new_backbone(len(tokenizer), pictures.shape[2]).train()
    optimizer = torch.optim.AdamW(backbone.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warm_cosine(step, steps))
    started, since, last = time.process_time(), [], {}
    for step in range(1, steps + 1):
        rows = chance.choice(len(pictures), size=BATCH, replace=False)
        loss = _loss(backbone, preprocess, tokenizer, *_draw(chance, pictures, sentences, rows))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(backbone.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            backbone.logit_scale.clamp_(max=math.log(100))
        since.append(loss.item())
        if step % REPORT_EVERY == 0 or step == steps:
            right = _held_out(backbone, preprocess, tokenizer, held_pictures, held_sentences)
            seconds = time.process_time() - started
            loss_of_late = sum(since) / len(since)
            tell(
                f"step {step}: loss {loss_of_late:.3f}, {BATCH} unseen scenes told apart {right:.1f} %, {seconds:.0f} s"
            )
            last = {"steps": step, "batch": BATCH, "loss": loss_of_late, "told_apart": right, "cpu_seconds": seconds}
            since = []
    _save(backbone, tokenizer, target, last)


def warm_cosine(step: int, steps: int) -> float:
    """The share of the rate: linear warm-up over a tenth of the steps, then a half cosine to zero."""
    warm = WARMUP * steps
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))


def _draw(
    chance: np.random.Generator,
    pictures: NDArray[np.uint8],
    sentences: Sequence[Sequence[str]],
    rows: NDArray[np.int64],
) -> tuple[NDArray[np.uint8], list[str]]:
    """One frame and one sentence of each shot."""
    frames = chance.integers(pictures.shape[1], size=len(rows))
    return pictures[rows, frames], [sentences[row][chance.integers(len(sentences[row]))] for row in rows]


def _loss(
    backbone: ClipBackbone,
    preprocess: Preprocessing,
    tokenizer: CLIPTokenizer,
    pictures: NDArray[np.uint8],
    sentences: list[str],
) -> Tensor:
    frames, texts = _encode(backbone, preprocess, tokenizer, pictures, sentences)
    return losses.contrastive(backbone.logit_scale.exp() * texts @ frames.T)


def _encode(
    backbone: ClipBackbone,
    preprocess: Preprocessing,
    tokenizer: CLIPTokenizer,
    pictures: NDArray[np.uint8],
    sentences: list[str],
) -> tuple[Tensor, Tensor]:
    """Unit vectors ``(N, D)`` of frames and of sentences; the towers run in bfloat16, which CPUs do nearly twice as
    fast, the comparison in float32."""
    tokens = tokenizer(sentences, padding=True, truncation=True, max_length=MAX_WORDS, return_tensors="pt")
    mask = tokens["attention_mask"].bool()
    with torch.autocast("cpu", torch.bfloat16):
        frames = backbone.encode_pixels(preprocess(pictures))
        texts = backbone.encode_ids(tokens["input_ids"].masked_fill(~mask, 0), mask).sentence
    return unit(frames.float()), unit(texts.float())


@torch.no_grad()
def _held_out(
    backbone: ClipBackbone,
    preprocess: Preprocessing,
    tokenizer: CLIPTokenizer,
    pictures: NDArray[np.uint8],
    sentences: Sequence[Sequence[str]],
) -> float:
    """Percent of sentences whose scene's frame is the nearest of ``BATCH`` scenes of the validation films."""
    rows = range(min(BATCH, len(pictures)))
    backbone.eval()
    frames, texts = _encode(
        backbone, preprocess, tokenizer, pictures[: len(rows), FRAMES_A_SHOT // 2], [sentences[row][0] for row in rows]
    )
    backbone.train()
    return 100 * ((texts @ frames.T).argmax(dim=1) == torch.arange(len(rows))).float().mean().item()


def _save(backbone: ClipBackbone, tokenizer: CLIPTokenizer, target: Path, about: dict[str, float]) -> None:
    part = target.with_name(f"{target.name}.part")
    side = backbone.sizes.image_size
    with quiet_transformers():
        backbone.eval().model.save_pretrained(part)
        tokenizer.save_pretrained(part)
    CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side}).save_pretrained(part)
    (part / "training.json").write_text(json.dumps(about, indent=2) + "\n")
    part.rename(target)
