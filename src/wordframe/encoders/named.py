"""CLIP-type models by a short name: what each is, how large, under which licence, and the commit that is meant.

A name stands for one commit of a repository on the hub, so that the same name gives the same features on every machine
and next year. Where no commit could be established the hub's ``main`` is taken at first use; a library then remembers
the commit it was made with. Sizes are those of the weights file in the pinned commit. Licences are told as their
publishers tell them; they are not ours to give, and one of them allows no commercial use.
Neighbours: ``_hub.py`` fetches, ``_loading.py`` makes a name into an encoder.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NamedEncoder:
    """One row of the table.

    Attributes:
        name: what ``--encoder`` takes.
        title: what it is, in a few words.
        repository: its hub id.
        revision: the pinned commit; None where the hub's ``main`` is meant, see above.
        weights_bytes: size of the weights file; None where it is not known.
        licence: of the weights, as published.
        dimension: ``D``.
        picture_side: pixels of the square that the image tower sees.
        languages: what its sentences may be written in.
    """

    name: str
    title: str
    repository: str
    revision: str | None
    weights_bytes: int | None
    licence: str
    dimension: int
    picture_side: int
    languages: str = "English"


_ROWS = (
    NamedEncoder(
        name="clip-b32",
        title="OpenAI's CLIP, ViT-B/32: the fastest of these",
        repository="openai/clip-vit-base-patch32",
        revision="3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268",
        weights_bytes=605_247_071,
        licence="MIT (github.com/openai/CLIP; the hub's page names none)",
        dimension=512,
        picture_side=224,
    ),
    NamedEncoder(
        name="clip-b16",
        title="OpenAI's CLIP, ViT-B/16: four times the patches of clip-b32",
        repository="openai/clip-vit-base-patch16",
        revision="57c216476eefef5ab752ec549e440a49ae4ae5f3",
        weights_bytes=598_641_023,
        licence="MIT (github.com/openai/CLIP; the hub's page names none)",
        dimension=512,
        picture_side=224,
    ),
    NamedEncoder(
        name="clip-l14",
        title="OpenAI's CLIP, ViT-L/14: the large one",
        repository="openai/clip-vit-large-patch14",
        revision="32bd64288804d66eefd0ccbe215aa642df71cc41",
        weights_bytes=1_710_540_580,
        licence="MIT (github.com/openai/CLIP; the hub's page names none)",
        dimension=768,
        picture_side=224,
    ),
    NamedEncoder(
        name="siglip2-b16",
        title="SigLIP 2, ViT-B/16",
        repository="google/siglip2-base-patch16-224",
        revision="75de2d55ec2d0b4efc50b3e9ad70dba96a7b2fa2",
        weights_bytes=1_500_800_904,
        licence="Apache-2.0",
        dimension=768,
        picture_side=224,
        languages="many languages",
    ),
    NamedEncoder(
        name="siglip2-so400m",
        title="SigLIP 2, So400m/14: the largest, for a GPU",
        repository="google/siglip2-so400m-patch14-384",
        revision="e8e487298228002f3d8a82e0cd5c8ea9c567f57f",
        weights_bytes=4_544_143_072,
        licence="Apache-2.0",
        dimension=1152,
        picture_side=384,
        languages="many languages",
    ),
    NamedEncoder(
        name="metaclip2-b32",
        title="MetaCLIP 2 worldwide, ViT-B/32, mT5's vocabulary",
        repository="facebook/metaclip-2-mt5-worldwide-b32",
        revision="fbbce525749bfc4a54b932bafe85313ee889d98f",
        weights_bytes=4 * 253_980_417,  # parameters of float32; the file's header comes on top
        licence="CC-BY-NC-4.0 (no commercial use)",
        dimension=512,
        picture_side=224,
        languages="over 300 languages",
    ),
    NamedEncoder(
        name="metaclip2-b16",
        title="MetaCLIP 2 worldwide, ViT-B/16, XLM-V's vocabulary",
        repository="facebook/metaclip-2-worldwide-b16",
        revision=None,
        weights_bytes=None,
        licence="CC-BY-NC-4.0 (no commercial use)",
        dimension=512,
        picture_side=224,
        languages="over 300 languages",
    ),
)
NAMED_ENCODERS = {row.name: row for row in _ROWS}
"""By name."""
