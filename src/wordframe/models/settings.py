"""The choices that make a model, as data: what a preset holds and what ``config.json`` of a checkpoint stores.

``families.py`` turns them into modules; ``presets.py`` names the published ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

SIM_HEADERS = ("meanP", "seqLSTM", "seqTransf", "tightTransf")
SE_TYPES = ("excitation", "aggregation", "excitation_aggregation", "excitation_seq", "excitation_seq_aggregation")
VARIANTS = ("unity", "squeeze_expand", "expand_squeeze")


@dataclass(frozen=True)
class EncoderIdentity:
    """Whose features a head was trained on. Another encoder of the same ``D`` gives a head nonsense, silently.

    name: what the user called the encoder, for people; fingerprint: ``Encoder.fingerprint``, which decides.
    """

    name: str
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Settings of a model on top of its backbone. The names are the authors' where they have one.

    family: ``clip4clip``, ``ea-clip4clip``, ``xclip``, ``tcmgc``, ``zero-shot`` or a registered one; sim_header:
    ``meanP``, ``seqLSTM``, ``seqTransf``, ``tightTransf``; layers, heads, positions: of the temporal or the joint
    transformer (heads None: one per 64 dimensions, as in CLIP); conditional_heads, projections, dropout: of the
    language-video attention; se_type, variant, reduction_ratio: EA-CLIP4Clip's blocks; keep_rate, softmax_lambda: those
    of TC-MGC's reorganization and aggregation; options: whatever a registered family wants.
    """

    family: str
    sim_header: str = "meanP"
    max_words: int = 32
    max_frames: int = 12
    layers: int = 4
    heads: int | None = None
    positions: int = 77
    conditional_heads: int = 1
    projections: bool = False
    dropout: float = 0.3
    se_type: str | None = None
    variant: str = "unity"
    reduction_ratio: float | None = None
    keep_rate: float | None = None
    softmax_lambda: float = 100.0
    mask_padding: bool = True
    normalize_frames: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _one_of("sim_header", self.sim_header, SIM_HEADERS)
        _one_of("variant", self.variant, VARIANTS)
        for name in ("max_words", "max_frames", "positions", "conditional_heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        self._check_blocks()
        if self.family == "tcmgc" and self.keep_rate is None:
            raise ValueError("keep_rate must be given for family='tcmgc'; the released default is 0.1")
        if self.family in ("clip4clip", "ea-clip4clip", "xclip") and self.keep_rate is not None:
            raise ValueError(f"keep_rate={self.keep_rate} has no meaning for family={self.family!r}; leave it out")
        if self.family in ("xclip", "tcmgc") and not self.normalize_frames:
            raise ValueError(f"normalize_frames=False has no meaning for family={self.family!r}; leave it out")

    def _check_blocks(self) -> None:
        """The settings of EA-CLIP4Clip's blocks: there for that family, absent for the other known ones."""
        if self.family in ("clip4clip", "xclip", "tcmgc"):
            for name, allowed in (("se_type", None), ("reduction_ratio", None), ("variant", "unity")):
                if getattr(self, name) != allowed:
                    raise ValueError(
                        f"{name}={getattr(self, name)!r} has no meaning for family={self.family!r}; leave it out, "
                        "or use family='ea-clip4clip'"
                    )
        if self.family != "ea-clip4clip":
            return
        _one_of("se_type", self.se_type, SE_TYPES)
        if self.reduction_ratio is None or self.reduction_ratio <= 0:
            raise ValueError(
                f"reduction_ratio={self.reduction_ratio} must be a number above 0 for family='ea-clip4clip'"
            )
        self._check_variant(self.reduction_ratio)
        around_head = self.se_type in ("excitation_seq", "excitation_seq_aggregation")
        if around_head and self.sim_header not in ("seqLSTM", "seqTransf"):
            raise ValueError(
                f"se_type={self.se_type!r} goes around a sequential head, got sim_header={self.sim_header!r}; "
                "use 'seqLSTM' or 'seqTransf'"
            )
        if self.sim_header == "tightTransf" and self.se_type != "excitation":
            raise ValueError(f"se_type={self.se_type!r} does not go with sim_header='tightTransf'; use 'excitation'")

    def _check_variant(self, ratio: float) -> None:
        if self.variant == "unity":
            return
        if self.se_type not in ("excitation_aggregation", "excitation_seq_aggregation"):
            raise ValueError(
                f"variant={self.variant!r} needs two blocks, but se_type={self.se_type!r} has one; use variant='unity'"
            )
        if (ratio < 1) == (self.variant == "squeeze_expand"):
            side = "at least 1" if self.variant == "squeeze_expand" else "below 1"
            raise ValueError(f"variant={self.variant!r} needs a reduction_ratio {side}, got {ratio}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelSettings:
        """The inverse of ``to_dict``; a name that is not a setting raises ValueError."""
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"unknown setting {unknown[0]!r}; allowed: {', '.join(sorted(known))}")
        return cls(**values)


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is not allowed; use one of {', '.join(map(repr, allowed))}")
