"""Features of the rendered world by its CLIP, made once for all models: frames, sentences and words of each split.

Twelve frames spread evenly over each film (bin centres), decoded from its mp4 file: the protocol of ``wordframe
evaluate --videos DIR --captions FILE``, so a model's numbers there are its numbers here. One safetensors file a split.
``CachedFeatures`` is what training and evaluation take. benchmarks/rendered_world.py calls this.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from wordframe.data import FeatureBatch, read_captions
from wordframe.encoders import Encoder
from wordframe.extraction import Failure, Job, extract
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.models import fit_text
from wordframe.video import uniform

NUM_FRAMES = 12
MAX_WORDS = 32
"""As published for MSR-VTT; the sentence feature is that of the whole caption, the words are cut."""


@dataclass(frozen=True)
class CachedFeatures:
    """One split: a training set for ``wordframe.train``, and texts and videos for the evaluation.

    text: ``T`` captions; video: ``V`` films; owners: ``(T,)`` the film of each caption; video_ids: the films' files.
    """

    text: TextFeatures
    video: VideoFeatures
    owners: Tensor
    video_ids: tuple[str, ...]
    fingerprint: str

    @property
    def video_of(self) -> list[int]:
        return [int(video) for video in self.owners]

    @property
    def dimension(self) -> int:
        return self.video.frames.shape[-1]

    def all_videos(self) -> VideoFeatures:
        return self.video

    def text_blocks(self, size: int) -> list[TextFeatures]:
        return [self.text[start : start + size] for start in range(0, len(self.text), size)]

    def batch(self, captions: Sequence[int]) -> FeatureBatch:
        """The captions of these numbers with their films; padded to the longest of them, which changes no score."""
        numbers = torch.as_tensor(captions)
        videos = self.owners[numbers]
        mask = self.text.word_mask[numbers]
        longest = int(mask.sum(dim=1).max())
        return FeatureBatch(
            captions=numbers,
            videos=videos,
            sentence=self.text.sentence[numbers],
            words=self.text.words[numbers, :longest],
            word_mask=mask[:, :longest],
            frames=self.video.frames[videos],
            frame_mask=self.video.frame_mask[videos],
        )


def write_features(split: Path, encoder: Encoder, target: Path) -> None:
    """Encode the films and captions of ``split`` into ``target``, which appears only when it is complete."""
    captions = read_captions(split / "captions.json")
    owners = [place for place, several in enumerate(captions.values()) for _ in several]
    text = encoder.encode_text([caption for several in captions.values() for caption in several])
    tensors = {
        "sentence": text.sentence,
        "words": text.words,
        "word_mask": text.word_mask,
        "frames": _frames(split, list(captions), encoder),
        "owners": torch.tensor(owners),
    }
    part = target.with_name(f".{target.name}.part")
    metadata = {"files": "\n".join(captions), "encoder": encoder.fingerprint}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, part, metadata=metadata)
    part.rename(target)


def read_features(path: Path) -> CachedFeatures:
    """What ``write_features`` wrote."""
    with safe_open(path, framework="pt") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        metadata = file.metadata()
    mask = torch.ones(found["frames"].shape[:2], dtype=torch.bool)
    return CachedFeatures(
        text=fit_text(TextFeatures(found["sentence"], found["words"], found["word_mask"]), MAX_WORDS),
        video=VideoFeatures(found["frames"], found["frames"], mask),
        owners=found["owners"],
        video_ids=tuple(metadata["files"].split("\n")),
        fingerprint=hashlib.sha256(path.read_bytes()).hexdigest()[:16],
    )


def _frames(split: Path, files: Sequence[str], encoder: Encoder) -> Tensor:
    """Frame features ``(V, F, D)``; a film that cannot be read ends the run."""
    jobs = [Job(name, str(split / name)) for name in files]
    found: dict[str, np.ndarray] = {}
    for result in extract(jobs, encoder, times=lambda info: uniform(0.0, info.duration_seconds or 1.0, NUM_FRAMES)):
        if isinstance(result, Failure):
            raise SystemExit(f"a film of the world cannot be read, make it anew: {result.reason}")
        found[result.key] = result.features
    return torch.from_numpy(np.stack([found[name] for name in files]))
