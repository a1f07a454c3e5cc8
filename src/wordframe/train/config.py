"""A recipe: everything that decides what a training run computes. Paths and machines are no part of it.

Defaults are those of the papers (METHODS: BertAdam, 1e-4 and 1e-7, warm-up 10 % then cosine, clip 1.0, batch 128, 5
epochs). How many words and frames a model gets is ``model.max_words`` and ``model.max_frames``, nowhere else.
``recipe_file.py`` reads recipes from YAML; ``loop.py`` runs them.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from wordframe.models import PRESETS, ModelSettings

HEADER = ("name", "title", "paper", "published")
PUBLISHED_DECORRELATION = {"tcmgc": 0.5}
_WITH_PARTS = ("tcmgc", "xclip")
_WITHOUT_PARTS = ("clip4clip", "ea-clip4clip", "zero-shot")

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of a recipe: fixed once made, and without keys that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))


class ModelChoice(Section):
    """What stands on top of the backbone: a preset, or a family, and any of ``ModelSettings`` that differ from it."""

    model_config = ConfigDict(frozen=True, extra="allow", ignored_types=(cached_property,))

    preset: str | None = None

    @cached_property
    def settings(self) -> ModelSettings:
        base = {} if self.preset is None else PRESETS[self.preset].settings.to_dict()
        return ModelSettings.from_dict({**base, **(self.model_extra or {})})

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.preset is not None and self.preset not in PRESETS:
            raise ValueError(f"preset {self.preset!r} is not known; use one of {', '.join(PRESETS)}")
        if self.preset is None and "family" not in (self.model_extra or {}):
            raise ValueError("give a preset (wordframe models lists them) or a family")
        _ = self.settings  # raises on values that do not fit
        return self


class BackboneChoice(Section):
    """Where features come from. name: ``offline``, a hub id, a folder or an OpenAI ``.pt`` file; tuned: whether it is
    trained along; gradient_checkpointing: compute the towers' inside again in the backward pass to save memory."""

    name: str
    tuned: bool = True
    gradient_checkpointing: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.name == "offline" and self.tuned:
            raise ValueError("the offline encoder is not tuned; say tuned: false, or name a CLIP")
        if self.gradient_checkpointing and not self.tuned:
            raise ValueError("gradient_checkpointing saves nothing where tuned is false; leave it out")
        return self


class DataChoice(Section):
    """benchmark: a protocol's name (``wordframe data list``); None where a cache of one's own videos is given."""

    benchmark: str | None = None


class OptimizerSettings(Section):
    """lr: of new modules; backbone_lr: of a tuned backbone; weight_decay: on matrices; warmup: share of all steps;
    clip: largest norm of the whole gradient."""

    lr: Positive = 1e-4
    backbone_lr: Positive = 1e-7
    weight_decay: NotNegative = 0.2
    betas: tuple[Share, Share] = (0.9, 0.98)
    eps: Positive = 1e-6
    warmup: Share = 0.1
    schedule: Literal["cosine", "constant"] = "cosine"
    clip: Positive = 1.0


class LossWeights(Section):
    """decorrelation: weight of SDR beside the contrastive loss; None is the published 0.5 for TC-MGC, else 0."""

    decorrelation: NotNegative | None = None


class ValidationSettings(Section):
    """every_steps: None is at the end of each epoch; split: ``val``, held out where the benchmark has none, or
    ``test``, which the report then says: numbers chosen on the test split are not honest ones."""

    every_steps: Count | None = None
    split: Literal["val", "test"] = "val"


class Recipe(Section):
    """One training run.

    Attributes:
        name, title, paper, published: what a person reads; published: text→video R@1 by benchmark.
        batch_size: pairs whose logits meet in one loss, over all processes together.
        gradient_accumulation: such batches a step; unlike a larger ``batch_size`` it adds no negatives.
        chunk: pairs that one process encodes at a time (gradient caching); None encodes its whole share at once.
        epochs: may be a fraction. The last, incomplete batch of an epoch is left out; the next epoch is shuffled anew.
        precision: of the backbone and the temporal head; similarities and losses are always float32.
        dropout_mode: of TC-MGC's attention in training, one mask a ``video`` or a fresh one an ``element``.
    """

    name: Annotated[str, Field(min_length=1)]
    title: str = ""
    paper: str = ""
    published: dict[str, float] = Field(default_factory=dict)
    model: ModelChoice
    backbone: BackboneChoice | None = None
    data: DataChoice = DataChoice()
    optimizer: OptimizerSettings = OptimizerSettings()
    loss: LossWeights = LossWeights()
    validation: ValidationSettings = ValidationSettings()
    batch_size: Annotated[int, Field(ge=2)] = 128
    gradient_accumulation: Count = 1
    chunk: Count | None = None
    epochs: Positive = 5
    seed: Annotated[int, Field(ge=0)] = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    dropout_mode: Literal["video", "element"] = "video"

    @field_validator("model", mode="before")
    @classmethod
    def _preset_by_name(cls, value: Any) -> Any:
        return {"preset": value} if isinstance(value, str) else value

    @field_validator("backbone", mode="before")
    @classmethod
    def _backbone_by_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.decorrelation > 0 and self.settings.family in _WITHOUT_PARTS:
            raise ValueError(
                f"loss.decorrelation={self.decorrelation} needs a model with parts ({', '.join(_WITH_PARTS)}), "
                f"got {self.settings.family!r}; set it to 0"
            )
        return self

    @property
    def settings(self) -> ModelSettings:
        """The model's settings, the preset's and what differs from it."""
        return self.model.settings

    @property
    def decorrelation(self) -> float:
        """Weight of SDR, the published one where the recipe gives none."""
        given = self.loss.decorrelation
        return PUBLISHED_DECORRELATION.get(self.settings.family, 0.0) if given is None else given

    @property
    def tuned(self) -> bool:
        """Whether a backbone is trained along."""
        return self.backbone is not None and self.backbone.tuned

    def resolved(self) -> dict[str, Any]:
        """Plain values with every default and the model's settings written out: what a report keeps."""
        values = self.model_dump(mode="json")
        values["model"] = self.settings.to_dict()
        values["loss"]["decorrelation"] = self.decorrelation
        return values

    @property
    def fingerprint(self) -> str:
        """Short hash of all that changes what is computed: the header does not."""
        values = {key: value for key, value in self.resolved().items() if key not in HEADER}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
