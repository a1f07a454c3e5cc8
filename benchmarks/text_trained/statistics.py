"""How alike stand-in frames and real ones are, in the numbers that ranking depends on.

Cosines of a frame with its own captions and with others', of two frames of one video and of two videos' mean frames;
and what the untrained attention finds in a gallery of as many videos.
Neighbours: ``stand_ins.py`` makes the frames, ``real.py`` reads real ones.
"""

from __future__ import annotations

import numpy as np
import torch
from offline_encoder import Clips, Variant, attention
from torch import Tensor

from text_trained.evaluate import directions
from text_trained.stand_ins import StandIns
from wordframe.encoders import load_directions
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.heads import unit

_VIDEOS, _GALLERY = 100, 66
_STILL = 0.9999


def of_real_frames(clips: Clips) -> dict[str, float]:
    """Of captioned clips; those without captions count as other videos."""
    variant = Variant(name="", directions=load_directions(), score=attention(), read=False)
    video = clips.features(variant)
    return _alike(clips.texts, video, clips.owners)


def of_stand_ins(stand_ins: StandIns) -> dict[str, float]:
    """Of stand-in videos of one scene, with the recalls that the untrained attention gets among ``_GALLERY``."""
    pairs = stand_ins.draw(_VIDEOS, source="msvd", joined=0.0)
    owners = torch.arange(_GALLERY)
    galleries = [stand_ins.draw(_GALLERY, source="msvd", joined=0.0) for _ in range(8)]
    averages = np.stack(
        [directions(attention()(gallery.text, gallery.video), owners).mean(axis=1) for gallery in galleries]
    )
    t2v, v2t = averages.mean(axis=0).tolist()
    return {
        **_alike(pairs.text, pairs.video, torch.arange(_VIDEOS)),
        f"average t2v among {_GALLERY}": t2v,
        f"average v2t among {_GALLERY}": v2t,
    }


def _alike(text: TextFeatures, video: VideoFeatures, owners: Tensor) -> dict[str, float]:
    frames = unit(video.frames)  # (V, F, D)
    products = torch.einsum("td,vfd->tvf", unit(text.sentence), frames)
    own = owners[:, None] == torch.arange(len(video))  # (T, V)
    of_own = products[own].mean(dim=-1)  # (T,)
    # a video's captions count as one, since some have fifty
    by_video = torch.stack([of_own[owners == each].mean() for each in owners.unique()])
    within = torch.einsum("vfd,vgd->vfg", frames, frames)[:, ~torch.eye(frames.shape[1], dtype=torch.bool)].mean(dim=-1)
    moving = within < _STILL  # a photograph is one frame many times
    means = frames.mean(dim=1)
    between = (means @ means.T)[~torch.eye(len(means), dtype=torch.bool)]
    return {
        "cosine with own caption": by_video.mean().item(),
        "its deviation between videos": by_video.std().item(),
        "cosine with others' captions": products[~own].mean().item(),
        "its deviation": products[~own].std().item(),
        "cosine of two frames of a video": within[moving].mean().item(),
        "cosine of two videos' mean frames": between.mean().item(),
    }
