"""Published settings by name. A preset is settings, not weights: all but ``zero-shot`` need training.

Numbers are text→video R@1 in percent as the papers report them, without post-processing; each recipe says how to reach
for them. Papers are named by the families (``families/``); ``register_preset`` adds one (docs/adding-a-head.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from wordframe.models.config import ModelSettings, find_family
from wordframe.models.families.clip4clip import Clip4ClipSettings
from wordframe.models.families.ea_clip4clip import EaClip4ClipSettings
from wordframe.models.families.tcmgc import TcmgcSettings
from wordframe.models.families.tmass import TmassSettings
from wordframe.models.families.wti import WtiSettings
from wordframe.models.families.xclip import XclipSettings
from wordframe.models.families.xpool import XpoolSettings

_B32 = "CLIP ViT-B/32"
_EA_NUMBERS = {"MSR-VTT 1k-A": 43.9, "DiDeMo": 31.0, "ActivityNet": 44.1}
_EA_NOTE = f"{_B32}; the paper's figures for the method, which of its four pairings gave each is not recorded here"
_TCMGC_NOTE = f"{_B32}; computed from the gains that the paper states"


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named model.

    published: R@1 text→video by benchmark, in percent, empty where we know of none; note: what they were measured
    with; paper: where it is from, the family's if left out.
    """

    name: str
    title: str
    settings: ModelSettings
    published: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    needs_training: bool = True
    paper: str = ""

    def __post_init__(self) -> None:
        if not self.paper:
            # the one place where a frozen class is filled: cards, lists and recipes read the paper from here
            object.__setattr__(self, "paper", find_family(self.settings.family).paper)


PRESETS: dict[str, Preset] = {}


def register_preset(preset: Preset) -> None:
    """Add a preset, so that ``load_model`` and the command line know its name."""
    if preset.name in PRESETS:
        raise ValueError(f"preset {preset.name!r} is there already; choose another name")
    PRESETS[preset.name] = preset


for _preset in (
    Preset(
        name="zero-shot",
        title="untrained language-video attention: the video as the sentence sees it",
        settings=ModelSettings(family="zero-shot"),
        note="needs no training; works on the features of any encoder",
        needs_training=False,
    ),
    Preset(
        name="tcmgc-msrvtt",
        title="TC-MGC for MSR-VTT: 32 words, 12 frames",
        settings=TcmgcSettings(sim_header="seqTransf", keep_rate=0.1),
        published={"MSR-VTT 1k-A": 47.4},
        note=_TCMGC_NOTE,
    ),
    Preset(
        name="tcmgc-didemo",
        title="TC-MGC for DiDeMo: 64 words, 64 frames",
        settings=TcmgcSettings(sim_header="seqTransf", max_words=64, max_frames=64, keep_rate=0.1),
        published={"DiDeMo": 46.2},
        note=_TCMGC_NOTE,
    ),
    Preset(
        name="tcmgc-vatex",
        title="TC-MGC for VATEX: 32 words, 12 frames",
        settings=TcmgcSettings(sim_header="seqTransf", keep_rate=0.1),
        published={"VATEX": 60.9},
        note=_TCMGC_NOTE,
    ),
    Preset(
        name="ea-clip4clip-mean",
        title="EA-CLIP4Clip: mean pooling behind excitation and aggregation, r = 4",
        settings=EaClip4ClipSettings(se_type="excitation_aggregation", reduction_ratio=4.0),
        published=_EA_NUMBERS,
        note=_EA_NOTE,
    ),
    Preset(
        name="ea-clip4clip-lstm",
        title="EA-CLIP4Clip: LSTM, then aggregation, r = 0.25",
        settings=EaClip4ClipSettings(sim_header="seqLSTM", se_type="aggregation", reduction_ratio=0.25),
        published=_EA_NUMBERS,
        note=_EA_NOTE,
    ),
    Preset(
        name="ea-clip4clip-transformer",
        title="EA-CLIP4Clip: transformer, then aggregation, r = 0.25",
        settings=EaClip4ClipSettings(sim_header="seqTransf", se_type="aggregation", reduction_ratio=0.25),
        published=_EA_NUMBERS,
        note=_EA_NOTE,
    ),
    Preset(
        name="ea-clip4clip-tight",
        title="EA-CLIP4Clip: excitation, r = 4, then the joint transformer",
        settings=EaClip4ClipSettings(sim_header="tightTransf", se_type="excitation", reduction_ratio=4.0),
        published=_EA_NUMBERS,
        note=_EA_NOTE,
    ),
    Preset(
        name="clip4clip-mean",
        title="CLIP4Clip: mean pooling",
        settings=Clip4ClipSettings(),
        published={"MSR-VTT 1k-A": 43.1, "DiDeMo": 43.4, "ActivityNet": 40.5, "MSVD": 46.2, "LSMDC": 20.7},
        note=_B32,
    ),
    Preset(
        name="clip4clip-lstm",
        title="CLIP4Clip: LSTM, then mean pooling",
        settings=Clip4ClipSettings(sim_header="seqLSTM"),
        published={"MSR-VTT 1k-A": 42.5},
        note=_B32,
    ),
    Preset(
        name="clip4clip-transformer",
        title="CLIP4Clip: transformer, then mean pooling",
        settings=Clip4ClipSettings(sim_header="seqTransf"),
        published={"MSR-VTT 1k-A": 44.5, "DiDeMo": 42.8, "ActivityNet": 40.5, "MSVD": 45.2, "LSMDC": 22.6},
        note=_B32,
    ),
    Preset(
        name="clip4clip-tight",
        title="CLIP4Clip: joint transformer over sentence and frames",
        settings=Clip4ClipSettings(sim_header="tightTransf"),
        published={"MSR-VTT 1k-A": 40.2},
        note=_B32,
    ),
    Preset(
        name="xclip",
        title="X-CLIP: multi-grained contrast, attention over the similarity matrix",
        settings=XclipSettings(sim_header="seqTransf"),
        published={
            "MSR-VTT 1k-A": 46.1,
            "DiDeMo": 45.2,
            "VATEX": 60.0,
            "ActivityNet": 44.3,
            "MSVD": 47.1,
            "LSMDC": 23.3,
        },
        note=f"{_B32}; VATEX is approximate. ViT-B/16: MSR-VTT 1k-A 49.3, DiDeMo 47.8, ActivityNet 46.2, MSVD 50.4, "
        "LSMDC 26.1",
    ),
    Preset(
        name="xpool",
        title="X-Pool: the video as the sentence's attention pools its frames",
        settings=XpoolSettings(),
        published={"MSR-VTT 1k-A": 46.9},
        note=_B32,
    ),
    Preset(
        name="wti",
        title="DRL's weighted token-wise interaction, behind CLIP4Clip's transformer",
        settings=WtiSettings(sim_header="seqTransf"),
        published={"MSR-VTT 1k-A": 46.6},
        note=f"{_B32}; the authors' README, 47.6 there with their decorrelation of channels, which is not here",
    ),
    Preset(
        name="tmass",
        title="T-MASS: the text as a mass as wide as the video asks for, X-Pool's pooling",
        settings=TmassSettings(),
        published={"MSR-VTT 1k-A": 50.2},
        note=_B32,
    ),
):
    register_preset(_preset)
