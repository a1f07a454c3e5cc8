"""A text-video model: backbone, temporal head and similarity in one module.

    words ──► backbone ──────────────────► TextFeatures ──┐
    pixels ─► backbone ─► frames ─► temporal ─► VideoFeatures ─┴─► similarity ─► SimilarityOutput

The backbone may be missing: features then come from any encoder of the same ``D``. ``families.py`` makes the parts,
``presets.py`` names published ones, ``checkpoint.py`` saves and loads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from wordframe.features import SimilarityOutput, TextFeatures, VideoFeatures
from wordframe.heads import Explanation, PrecomputedVideos, refuse_empty, scale
from wordframe.models.families import build_similarity, build_temporal
from wordframe.models.settings import ModelSettings
from wordframe.models.tokens import ClipTokenizer

if TYPE_CHECKING:
    from wordframe.encoders import ClipBackbone


class TextVideoModel(nn.Module):
    """Scores texts against videos.

    Args:
        settings: the choices that make the temporal head and the similarity.
        dimension: ``D`` of the features; with a backbone it is the backbone's and may be left out.
        backbone: both towers of CLIP; None to work on features made elsewhere.
        tokenizer: sentences into token ids, for ``encode_text`` with strings.
        trained: whether the weights come from training; a search refuses untrained heads that need it.

    Attributes:
        leftovers: names in an authors' file that this model has no use for.
    """

    def __init__(
        self,
        *,
        settings: ModelSettings,
        dimension: int | None = None,
        backbone: ClipBackbone | None = None,
        tokenizer: ClipTokenizer | None = None,
        trained: bool = False,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.dimension = _dimension(dimension, backbone)
        self.backbone = backbone
        self.tokenizer = tokenizer
        self.trained = trained
        self.leftovers: tuple[str, ...] = ()
        self.temporal = build_temporal(settings, self.dimension)
        self.similarity = build_similarity(settings, self.dimension)
        if backbone is not None and hasattr(self.similarity, "logit_scale"):
            self.similarity.logit_scale = backbone.logit_scale  # one parameter: CLIP's scale is the model's

    def encode_text(
        self, sentences: Sequence[str] | None = None, *, input_ids: Tensor | None = None, mask: Tensor | None = None
    ) -> TextFeatures:
        """Texts into features: either ``sentences``, or ``input_ids (T, W)`` with their ``mask (T, W)``, 1 = real."""
        if (sentences is None) == (input_ids is None) or (input_ids is None) != (mask is None):
            raise ValueError("encode_text takes either sentences, or input_ids= together with mask=")
        backbone = self._need_backbone("encode_text")
        if sentences is not None:
            input_ids, mask = self._tokenize(sentences)
        assert input_ids is not None
        assert mask is not None
        device = backbone.logit_scale.device
        return backbone.encode_ids(input_ids.to(device), mask.to(device).bool())

    def encode_video(self, *, pixels: Tensor, frame_mask: Tensor | None = None) -> VideoFeatures:
        """Pixels ``(V, F, 3, H, W)`` into features; ``frame_mask (V, F)``, 1 = real, is all real by default."""
        backbone = self._need_backbone("encode_video")
        if pixels.dim() != 5:
            raise ValueError(f"pixels must be (V, F, 3, H, W), got shape {tuple(pixels.shape)}")
        device = backbone.logit_scale.device
        if frame_mask is None:
            frame_mask = torch.ones(pixels.shape[:2], dtype=torch.bool)
        frames = backbone.encode_pixels(pixels.to(device).flatten(0, 1)).view(*pixels.shape[:2], -1)
        return self.contextualize(frames, frame_mask.to(device).bool())

    def contextualize(self, frames: Tensor, frame_mask: Tensor, seconds: Tensor | None = None) -> VideoFeatures:
        """Raw frame features ``(V, F, D)``, as a library stores them, through the temporal head."""
        video = VideoFeatures(frames, frames, frame_mask, seconds)  # checks the shapes
        if frames.shape[-1] != self.dimension:
            raise ValueError(f"frames have D = {frames.shape[-1]}, this model works on D = {self.dimension}")
        return video if self.temporal is None else video.with_contextual(self.temporal(frames, frame_mask))

    def score(
        self, text: TextFeatures, video: VideoFeatures | PrecomputedVideos, method: str = "auto"
    ) -> SimilarityOutput:
        """Score every text against every video; logits and parts are scaled by ``s``.

        Args:
            text: ``T`` texts.
            video: ``V`` videos, as ``encode_video`` or ``contextualize`` gives them, or as ``precompute`` keeps them.
            method: ``auto``, or one of ``self.methods``.
        """
        output: SimilarityOutput = self.similarity(text, video, method=method)
        return output

    def precompute(self, video: VideoFeatures) -> PrecomputedVideos:
        """What scoring makes of the videos alone, to be used again for other texts while the weights stay the same."""
        precomputed: PrecomputedVideos = self.similarity.precompute(video)
        return precomputed

    def search_vectors(self, text: TextFeatures) -> Tensor:
        """Unit vectors ``(T, D)`` that an index of frames or scenes is asked for before pairs are scored."""
        vectors: Tensor = self.similarity.search_vectors(text)
        return vectors

    def explain(self, text: TextFeatures, video: VideoFeatures) -> Explanation:
        """The score with what stands behind it: parts, their weights, attention over the frames."""
        return self.similarity.explain(text, video)

    def video_vectors(self, video: VideoFeatures) -> Tensor:
        """One unit vector per video, ``(V, D)``; ``logits = s · n(sentence) · vector``.

        Raises:
            TypeError: videos of this model look different to each text.
        """
        if not self.one_vector:
            raise TypeError(
                f"{self.settings.family} with {self.settings.sim_header} has no single vector per video, since its "
                "similarity depends on the text; use score()"
            )
        refuse_empty("video", video.frame_mask)
        vectors: Tensor = self.similarity.vectors(video)  # type: ignore[operator]
        return vectors

    @property
    def methods(self) -> tuple[str, ...]:
        """Ways of scoring that give the same numbers, fastest first."""
        return self.similarity.methods

    @property
    def one_vector(self) -> bool:
        """Whether ``video_vectors`` works, so that an ordinary vector index searches exactly."""
        return hasattr(self.similarity, "vectors")

    @property
    def scale(self) -> float:
        """What logits are divided by to give the score that a user sees: ``s``, or 1 for tight, which has none."""
        fixed: float = getattr(self.similarity, "fixed_scale", 1.0)
        logit_scale = getattr(self.similarity, "logit_scale", None)
        return fixed if logit_scale is None else float(scale(logit_scale.detach()))

    @property
    def max_frames(self) -> int | None:
        """The most frames a video may have; None where any number will do."""
        limits = []
        if self.settings.family in ("ea-clip4clip", "xclip"):
            limits.append(self.settings.max_frames)
        if self.settings.sim_header == "seqTransf":
            limits.append(self.settings.positions)
        if self.settings.sim_header == "tightTransf":
            limits.append(self.settings.positions - 1)  # the sentence takes one
        return min(limits, default=None)

    @property
    def max_words(self) -> int | None:
        """The most token positions a text may have; None where any number will do."""
        limits = [] if self.backbone is None else [self.backbone.max_words]
        if self.settings.family == "xclip":
            limits.append(self.settings.max_words)
        return min(limits, default=None)

    @property
    def fingerprint(self) -> str:
        """Short hash of settings and weights on top of the backbone: what stored contextual frames depend on."""
        digest = hashlib.sha256(json.dumps([self.settings.to_dict(), self.dimension], sort_keys=True).encode())
        for name, tensor in sorted(self.state_dict().items()):
            if not name.startswith("backbone."):
                digest.update(name.encode())
                digest.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]

    def save(self, folder: str | Path) -> None:
        """Write ``config.json``, ``model.safetensors`` and a model card; ``load_model(folder)`` reads them."""
        from wordframe.models.checkpoint import save

        save(self, folder)

    def push_to_hub(self, repo_id: str, *, private: bool = False, token: str | None = None) -> str:
        """Save and upload to the Hugging Face Hub; gives the address of the commit."""
        from wordframe.models.checkpoint import push_to_hub

        return push_to_hub(self, repo_id, private=private, token=token)

    def _need_backbone(self, what: str) -> ClipBackbone:
        if self.backbone is None:
            raise TypeError(f"{what} needs a backbone and this model has none; encode with the encoder it is used with")
        return self.backbone

    def _tokenize(self, sentences: Sequence[str]) -> tuple[Tensor, Tensor]:
        if isinstance(sentences, str):
            raise ValueError("sentences must be a list of strings, got one string; write [sentence]")
        if self.tokenizer is None:
            self.tokenizer = ClipTokenizer.load()
        sizes = self._need_backbone("encode_text").sizes
        limit = min(self.settings.max_words, sizes.max_words)
        return self.tokenizer(sentences, max_words=limit, vocabulary=sizes.vocabulary)


def _dimension(dimension: int | None, backbone: ClipBackbone | None) -> int:
    if backbone is None and dimension is None:
        raise ValueError("dimension must be given where there is no backbone: the D of the features to come")
    if backbone is None:
        assert dimension is not None
        return dimension
    if dimension not in (None, backbone.dimension):
        raise ValueError(f"dimension={dimension} does not fit the backbone's {backbone.dimension}; leave it out")
    return backbone.dimension
