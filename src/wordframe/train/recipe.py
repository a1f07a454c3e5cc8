"""A recipe: everything that decides what a training run computes. Paths and machines are no part of it.

Defaults are those of the papers (METHODS: BertAdam, 1e-4, warm-up over 10 % of the steps and the cosine of CLIP4Clip,
clip 1.0, batch 128, 5 epochs), but for what ``procedure`` decides: a recipe that says ``published`` tunes CLIP as the
released codes do. How many words and frames a model gets is ``model.max_words`` and
``model.max_frames``, nowhere else. The published recipes ship with the package (``wordframe/recipes``) and are called
by their names; any other is a YAML file. ``loop.py`` runs a recipe.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from wordframe.data import FrameOrder
from wordframe.disk import short_hash
from wordframe.errors import RecipeError, counted
from wordframe.models import PRESETS, ModelSettings
from wordframe.train._yaml import plain_values
from wordframe.video import Cut

HEADER = ("name", "title", "paper", "published", "procedure")
"""What a person reads of a recipe; it changes nothing that is computed (what a procedure stands for is written out)."""
PROCEDURES: dict[str, dict[str, Any]] = {
    "wordframe": {},
    "published": {
        "backbone": {"freeze_layers": 0},
        "optimizer": {"backbone_lr": 1e-7, "decayed": "all-but-biases", "clip_each": 1.0},
        "precision": "float16-weights",
        "dropout_mode": "element",
    },
}
"""What a recipe has where it says nothing, beside the defaults below: those are ``wordframe``."""
_TOLD = 5
PUBLISHED_DECORRELATION = {"tcmgc": 0.5}

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Schedule = Literal["cosine", "cosine-after-warmup", "constant"]


class Section(BaseModel):
    """A part of a recipe: fixed once made, and without keys that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))


class ModelChoice(Section):
    """What stands on top of the backbone: a preset, or a family, and any of ``ModelSettings`` that differ from it."""

    # the other keys are the settings of a family, which may be one that a user has registered
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


class LoraSettings(Section):
    """Low-rank adapters instead of the towers' own weights, as in ``adapters.py``. alpha: None is twice the rank;
    targets: names of the towers' linear layers, such as ``q_proj``; None is all of them."""

    rank: Count = 16
    alpha: Positive | None = None
    dropout: Share = 0.0
    targets: tuple[str, ...] | None = None


class BackboneChoice(Section):
    """Where features come from. name: ``offline``, a hub id, a folder or an OpenAI ``.pt`` file; tuned: whether it is
    trained along; freeze_layers: all of it (None), or without its embeddings and the first so many blocks of each
    tower; gradient_checkpointing: compute the towers' inside again in the backward pass to save memory; lora: train
    adapters in it, not all its weights."""

    name: str
    tuned: bool = True
    freeze_layers: Annotated[int, Field(ge=0)] | None = None
    gradient_checkpointing: bool = False
    lora: LoraSettings | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.name == "offline" and self.tuned:
            raise ValueError("the offline encoder is not tuned; say tuned: false, or name a CLIP")
        if self.lora is not None and not self.tuned:
            raise ValueError("lora tunes the backbone, which tuned: false leaves as it is; leave one of them out")
        if self.gradient_checkpointing and not self.tuned:
            raise ValueError("gradient_checkpointing saves nothing where tuned is false; leave it out")
        return self


class DataChoice(Section):
    """benchmark: a protocol's name (``wordframe data list``); None where a cache of one's own videos is given."""

    benchmark: str | None = None


class OptimizerSettings(Section):
    """lr: of new modules; backbone_lr: of a tuned backbone; weight_decay: of what ``decayed`` names (all but biases are
    LayerNorms' weights and the scale, too); warmup: share of all steps that the rate rises; schedule: as in
    ``optim.rate_factor``; clip: largest norm of the whole gradient; clip_each: and then of each parameter's."""

    lr: Positive = 1e-4
    backbone_lr: Positive = 3e-6
    weight_decay: NotNegative = 0.2
    decayed: Literal["matrices", "all-but-biases"] = "matrices"
    betas: tuple[Share, Share] = (0.9, 0.98)
    eps: Positive = 1e-6
    warmup: Share = 0.1
    schedule: Schedule = "cosine"
    clip: Positive = 1.0
    clip_each: Positive | None = None


class LossWeights(Section):
    """decorrelation: weight of SDR beside the contrastive loss; None is the published 0.5 for TC-MGC, else 0; contrast:
    ``softmax`` (InfoNCE) or ``sigmoid``, None is what the backbone was trained with, sigmoid for SigLIP; bias: where
    the sigmoid's starts if the backbone has none, SigLIP's -10 as published."""

    contrast: Literal["softmax", "sigmoid"] | None = None
    bias: Annotated[float, Field(allow_inf_nan=False)] = -10.0
    decorrelation: NotNegative | None = None


class ValidationSettings(Section):
    """every_steps: None is at the end of each epoch; split: ``val``, held out where the benchmark has none; ``none``,
    all of train is trained on, as published, and the last state is the result; or ``test``, which the report then says:
    numbers chosen on the test split are not honest ones; patience: end the run after so many validations in a row
    without a better one; held_out: share of one's own videos that is kept from training to validate on, where no other
    captions are given for it."""

    patience: Count | None = None
    held_out: Share = 0.0
    every_steps: Count | None = None
    split: Literal["val", "test", "none"] = "val"


class SamplingSettings(Section):
    """Which frames a model sees of a video that has more than it takes, one a second. cut: CLIP4Clip's
    ``slice_framepos`` 2, 0, 1; order: of the frames in training, CLIP4Clip's ``train_frame_order`` 0, 1, 2."""

    cut: Cut = "uniform"
    order: FrameOrder = "forward"


class Recipe(Section):
    """One training run.

    Attributes:
        name, title, paper, published: what a person reads; published: text→video R@1 by benchmark.
        procedure: ``published``, step for step as the released codes train, or ``wordframe``; see ``PROCEDURES``.
        batch_size: pairs whose logits meet in one loss, over all processes together.
        gradient_accumulation: such batches a step; unlike a larger ``batch_size`` it adds no negatives.
        chunk: pairs that one process encodes at a time (gradient caching); None encodes its whole share at once.
        epochs: may be a fraction. The last, incomplete batch of an epoch is left out; the next epoch is shuffled anew.
        precision: of the backbone and the temporal head; similarities and losses are always float32.
            ``float16-weights``: a tuned backbone's weights are kept and updated in float16, all else in float32.
        dropout_mode: of TC-MGC's attention in training, one mask a ``video`` or a fresh one an ``element``.
        ema: decay of a moving average of the weights, which is what is validated and saved; None is none.
    """

    name: Annotated[str, Field(min_length=1)]
    title: str = ""
    paper: str = ""
    published: dict[str, float] = Field(default_factory=dict)
    procedure: Literal["published", "wordframe"] = "wordframe"
    model: ModelChoice
    backbone: BackboneChoice | None = None
    data: DataChoice = DataChoice()
    sampling: SamplingSettings = SamplingSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    loss: LossWeights = LossWeights()
    validation: ValidationSettings = ValidationSettings()
    batch_size: Annotated[int, Field(ge=2)] = 128
    gradient_accumulation: Count = 1
    chunk: Count | None = None
    epochs: Positive = 5
    seed: Annotated[int, Field(ge=0)] = 0
    precision: Literal["float32", "bfloat16", "float16-weights"] = "float32"
    dropout_mode: Literal["video", "element"] = "video"
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_procedure(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        filled = dict(values)
        for key, value in PROCEDURES.get(str(values.get("procedure")), {}).items():
            given = filled.get(key)
            if isinstance(given, str) and key in _SHORT:
                given = {_SHORT[key]: given}
            if not isinstance(value, dict):
                filled.setdefault(key, value)
            elif isinstance(given, dict) or key not in _OPTIONAL:
                filled[key] = {**value, **(given or {})}
        return filled

    @model_validator(mode="before")
    @classmethod
    def _rate_of_adapters(cls, values: Any) -> Any:
        # Adapters are new modules that start at nothing: with the rate of a pretrained CLIP they would stay there. It
        # is asked before the procedure fills in its own rate: validators of this kind run from the last to the first.
        backbone, optimizer = (values.get(name) or {} for name in ("backbone", "optimizer"))
        if isinstance(backbone, Mapping) and backbone.get("lora") is not None and isinstance(optimizer, Mapping):
            default = OptimizerSettings.model_fields["lr"].default
            return {**values, "optimizer": {"backbone_lr": optimizer.get("lr", default), **optimizer}}
        return values

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
        if self.ema is not None and self.precision == "float16-weights":
            raise ValueError("ema: an average in float16 loses what it is to keep; leave it out, or precision")
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
        # of what is resolved, so that a preset and the same settings written out are one recipe
        values = {key: value for key, value in self.resolved().items() if key not in HEADER}
        return short_hash(values)


_OPTIONAL = frozenset({"backbone"})
"""Sections that a recipe may have none of."""
_SHORT = {"model": "preset", "backbone": "name"}
"""Sections that may be written as one word, and the key which that word is for."""


def load_recipe(recipe: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe with ``overrides`` such as ``optimizer.lr=1e-5`` or ``model.keep_rate=0.5``.

    Args:
        recipe: the name of one that ships with wordframe (``shipped_recipes``), or a YAML file. A name means the
            shipped one even where a file or a folder has it, so that a command does the same anywhere.
        overrides: ``key=value``, the key with its sections.

    Raises:
        RecipeError: there is no such recipe, it is no YAML, or something in it does not fit.
    """
    values = _read(_shipped_files().get(str(recipe)) or Path(recipe))
    for override in overrides:
        _apply(values, override)
    return make_recipe(values, source=str(recipe))


def shipped_recipes() -> list[Recipe]:
    """Those that come with wordframe: one for each published row, then the ablations."""
    return [load_recipe(name) for name in _shipped_files()]


def make_recipe(values: Mapping[str, Any], *, source: str = "the recipe") -> Recipe:
    """A recipe of plain values; ``source`` is what an error calls them.

    Raises:
        RecipeError: something does not fit.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        found = error.errors(include_url=False)
        more = f"; and {counted(len(found) - _TOLD, 'other problem')}" if len(found) > _TOLD else ""
        raise RecipeError(f"{source}: {'; '.join(map(_problem, found[:_TOLD]))}{more}") from error


def _shipped_files() -> dict[str, Traversable]:
    """The file of each shipped recipe by its name."""
    folder = resources.files("wordframe") / "recipes"
    files = [
        sorted((file for file in place.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
        for place in (folder, folder / "ablations", folder / "own")
    ]
    return {file.name.removesuffix(".yaml"): file for several in files for file in several}


def _read(file: Traversable) -> dict[str, Any]:
    try:
        values = plain_values(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(_not_there(str(file), error.strerror or str(error))) from error
    except ValueError as error:
        raise RecipeError(f"{str(file)!r} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{str(file)!r} must hold keys with values, got {type(values).__name__}")
    return values


def _not_there(asked: str, reason: str) -> str:
    """What is said of a recipe that cannot be read: a name that is close to a shipped one was most likely meant so."""
    name, names = Path(asked).name.removesuffix(".yaml"), list(_shipped_files())
    nearest = difflib.get_close_matches(name, names, n=1)
    meant = f"did you mean {nearest[0]}, which ships with wordframe? " if nearest else ""
    listed = "wordframe train --list names those that ship with it"
    if asked == name:
        return f"there is no recipe {asked!r}; {meant}{listed}, any other is given by its file"
    return f"cannot read the recipe {asked!r}: {reason}; {meant}{listed}"


def _apply(values: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise RecipeError(f"{override!r} is no setting; write key=value, such as optimizer.lr=1e-5")
    try:
        value = plain_values(text)
    except ValueError as error:
        raise RecipeError(f"{override!r}: the value is not valid YAML; put quotes around it") from error
    section = values
    for depth, key in enumerate(keys[:-1]):
        # copied on the way down: YAML may name one section in two places
        inner = section.get(key)
        if depth == 0 and isinstance(inner, str) and key in _SHORT:
            inner = {_SHORT[key]: inner}
        if inner is not None and not isinstance(inner, dict):
            raise RecipeError(f"{override!r}: {'.'.join(keys[: depth + 1])} is a value, it has no keys")
        section[key] = section = dict(inner or {})
    section[keys[-1]] = value


def _problem(found: Any) -> str:
    """One problem as ``optimizer.lr: input should be greater than 0, got -1``."""
    path = [str(key) for key in found["loc"]]
    if found["type"] == "extra_forbidden":
        return f"unknown key {'.'.join(path)}; allowed there: {', '.join(_keys_at(path[:-1]))}"
    message: str = found["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:] if message.startswith(("Input ", "Field ")) else message
    got = "" if found["type"] in ("missing", "value_error") else f", got {reprlib.repr(found['input'])}"
    return (f"{'.'.join(path)}: " if path else "") + message + got


def _keys_at(path: Sequence[str]) -> list[str]:
    """The keys of the section at ``path``."""
    section: type[BaseModel] = Recipe
    for key in path:
        annotation = section.model_fields[key].annotation
        options = getattr(annotation, "__args__", (annotation,))
        section = next(option for option in options if isinstance(option, type) and issubclass(option, BaseModel))
    return list(section.model_fields)
