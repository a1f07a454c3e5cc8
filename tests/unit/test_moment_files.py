"""Files of sentences with moments: the two benchmarks as they are distributed, and one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wordframe.data import load_moments, read_moments
from wordframe.errors import AnnotationError

CHARADES = """AO8RW 0.0 6.9##a person is putting a book on a shelf.
3MSZA 24.3 30.4##person turn a light on.
3MSZA 24.3 30.4##person flipped the light switch near the door.
Y6R7T 20.8 10.0##person start sneezing.
"""
HIGHLIGHTS = [
    {
        "qid": 2579,
        "query": "A girl and her mother cooked while talking with each other on facetime.",
        "duration": 150,
        "vid": "NUsG9BgSes0_210.0_360.0",
        "relevant_clip_ids": [0, 1, 41],
        "saliency_scores": [[4, 1, 1], [4, 2, 1], [3, 2, 2]],
        "relevant_windows": [[0, 4], [82, 84]],
    },
    {
        "qid": 7,
        "query": "A man rides",
        "duration": 150,
        "vid": "b_0.0_150.0",
        "relevant_clip_ids": [2],
        "saliency_scores": [[2, 2, 2]],
        "relevant_windows": [[4, 6]],
    },
]


def write_highlights(folder: Path, *entries: dict[str, object]) -> Path:
    file = folder / "highlight_val_release.jsonl"
    file.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    return file


def test_charades_sta_as_it_is_distributed(tmp_path: Path) -> None:
    (tmp_path / "charades_sta_test.txt").write_text(CHARADES)
    found = load_moments("charades_sta", tmp_path, "test")
    assert [(query.query_id, query.video, query.windows) for query in found.queries] == [
        ("1", "AO8RW", ((0.0, 6.9),)),
        ("2", "3MSZA", ((24.3, 30.4),)),
        ("3", "3MSZA", ((24.3, 30.4),)),
    ]
    assert found.queries[1].text == "person turn a light on."
    assert found.problems == (
        "left out: 1 moment that ends before it begins (line 4)",
        "charades_sta test has 3 sentences here, the published one 3,720",
    )
    assert list(found.captions) == ["AO8RW", "3MSZA"]
    assert list(found.annotations) == ["charades_sta_test.txt"]


def test_qvhighlights_as_it_is_distributed(tmp_path: Path) -> None:
    write_highlights(tmp_path, *HIGHLIGHTS)
    first, second = load_moments("qvhighlights", tmp_path, "val").queries
    assert (first.query_id, first.video) == ("2579", "NUsG9BgSes0_210.0_360.0")
    assert first.windows == ((0.0, 4.0), (82.0, 84.0))
    assert first.saliency == {0: (4, 1, 1), 1: (4, 2, 1), 41: (3, 2, 2)}
    assert second.windows == ((4.0, 6.0),)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.csv", "file,caption,start,end\na.mp4,a cat,1,4.5\nb.mp4,a dog,0,2\na.mp4,a cat,8,9\n"),
        ("m.csv", "\ufeffend;start;caption;note;video\n4.5;1;a cat;;a.mp4\n2;0;a dog;x;b.mp4\n9;8;a cat;;a.mp4\n"),
        (
            "m.jsonl",
            '{"file": "a.mp4", "caption": "a cat", "start": 1, "end": 4.5}\n\n'
            '{"path": "b.mp4", "caption": "a dog", "start": 0, "end": 2}\n'
            '{"video": "a.mp4", "caption": " a cat ", "start": 8, "end": 9}\n',
        ),
        (
            "m.json",
            '{"a.mp4": [{"caption": "a cat", "start": 1, "end": 4.5}, {"caption": "a cat", "start": 8, "end": 9}],'
            ' "b.mp4": {"caption": "a dog", "start": 0, "end": 2}}',
        ),
    ],
    ids=["csv", "semicolons", "jsonl", "json"],
)
def test_ones_own_in_every_form(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    found = read_moments(tmp_path / name)
    assert {(query.video, query.text): query.windows for query in found.queries} == {
        ("a.mp4", "a cat"): ((1.0, 4.5), (8.0, 9.0)),  # the same sentence twice is one with two moments
        ("b.mp4", "a dog"): ((0.0, 2.0),),
    }


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("m.csv", "file,text,start\n", "line 1: lacks 'caption', 'end'; a moment needs file, caption, start and end"),
        ("m.csv", "", "line 1: lacks 'file', 'caption', 'start', 'end'"),
        ("m.csv", "file,caption,start,end\n", "there is no moment in it; add at least one caption with its start"),
        ("m.csv", "file,caption,start,end\na,b,1\n", "line 2: has 3 cells, the header 4"),
        ("m.csv", "file,caption,start,end\na,b,4,1\n", "line 2: the moment ends at '1', before it begins at '4'"),
        ("m.csv", "file,caption,start,end\na,b,one,2\n", "line 2: start and end must be seconds, got 'one' and '2'"),
        ("m.csv", "file,caption,start,end\na,b,-1,2\n", "seconds from 0 on, got '-1' and '2'"),
        ("m.csv", "file,caption,start,end\na,b,0,inf\n", "seconds from 0 on, got '0' and 'inf'"),
        ("m.csv", "file,caption,start,end\na, ,0,1\n", "line 2: the caption is empty; write one or remove the entry"),
        ("m.csv", "file,caption,start,end\n ,b,0,1\n", "line 2: the video's name is empty"),
        ("m.jsonl", '{"file": "a", "caption": "b"}\n', "line 1: lacks 'start', 'end'"),
        ("m.jsonl", '{"file": "a", "caption": "b", "start": 0, "end": true}\n', "must be seconds, got 0 and True"),
        ("m.jsonl", '{"file": 5, "caption": "b", "start": 0, "end": 1}\n', "name must be a string, got 5"),
        ("m.jsonl", "[1]\n", "line 1: must be an object on a line of its own"),
        ("m.json", '{"a": "b"}', "'a': a moment must be an object with caption, start and end"),
        ("m.json", "[]", "must be an object"),
        ("m.txt", "", "moments are read from .json, .jsonl or .csv"),
    ],
)
def test_what_cannot_be_understood_is_told(tmp_path: Path, name: str, content: str, told: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(AnnotationError) as error:
        read_moments(tmp_path / name)
    assert told in str(error.value)
    assert str(tmp_path / name) in str(error.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"relevant_windows": []}, "line 1: relevant_windows is empty"),
        ({"relevant_windows": [[1]]}, "line 1: a window must be [start, end], got [1]"),
        ({"saliency_scores": [[1, 1, 1]]}, "line 1: 3 relevant_clip_ids, 1 saliency_scores; one each"),
        ({"query": ""}, "line 1: the caption is empty"),
        ({"qid": None}, "line 1: qid must be a number or a name, got None"),
        ({"vid": None}, "line 1: the video's name must be a string, got None"),
        ({"relevant_clip_ids": [0, "a", 41]}, "line 1: relevant_clip_ids must hold whole numbers, got 'a'"),
        ({"saliency_scores": [[4, None, 1]] * 3}, "line 1: saliency_scores must hold whole numbers, got None"),
    ],
)
def test_a_damaged_line_of_qvhighlights_is_told(tmp_path: Path, change: dict[str, object], told: str) -> None:
    write_highlights(tmp_path, HIGHLIGHTS[0] | change)
    with pytest.raises(AnnotationError) as error:
        load_moments("qvhighlights", tmp_path, "val")
    assert told in str(error.value)


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="'msvd' is no benchmark of moments; use one of charades_sta, qvhighl"):
        load_moments("msvd", tmp_path, "test")
    with pytest.raises(AnnotationError, match="the moments of qvhighlights test are not public; use train or val"):
        load_moments("qvhighlights", tmp_path, "test")
    with pytest.raises(AnnotationError, match=r"there is no charades_sta_test\.txt; put the file there"):
        load_moments("charades_sta", tmp_path, "test")
    (tmp_path / "charades_sta_test.txt").write_text("AO8RW 0.0##a person\n")
    with pytest.raises(AnnotationError, match=r"line 1: must be VIDEO START END##SENTENCE, got 'AO8RW 0\.0##a person'"):
        load_moments("charades_sta", tmp_path, "test")
