"""The rendered world: files that decode, captions true to the scenes, splits without leakage, determinism."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from world.films import Film, best_recall_at_1, read_films, write_world
from world.painting import RGB, paint
from world.scene import COLOURS, EVENTS, PLACES, SHAPES, Scene, Thing, draw_scene, is_held_out, split_of
from world.wording import (
    COLOUR_WORDS,
    EVENT_WORDS,
    PLACE_WORDS,
    SHAPE_WORDS,
    SIZE_WORDS,
    TEXTURE_ENDINGS,
    TEXTURE_WORDS,
    describe,
    describe_part,
)

from wordframe.data import SPLITS, match_videos, read_captions
from wordframe.errors import AnnotationError
from wordframe.video import open_frames

COUNTS = {"train": 6, "val": 2, "test": 4}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_world(folder, seed=3, **COUNTS)
    return folder


@pytest.fixture(scope="module")
def films(world: Path) -> dict[str, tuple[Film, ...]]:
    return {split: read_films(world, split) for split in SPLITS}


def same_pictures(one: Path, other: Path) -> bool:
    """Whether two files show the same, up to the encoder's rounding, which is not the same in every run."""
    shown = []
    for path in (one, other):
        with open_frames(str(path), lambda info: np.arange(0.0, info.duration_seconds or 0.0, 0.25).tolist()) as frames:
            shown.append([frame.rgb.astype(np.float32) for frame in frames])
    if len(shown[0]) != len(shown[1]):
        return False
    return all(np.abs(left - right).mean() < 2.0 for left, right in zip(*shown, strict=True))


def scene(**changes: object) -> Scene:
    values = {"shape": "circle", "colour": "red", "size": "large", "texture": "plain"}
    values |= {key: str(value) for key, value in changes.items() if key in values}
    partner = changes.get("partner")
    assert partner is None or isinstance(partner, Thing)
    return Scene(
        thing=Thing(**values),
        place=str(changes.get("place", "snow")),
        event=str(changes.get("event", "stays left")),
        partner=partner,
    )


def middle_of_mask(picture: np.ndarray, colour: str) -> tuple[float, float, int]:
    """Column and row of the centre of the pixels near a colour, in the unit square, and their number."""
    near = np.abs(picture.astype(int) - RGB[colour]).max(axis=-1) < 60
    rows, columns = np.nonzero(near)
    return float(columns.mean()) / picture.shape[1], float(rows.mean()) / picture.shape[0], len(rows)


def test_every_film_decodes_with_the_scenes_lengths(world: Path, films: dict[str, tuple[Film, ...]]) -> None:
    for split, several in films.items():
        assert len(several) == COUNTS[split]
        for film in several:
            with open_frames(world / split / film.file, [shot.start_seconds + 0.1 for shot in film.shots]) as stream:
                shown = [frame.rgb.shape for frame in stream]
            assert shown == [(64, 64, 3)] * len(film.shots)
            assert stream.info.duration_seconds == pytest.approx(film.shots[-1].end_seconds)
            assert stream.problem is None
            assert 2 <= len(film.shots) <= 4


def test_a_decoded_frame_shows_the_things_colour(world: Path, films: dict[str, tuple[Film, ...]]) -> None:
    looked_at = 0
    for split, several in films.items():
        for film in several:
            for shot in film.shots:
                thing = shot.scene.thing
                if thing.texture != "plain" or thing.size != "large" or shot.scene.event in ("shrinks", "grows"):
                    continue
                with open_frames(world / split / film.file, [(shot.start_seconds + shot.end_seconds) / 2]) as stream:
                    picture = next(iter(stream)).rgb
                assert middle_of_mask(picture, thing.colour)[2] > 60, (split, film.file, shot.scene)
                looked_at += 1
    assert looked_at >= 3


@pytest.mark.parametrize(
    ("event", "axis", "sign"),
    [
        ("moves left", 0, -1),
        ("moves right", 0, 1),
        ("rises", 1, -1),
        ("falls", 1, 1),
        ("grows", 2, 1),
        ("shrinks", 2, -1),
    ],
)
def test_events_happen(event: str, axis: int, sign: int) -> None:
    pictures = list(paint(np.random.default_rng(0), scene(event=event), num_frames=8, size=64))
    first, last = (middle_of_mask(pictures[place], "red")[axis] for place in (0, -1))
    assert sign * (last - first) > (0.3 if axis < 2 else 100)


@pytest.mark.parametrize(
    ("event", "axis", "low", "high"),
    [("stays left", 0, 0, 0.4), ("stays right", 0, 0.6, 1), ("stays high", 1, 0, 0.4), ("stays low", 1, 0.6, 1)],
)
def test_resting_things_are_where_they_are_said_to_be(event: str, axis: int, low: float, high: float) -> None:
    for picture in paint(np.random.default_rng(1), scene(event=event), num_frames=3, size=64):
        assert low < middle_of_mask(picture, "red")[axis] < high


def test_two_things_meet_and_leave() -> None:
    partner = Thing(shape="square", colour="green", size="small", texture="plain")
    apart = {}
    for event in ("meets", "leaves"):
        painted = paint(np.random.default_rng(2), scene(event=event, partner=partner), num_frames=8, size=64)
        pictures = list(painted)
        apart[event] = [
            middle_of_mask(p, "green")[0] - middle_of_mask(p, "red")[0] for p in (pictures[0], pictures[-1])
        ]
    assert apart["meets"][0] > apart["meets"][1] + 0.3 > 0.3
    assert apart["leaves"][1] > apart["leaves"][0] + 0.3 > 0.3


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_look_different(shape: str) -> None:
    def seen(which: str) -> np.ndarray:
        return next(paint(np.random.default_rng(0), scene(shape=which), num_frames=1, size=64)).astype(int)

    others = [np.abs(seen(shape) - seen(other)).max(axis=-1) > 80 for other in SHAPES if other != shape]
    assert min(different.sum() for different in others) > 20


def test_captions_are_true_of_their_own_film(films: dict[str, tuple[Film, ...]]) -> None:
    for several in films.values():
        for film in several:
            assert film.captions
            for caption in film.captions:
                assert caption.is_true_of(film.scenes), (film.file, caption)
                for claim in caption.claims:
                    assert film.scenes[claim.scene].fits(claim.told, claim.partner)


def test_words_say_exactly_what_is_claimed() -> None:
    chance = np.random.default_rng(5)
    tables = {
        "size": SIZE_WORDS,
        "place": PLACE_WORDS,
        "event": EVENT_WORDS,
        "shape": SHAPE_WORDS,
        "colour": COLOUR_WORDS,
    }
    patterns = {name: (*TEXTURE_WORDS[name], *TEXTURE_ENDINGS.get(name, ())) for name in TEXTURE_WORDS}
    for _ in range(300):
        drawn = draw_scene(chance, "train")
        caption = describe(chance, [drawn], 0)
        told, text = caption.claims[0].told, f" {caption.text} "
        partner = [] if drawn.partner is None else [drawn.partner.shape, drawn.partner.colour]
        for aspect, table in {**tables, "texture": patterns}.items():
            for value, words in table.items():
                if value in partner or (aspect == "shape" and "star" in (value, drawn.thing.shape)):
                    continue  # a partner is told by words of the same tables
                said = any(f" {word} " in text.replace(",", " ,") for word in words)
                assert said == (told.get(aspect) == value), (caption, aspect, value)


def test_partners_are_told_with_their_event() -> None:
    chance = np.random.default_rng(6)
    partner = Thing(shape="heart", colour="blue", size="small", texture="plain")
    met = scene(event="meets", partner=partner)
    captions = [describe(chance, [met], 0) for _ in range(50)]
    told = [caption for caption in captions if "event" in caption.claims[0].told]
    assert 0 < len(told) < 50
    assert all(any(word in caption.text for word in SHAPE_WORDS["heart"]) for caption in told)
    assert all(caption.claims[0].partner == ("heart", "blue") for caption in told)
    assert not told[0].is_true_of(
        [scene(event="meets", partner=Thing(shape="ring", colour="blue", size="small", texture="plain"))]
    )


def test_most_captions_tell_a_part_of_the_film() -> None:
    chance = np.random.default_rng(0)
    counts = Counter(
        len(describe_part(chance, [draw_scene(chance, "val") for _ in range(3)]).claims) for _ in range(300)
    )
    assert set(counts) == {1, 2}
    assert 0.6 < counts[1] / 300 < 0.8


def test_no_scene_of_one_split_is_in_another(films: dict[str, tuple[Film, ...]]) -> None:
    chance = np.random.default_rng(0)
    drawn = {split: {draw_scene(chance, split).combination for _ in range(400)} for split in SPLITS}
    for split in SPLITS:
        drawn[split] |= {scene.combination for film in films[split] for scene in film.scenes}
    assert not drawn["train"] & drawn["test"]
    assert not drawn["train"] & drawn["val"]
    assert not drawn["val"] & drawn["test"]


def test_held_out_pairs_are_never_trained_on_and_are_tested() -> None:
    assert all(sum(is_held_out(shape, colour) for colour in COLOURS) == 1 for shape in SHAPES)
    chance = np.random.default_rng(1)
    share = {
        split: np.mean(
            [is_held_out(s.thing.shape, s.thing.colour) for s in (draw_scene(chance, split) for _ in range(400))]
        )
        for split in SPLITS
    }
    assert share["train"] == 0
    assert 0.06 < share["test"] < 0.2
    assert 0.06 < share["val"] < 0.2


def test_every_value_can_be_met_in_each_split() -> None:
    chance = np.random.default_rng(2)
    for split in SPLITS:
        drawn = [draw_scene(chance, split) for _ in range(400)]
        assert all(split_of(each) == split for each in drawn)
        assert {each.place for each in drawn} == set(PLACES)
        assert {each.event for each in drawn} == set(EVENTS)
        assert {each.thing.shape for each in drawn} == set(SHAPES)


def test_the_same_seed_gives_the_same_films_and_a_larger_world_holds_the_smaller(world: Path, tmp_path: Path) -> None:
    write_world(tmp_path, seed=3, train=3, val=3, test=1)
    for name in ("train/00002.mp4", "val/00001.mp4", "test/00000.mp4"):
        assert same_pictures(tmp_path / name, world / name)
    assert read_films(tmp_path, "train") == read_films(world, "train")[:3]


def test_another_seed_gives_another_world(world: Path, tmp_path: Path) -> None:
    write_world(tmp_path, seed=4, train=1, val=1, test=1)
    assert not same_pictures(tmp_path / "train/00000.mp4", world / "train/00000.mp4")


def test_a_stopped_world_goes_on(world: Path, tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(done: int) -> None:
        if done == 4:
            raise StoppedError

    with pytest.raises(StoppedError):
        write_world(tmp_path, seed=3, **COUNTS, on_progress=stop)
    kept = tmp_path / "train/00003.mp4"
    os.utime(kept, ns=(1, 1))
    write_world(tmp_path, seed=3, **COUNTS)
    assert kept.stat().st_mtime_ns == 1
    for split in SPLITS:
        for name in ("captions.json", "truth.json"):
            assert (tmp_path / split / name).read_bytes() == (world / split / name).read_bytes()


def test_a_folder_of_another_world_is_refused(world: Path) -> None:
    with pytest.raises(AnnotationError, match=r"holds a world of other settings .*; name another folder"):
        write_world(world, seed=4, **COUNTS)


def test_captions_are_in_the_projects_own_format(world: Path, films: dict[str, tuple[Film, ...]]) -> None:
    matched = match_videos(world / "test", read_captions(world / "test" / "captions.json"))
    assert not matched.missing
    assert not matched.without_caption
    captions, owners = matched.queries()
    assert len(captions) == 2 * COUNTS["test"]
    assert captions == [caption.text for film in films["test"] for caption in film.captions]
    assert owners[:4] == [0, 0, 1, 1]


def test_best_recall_counts_the_films_that_fit(films: dict[str, tuple[Film, ...]]) -> None:
    film = films["test"][0]
    assert best_recall_at_1((film, film)) == 50.0
    alone = best_recall_at_1(films["test"])
    assert 50.0 < alone <= 100.0


@pytest.mark.parametrize("counts", [{"train": 0}, {"size": 15}, {"size": 33}])
def test_impossible_worlds(tmp_path: Path, counts: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least one film a split and an even size from 16"):
        write_world(tmp_path, seed=0, **counts)


def test_a_missing_truth_is_told(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="make the world anew"):
        read_films(tmp_path, "test")


def test_a_partner_belongs_to_its_events() -> None:
    with pytest.raises(ValueError, match=r"only .* have a partner"):
        scene(event="meets")


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="split='dev' is no split; use one of train, val, test"):
        draw_scene(np.random.default_rng(0), "dev")
