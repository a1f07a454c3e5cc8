"""What a model says of itself holds wherever it is used: the encoder it was trained on, and the limits of its head."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.colours import ColourEncoder, write_scenes
from wordframe.errors import CheckpointError
from wordframe.library import Library
from wordframe.models import PRESETS, EncoderIdentity, TextVideoModel, load_model
from wordframe.search import SearchEngine

D = ColourEncoder().dimension


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    folder = tmp_path_factory.mktemp("declared")
    write_scenes(folder / "videos" / "long.mp4", ("red", 3), ("white", 3), ("blue", 3))
    write_scenes(folder / "videos" / "green.mp4", ("green", 3))
    library = Library.open(folder / "library", encoder=ColourEncoder())
    library.index([folder / "videos"])
    return library


# The encoder it was trained on ---------------------------------------------------------------------------------------


def head_of(encoder: EncoderIdentity | None) -> TextVideoModel:
    settings = PRESETS["clip4clip-mean"].settings
    return TextVideoModel(settings=settings, dimension=D, trained=True, trained_on=encoder).eval()


def test_a_head_of_another_encoder_of_equal_dimension_is_refused(library: Library, tmp_path: Path) -> None:
    head_of(EncoderIdentity("others/clip", "0123456789abcdef")).save(tmp_path)
    with pytest.raises(CheckpointError) as refused:
        SearchEngine.with_model(library, str(tmp_path))
    assert str(refused.value) == (
        f"{str(tmp_path)!r} was trained on features of the encoder 'others/clip' (fingerprint 0123456789abcdef), these "
        "are of the encoder 'colours' (fingerprint colours-1); make a library with it: wordframe index VIDEOS "
        "--library NEW_FOLDER --encoder others/clip"
    )


def test_a_head_of_this_encoder_and_one_that_does_not_tell_are_taken(library: Library, tmp_path: Path) -> None:
    known = EncoderIdentity("whatever it was called", ColourEncoder().fingerprint)
    head_of(known).save(tmp_path / "known")
    assert load_model(tmp_path / "known").trained_on == known
    head_of(None).save(tmp_path / "older")
    config = json.loads((tmp_path / "older" / "config.json").read_text())
    del config["trained_on"]  # as checkpoints were before
    (tmp_path / "older" / "config.json").write_text(json.dumps(config))
    assert load_model(tmp_path / "older").trained_on is None
    for name in ("known", "older"):
        (hit,) = SearchEngine.with_model(library, str(tmp_path / name)).search("green", top=1)
        assert Path(hit.path).name == "green.mp4"


def test_the_card_names_the_encoder(tmp_path: Path) -> None:
    head_of(EncoderIdentity("others/clip", "0123456789abcdef")).save(tmp_path)
    assert "the encoder others/clip (fingerprint 0123456789abcdef)" in (tmp_path / "README.md").read_text()
