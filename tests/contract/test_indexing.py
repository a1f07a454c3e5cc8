"""What ``Library.index`` promises: incremental, exact about moves and copies, whole videos only, one writer."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import lancedb
import numpy as np
import pytest
import torch
from filelock import FileLock

from tests.colours import ColourEncoder, write_scenes
from wordframe.encoders import RgbFrames
from wordframe.errors import LibraryError
from wordframe.library import FORMAT, IndexProgress, Library
from wordframe.library._local import LocalFolder
from wordframe.library.indexer import Indexer
from wordframe.search import SearchEngine


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    write_scenes(folder / "red.mp4", ("red", 2))
    write_scenes(folder / "blue.mp4", ("blue", 2))
    write_scenes(folder / "more" / "green.mp4", ("green", 2))
    return folder


@pytest.fixture
def encoder() -> ColourEncoder:
    return ColourEncoder()


def open_library(tmp_path: Path, encoder: ColourEncoder) -> Library:
    return Library.open(tmp_path / "library", encoder=encoder)


def names(paths: list[str]) -> list[str]:
    return sorted(Path(path).name for path in paths)


def test_a_folder_is_indexed_once(tmp_path: Path, videos: Path, encoder: ColourEncoder) -> None:
    library = open_library(tmp_path, encoder)
    first = library.index([videos])
    assert names(first.indexed) == ["blue.mp4", "green.mp4", "red.mp4"]
    frames = encoder.frames_encoded
    second = open_library(tmp_path, encoder).index([videos])
    assert (second.indexed, names(second.unchanged)) == ([], ["blue.mp4", "green.mp4", "red.mp4"])
    assert encoder.frames_encoded == frames


def test_stored_features_are_those_of_the_encoder(tmp_path: Path, videos: Path, encoder: ColourEncoder) -> None:
    library = open_library(tmp_path, encoder)
    library.index([videos / "red.mp4"])
    snapshot = library.snapshot()
    facts, features = snapshot.facts(snapshot.row_ids()), snapshot.frames(snapshot.row_ids())
    assert facts[0].start_seconds == 0
    assert facts[-1].end_seconds == pytest.approx(2.0, abs=0.05)
    real = features.frames[features.frame_mask].numpy()
    assert len(real) >= 8  # a short video is sampled at least so often
    np.testing.assert_allclose(real, np.tile([0.5, -0.5, -0.5, -0.5, 0.5, 0.5], (len(real), 1)), atol=0.02)


def test_a_new_file_is_all_that_is_read(tmp_path: Path, videos: Path, encoder: ColourEncoder) -> None:
    library = open_library(tmp_path, encoder)
    library.index([videos])
    write_scenes(videos / "new.mp4", ("white", 2))
    summary = library.index([videos])
    assert (names(summary.indexed), len(summary.unchanged)) == (["new.mp4"], 3)


def test_a_changed_file_is_redone_under_its_id(tmp_path: Path, videos: Path, encoder: ColourEncoder) -> None:
    library = open_library(tmp_path, encoder)
    library.index([videos])
    before = {video.path: video for video in library.videos()}
    write_scenes(videos / "red.mp4", ("white", 1), ("black", 30))
    summary = library.index([videos])
    after = {video.path: video for video in library.videos()}
    path = str(videos / "red.mp4")
    assert names(summary.indexed) == ["red.mp4"]
    assert after[path].video_id == before[path].video_id
    assert after[path].duration_seconds == pytest.approx(31, abs=0.1)
    assert library.snapshot().num_segments == sum(video.num_segments for video in after.values())


def test_a_touched_file_is_recognised_by_content(tmp_path: Path, videos: Path, encoder: ColourEncoder) -> None:
    library = open_library(tmp_path, encoder)
    library.index([videos])
    frames = encoder.frames_encoded
    os.utime(videos / "red.mp4", (1, 1))
    summary = library.index([videos])
    assert (summary.indexed, len(summary.unchanged), encoder.frames_encoded) == ([], 3, frames)
    assert {v.modified_ns for v in library.videos() if v.path.endswith("red.mp4")} == {1_000_000_000}


def test_moved_files_keep_their_ids_and_are_not_encoded_again(
    tmp_path: Path, videos: Path, encoder: ColourEncoder
) -> None:
    library = open_library(tmp_path, encoder)
    library.index([videos])
    before = {Path(video.path).name: video.video_id for video in library.videos()}
    frames = encoder.frames_encoded
    (videos / "red.mp4").rename(videos / "more" / "rouge.mp4")
    summary = library.index([videos])
    after = {Path(video.path).name: video.video_id for video in library.videos()}
    assert (names(summary.moved), summary.missing, encoder.frames_encoded) == (["rouge.mp4"], [], frames)
    assert after == {"blue.mp4": before["blue.mp4"], "green.mp4": before["green.mp4"], "rouge.mp4": before["red.mp4"]}


def test_a_renamed_folder_is_recognised(tmp_path: Path, videos: Path, encoder: ColourEncoder) -> None:
    library = open_library(tmp_path, encoder)
    library.index([videos])
    frames = encoder.frames_encoded
    videos.rename(tmp_path / "films")
    summary = library.index([tmp_path / "films"])
    assert (len(summary.moved), encoder.frames_encoded, len(library.videos())) == (3, frames, 3)


def colour_of(library: Library, name: str) -> list[bool]:
    """Which of red, green and blue the stored frames of a file show."""
    snapshot = library.snapshot()
    row = next(r for r in snapshot.row_ids() if Path(snapshot.facts([r])[0].path).name == name)
    return (snapshot.frames([row]).frames[0, 0, :3] > 0).tolist()


def test_swapped_names_are_told_apart(tmp_path: Path, videos: Path, encoder: ColourEncoder) -> None:
    library = open_library(tmp_path, encoder)
    library.index([videos])
    before = {Path(video.path).name: video.video_id for video in library.videos()}
    frames = encoder.frames_encoded
    (videos / "red.mp4").rename(videos / "x")
    (videos / "blue.mp4").rename(videos / "red.mp4")
    (videos / "x").rename(videos / "blue.mp4")
    summary = library.index([videos])
    after = {Path(video.path).name: video.video_id for video in library.videos()}
    assert (names(summary.moved), encoder.frames_encoded) == (["blue.mp4", "red.mp4"], frames)
    assert colour_of(library, "red.mp4") == [False, False, True]
    assert colour_of(library, "blue.mp4") == [True, False, False]
    assert (after["red.mp4"], after["blue.mp4"]) == (before["blue.mp4"], before["red.mp4"])


def test_a_renamed_file_whose_name_was_taken_over(tmp_path: Path, videos: Path, encoder: ColourEncoder) -> None:
    library = open_library(tmp_path, encoder)
    library.index([videos])
    before = {Path(video.path).name: video.video_id for video in library.videos()}
    (videos / "red.mp4").rename(videos / "zz_old.mp4")
    write_scenes(videos / "red.mp4", ("green", 1), ("white", 20))
    summary = library.index([videos])
    after = {Path(video.path).name: video.video_id for video in library.videos()}
    assert (names(summary.indexed), names(summary.moved)) == (["red.mp4"], ["zz_old.mp4"])
    assert after["zz_old.mp4"] == before["red.mp4"] != after["red.mp4"]
    assert colour_of(library, "zz_old.mp4") == [True, False, False]
    assert colour_of(library, "red.mp4") == [False, True, False]
    assert len(after) == 4


def test_copies_are_encoded_once(tmp_path: Path, videos: Path, encoder: ColourEncoder) -> None:
    shutil.copy(videos / "red.mp4", videos / "red2.mp4")
    library = open_library(tmp_path, encoder)
    first = library.index([videos])
    frames = encoder.frames_encoded
    shutil.copy(videos / "red.mp4", videos / "red3.mp4")
    second = library.index([videos])
    assert (len(first.copied), names(second.copied), encoder.frames_encoded) == (1, ["red3.mp4"], frames)
    assert len({video.video_id for video in library.videos()}) == 5


def test_files_that_are_gone_stay_until_pruned(tmp_path: Path, videos: Path, encoder: ColourEncoder) -> None:
    library = open_library(tmp_path, encoder)
    library.index([videos])
    (videos / "red.mp4").unlink()
    assert names(library.index([videos]).missing) == ["red.mp4"]
    assert len(library.videos()) == 3
    assert names(library.index([videos], prune=True).pruned) == ["red.mp4"]
    assert len(library.videos()) == 2


def test_pruning_spares_what_was_not_looked_at(tmp_path: Path, videos: Path, encoder: ColourEncoder) -> None:
    library = open_library(tmp_path, encoder)
    library.index([videos])
    shutil.rmtree(videos)  # like a drive that is not plugged in
    with pytest.raises(LibraryError, match="videos: no such file or folder; name what is to be indexed"):
        library.index([videos], prune=True)
    other = write_scenes(tmp_path / "other" / "white.mp4", ("white", 1)).parent
    summary = library.index([other, videos], prune=True)
    assert (len(summary.indexed), summary.pruned, len(library.videos())) == (1, [], 4)
    assert summary.failed == {str(videos): f"{videos}: no such file or directory"}
    summary = library.index([videos], prune=True, force=True)
    assert (names(summary.pruned), len(library.videos())) == (["blue.mp4", "green.mp4", "red.mp4"], 1)


@pytest.mark.parametrize(
    "left", [[], [".hidden"], ["lost+found", "System Volume Information"], ["READ ME if empty.txt"]]
)
def test_an_empty_folder_keeps_its_videos_until_forced(
    tmp_path: Path, videos: Path, encoder: ColourEncoder, left: list[str]
) -> None:
    """As the place of a drive that is not mounted: nothing but what the system put there, or a word of warning."""
    drive = tmp_path / "media" / "drive"
    drive.parent.mkdir()
    videos.rename(drive)
    library = open_library(tmp_path, encoder)
    library.index([drive])
    shutil.rmtree(drive)
    for name in left:
        (drive / name).mkdir(parents=True)
    drive.mkdir(exist_ok=True)
    summary = library.index([drive], prune=True)
    assert (summary.pruned, summary.missing, len(library.videos())) == ([], [], 3)
    assert {place: names(paths) for place, paths in summary.away.items()} == {
        str(drive): ["blue.mp4", "green.mp4", "red.mp4"]
    }
    summary = library.index([drive], prune=True, force=True)
    assert (len(summary.pruned), summary.away, library.videos()) == (3, {}, [])


def test_an_empty_folder_within_keeps_its_own_and_the_rest_is_pruned(
    tmp_path: Path, videos: Path, encoder: ColourEncoder
) -> None:
    write_scenes(videos / "usb" / "day one" / "white.mp4", ("white", 1))
    write_scenes(videos / "old" / "black.mp4", ("black", 1))
    library = open_library(tmp_path, encoder)
    library.index([videos])
    shutil.rmtree(videos / "usb" / "day one")  # its place stays, empty
    shutil.rmtree(videos / "old")
    (videos / "red.mp4").unlink()
    summary = library.index([videos])
    assert {place: names(paths) for place, paths in summary.away.items()} == {str(videos / "usb"): ["white.mp4"]}
    assert names(summary.missing) == ["black.mp4", "red.mp4"]
    summary = library.index([videos], prune=True)
    assert (names(summary.pruned), list(summary.away)) == (["black.mp4", "red.mp4"], [str(videos / "usb")])
    assert "white.mp4" in names(entry.path for entry in library.videos())
    write_scenes(videos / "usb" / "day one" / "white.mp4", ("white", 1))  # plugged in again
    assert library.index([videos], prune=True).away == {}


def test_a_bad_file_costs_one_line_and_is_not_tried_again(tmp_path: Path, videos: Path, encoder: ColourEncoder) -> None:
    (videos / "bad.mp4").write_bytes(b"not a video at all")
    library = open_library(tmp_path, encoder)
    summary = library.index([videos])
    assert len(summary.indexed) == 3
    (path, reason), *rest = summary.failed.items()
    assert rest == []
    assert path == str(videos / "bad.mp4")
    assert reason.startswith(path)
    assert "\n" not in reason
    again = library.index([videos])
    assert (again.failed, again.known_failures, len(again.unchanged)) == ({}, summary.failed, 3)
    retried = library.index([videos], retry=True)
    assert (retried.failed, retried.known_failures) == (summary.failed, {})
    write_scenes(videos / "bad.mp4", ("white", 1))
    mended = library.index([videos])
    assert (names(mended.indexed), mended.failed, mended.known_failures) == (["bad.mp4"], {}, {})
    assert library.failures() == []


def test_any_error_in_one_video_costs_one_line_and_is_not_met_again(tmp_path: Path, videos: Path) -> None:
    class DislikesBlue(ColourEncoder):
        def preprocess(self, frames: RgbFrames) -> torch.Tensor:
            if frames[..., 2].mean() > 200:
                raise RuntimeError("out of memory\nallocated by layer 3")
            return super().preprocess(frames)

    library = open_library(tmp_path, DislikesBlue())
    summary = library.index([videos])
    assert names(summary.indexed) == ["green.mp4", "red.mp4"]
    path = str(videos / "blue.mp4")
    assert summary.failed == {path: f"{path}: RuntimeError: out of memory"}
    again = library.index([videos])
    assert (again.indexed, len(again.unchanged), again.known_failures) == ([], 2, summary.failed)


def test_an_error_of_the_caller_keeps_what_is_done(tmp_path: Path, videos: Path, encoder: ColourEncoder) -> None:
    def report(progress: IndexProgress) -> None:
        if progress.files_done == 2:
            raise ZeroDivisionError

    library = open_library(tmp_path, encoder)
    with pytest.raises(ZeroDivisionError):
        library.index([videos], on_progress=report)
    assert len(library.index([videos]).unchanged) == 2


def test_a_file_that_breaks_later_loses_its_stale_moments(tmp_path: Path, videos: Path, encoder: ColourEncoder) -> None:
    library = open_library(tmp_path, encoder)
    library.index([videos])
    (videos / "red.mp4").write_bytes(b"overwritten")
    summary = library.index([videos])
    assert names(list(summary.failed)) == ["red.mp4"]
    assert names([video.path for video in library.videos()]) == ["blue.mp4", "green.mp4"]


@pytest.mark.parametrize("name", ["a b.mp4", "it's.mp4", 'say "hi".mp4', "two\nlines.mp4", "100%.mp4"])
def test_any_name_survives_the_library(tmp_path: Path, encoder: ColourEncoder, name: str) -> None:
    path = write_scenes(tmp_path / "videos" / name, ("red", 1))
    library = open_library(tmp_path, encoder)
    library.index([path])
    path.rename(path.with_name("moved " + name))
    summary = library.index([path.parent])
    assert len(summary.moved) == 1
    assert [video.path for video in library.videos()] == [str(path.with_name("moved " + name))]


def test_a_name_that_is_not_utf8_survives_the_library(tmp_path: Path, encoder: ColourEncoder) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.mp4"))
    write_scenes(path, ("red", 1))
    library = open_library(tmp_path, encoder)
    library.index([path])
    assert [video.path for video in library.videos()] == [str(path)]
    assert library.index([path]).unchanged == [str(path)]


def test_two_indexers_at_once_are_refused(tmp_path: Path, videos: Path, encoder: ColourEncoder) -> None:
    library = open_library(tmp_path, encoder)
    library.index([videos / "red.mp4"])
    with (
        FileLock(tmp_path / "library" / "indexing.lock"),
        pytest.raises(
            LibraryError, match=r"another run of wordframe \(process .*\) is writing; wait until it has ended"
        ),
    ):
        library.index([videos])
    assert len(library.index([videos]).indexed) == 2


def test_another_encoder_is_refused(tmp_path: Path, videos: Path, encoder: ColourEncoder) -> None:
    open_library(tmp_path, encoder).index([videos])
    other = ColourEncoder(name="other", fingerprint="other-1")
    with pytest.raises(
        LibraryError,
        match=r"made with the encoder 'colours' .* not with 'other' .* anew with: wordframe upgrade --encoder other",
    ):
        Library.open(tmp_path / "library", encoder=other)


def test_the_same_encoder_under_another_name_is_welcome_and_noted(
    tmp_path: Path, videos: Path, encoder: ColourEncoder
) -> None:
    open_library(tmp_path, encoder).index([videos])
    moved = ColourEncoder(name="moved elsewhere")
    assert len(open_library(tmp_path, moved).index([videos]).unchanged) == 3
    assert Library.open(tmp_path / "library").manifest.encoder == "moved elsewhere"


def test_a_folder_of_other_things_does_not_become_a_library(tmp_path: Path, encoder: ColourEncoder) -> None:
    write_scenes(tmp_path / "videos" / "a.mp4", ("red", 1))
    with pytest.raises(LibraryError, match=r"holds 'a\.mp4' but no library; name a new or empty folder"):
        Library.open(tmp_path / "videos", encoder=encoder).index([tmp_path / "videos"])


def test_no_library_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="no library here; make one with: wordframe index"):
        Library.open(tmp_path / "nowhere").videos()


def test_a_damaged_manifest_is_told(tmp_path: Path, videos: Path, encoder: ColourEncoder) -> None:
    open_library(tmp_path, encoder).index([videos])
    (tmp_path / "library" / "wordframe.json").write_text("{")
    with pytest.raises(LibraryError, match=r"wordframe\.json: damaged; put it back with: wordframe doctor"):
        Library.open(tmp_path / "library")


def test_another_format_is_told(tmp_path: Path, videos: Path, encoder: ColourEncoder) -> None:
    open_library(tmp_path, encoder).index([videos])
    (tmp_path / "library" / "wordframe.json").write_text('{"schema_version": 99}')
    with pytest.raises(LibraryError, match="made with library format 99, this wordframe reads format 4; use a newer"):
        Library.open(tmp_path / "library")


def test_a_reader_sees_whole_videos_while_an_indexer_writes(
    tmp_path: Path, videos: Path, encoder: ColourEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = open_library(tmp_path, encoder)
    library.index([videos])
    reader = open_library(tmp_path, encoder)
    seen: list[tuple[int, int]] = []
    commit = Indexer._commit

    def look(self: Indexer) -> None:
        commit(self)
        snapshot = reader.snapshot()
        seen.append((len(snapshot.row_ids()), sum(video.num_segments for video in snapshot.videos())))

    monkeypatch.setattr(Indexer, "_commit", look)
    monkeypatch.setattr("wordframe.library.indexer.COMMIT_SECONDS", 0.0)
    write_scenes(videos / "red.mp4", ("white", 40), ("black", 40))
    for number in range(4):
        write_scenes(videos / f"new{number}.mp4", ("cyan", 1 + number))
    library.index([videos])
    assert len(seen) >= 4
    assert all(rows == promised for rows, promised in seen)


def test_progress_reaches_the_end(tmp_path: Path, videos: Path, encoder: ColourEncoder) -> None:
    (videos / "bad.mp4").write_bytes(b"not a video")
    shutil.copy(videos / "red.mp4", videos / "zcopy.mp4")
    told = []
    summary = open_library(tmp_path, encoder).index([videos], on_progress=told.append)
    assert told[-1].files_done == told[-1].files_total == 5
    assert told[-1].bytes_done == told[-1].bytes_total
    assert told[-1].frames == summary.frames == encoder.frames_encoded + summary.frames_reused


def test_frames_that_hardly_differ_are_encoded_once(tmp_path: Path, videos: Path, encoder: ColourEncoder) -> None:
    """The same library comes out as from every frame, and the summary tells the difference."""
    summary = open_library(tmp_path, encoder).index([videos])
    assert (summary.frames, summary.frames_reused, encoder.frames_encoded) == (24, 21, 3)
    every = ColourEncoder()
    other = Library.open(tmp_path / "every", encoder=every)
    summary = other.index([videos], every_frame=True)
    assert (summary.frames, summary.frames_reused, every.frames_encoded) == (24, 0, 24)
    for video in other.videos():
        (one,) = [known for known in open_library(tmp_path, encoder).videos() if known.path == video.path]
        assert (one.num_segments, one.duration_seconds) == (video.num_segments, video.duration_seconds)


def test_the_library_keeps_that_every_frame_is_encoded(tmp_path: Path, encoder: ColourEncoder) -> None:
    """Whoever brings it up to date does the same, until told otherwise; the other choice stays as it is."""
    first, second, third = (
        write_scenes(tmp_path / "videos" / f"{colour}.mp4", (colour, 8)) for colour in ("red", "blue", "green")
    )
    library = open_library(tmp_path, encoder)
    assert library.index([first], every_frame=True).frames_reused == 0
    assert open_library(tmp_path, encoder).index([second]).frames_reused == 0
    summary = library.index([third], every_frame=False)
    assert (summary.frames_reused, summary.sampling) == (7, "seconds")
    (tmp_path / "library" / "sampling.json").write_text('"keyframes"')  # as it was written before
    assert library.index([third]).sampling == "keyframes"


def test_the_library_keeps_the_sampling_it_was_told(tmp_path: Path, encoder: ColourEncoder) -> None:
    """Keyframes at 0, 25 s, …: two frames of a video of 30 s; what is read later is sampled in the same way."""
    first = write_scenes(tmp_path / "videos" / "a.mp4", ("red", 30))
    library = open_library(tmp_path, encoder)
    summary = library.index([first], sampling="keyframes")
    assert (summary.sampling, summary.frames) == ("keyframes", 2)
    second = write_scenes(tmp_path / "videos" / "b.mp4", ("blue", 30))
    summary = open_library(tmp_path, encoder).index([second])
    assert (summary.sampling, summary.frames) == ("keyframes", 2)
    third = write_scenes(tmp_path / "videos" / "c.mp4", ("green", 30))
    summary = library.index([tmp_path / "videos"], sampling="seconds")
    assert (summary.sampling, summary.frames, summary.indexed) == ("seconds", 30, [str(third)])
    assert summary.unchanged == [str(first), str(second)]
    assert library.index([tmp_path / "videos"]).sampling == "seconds"
    with pytest.raises(LibraryError, match="sampling 'often' is not known; choose one of seconds, keyframes"):
        library.index([third], sampling="often")


# Paths as people give them -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_text", [True, False])
def test_a_single_path_is_one_path(tmp_path: Path, videos: Path, encoder: ColourEncoder, as_text: bool) -> None:
    library = open_library(tmp_path, encoder)
    summary = library.index(str(videos) if as_text else videos)
    assert len(summary.indexed) == 3
    assert library.roots() == [str(videos)]


def test_the_home_folder_is_found(
    tmp_path: Path, videos: Path, encoder: ColourEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    library = open_library(tmp_path, encoder)
    assert len(library.index(["~/videos"]).indexed) == 3
    assert library.roots() == [str(videos)]
    assert Library.open("~/library", encoder=encoder).exists


@pytest.mark.parametrize("paths", [["nowhere"], "nowhere", [], ["nowhere", "either"]])
def test_a_place_that_does_not_exist_is_an_error(
    tmp_path: Path, encoder: ColourEncoder, paths: list[str] | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    library = open_library(tmp_path, encoder)
    with pytest.raises(LibraryError, match="name what is to be indexed"):
        library.index(paths)
    assert not library.folder.exists()


def test_pruning_works_through_a_path_with_dots(tmp_path: Path, videos: Path, encoder: ColourEncoder) -> None:
    library = open_library(tmp_path, encoder)
    library.index([videos])
    (videos / "red.mp4").unlink()
    summary = library.index([videos / "more" / ".." / ".." / "videos"], prune=True)
    assert names(summary.pruned) == ["red.mp4"]
    assert len(library.videos()) == 2


# Formats -------------------------------------------------------------------------------------------------------------


def as_format_3(folder: Path) -> None:
    """Turn a library into one as an older wordframe wrote it."""
    database = lancedb.connect(folder / "tables")
    database.open_table("segments").alter_columns({"path": "centroids", "rename": "scenes"})
    database.drop_table("models")
    database.create_table("model_abc-vector", [{"key": "x"}])
    manifest = folder / "wordframe.json"
    manifest.write_text(manifest.read_text().replace(f'"schema_version": {FORMAT}', '"schema_version": 3'))


def test_an_older_library_is_refused_with_the_command_and_upgraded(
    tmp_path: Path, videos: Path, encoder: ColourEncoder
) -> None:
    folder = tmp_path / "library"
    open_library(tmp_path, encoder).index([videos])
    before = SearchEngine(open_library(tmp_path, encoder)).search("green")
    as_format_3(folder)
    with pytest.raises(LibraryError, match=f"format 3, this .* up to date with: wordframe upgrade --library {folder}"):
        Library.open(folder)
    assert Library.upgrade(folder)
    assert not Library.upgrade(folder)
    library = open_library(tmp_path, encoder)
    assert SearchEngine(library).search("green") == before
    assert len(library.index([videos]).unchanged) == 3
    assert library._store.model_table_names() == []


def test_an_upgrade_that_was_cut_short_is_finished(
    tmp_path: Path, videos: Path, encoder: ColourEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "library"
    open_library(tmp_path, encoder).index([videos])
    as_format_3(folder)

    def die(place: LocalFolder, name: str, text: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LocalFolder, "write", die)
        with pytest.raises(KeyboardInterrupt):
            Library.upgrade(folder)
    with pytest.raises(LibraryError, match="wordframe upgrade"):
        Library.open(folder)
    assert Library.upgrade(folder)
    assert len(open_library(tmp_path, encoder).videos()) == 3


def test_upgrading_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="no library here, so there is nothing to bring up to date"):
        Library.upgrade(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_what_a_killed_run_left_half_written_goes_with_the_next_run(
    tmp_path: Path, videos: Path, encoder: ColourEncoder
) -> None:
    library = open_library(tmp_path, encoder)
    library.index([videos])
    left = library.folder / ".indexing.4711-7f00ab.part.json"
    left.write_text("{")
    library.index([videos])
    assert not left.exists()
