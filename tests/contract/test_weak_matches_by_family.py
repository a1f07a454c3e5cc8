"""A match that could be the best of nothing is told as such in each family's space, and a match that stands out is not.

What a good cosine is differs: CLIP's lie between 0.1 and 0.35, SigLIP's below 0.2 and are read with a scale and a large
negative bias, those between two pictures above 0.5 in both. A search measures a cosine against the library's own.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.hub_models import FAMILIES, SENTENCES, SIDE, make
from wordframe.encoders import ClipEncoder, quiet_transformers
from wordframe.library import Library, SegmentEntry, VideoEntry
from wordframe.search import EncodedQuery, Query, background, encode, search
from wordframe.search._meaning import background_scores

NUM_VIDEOS = 120


def pictures(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Coarse coloured patterns, each unlike the others."""
    coarse = np.random.default_rng(5).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return coarse.repeat(SIDE // 4, axis=1).repeat(SIDE // 4, axis=2)


def segment(frame: torch.Tensor) -> SegmentEntry:
    """A segment of one frame ``(D,)``."""
    one = frame[None].numpy()
    unit = F.normalize(frame[None], dim=-1).numpy()
    return SegmentEntry(0.0, 1.0, one.astype(np.float16), np.zeros(1, np.float32), unit.astype(np.float32), b"")


def add(library: Library, name: str, frame: torch.Tensor) -> None:
    video = VideoEntry(name, f"/{name}.mp4", 1, 1, name, 1.0, 64, 48, "h264", "mp4", None, 1)
    library.add_videos([(video, [segment(frame)])])


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Library:
    """The features of many pictures by a random model of a family."""
    place = tmp_path_factory.mktemp("library")
    with quiet_transformers():
        folder = make(request.param, place / "model")
    encoder = ClipEncoder.load(str(folder), device="cpu")
    opened = Library.open(place / "library", encoder=encoder)
    frames = encoder.encode_frames(pictures(NUM_VIDEOS))
    entries = []
    for number, frame in enumerate(frames):
        video = VideoEntry(f"v{number}", f"/{number}.mp4", 1, 1, str(number), 1.0, 64, 48, "h264", "mp4", None, 1)
        entries.append((video, [segment(frame)]))
    opened.add_videos(entries)
    return opened


def sentence_query(library: Library, sentence: str) -> EncodedQuery:
    return encode(library.snapshot(), Query(text=sentence))


def test_best_matches_of_sentences_that_mean_nothing_are_weak(library: Library) -> None:
    """Random towers know no sentence, so that the best of a library is the best of chance: most of them are told so."""
    snapshot = library.snapshot()
    weak = []
    for sentence in SENTENCES[:-1]:
        query = sentence_query(library, sentence)
        level = background(snapshot, query)
        hits = search(snapshot, query, top=10)
        assert all(abs(hit.score) <= 1 for hit in hits)
        weak += [level.is_weak(hit.score) for hit in hits]
    assert sum(weak) >= 0.9 * len(weak)


def test_a_match_that_stands_out_is_not(library: Library) -> None:
    """A frame that leans from an ordinary one towards the sentence, until its score is above all that chance gives."""
    query = sentence_query(library, SENTENCES[0])
    snapshot = library.snapshot()
    level = background(snapshot, query)
    assert level.best_by_chance is not None
    text = F.normalize(query.features.sentence[0], dim=-1)
    ordinary = snapshot.frames(snapshot.row_ids()[:1]).frames[0, 0]
    add(library, "leaning", F.normalize(ordinary, dim=-1) + 2 * text)
    snapshot = library.snapshot()
    (hit,) = search(snapshot, query, top=1)
    assert hit.path == "/leaning.mp4"
    assert not background(snapshot, query).is_weak(hit.score)


def test_the_same_picture_is_never_weak(library: Library) -> None:
    """Cosines between pictures lie near 1, where there is no room for as many spreads above them as chance asks for."""
    snapshot = library.snapshot()
    for row in snapshot.row_ids()[:20:4]:
        frame = snapshot.frames([row]).frames[0, 0]
        query = EncodedQuery(type(sentence_query(library, "a").features)(frame[None], frame[None, None], _one()), ("",))
        (hit,) = search(snapshot, query, top=1)
        assert hit.score > 0.95  # frames are centred before they are compared, the query is not
        assert not background(snapshot, query).is_weak(hit.score)


def _one() -> torch.Tensor:
    return torch.ones(1, 1, dtype=torch.bool)


@pytest.mark.parametrize("num_segments", [100, 10_000, 1_000_000])
def test_no_level_lies_above_what_a_cosine_can_be(num_segments: int) -> None:
    """As between pictures in the space of CLIP: half of all cosines above 0.6."""
    scores = np.random.default_rng(3).normal(0.62, 0.09, 256)
    level = background_scores(scores.tolist(), num_segments)
    assert level.best_by_chance is not None
    assert 0.7 < level.best_by_chance < 0.95
    assert not level.is_weak(0.97)
