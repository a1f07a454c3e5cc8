"""The model card of a saved model: what it is, how to load it, its settings. ``checkpoint.py`` writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import wordframe

if TYPE_CHECKING:
    from wordframe.models.model import TextVideoModel

PAPERS = {
    "clip4clip": "CLIP4Clip (Luo et al., Neurocomputing 2022, arXiv 2104.08860)",
    "ea-clip4clip": "EA-CLIP4Clip (Jing, Yang, Chu, Neurocomputing 2024, arXiv 2406.01604)",
    "xclip": "X-CLIP (Ma et al., ACM MM 2022, arXiv 2207.07285)",
    "tcmgc": "TC-MGC (Jing, Yang, Chu, Information Fusion 2025, arXiv 2504.04707)",
}

_CARD = """---
library_name: wordframe
tags: [text-to-video-retrieval, video-search, {family}]
---
# A text-video model: {family}, {sim_header}

Method: {paper}. {state}

```python
import wordframe as wf

model = wf.load_model("THIS FOLDER OR HUB ID")
{use}
```

Backbone: {backbone}. Parameters on top of it: {parameters:,}.

| setting | value |
|---|---|
{settings}

Saved by wordframe {version}.
"""


def model_card(model: TextVideoModel) -> str:
    """The text of ``README.md``."""
    own = {id(p): p.numel() for name, p in model.named_parameters() if not name.startswith("backbone.")}
    encode = (
        "model.contextualize(frames, frame_mask)" if model.backbone is None else "model.encode_video(pixels=pixels)"
    )
    texts = "text = …  # TextFeatures of the encoder it is used with"
    if model.backbone is not None:
        texts = 'text = model.encode_text(["a sentence"])'
    return _CARD.format(
        family=model.settings.family,
        sim_header=model.settings.sim_header,
        paper=PAPERS.get(model.settings.family, model.settings.family),
        state="The weights are trained." if model.trained else "The weights are NOT trained.",
        use=f"{texts}\nlogits = model.score(text, {encode}).logits  # (texts, videos)",
        backbone=_backbone(model),
        parameters=sum(own.values()),
        settings="\n".join(f"| {name} | {value} |" for name, value in model.settings.to_dict().items()),
        version=wordframe.__version__,
    )


def _backbone(model: TextVideoModel) -> str:
    if model.backbone is not None:
        sizes = model.backbone.sizes
        return f"CLIP, {sizes.vision_layers} layers, patches of {sizes.patch_size} pixels"
    if model.trained_on is None:
        return f"none, features of {model.dimension} dimensions come from outside"
    return f"none, features come from the encoder {model.trained_on.name} (fingerprint {model.trained_on.fingerprint})"
