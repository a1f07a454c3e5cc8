"""The choices that make a model, as data: what a preset holds and what ``config.json`` of a checkpoint stores.

A family of models has a settings class with its own fields alone, which checks itself, and builders that turn such
settings into modules. ``families/`` has those of the papers; ``register_family`` adds one (docs/adding-a-head.md).
Neighbours: ``presets.py`` (published settings by name), ``model.py`` (what holds the modules).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

if TYPE_CHECKING:
    from torch import nn

    from wordframe.heads import Similarity

S = TypeVar("S", bound="ModelSettings")

SEQUENTIAL = ("meanP", "seqLSTM", "seqTransf")

# Until each family had settings of its own, config.json and reports held these of every model. Where a family does not
# have them, the first were refused unless they said nothing, as here, and the others never had an effect.
_FORMER_IF_SAYING = {
    "sim_header": "meanP",
    "se_type": None,
    "variant": "unity",
    "reduction_ratio": None,
    "keep_rate": None,
    "normalize_frames": True,
}
_FORMER_WITHOUT_EFFECT = {
    *("layers", "heads", "positions", "mask_padding"),
    *("conditional_heads", "projections", "dropout", "softmax_lambda"),
}


@dataclass(frozen=True)
class EncoderIdentity:
    """Whose features a head was trained on. Another encoder of the same ``D`` gives a head nonsense, silently.

    name: what the user called the encoder, for people; fingerprint: ``Encoder.fingerprint``, which decides.
    """

    name: str
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Settings of a model on top of its backbone: what all families have. Names are the authors' where they have one.

    ``ModelSettings(family="tcmgc", keep_rate=0.1)`` makes the settings class of that family, as ``pathlib.Path`` makes
    the path of the system. A family's class adds fields, and checks in ``__post_init__``, which calls this one's.

    family: ``clip4clip``, ``ea-clip4clip``, ``xclip``, ``tcmgc`` … (``families/``) or a registered one; max_words,
    max_frames: what the model is trained with, and the limit of heads whose weights count words or frames.

    Raises:
        ValueError: values that are not allowed or do not go together, by name.
    """

    family: str
    max_words: int = 32
    max_frames: int = 12

    def __new__(cls, **values: Any) -> Self:
        """An object of the family's class; ``copy``, ``pickle`` and subclasses get what they ask for."""
        if cls is not ModelSettings or "family" not in values:
            return super().__new__(cls)
        kind = find_family(values["family"]).settings
        _check_names(kind, values)
        made: Self = super().__new__(kind)  # Python goes on with __init__ of the class that this is of
        return made

    def __post_init__(self) -> None:
        self._at_least_1("max_words", "max_frames")
        known = FAMILIES.get(self.family)
        if known is not None and not isinstance(self, known.settings):
            raise ValueError(f"family={self.family!r} goes with {known.settings.__name__}, not {type(self).__name__}")

    @property
    def label(self) -> str:
        """What tells models of one paper apart, for people."""
        return self.family

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> ModelSettings:
        """The inverse of ``to_dict``; reads what was written before each family had settings of its own, too.

        Raises:
            ValueError: a name that is not a setting of the family, or a value of another type.
        """
        from pydantic import TypeAdapter, ValidationError

        kind = find_family(values.get("family")).settings
        values = _own_values(kind, values)
        _check_names(kind, values)
        try:
            made: ModelSettings = TypeAdapter(kind).validate_python(values)
        except ValidationError as error:
            raise ValueError("; ".join(_in_a_line(item) for item in error.errors())) from error
        return made

    def _at_least_1(self, *names: str) -> None:
        for name in names:
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")

    def _one_of(self, name: str, allowed: Iterable[str]) -> None:
        if getattr(self, name) not in allowed:
            raise ValueError(
                f"{name}={getattr(self, name)!r} is not allowed for family={self.family!r}; "
                f"use one of {', '.join(map(repr, allowed))}"
            )


@dataclass(frozen=True, kw_only=True)
class SequentialSettings(ModelSettings):
    """Settings of a family whose frames go through CLIP4Clip's sequential heads first.

    sim_header: ``meanP`` (none), ``seqLSTM``, ``seqTransf``, for some families ``tightTransf``; layers, heads,
    positions: of the temporal or the joint transformer (heads None: one per 64 dimensions, as in CLIP).
    """

    sim_headers: ClassVar[tuple[str, ...]] = SEQUENTIAL

    sim_header: str = "meanP"
    layers: int = 4
    heads: int | None = None
    positions: int = 77

    def __post_init__(self) -> None:
        super().__post_init__()
        self._one_of("sim_header", self.sim_headers)
        self._at_least_1("layers", "positions")

    @property
    def label(self) -> str:
        return f"{self.family}, {self.sim_header}"


@dataclass(frozen=True)
class Family(Generic[S]):
    """How the settings of a family become modules.

    Attributes:
        settings: their class.
        similarity: ``(settings, D) →`` the module that scores.
        temporal: ``(settings, D) →`` the head ``(V, F, D), frame_mask → (V, F, D)``, or None where contextual frames
            are the frames. Left out: the one that ``sim_header`` names, none for settings without it.
        paper: where it was published, for cards and lists.
    """

    settings: type[S]
    similarity: Callable[[S, int], Similarity]
    temporal: Callable[[S, int], nn.Module | None] | None = None
    paper: str = ""


FAMILIES: dict[str, Family[Any]] = {}


def register_family(name: str, family: Family[Any]) -> None:
    """Add a family, so that settings, presets and checkpoints can name it."""
    _load_ours()
    if name in FAMILIES:
        raise ValueError(f"family {name!r} is there already; choose another name")
    FAMILIES[name] = family


def find_family(name: object) -> Family[Any]:
    """The family called ``name``; ValueError where there is none."""
    _load_ours()
    family = FAMILIES.get(name) if isinstance(name, str) else None
    if family is None:
        raise ValueError(
            f"family={name!r} is not known; use one of {', '.join(map(repr, FAMILIES))}, "
            "or import the module that registers it"
        )
    return family


def _load_ours() -> None:
    """The papers' families register like anybody's. They build on this module, so it cannot import them at its top."""
    importlib.import_module("wordframe.models.families")


def _check_names(kind: type[ModelSettings], values: Mapping[str, Any]) -> None:
    """What a dataclass tells by TypeError, in terms of the family."""
    known = {item.name: item for item in fields(kind)}
    for name, value in values.items():
        if name not in known:
            raise ValueError(
                f"{name}={value!r} has no meaning for family={values['family']!r}; leave it out; "
                f"its settings are {', '.join(known)}"
            )
    for name, item in known.items():
        if name not in values and item.default is MISSING and item.default_factory is MISSING:
            advice = f"; {item.metadata['advice']}" if "advice" in item.metadata else ""
            raise ValueError(f"{name} must be given for family={values['family']!r}{advice}")


def _own_values(kind: type[ModelSettings], values: Mapping[str, Any]) -> dict[str, Any]:
    """Without the former settings of all families that say nothing to this one."""
    own = {item.name: item for item in fields(kind)}
    kept = {}
    for name, value in values.items():
        if name not in own:
            if name == "options":  # where a registered family kept its own choices
                kept.update(value)
            elif name not in _FORMER_WITHOUT_EFFECT and _FORMER_IF_SAYING.get(name, MISSING) != value:
                kept[name] = value
        elif value is not None or own[name].default is not MISSING:  # None for what must be given: not given
            kept[name] = value
    return kept


def _in_a_line(error: Any) -> str:
    place, told = ".".join(map(str, error["loc"])), str(error["msg"]).removeprefix("Value error, ")
    return f"{place}: {told[0].lower()}{told[1:]}, got {error['input']!r}" if place else told
