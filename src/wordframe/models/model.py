"""A text-video model: backbone, temporal head and similarity in one module.

    words ──► backbone ──────────────────► TextFeatures ──┐
    pixels ─► backbone ─► frames ─► temporal ─► VideoFeatures ─┴─► similarity ─► SimilarityOutput

The backbone may be missing: features then come from outside, from the encoder the head was trained with.
Neighbours: ``families/`` makes the parts, ``inference.py`` makes a model of a name and has it at work on stored
features, ``checkpoint.py`` knows the folder that a model is saved in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

import wordframe
from wordframe.errors import CheckpointError, EncoderError, counted
from wordframe.features import SimilarityOutput, TextFeatures, VideoFeatures
from wordframe.heads import Explanation, PrecomputedVideos, refuse_empty, scale
from wordframe.models.checkpoint import (
    FORMAT,
    VERSION,
    ClipTokenizer,
    card_text,
    read_config,
    read_tensors,
    upload,
    write_folder,
)
from wordframe.models.config import EncoderIdentity, ModelSettings, find_family
from wordframe.models.families import build_similarity, build_temporal

if TYPE_CHECKING:
    from wordframe.encoders import Backbone

_SCALE, _BIAS = "similarity.logit_scale", "logit_bias"


class TextVideoModel(nn.Module):
    """Scores texts against videos.

    Args:
        settings: the choices that make the temporal head and the similarity.
        dimension: ``D`` of the features; with a backbone it is the backbone's and may be left out.
        backbone: both towers of a dual encoder; None to work on features made elsewhere.
        tokenizer: sentences into token ids, for ``encode_text`` with strings.
        trained: whether the weights come from training; a search refuses untrained heads that need it.
        trained_on: the encoder of the features it was trained on, where it has no backbone: features of another one
            are refused. None where that is not known, or nothing was trained.

    Attributes:
        logit_bias: what the sigmoid loss adds to all logits, a number; None for a model of another loss. Scores go
            without it, which ranks the same: ``sigmoid(logits + logit_bias)`` is how sure the model is of a pair.
        leftovers: names in an authors' file that this model has no use for.
    """

    def __init__(
        self,
        *,
        settings: ModelSettings,
        dimension: int | None = None,
        backbone: Backbone | None = None,
        tokenizer: ClipTokenizer | None = None,
        trained: bool = False,
        trained_on: EncoderIdentity | None = None,
    ) -> None:
        super().__init__()
        if backbone is not None and trained_on is not None:
            raise ValueError("trained_on= is for a model without a backbone; with one, its own features are meant")
        self.settings = settings
        self.dimension = _dimension(dimension, backbone)
        self.backbone = backbone
        self.tokenizer = tokenizer
        self.trained = trained
        self.trained_on = trained_on
        self.leftovers: tuple[str, ...] = ()
        self.logit_bias: nn.Parameter | None = None
        self.temporal = build_temporal(settings, self.dimension)
        self.similarity = build_similarity(settings, self.dimension)
        if backbone is not None and hasattr(self.similarity, "logit_scale"):
            # one parameter: CLIP's scale is the model's; SigLIP's has another shape, and only starts it
            self.similarity.logit_scale = backbone.logit_scale
            if backbone.logit_scale.dim():
                self.separate_scale()

    def separate_scale(self) -> None:
        """Give the similarity a scale of its own, which starts where CLIP's is; CLIP's stays as it is from then on.

        For training on top of frozen towers. Their features do not depend on the scale, but their fingerprint does:
        with a scale in common the trained model would be refused on features of the very CLIP that it holds.
        """
        if self.backbone is not None and getattr(self.similarity, "logit_scale", None) is self.backbone.logit_scale:
            self.similarity.logit_scale = nn.Parameter(self.backbone.logit_scale.detach().reshape(()).clone())

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
        text = backbone.encode_ids(input_ids.to(device), mask.to(device).bool())
        # a tower of fixed length has read all positions; of longer texts the head gets as many words as of any other
        return text.cut(self.settings.max_words) if backbone.model_type.fixed_length else text

    def encode_video(self, *, pixels: Tensor, frame_mask: Tensor | None = None) -> VideoFeatures:
        """Pixels ``(V, F, 3, H, W)``, normalised as CLIP takes them, into features; ``frame_mask (V, F)``, 1 = real, is
        all real by default."""
        backbone = self._need_backbone("encode_video")
        if pixels.dim() != 5:
            raise ValueError(f"pixels must be (V, F, 3, H, W), got shape {tuple(pixels.shape)}")
        if not pixels.is_floating_point():  # the towers would take levels for pixels, and give features of nothing
            raise ValueError(f"pixels must be normalised as CLIP takes them, got {pixels.dtype}; see Preprocessing")
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

    def for_training(
        self, text: TextFeatures, video: VideoFeatures, *, first: int
    ) -> tuple[SimilarityOutput, tuple[tuple[float, Tensor], ...]]:
        """What a step of training takes its loss of: the output, and further logits ``(B, V)`` with their weights.

        Row i's own video is column ``first + i``. For most heads it is the score, and nothing further.
        """
        return self.similarity.for_training(text, video, first=first)

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
                f"{self.settings.label} has no single vector per video, since its similarity depends on the text; "
                "use score()"
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
        return _smallest(getattr(self.temporal, "max_frames", None), self.similarity.max_frames)

    @property
    def max_words(self) -> int | None:
        """The most token positions a text may have; None where any number will do."""
        return _smallest(None if self.backbone is None else self.backbone.max_words, self.similarity.max_words)

    @property
    def mask_padding(self) -> bool:
        """Whether padded words and frames are left out everywhere; False where some part lets them take part."""
        parts = [part for part in (self.temporal, self.similarity) if part is not None]
        return all(getattr(module, "mask_padding", True) for part in parts for module in part.modules())

    @property
    def explains(self) -> tuple[str, ...]:
        """What ``explain`` has beside the logits, any of ``sentence``, ``words`` and ``parts``."""
        return self.similarity.explains

    @property
    def fingerprint(self) -> str:
        """Short hash of settings and weights on top of the backbone: what stored contextual frames depend on."""
        # The backbone is left out: what it gives is stored by the library under a fingerprint of its own.
        digest = hashlib.sha256(json.dumps([self.settings.to_dict(), self.dimension], sort_keys=True).encode())
        # by name: the order in which modules were made must not tell two equal models apart
        for name, tensor in sorted(self.state_dict().items()):
            if not name.startswith("backbone."):
                digest.update(name.encode())
                digest.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]

    def save(self, folder: str | Path) -> None:
        """Write ``config.json``, ``model.safetensors``, a model card, and the vocabulary if the model has one.

        ``load_model(folder)`` reads them. Files of an earlier save are replaced; a save that is killed leaves those
        whole.

        Raises:
            OSError: the folder cannot be written.
        """
        self._write(Path(folder), self.trained_on)

    def push_to_hub(self, repo_id: str, *, private: bool = False, token: str | None = None) -> str:
        """Save and upload to the Hugging Face Hub; gives the address of the commit."""
        told = self.trained_on
        if told is not None and Path(told.name).is_absolute():
            told = replace(told, name=Path(told.name).name)  # where it lies on this machine is nobody's business
        return upload(repo_id, lambda folder: self._write(folder, told), private=private, token=token)

    @classmethod
    def load(cls, folder: str | Path) -> TextVideoModel:
        """What ``save`` wrote, in eval mode; ``load_model`` also takes presets and hub ids.

        Raises:
            CheckpointError: the folder is no checkpoint, is damaged, or its files do not belong together.
        """
        from wordframe.encoders import backbone_of

        folder = Path(folder)
        config = read_config(folder)
        try:
            trained_on = config.get("trained_on")  # older checkpoints do not tell
            model = cls(
                settings=ModelSettings.from_dict(config["settings"]),
                dimension=config["dimension"],
                backbone=None if config["backbone"] is None else backbone_of(config["backbone"]),
                trained=config["trained"],
                trained_on=None if trained_on is None else EncoderIdentity(**trained_on),
            )
        except (KeyError, TypeError, AttributeError, ValueError, EncoderError) as error:
            raise CheckpointError(f"{str(folder / 'config.json')!r} does not describe a model: {error}") from error
        _fill(model, read_tensors(folder / "model.safetensors"), folder)
        model.tokenizer = None if model.backbone is None else ClipTokenizer.beside(folder, model.backbone.type_name)
        return model.eval()

    def _write(self, folder: Path, trained_on: EncoderIdentity | None) -> None:
        config = {
            "format": FORMAT,
            "version": VERSION,
            "wordframe_version": wordframe.__version__,
            "settings": self.settings.to_dict(),
            "dimension": self.dimension,
            "backbone": None if self.backbone is None else self.backbone.describe(),
            "trained": self.trained,
            "trained_on": None if trained_on is None else asdict(trained_on),
        }
        on_top = {id(p): p.numel() for name, p in self.named_parameters() if not name.startswith("backbone.")}
        paper = find_family(self.settings.family).paper
        card = card_text(config, label=self.settings.label, paper=paper, parameters=sum(on_top.values()))
        write_folder(folder, config=config, tensors=_tensors(self), card=card, tokenizer=self.tokenizer)

    def _need_backbone(self, what: str) -> Backbone:
        if self.backbone is None:
            raise TypeError(f"{what} needs a backbone and this model has none; encode with the encoder it is used with")
        return self.backbone

    def _tokenize(self, sentences: Sequence[str]) -> tuple[Tensor, Tensor]:
        if isinstance(sentences, str):
            raise ValueError("sentences must be a list of strings, got one string; write [sentence]")
        if self.tokenizer is None:
            self.tokenizer = ClipTokenizer.load()
        backbone = self._need_backbone("encode_text")
        limit = self.tokens_of_a_text(min(backbone.max_words, self.tokenizer.tokenizer.model_max_length))
        return self.tokenizer(sentences, max_words=limit, vocabulary=backbone.vocabulary)

    def tokens_of_a_text(self, full_length: int) -> int:
        """Positions that a text is tokenized to at most, of the ``full_length`` that backbone and tokenizer take."""
        fixed = self._need_backbone("encode_text").model_type.fixed_length
        return full_length if fixed else min(self.settings.max_words, full_length)


def _tensors(model: TextVideoModel) -> dict[str, Tensor]:
    """All weights by name, on the CPU. CLIP's scale, where it is one parameter under two names, under the first."""
    seen: set[int] = set()
    kept: dict[str, Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            kept[name] = tensor.detach().cpu().contiguous()  # safetensors takes no views
    return kept


@torch.no_grad()
def _fill(model: TextVideoModel, tensors: Mapping[str, Tensor], folder: Path) -> None:
    if _SCALE in tensors:  # CLIP was frozen: it kept its own
        model.separate_scale()
    if _BIAS in tensors:
        model.logit_bias = nn.Parameter(torch.zeros(()))
    expected = _tensors(model).keys()
    if missing := sorted(expected - tensors.keys()):
        verb = "is" if len(missing) == 1 else "are"
        raise CheckpointError(
            f"{counted(len(missing), 'tensor')} {verb} missing in {str(folder)!r}: {', '.join(missing[:5])}"
        )
    if unknown := sorted(tensors.keys() - expected):
        raise CheckpointError(f"{len(unknown)} tensors in {str(folder)!r} are unknown: {', '.join(unknown[:5])}")
    # not load_state_dict, for which the shared scale would be missing under its second name
    for name, target in model.state_dict().items():
        if name not in tensors:
            continue  # CLIP's scale under its second name
        if tensors[name].shape != target.shape:
            raise CheckpointError(
                f"{name} has size {tuple(tensors[name].shape)} in {str(folder)!r}, but config.json asks for "
                f"{tuple(target.shape)}; the two files do not belong together"
            )
        target.copy_(tensors[name])


def _smallest(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _dimension(dimension: int | None, backbone: Backbone | None) -> int:
    if backbone is None and dimension is None:
        raise ValueError("dimension must be given where there is no backbone: the D of the features to come")
    if backbone is None:
        assert dimension is not None
        return dimension
    if dimension not in (None, backbone.dimension):
        raise ValueError(f"dimension={dimension} does not fit the backbone's {backbone.dimension}; leave it out")
    return backbone.dimension
