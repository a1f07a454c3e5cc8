"""What a model says of itself holds wherever it is used: the encoder it was trained on, and the limits of its head."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.colours import ColourEncoder, write_scenes
from wordframe.errors import CheckpointError
from wordframe.features import SimilarityOutput, TextFeatures, VideoFeatures
from wordframe.heads import Similarity, unit
from wordframe.library import Library
from wordframe.models import (
    PRESETS,
    EncoderIdentity,
    Family,
    ModelSettings,
    TextVideoModel,
    contextualize,
    fit_frames,
    fit_text,
    load_model,
    register_family,
    score,
    video_vectors,
)
from wordframe.models.config import FAMILIES
from wordframe.search import SearchEngine

D = ColourEncoder().dimension


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    folder = tmp_path_factory.mktemp("declared")
    write_scenes(folder / "videos" / "long.mp4", ("red", 13), ("blue", 11))
    write_scenes(folder / "videos" / "green.mp4", ("green", 9))
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


def test_a_path_of_this_machine_is_not_uploaded(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    class Hub:
        def __init__(self, token: str | None) -> None: ...

        def create_repo(self, repo_id: str, **options: bool) -> None: ...

        def upload_folder(self, *, folder_path: str, **options: str) -> Hub:
            written.append((Path(folder_path) / "config.json").read_text())
            return self

        commit_url = "https://hub/commit/1"

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    head_of(EncoderIdentity("/home/ann/clip-tuned", "0123456789abcdef")).push_to_hub("ann/head")
    assert json.loads(written[0])["trained_on"] == {"name": "clip-tuned", "fingerprint": "0123456789abcdef"}


# The limits of its head ----------------------------------------------------------------------------------------------


class FourFrames(Similarity):
    """Scores by learned weights of four frames and three words, and of no more."""

    max_frames, max_words = 4, 3
    explains = ("parts",)

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[int, int]] = set()
        self.of_frames = torch.nn.Parameter(torch.tensor([0.4, 0.3, 0.2, 0.1]))
        self.of_words = torch.nn.Parameter(torch.tensor([0.5, 0.3, 0.2]))

    def compare(self, text: TextFeatures, video: VideoFeatures, method: str) -> SimilarityOutput:
        self.seen.add((text.words.shape[1], video.frames.shape[1]))
        words, frames = self._weighted(text.words, text.word_mask, self.of_words), self._weighted(
            video.contextual, video.frame_mask, self.of_frames
        )  # fmt: skip
        return SimilarityOutput(words @ frames.T)

    def floats_per_pair(self, num_words: int, num_frames: int, dimension: int, method: str) -> int:
        return 2

    @staticmethod
    def _weighted(x: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
        # (N, L, D) with L of the weights at most: a longer input has no weight
        assert x.shape[1] <= len(weights), f"{x.shape[1]} exceed {len(weights)}"
        return (unit(x).masked_fill(~mask[..., None], 0.0) * weights[: x.shape[1], None]).sum(dim=1)


@pytest.fixture
def four_frames() -> Iterator[TextVideoModel]:
    """A model of a family that somebody registered, with limits of its own and settings that do not tell them."""

    @dataclass(frozen=True, kw_only=True)
    class Settings(ModelSettings):
        family: str = "four-frames"

    register_family("four-frames", Family(settings=Settings, similarity=lambda settings, dimension: FourFrames()))
    yield TextVideoModel(settings=Settings(), dimension=D, trained=True).eval()
    del FAMILIES["four-frames"]


def test_a_registered_head_is_searched_within_its_limits(library: Library, four_frames: TextVideoModel) -> None:
    assert (four_frames.max_frames, four_frames.max_words, four_frames.explains) == (4, 3, ("parts",))
    hits = SearchEngine(library, four_frames).search("green red blue white", top=2, explain=True)  # four words
    assert [Path(hit.path).name for hit in hits] == ["green.mp4", "long.mp4"]
    assert all(hit.explanation is not None for hit in hits)
    assert four_frames.similarity.seen == {(3, 4)}, "scenes of 9 to 13 frames and the sentence, cut to what it takes"


@pytest.mark.parametrize("name", PRESETS)
def test_the_limits_of_every_preset_are_those_its_parts_hold(name: str) -> None:
    """One frame or word more than a model says is refused by its head; as many are not."""
    model = load_model(name, dimension=64)
    text = TextFeatures(*(torch.randn(2, 1, 64).expand(2, 5, 64)[:, 0], torch.randn(2, 5, 64)), torch.ones(2, 5) > 0)
    longest = model.max_frames or 90
    for count in (longest, longest + 1):
        frames, mask = torch.randn(1, count, 64), torch.ones(1, count, dtype=torch.bool)
        if count > longest and model.max_frames is not None:
            with pytest.raises(ValueError, match="exceed"):
                model.score(text, model.contextualize(frames, mask))
        else:
            assert model.score(text, model.contextualize(frames, mask)).logits.shape == (2, 1)


# On whatever device --------------------------------------------------------------------------------------------------


def test_frames_are_spread_over_the_real_ones() -> None:
    frames = torch.arange(16.0).view(2, 8, 1)
    mask = torch.arange(8) < torch.tensor([[5], [2]])
    fitted = fit_frames(VideoFeatures(frames, frames, mask, frames[..., 0]), 3)
    assert fitted.frames[..., 0].tolist() == [[0, 2, 4], [8, 9, 0]]
    assert fitted.frame_mask.tolist() == [[True] * 3, [True, True, False]]
    assert fitted.seconds is not None
    assert fitted.seconds.tolist() == [[0, 2, 4], [8, 9, 0]]


@pytest.mark.parametrize("mask_padding", [True, False])
@torch.no_grad()
def test_nothing_is_made_on_another_device_than_the_features_are_on(mask_padding: bool) -> None:
    """A GPU is another device than the default one. Here the default is ``meta``, which mixes with nothing."""
    settings = ModelSettings.from_dict(
        {"family": "ea-clip4clip", "se_type": "excitation_aggregation", "reduction_ratio": 2.0, "max_frames": 4}
        | {"mask_padding": mask_padding, "sim_header": "seqLSTM"}
    )
    torch.manual_seed(0)
    model = TextVideoModel(settings=settings, dimension=8).eval()
    words, word_mask = torch.randn(3, 6, 8), torch.arange(6) < torch.tensor([[6], [2], [4]])
    text = TextFeatures(words[:, 0], words, word_mask)
    frames, frame_mask = torch.randn(3, 7, 8), torch.arange(7) < torch.tensor([[7], [2], [3]])
    video = VideoFeatures(frames, frames, frame_mask)

    def everything() -> list[Tensor]:
        fitted, seen = fit_text(text, 3), contextualize(model, video)
        return [fitted.words, seen.contextual, video_vectors(model, seen), score(model, fitted, seen)]

    expected = everything()
    with torch.device("meta"):
        found = everything()
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.device.type == "cpu"
        torch.testing.assert_close(mine, theirs)
