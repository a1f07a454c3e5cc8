"""Captions in all their forms, the videos they speak of, and the text of every refusal."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordframe.data import match_videos, read_captions
from wordframe.errors import AnnotationError

CAPTIONS = {"cat.mp4": ["a cat"], "sub/dog.mp4": ["a dog", "a dog, brown"]}


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.json", '{"cat.mp4": "a cat", "sub/dog.mp4": ["a dog", " a dog, brown "]}'),
        ("c.JSON", b"\xef\xbb\xbf" + json.dumps(CAPTIONS).encode()),
        (
            "c.jsonl",
            '{"file": "cat.mp4", "caption": "a cat"}\r\n\n'
            '{"path": "sub/dog.mp4", "caption": "a dog", "start": 3}\n'
            '{"video": "sub/dog.mp4", "captions": ["a dog, brown"]}',
        ),
        ("c.csv", 'File,Caption\ncat.mp4,a cat\nsub/dog.mp4,a dog\n\nsub/dog.mp4,"a dog, brown"\n'),
        (
            "c.csv",
            b'\xef\xbb\xbfcaption,id,path\r\na cat,1,cat.mp4\r\na dog,2,sub/dog.mp4\r\n"a dog, brown",3,sub/dog.mp4',
        ),
        ("c.csv", "video;caption\ncat.mp4;a cat\nsub/dog.mp4;a dog\nsub/dog.mp4;a dog, brown\n"),
        ("c.csv", '"file"\t"caption"\ncat.mp4\ta cat\nsub/dog.mp4\ta dog\nsub/dog.mp4\ta dog, brown\n'),
        ("c.csv", "video;caption\rcat.mp4;a cat\rsub/dog.mp4;a dog\rsub/dog.mp4;a dog, brown\r"),
        ("c.csv", "\r\n\nfile\tcaption\ncat.mp4\ta cat\nsub/dog.mp4\ta dog\nsub/dog.mp4\ta dog, brown\n"),
        ("c.csv", 'cat.mp4,a cat\nsub/dog.mp4,a dog\nsub/dog.mp4,"a dog, brown"\n'),
    ],
)
def test_every_form_reads_alike(tmp_path: Path, name: str, content: str | bytes) -> None:
    assert read_captions(written(tmp_path, name, content)) == CAPTIONS


def test_a_caption_given_twice_is_two_queries(tmp_path: Path) -> None:
    file = written(tmp_path, "c.csv", "file,caption\na.mp4,a cat\na.mp4,a cat\n")
    assert read_captions(file) == {"a.mp4": ["a cat", "a cat"]}


def test_a_caption_may_hold_line_breaks(tmp_path: Path) -> None:
    content = json.dumps({"file": "a.mp4", "caption": "one\u2028two"}, ensure_ascii=False)
    assert read_captions(written(tmp_path, "c.jsonl", content)) == {"a.mp4": ["one\u2028two"]}
    assert read_captions(written(tmp_path, "c.csv", 'a.mp4,"one\ntwo"\n')) == {"a.mp4": ["one\ntwo"]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.txt", "", "captions are read from .json, .jsonl or .csv; save the file as one of them"),
        ("c.json", b"\xff\xfe{", "is not UTF-8 (byte 0); save it as UTF-8"),
        ("c.json", '{"a.mp4":\n "a cat",}', "line 2, column "),
        ("c.json", "[" * 100_000, "line 1: holds something no caption file needs"),
        ("c.jsonl", '\n{"file": "a.mp4", "id": ' + "1" * 5000 + "}", "line 2: holds something no caption file needs"),
        ("c.json", '[{"file": "a.mp4"}]', "got a list; objects on lines of their own belong into a .jsonl file"),
        ("c.json", "{}", "there is no caption in it; add at least one video with its caption"),
        ("c.json", '{"a.mp4": "x", "a.mp4": "y"}', "'a.mp4' stands there twice; put all its captions into one list"),
        ("c.json", '{"a.mp4": []}', "'a.mp4': the list of captions is empty; write one or remove the entry"),
        ("c.json", '{"a.mp4": ["x", 3]}', "'a.mp4': captions must be a string or a list of strings, found a number"),
        ("c.json", '{"a.mp4": null}', "'a.mp4': captions must be a string or a list of strings, found a null"),
        ("c.json", '{"a.mp4": " "}', "'a.mp4': the caption of 'a.mp4' is empty; write one or remove the entry"),
        ("c.json", '{"a.mp4": ". …"}', "'a.mp4': the caption of 'a.mp4' is punctuation alone; write words or remove"),
        ("c.json", '{"": "x"}', "'': the video's name is empty; name the video or remove the entry"),
        ("c.jsonl", '\n{"file": "a.mp4", "caption": "x"}\n{"file": ', "line 3, column 10: is not JSON"),
        ("c.jsonl", "[1]", "line 1: must be an object with 'file' and 'caption', got a list"),
        ("c.jsonl", '{"caption": "x"}', "line 1: needs exactly one of 'file', 'video', 'path', got only 'caption'"),
        ("c.jsonl", '{"file": "a", "path": "b", "caption": "x"}', "'file', 'video', 'path', got 'file', 'path'"),
        ("c.jsonl", '{"file": 3, "caption": "x"}', "line 1: the video's name must be a string, got a number"),
        ("c.jsonl", "{}", "got only an empty object"),
        ("c.csv", "", "there is no caption in it"),
        ("c.csv", "file,caption\n", "there is no caption in it"),
        (
            "c.csv",
            "file,caption\na.mp4,a cat, black\n",
            "line 2: has 3 cells, the header 2; quote a caption that holds",
        ),
        ("c.csv", 'file,caption\na.mp4,""\n', "line 2: the caption of 'a.mp4' is empty"),
        (
            "c.csv",
            'file,caption\na.mp4,"a cat\n',
            "line 2: is not CSV (unexpected end of data); check the quotes there",
        ),
        ("c.csv", 'file,caption\na.mp4,"a cat" runs\nb.mp4,a dog\n', "line 2: is not CSV ("),
        ("c.csv", 'file,caption\n\na.mp4,"a cat\nb.mp4,a dog\nc.mp4,a "cow"\n', "line 3: is not CSV ("),
        (
            "c.csv",
            'file,caption\na.mp4,"a cat\nb.mp4,a dog\nc.mp4,a cow"\n',
            "line 2: a quote is open there until line 4, over 'b.mp4,a dog', which looks like a row of its own; check",
        ),
        ("c.csv", "file,caption,Caption\na.mp4,a cat,b\n", "line 1: there are two columns 'caption'; rename or remove"),
        (
            "c.json",
            '{\n"a.mp4": "half \\ud83d"}',
            "line 2: 'half \\ud83d' holds half a character (a lone surrogate); write",
        ),
        ("c.json", '{"a.mp4": ["x", {"\\uDC00": 1}]}', "line 1: '\\udc00' holds half a character"),
        (
            "c.jsonl",
            '\n{"file": "\\ud83d\\ud83d.mp4", "caption": "x"}',
            "line 2: '\\ud83d\\ud83d.mp4' holds half a char",
        ),
        ("c.csv", "id,text\n1,a cat\n", "line 1: is neither a header with the columns 'file' and 'caption' nor"),
        ("c.csv", "a.mp4,a cat\nb.mp4,a dog, brown\n", "line 2: has 3 cells; without a header there are two"),
    ],
)
def test_what_cannot_be_understood_is_told(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    file = written(tmp_path, name, content)
    with pytest.raises(AnnotationError, match=re.escape(message)) as told:
        read_captions(file)
    assert str(told.value).startswith(f"{file}: ")
    assert "\n" not in str(told.value)


def test_whole_characters_that_are_written_in_halves_are_read(tmp_path: Path) -> None:
    given = {"a.mp4": "a dog \\ud83d\\udc15", "b.mp4": "a path \\\\ud83d"}
    text = "{" + ", ".join(f'"{name}": "{caption}"' for name, caption in given.items()) + "}"
    assert read_captions(written(tmp_path, "c.json", text)) == {"a.mp4": ["a dog 🐕"], "b.mp4": ["a path \\ud83d"]}


def test_captions_of_several_lines_are_read(tmp_path: Path) -> None:
    text = 'file,caption\na.mp4,"First he runs.\nThen he falls."\n'
    assert read_captions(written(tmp_path, "c.csv", text)) == {"a.mp4": ["First he runs.\nThen he falls."]}


def test_the_captions_that_were_made_for_this(shared: Path) -> None:
    file = shared / "hard_files" / "captions_lone_surrogate.json"
    with pytest.raises(AnnotationError, match="line 1: 'lone"):
        read_captions(file)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="No such file or directory; check the path and its permissions"):
        read_captions(tmp_path / "none.json")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(AnnotationError, match="cannot be read: Is a directory"):
        read_captions(tmp_path / "folder.csv")


@given(st.binary(max_size=60), st.sampled_from(["json", "jsonl", "csv"]))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes, ending: str) -> None:
    file = written(tmp_path_factory.mktemp("bytes"), f"c.{ending}", content)
    try:
        captions = read_captions(file)
    except AnnotationError:
        return
    assert captions
    assert all(found and all(caption.strip() for caption in found) for found in captions.values())


def videos(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def found(folder: Path, *names: str) -> dict[str, str]:
    pairs = match_videos(folder, {name: ["x"] for name in names}).pairs
    return {pair.name: pair.path.relative_to(folder).as_posix() for pair in pairs}


def test_path_then_file_name_then_stem(tmp_path: Path) -> None:
    folder = videos(tmp_path, "a/one.mp4", "b/one.mp4", "two.mkv", "c/three.4.mp4", "notes/four.txt")
    names = ("a/one.mp4", "./b/x/../one.mp4", "two.avi", "three.4", "nowhere/three.4.mp4")
    assert found(folder, *names[:4]) == {
        "a/one.mp4": "a/one.mp4",
        "./b/x/../one.mp4": "b/one.mp4",
        "two.avi": "two.mkv",
        "three.4": "c/three.4.mp4",
    }
    assert found(folder, names[4]) == {"nowhere/three.4.mp4": "c/three.4.mp4"}
    assert found(folder, "c\\three.4.mp4") == {"c\\three.4.mp4": "c/three.4.mp4"}
    assert found(folder, str(folder / "two.mkv")) == {str(folder / "two.mkv"): "two.mkv"}
    assert found(folder, "four") == {}


def test_a_name_without_the_last_of_two_endings(tmp_path: Path) -> None:
    folder = videos(tmp_path, "one.avi.mp4", "two.mov.mkv", "two.mp4")
    assert found(folder, "one.avi") == {"one.avi": "one.avi.mp4"}
    assert found(folder, "two.mov") == {"two.mov": "two.mp4"}, "another ending of the name itself is nearer"


def test_the_prefix_of_activitynet_is_looked_past_only_for_ids_and_only_where_it_is_not_there(tmp_path: Path) -> None:
    folder = videos(tmp_path, "holiday.mp4", "uqiMw7tQ1Cc.mp4", "v_uqiMw7tQ1Cc.mp4", "bXdq2zI1Ms0.mp4")
    assert found(folder, "v_uqiMw7tQ1Cc", "v_bXdq2zI1Ms0.mp4", "v_holiday") == {
        "v_uqiMw7tQ1Cc": "v_uqiMw7tQ1Cc.mp4",
        "v_bXdq2zI1Ms0.mp4": "bXdq2zI1Ms0.mp4",
    }


def test_missing_and_uncaptioned_are_listed(tmp_path: Path) -> None:
    folder = videos(tmp_path, "a.mp4", "b.mp4", "captions.json", ".hidden/c.mp4", "._a.mp4")
    matched = match_videos(folder, {"c.mp4": ["x"], "b.mp4": ["y", "z"]})
    assert [pair.path for pair in matched.pairs] == [folder / "b.mp4"]
    assert (matched.missing, matched.without_caption) == (("c.mp4",), (folder / "a.mp4",))
    assert matched.queries() == (["y", "z"], [0, 0])
    with pytest.raises(
        AnnotationError, match=r"1 of 2 captioned videos are not in the folder: 'c.mp4'.*--allow-missing"
    ):
        matched.refuse_missing()
    complete = match_videos(folder, {"a.mp4": ["x"]})
    complete.refuse_missing()
    assert complete.missing == ()


def test_a_name_in_other_capitals_is_told(tmp_path: Path) -> None:
    folder = videos(tmp_path, "red.mp4", "b.mp4")
    told = r"not in the folder: 'RED.MP4' \('RED.MP4' is there as 'red.mp4': capitals must agree, too\); "
    with pytest.raises(AnnotationError, match=told):
        match_videos(folder, {"RED.MP4": ["x"], "b.mp4": ["y"]}).refuse_missing()


def test_videos_at_an_address_are_told_to_be_no_folder() -> None:
    with pytest.raises(AnnotationError, match="s3://films/odd: captioned videos are read from a folder; copy them"):
        match_videos(Path("s3://films/odd"), {"a.mp4": ["x"]})


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_csv_without_a_header_may_be_separated_as_one_with(tmp_path: Path, separator: str) -> None:
    content = f'"a.mp4"{separator}"a dog, brown; fast"\nb.mp4{separator}a cat\n'
    expected = {"a.mp4": ["a dog, brown; fast"], "b.mp4": ["a cat"]}
    assert read_captions(written(tmp_path, "c.csv", content)) == expected


def test_one_missing_video_is_one_in_the_message(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="1 of 1 captioned video is not in the folder: 'gone'"):
        match_videos(tmp_path, {"gone": ["a"]}).refuse_missing()


def test_a_name_for_several_videos_is_told(tmp_path: Path) -> None:
    folder = videos(tmp_path, "a/one.mp4", "b/one.mp4", "two.mp4", "two.mkv")
    with pytest.raises(AnnotationError, match=r"2 ambiguous names: 'one.mp4' could be 'a/one.mp4', 'b/one.mp4'"):
        match_videos(folder, {"one.mp4": ["x"], "two": ["y"]})


def test_a_video_with_several_names_is_told(tmp_path: Path) -> None:
    folder = videos(tmp_path, "a/one.mp4")
    with pytest.raises(
        AnnotationError,
        match=r"1 video named in several ways: 'a/one.mp4' is meant by 'one', 'one.mp4'; give all captions of a video",
    ):
        match_videos(folder, {"one": ["x"], "one.mp4": ["y"]})


def test_a_path_takes_its_file_from_looser_names(tmp_path: Path) -> None:
    folder = videos(tmp_path, "a/one.mp4")
    matched = match_videos(folder, {"a/one.mp4": ["x"], "b/one.mp4": ["y"]})
    assert (len(matched.pairs), matched.missing) == (1, ("b/one.mp4",))


def test_a_loop_of_links_and_strange_names_do_no_harm(tmp_path: Path) -> None:
    folder = videos(tmp_path, 'sub/it\'s "a"\nname.mp4', "back\\slash.mp4")
    (folder / "sub" / "loop").symlink_to(folder, target_is_directory=True)
    names = ('it\'s "a"\nname.mp4', "back\\slash.mp4")
    assert found(folder, *names) == {names[0]: "sub/" + names[0], names[1]: names[1]}


def test_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="is not a folder; give the folder that holds the videos"):
        match_videos(tmp_path / "none", {"a": ["x"]})


def test_the_shared_captions_are_complete(shared: Path) -> None:
    for name, minimum in (("panda", 66), ("formats", 176)):
        folder = shared / "clips" / name
        matched = match_videos(folder, read_captions(folder / "captions.json"))
        matched.refuse_missing()
        assert len(matched.queries()[0]) >= minimum - 1


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("written", ["NFC", "NFD"])
@pytest.mark.parametrize(
    "name", ["sub/caf\N{LATIN SMALL LETTER E WITH ACUTE}.mp4", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"]
)
def test_accents_are_one_name_however_they_are_stored(
    tmp_path: Path, name: str, written: Literal["NFC", "NFD"], stored: Literal["NFC", "NFD"]
) -> None:
    file = tmp_path / "sub" / unicodedata.normalize(stored, "caf\N{LATIN SMALL LETTER E WITH ACUTE}.mp4")
    file.parent.mkdir()
    file.touch()
    matched = match_videos(tmp_path, {unicodedata.normalize(written, name): ["a cup"]})
    assert [pair.path for pair in matched.pairs] == [file]
    assert not matched.missing
    assert not matched.without_caption


def test_two_files_that_look_alike_are_told_apart_by_their_spelling(tmp_path: Path) -> None:
    names = [unicodedata.normalize(form, "\N{LATIN SMALL LETTER E WITH ACUTE}.mp4") for form in ("NFC", "NFD")]
    for name in names:
        (tmp_path / name).touch()
    matched = match_videos(tmp_path, {name: [name] for name in names})
    assert [pair.path.name for pair in matched.pairs] == names
