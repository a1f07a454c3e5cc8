"""Annotations of the benchmarks: the authors' files with their known counts, and small ones in the same formats."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from wordframe.data import ALL_OF_TRAIN, BENCHMARKS, Split, check_split, load_benchmark, match_videos, own_benchmark
from wordframe.data._readers import AnnotationFolder
from wordframe.errors import AnnotationError


@pytest.mark.parametrize(
    ("name", "split", "videos", "captions"),
    [
        ("msrvtt_9k_1ka", "test", 1000, 1000),
        ("msrvtt_7k_1ka", "test", 1000, 1000),
        ("msrvtt_full", "test", 2990, 59800),
        ("didemo", "val", 1094, 1094),
        ("didemo", "test", 1037, 1037),
        ("activitynet", "test", 4917, 4917),
        ("activitynet", "val", 500, 500),
        ("activitynet", "train", 9509, 9509),
        ("msvd", "train", 1200, 48774),
        ("msvd", "val", 100, 4290),
        ("msvd", "test", 670, 27763),
    ],
)
def test_the_authors_files_have_their_known_counts(
    shared: Path, name: str, split: str, videos: int, captions: int
) -> None:
    found = load_benchmark(name, shared / "annotations", splits=[split]).splits[split]
    queries, owners = found.queries()
    assert (len(found), len(queries)) == (videos, captions)
    assert owners == sorted(owners)
    assert max(owners) == videos - 1


def test_a_count_that_is_not_the_published_one_is_told(shared: Path) -> None:
    didemo = load_benchmark("didemo", shared / "annotations", splits=["val", "test"])
    assert didemo.problems == (
        "didemo val: the annotations hold 1,094 videos, 1,065 are published",
        "didemo test: the annotations hold 1,037 videos, 1,004 are published",
    )
    assert load_benchmark("msvd", shared / "annotations").problems == ()


def test_descriptions_are_joined_in_the_order_of_the_file(shared: Path) -> None:
    rows = json.loads((shared / "annotations" / "didemo_test.json").read_text())
    first = rows[0]["video"]
    expected = " ".join(row["description"].strip() for row in rows if row["video"] == first)
    test = load_benchmark("didemo", shared / "annotations", splits=["test"]).splits["test"]
    assert test.captions[first] == (" ".join(expected.split()),)


def test_one_query_of_1ka_is_the_csvs(shared: Path) -> None:
    test = load_benchmark("msrvtt_9k_1ka", shared / "annotations", splits=["test"]).splits["test"]
    assert test.captions["video9770"] == ("a person is connecting something to system",)


def test_the_held_out_part_is_the_same_for_a_seed_and_not_in_train(shared: Path) -> None:
    one = load_benchmark("activitynet", shared / "annotations", splits=["train", "val"])
    again = load_benchmark("activitynet", shared / "annotations", splits=["val"])
    other = load_benchmark("activitynet", shared / "annotations", splits=["val"], held_out_seed=1)
    assert one.splits["val"].captions == again.splits["val"].captions
    assert one.splits["val"].captions != other.splits["val"].captions
    assert not one.splits["val"].captions.keys() & one.splits["train"].captions.keys()
    assert one.splits["val"].note == (
        "500 of the 10,009 training videos, drawn with seed 0; the benchmark has no val split"
    )


def write_msrvtt(folder: Path) -> None:
    videos = [{"video_id": f"video{n}", "split": part} for n, part in enumerate(["train"] * 4 + ["validate", "test"])]
    sentences = [{"video_id": f"video{n % 6}", "caption": f"caption {n}", "sen_id": n} for n in range(12)]
    (folder / "MSRVTT_data.json").write_text(json.dumps({"videos": videos, "sentences": sentences}))
    (folder / "MSRVTT_train.9k.csv").write_text("video_id\nvideo0\nvideo1\nvideo2\nvideo4\n")
    (folder / "MSRVTT_JSFUSION_test.csv").write_text("key,vid_key,video_id,sentence\nret0,msr5,video5,a test\n")


def test_msrvtt_trains_on_every_caption_and_holds_some_videos_out(tmp_path: Path) -> None:
    write_msrvtt(tmp_path)
    splits = load_benchmark("msrvtt_9k_1ka", tmp_path).splits
    assert splits["train"].captions | splits["val"].captions == {
        f"video{n}": (f"caption {n}", f"caption {n + 6}") for n in (0, 1, 2, 4)
    }
    assert (len(splits["train"]), len(splits["val"])) == (2, 2)
    assert splits["test"].captions == {"video5": ("a test",)}


def test_all_of_train_is_trained_on_where_nothing_is_held_out(tmp_path: Path) -> None:
    write_msrvtt(tmp_path)
    train = load_benchmark("msrvtt_9k_1ka", tmp_path, splits=["train"], hold_out=False).splits["train"]
    assert sorted(train.captions) == ["video0", "video1", "video2", "video4"]
    assert train.note == ALL_OF_TRAIN == "all of train, as published: no video is held out to choose a checkpoint"
    with pytest.raises(AnnotationError, match="msrvtt_9k_1ka has no val split, and hold_out=False takes none from"):
        load_benchmark("msrvtt_9k_1ka", tmp_path, splits=["val"], hold_out=False)
    # a val split of the authors' is theirs, and train was never cut for it
    full = load_benchmark("msrvtt_full", tmp_path, splits=["train", "val"], hold_out=False).splits
    assert [split.note for split in full.values()] == ["", ""]


def test_choosing_on_the_test_split_is_said(tmp_path: Path) -> None:
    write_msrvtt(tmp_path)
    splits = load_benchmark("msrvtt_9k_1ka", tmp_path, validate_on_test=True).splits
    assert splits["val"].captions == splits["test"].captions
    assert splits["val"].note == "this is the test split: what is chosen on it is biased"
    assert len(splits["train"]) == 4


def test_the_full_protocol_reads_the_official_splits(tmp_path: Path) -> None:
    write_msrvtt(tmp_path)
    splits = load_benchmark("msrvtt_full", tmp_path).splits
    assert {name: list(split.captions) for name, split in splits.items()} == {
        "train": ["video0", "video1", "video2", "video3"],
        "val": ["video4"],
        "test": ["video5"],
    }


def test_vatex_takes_the_videos_of_its_lists(tmp_path: Path) -> None:
    (tmp_path / "ref_captions.json").write_text(json.dumps({"a": ["one", "two"], "b": ["three"], "c": ["four"]}))
    for split, ids in (("train", "a"), ("val", "b"), ("test", "c")):
        (tmp_path / f"{split}_list.txt").write_text(f"{ids}\n\n")
    splits = load_benchmark("vatex", tmp_path).splits
    assert splits["train"].captions == {"a": ("one", "two")}
    assert splits["test"].captions == {"c": ("four",)}


def test_lsmdc_reads_six_cells_and_keeps_a_films_quotes(tmp_path: Path) -> None:
    row = "1004_Juno_00.00.32.167-00.00.32.771\t1\t2\t3\t4\t{}\n"
    file = tmp_path / "LSMDC16_challenge_1000_publictect.csv"
    file.write_text(row.format('SOMEONE says "no') + row.format("  and   leaves."))
    test = load_benchmark("lsmdc", tmp_path, splits=["test"]).splits["test"]
    assert test.captions == {"1004_Juno_00.00.32.167-00.00.32.771": ('SOMEONE says "no', "and leaves.")}
    file.write_text("1004_Juno\tonly two\n")
    with pytest.raises(AnnotationError, match=r"publictect.csv line 1: has 2 cells between tabulators, 6 are needed"):
        load_benchmark("lsmdc", tmp_path, splits=["test"])


def msvd(folder: Path, captions: object = None, *, test: str = "a\n") -> None:
    (folder / "msvd_captions.json").write_text(json.dumps({"a": ["x"], "b": ["y"]} if captions is None else captions))
    (folder / "test_list.txt").write_text(test)
    (folder / "train_list.txt").write_text("b\n")


@pytest.mark.parametrize(
    ("captions", "test", "message"),
    [
        ({"a": []}, "a\n", "no caption for 1 video, the first 'a'"),
        ({"a": ["x"]}, "a\nzz\n", "no caption for 1 video, the first 'zz'"),
        ({"a": "x"}, "a\n", "the captions of 'a' must be a list of strings"),
        ({"a": ["x", 3]}, "a\n", "the captions of 'a' must be a list of strings"),
        (["a"], "a\n", "must hold an object with a key for each video, got list"),
        ({"a": ["x"]}, "a\na\n", "'a' stands there twice, the second time as entry 2; remove one"),
    ],
)
def test_a_file_that_cannot_be_understood_is_refused(tmp_path: Path, captions: object, test: str, message: str) -> None:
    msvd(tmp_path, captions, test=test)
    with pytest.raises(AnnotationError, match=message):
        load_benchmark("msvd", tmp_path, splits=["test"])


def test_an_empty_caption_is_refused_in_training_and_test_alike(tmp_path: Path) -> None:
    msvd(tmp_path, {"a": ["x", "  "], "b": ["y", "", " "]})
    for split, told in (("test", "1 empty caption, the first of 'a'"), ("train", "2 empty captions, the first of 'b'")):
        with pytest.raises(AnnotationError, match=rf"msvd_captions\.json: {told}; write one or remove the entry"):
            load_benchmark("msvd", tmp_path, splits=[split])
    (tmp_path / "own.json").write_text('{"a": ["x", "  "]}')
    with pytest.raises(AnnotationError, match=r"own\.json: .*the caption of 'a' is empty; write one or remove"):
        own_benchmark(tmp_path / "own.json", "train")


def test_a_file_with_a_header_only_is_refused(tmp_path: Path) -> None:
    (tmp_path / "MSRVTT_JSFUSION_test.csv").write_text("key,vid_key,video_id,sentence\n")
    with pytest.raises(AnnotationError, match=r"test\.csv: there is no captioned video of this split in it"):
        load_benchmark("msrvtt_9k_1ka", tmp_path, splits=["test"])


def test_an_empty_split_is_covered_by_nothing(tmp_path: Path) -> None:
    assert check_split(Split("mine", "test", {}), tmp_path).coverage_percent == 0.0


def test_ones_own_captions_are_a_benchmark_of_one_split(tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text('{"a.mp4": ["x", "y"]}')
    own = own_benchmark(tmp_path / "own.json", "val")
    assert own.splits == {"val": Split("own.json", "val", {"a.mp4": ("x", "y")})}
    assert (own.num_words, own.num_frames, own.problems) == (None, 12, ())
    assert own.file_hashes() == {"own.json": hashlib.sha256(b'{"a.mp4": ["x", "y"]}').hexdigest()}


def test_a_val_split_that_is_held_out_is_what_a_message_speaks_of(tmp_path: Path) -> None:
    write_msrvtt(tmp_path)
    of_val = load_benchmark("msrvtt_9k_1ka", tmp_path, splits=["val"])
    assert of_val.problems == (
        "msrvtt_9k_1ka val: the annotations of train, which it is taken from, hold 4 videos, 9,000 are published",
    )
    of_train = load_benchmark("msrvtt_9k_1ka", tmp_path, splits=["train", "val"])
    assert of_train.problems == ("msrvtt_9k_1ka train: the annotations hold 4 videos, 9,000 are published",)


def test_one_video_is_one_video_in_every_message(tmp_path: Path) -> None:
    write_msrvtt(tmp_path)
    (tmp_path / "MSRVTT_train.9k.csv").write_text("video_id\nvideo0\n")
    with pytest.raises(AnnotationError, match="train has 1 video, too few to hold some out for val"):
        load_benchmark("msrvtt_9k_1ka", tmp_path, splits=["val"])
    (test,) = load_benchmark("msrvtt_9k_1ka", tmp_path, splits=["test"]).problems
    assert test == "msrvtt_9k_1ka test: the annotations hold 1 video, 1,000 are published"


def test_files_of_activitynet_are_found_with_the_prefix_and_without(tmp_path: Path) -> None:
    ids = ("v_uqiMw7tQ1Cc", "v_bXdq2zI1Ms0", "v_FsS_NCZEfaI")
    (tmp_path / "val_1.json").write_text(json.dumps({video: {"sentences": ["He runs."]} for video in ids}))
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("v_uqiMw7tQ1Cc.mp4", "bXdq2zI1Ms0.mkv", "unasked.mp4"):
        (videos / name).touch()
    test = load_benchmark("activitynet", tmp_path, splits=["test"]).splits["test"]
    matched = match_videos(videos, test.captions)
    assert {pair.name: pair.path.name for pair in matched.pairs} == {
        "v_uqiMw7tQ1Cc": "v_uqiMw7tQ1Cc.mp4",
        "v_bXdq2zI1Ms0": "bXdq2zI1Ms0.mkv",
    }
    assert matched.missing == ("v_FsS_NCZEfaI",)


def test_splits_that_share_videos_are_refused(tmp_path: Path) -> None:
    msvd(tmp_path, test="a\nb\n")
    with pytest.raises(AnnotationError, match="train and test share 1 video, such as 'b'"):
        load_benchmark("msvd", tmp_path, splits=["train", "test"])


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "raw-captions.pkl").write_bytes(b"anything")
    with pytest.raises(AnnotationError, match="is a pickle, which can run code when it is read"):
        load_benchmark("msvd", tmp_path, splits=["test"])


def test_missing_files_unknown_names_and_columns_are_told(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"there is no test_data.json or didemo_test.json; put the file there"):
        load_benchmark("didemo", tmp_path, splits=["test"])
    with pytest.raises(AnnotationError, match=r"there is no benchmark 'msrvtt'; use one of msrvtt_9k_1ka, "):
        load_benchmark("msrvtt", tmp_path)
    with pytest.raises(AnnotationError, match="benchmark of moments; measure it with wordframe evaluate --moments"):
        load_benchmark("charades_sta", tmp_path)
    with pytest.raises(AnnotationError, match="is not a folder"):
        load_benchmark("didemo", tmp_path / "nowhere")
    (tmp_path / "MSRVTT_JSFUSION_test.csv").write_text("id,sentence\n1,x\n")
    told = "has no column 'video_id'; the first line must name video_id, it names id, sentence"
    with pytest.raises(AnnotationError, match=told):
        load_benchmark("msrvtt_9k_1ka", tmp_path, splits=["test"])
    folder = AnnotationFolder(tmp_path)
    told = "no column 'video_id' and no column 'caption'; the first line must name video_id, caption, it names id, sent"
    with pytest.raises(AnnotationError, match=told):
        list(folder.rows(["MSRVTT_JSFUSION_test.csv"], ["video_id", "caption"]))


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("ret0,m0,v0,a man, a woman and a dog talk\n", "line 2: has 5 cells, the header 4; quote a caption that holds"),
        ("ret0,m0,v0\n", "line 2: has 3 cells, the header 4"),
        (
            'ret0,m0,v0,"a man\nret1,m1,v1,a cat\n',
            "line 2: is not CSV (unexpected end of data); check the quotes there",
        ),
        ('ret0,m0,v0,"a man" walks\n', "line 2: is not CSV ("),
        (
            'ret0,m0,v0,a dog\nret1,m1,v1,"a man\nret2,m2,v2,a cat\nret3,m3,v3,a cow"\n',
            "line 3: a quote is open there until line 5, over 'ret2,m2,v2,a cat', which looks like a row of its own",
        ),
    ],
)
def test_rows_that_lost_a_quote_are_refused_with_their_line(tmp_path: Path, rows: str, told: str) -> None:
    file = tmp_path / "MSRVTT_JSFUSION_test.csv"
    file.write_text(f"key,vid_key,video_id,sentence\n{rows}", encoding="utf-8")
    with pytest.raises(AnnotationError) as caught:
        load_benchmark("msrvtt_9k_1ka", tmp_path, splits=["test"])
    assert str(caught.value).startswith(f"{file}: {told}")


def test_the_unquoted_comma_that_was_made_for_this(shared: Path) -> None:
    folder = shared / "hard_files" / "msrvtt_unquoted_comma"
    with pytest.raises(AnnotationError, match="line 2: has 5 cells, the header 4"):
        load_benchmark("msrvtt_9k_1ka", folder, splits=["test"])


def test_only_the_files_of_the_asked_splits_are_read(shared: Path) -> None:
    found = load_benchmark("activitynet", shared / "annotations", splits=["test"])
    assert [file.name for file in found.files] == ["activitynet_val_1.json"]


def test_every_protocol_says_what_a_report_needs() -> None:
    for name, protocol in BENCHMARKS.items():
        assert protocol.name == name
        assert "test" in protocol.counts
        assert protocol.num_words >= 32
        assert protocol.num_frames >= 12


def test_a_split_has_a_known_name_and_captions_for_every_video() -> None:
    with pytest.raises(ValueError, match="name='dev' is no split; use one of train, val, test"):
        Split("mine", "dev", {"a": ("x",)})
    with pytest.raises(ValueError, match="video 'a' of mine test has no caption"):
        Split("mine", "test", {"a": ()})
