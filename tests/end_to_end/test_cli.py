"""The real command on real files: indexing, searching, exporting, evaluating, and every refusal in one line."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import lancedb
import pytest
from PIL import Image

from tests.colours import write_scenes
from tests.films import Film, write_film
from wordframe.cli import main
from wordframe.library import FORMAT, read_status

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``videos`` and their ``library``, made by the command."""
    folder = tmp_path_factory.mktemp("cli")
    write_scenes(folder / "videos" / "a red one.mp4", ("red", 3))
    write_scenes(folder / "videos" / "two\nlines.mp4", ("green", 2), ("blue", 2))
    assert main(["index", str(folder / "videos"), "--library", str(folder / "library")]) == 0
    return folder


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


def test_index_again_says_unchanged(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", str(place / "videos"), "--library", str(place / "library")]) == 0
    assert lines(capsys.readouterr().out) == ["0 videos indexed · 2 unchanged"]


def test_index_json(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", str(place / "videos"), "--library", str(place / "library"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (len(told["unchanged"]), told["indexed"], told["failed"], told["interrupted"]) == (2, [], {}, False)


def test_index_tells_what_it_did_not_encode_or_decode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_scenes(tmp_path / "red.mp4", ("red", 20))

    def run(library: str, *options: str) -> str:
        assert main(["index", str(tmp_path / "red.mp4"), "--library", str(tmp_path / library), *options]) == 0
        return capsys.readouterr().out

    assert "20 frames, 95% hardly changed)" in run("reused")
    assert "20 frames)" in run("every", "--every-frame")
    told = json.loads(run("json", "--json"))
    assert (told["frames"], told["frames_reused"], told["sampling"]) == (20, 19, "seconds")
    shown = run("keyframes", "--sampling", "keyframes")
    assert "1 frame)" in shown
    assert "only keyframes were looked at, 20.0 s apart on average, and no moment is finer than that" in shown


def test_only_new_trouble_fails_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A timer that indexes every night must not cry every night over the same file."""
    write_scenes(tmp_path / "videos" / "red.mp4", ("red", 2))
    bad = tmp_path / "videos" / "bad.mp4"
    bad.write_text("this is no video\n" * 50)
    command = ["index", str(tmp_path / "videos"), "--library", str(tmp_path / "library")]

    def run(*options: str) -> tuple[int, str, list[str]]:
        status = main([*command, *options])
        shown = capsys.readouterr()
        return status, lines(shown.out)[0], lines(shown.err)

    status, out, (err,) = run()
    assert (status, out.endswith("1 failed"), err.startswith(f"failed: {bad} ")) == (1, True, True)
    status, out, (err,) = run()
    assert (status, out) == (0, "0 videos indexed · 1 unchanged · 1 failed before")
    assert err.startswith(f"failed before, unchanged: {bad} ")
    assert err.endswith("(--retry tries again)")
    assert run("--strict")[0] == 1
    assert run("--retry")[0] == 1
    assert main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["failed"], list(told["known_failures"])) == ({}, [str(bad)])
    bad.write_text("this is no video either\n" * 50)
    status, _, (err,) = run()
    assert (status, err.startswith(f"failed: {bad} ")) == (1, True)
    bad.unlink()
    assert run("--strict")[:2] == (0, "0 videos indexed · 1 unchanged")


def test_an_unmounted_drive_is_told_and_nothing_of_it_forgotten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = write_scenes(tmp_path / "drive" / "red.mp4", ("red", 1))
    there = write_scenes(tmp_path / "home" / "blue.mp4", ("blue", 1))
    command = ["index", str(video.parent), str(there.parent), "--library", str(tmp_path / "library")]

    def run(*options: str) -> tuple[int, str, list[str]]:
        status = main([*command, *options])
        shown = capsys.readouterr()
        return status, lines(shown.out)[0], lines(shown.err)

    assert run()[0] == 0
    video.unlink()
    told = (
        f"not forgotten: 1 video of {video.parent}, which holds no videos now: is a drive not mounted? (--prune --force"
    )
    status, out, (err,) = run()
    assert (status, out, err.startswith(told)) == (0, "0 videos indexed · 1 unchanged", True)
    status, out, (err,) = run("--prune")
    assert (status, out, err.startswith(told)) == (1, "0 videos indexed · 1 unchanged", True)
    assert run("--prune", "--force") == (0, "0 videos indexed · 1 unchanged · 1 forgotten", [])
    assert main([*command, "--force"]) == 2


def test_search_prints_one_block_a_video(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "a red picture", "--library", str(place / "library"), "--moments", "1"]) == 0
    out = [line for line in lines(capsys.readouterr().out) if line[:3].strip().isdigit()]
    assert len(out) == 2
    assert sorted(line.split("  ")[-1].rsplit("/", 1)[1] for line in out) == ["a red one.mp4", "two\\nlines.mp4"]
    assert all(" – " in line for line in out)


def test_search_json_has_the_documented_fields(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "a red picture", "--library", str(place / "library"), "--json", "--exact"]) == 0
    hits = json.loads(capsys.readouterr().out)
    assert [hit["rank"] for hit in hits] == [1, 2]
    assert {"rank", "score", "path", "start_seconds", "end_seconds", "video_id"} <= set(hits[0])
    assert all(os.path.exists(hit["path"]) for hit in hits)


def test_search_says_in_a_line_what_cannot_be_known(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["search", "--library", str(place / "library"), "--json"]
    for text, told in [
        ("ein rotes Bild von der Straße", "this seems to be no English, "),
        ("🐕", "there is no word in this query, "),
        ("no red", "“no” has hardly an effect: "),
        ("a talk by Ursula", "“Ursula”: the encoder knows no names; "),
    ]:
        assert main([*command, text]) == 0
        shown = capsys.readouterr()
        assert json.loads(shown.out)
        (line,) = lines(shown.err)
        assert line.startswith(f"note: {told}")
    assert main([*command, "a red picture"]) == 0
    assert capsys.readouterr().err == ""


def test_search_by_image_and_by_clip(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (64, 48), (255, 0, 0)).save(tmp_path / "red.png")
    clip = write_scenes(tmp_path / "clip.mp4", ("red", 1))
    for query in (["--image", str(tmp_path / "red.png")], ["--clip", str(clip)]):
        assert main(["search", *query, "--library", str(place / "library"), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)[0]["path"].endswith("a red one.mp4")


def test_export_what_was_found(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from wordframe.video import probe

    source, target = place / "videos" / "a red one.mp4", tmp_path / "cut.mp4"
    assert main(["export", str(source), "0:01", "2.5", "--to", str(target)]) == 0
    assert "cut.mp4" in capsys.readouterr().out
    assert 1.0 <= (probe(target).duration_seconds or 0) <= 3.1
    assert main(["export", str(source), "1", "2", "--to", str(target)]) == 1
    assert "cut.mp4" in capsys.readouterr().err
    assert main(["export", str(source), "1", "2", "--to", str(target), "--overwrite"]) == 0


def test_cutting_a_moment_loads_nothing_heavy(place: Path, tmp_path: Path) -> None:
    arguments = ["export", str(place / "videos" / "a red one.mp4"), "0", "1", "--to", str(tmp_path / "cut.mp4")]
    code = (
        "import sys; from wordframe.cli import main; status = main(sys.argv[1:])\n"
        "print(status, {'lancedb', 'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("0 set()\n"), done.stdout


def test_export_tells_what_it_wrote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_film(tmp_path / "tv.m2ts", Film(container="mpegts"))
    write_film(tmp_path / "raw.m2v", Film(pictures="mpeg2video", sound=None, container="mpeg2video"))
    assert main(["export", "tv.m2ts", "2.5", "3.7"]) == 0
    (line,) = lines(capsys.readouterr().out)
    assert re.fullmatch(
        r"tv_2.5-3.7s.m2ts: 0:0[12].\d\d\d – 0:03.7\d\d of tv.m2ts, "
        "copied without encoding, from the keyframe before 0:02.500",
        line,
    )
    assert main(["export", "tv.m2ts", "2.5", "3.7", "--overwrite", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["is_copy"], told["has_sound"], told["notes"]) == (True, True, [])
    assert 1.4 < told["start_seconds"] < 2.5
    assert main(["export", "raw.m2v", "1", "2"]) == 0
    (line,) = lines(capsys.readouterr().out)
    assert line.startswith("raw_1-2s.mp4: 0:01.000 – 0:02.000 of raw.m2v, an .mp4 since a .m2v file cannot hold it, ")
    assert line.endswith(", no sound")


def test_evaluate_json(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    captions = tmp_path / "captions.json"
    captions.write_text(json.dumps({"a red one.mp4": "red", "two\nlines.mp4": ["green", "blue"]}))
    arguments = ["evaluate", "--videos", str(place / "videos"), "--captions", str(captions)]
    assert main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["gallery"], told["queries"]) == (2, 3)
    for direction in ("t2v", "v2t"):
        assert {"recall_at_1", "recall_at_5", "recall_at_10", "median_rank", "mean_rank"} <= set(told[direction])
        assert told[direction]["recall_at_5"] == 100.0
    captions.write_text(json.dumps({"a red one.mp4": "red", "gone.mp4": "blue"}))
    assert main(arguments) == 1
    assert "1 of 2 captioned videos are not in the folder: 'gone.mp4'" in capsys.readouterr().err
    assert main([*arguments, "--allow-missing", "--json"]) == 1
    shown = capsys.readouterr()
    assert (json.loads(shown.out)["gallery"], "skipped: gone.mp4" in shown.err) == (1, True)


def test_doctor_finds_a_healthy_library(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["doctor", "--library", str(place / "library"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert all(check["works"] for check in told["checks"])
    assert (told["library"]["videos"], told["library"]["first_stage"]["recall_percent"]) == (2, 100.0)
    assert told["extras"] == dict.fromkeys(("train", "report", "mcp", "openvino", "cloud", "ray", "ray-serve"), True)
    monkeypatch.setattr("wordframe.cli.doctor._checks", list)  # of the installation, which take their time
    assert main(["doctor", "--library", str(place / "library")]) == 0
    assert "100.0 % of the exact top" in capsys.readouterr().out


def test_doctor_names_the_extras_that_are_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wordframe.cli.doctor._checks", list)
    monkeypatch.setattr("wordframe.errors.EXTRAS", {"mcp": {"json"}, "train": {"json", "no_such_library"}})
    monkeypatch.setattr("wordframe.cli.doctor.EXTRAS", {"mcp": {"json"}, "train": {"json", "no_such_library"}})
    assert main(["doctor"]) == 0
    assert "Extras:    mcp, train not installed (pip install 'wordframe[train]')\n" in capsys.readouterr().out


def test_prepare_lists_and_removes_what_a_model_needs(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = tmp_path / "library"
    shutil.copytree(place / "library", library)

    def run(*arguments: str) -> str:
        assert main([*arguments, "--library", str(library)]) == 0
        return capsys.readouterr().out

    assert "prepared for no model" in run("prepare", "--list")
    assert main(["search", "red", "--library", str(library), "--model", "clip4clip-mean", "--untrained"]) == 0
    (warning,) = lines(capsys.readouterr().err)
    assert warning.startswith("not prepared for clip4clip-mean: 3 segments of 3; ")
    assert warning.endswith(f"until: wordframe prepare clip4clip-mean --untrained --library {library}")
    assert run("prepare", "clip4clip-mean", "--untrained") == "3 segments prepared for clip4clip-mean\n"
    assert main(["search", "red", "--library", str(library), "--model", "clip4clip-mean", "--untrained"]) == 0
    assert capsys.readouterr().err == ""
    assert "nothing to do" in run("prepare", "clip4clip-mean", "--untrained")
    assert [entry["name"] for entry in json.loads(run("prepare", "--list", "--json"))] == ["clip4clip-mean"]
    assert run("prepare", "--list").startswith("clip4clip-mean  (")
    assert "           prepared for clip4clip-mean\n" in run("doctor")
    assert run("prepare", "--remove", "clip4clip-mean") == "removed what was kept for clip4clip-mean\n"
    assert "prepared for no model" in run("prepare", "--list")
    assert main(["prepare", "--remove", "clip4clip-mean", "--library", str(library)]) == 1
    assert "is not prepared for 'clip4clip-mean'" in capsys.readouterr().err


def test_an_older_library_is_brought_up_to_date(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = tmp_path / "library"
    shutil.copytree(place / "library", library)
    assert main(["upgrade", "--library", str(library)]) == 0
    assert capsys.readouterr().out == f"{library}: is up to date\n"
    make_older(library)
    assert main(["search", "red", "--library", str(library)]) == 1
    assert f"bring it up to date with: wordframe upgrade --library {library}" in capsys.readouterr().err
    assert main(["upgrade", "--library", str(library)]) == 0
    assert capsys.readouterr().out == f"{library}: brought up to library format {FORMAT}\n"
    assert main(["search", "red", "--library", str(library), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2
    assert main(["upgrade", "--library", str(tmp_path / "nothing")]) == 1
    assert "no library here, so there is nothing to bring up to date" in capsys.readouterr().err


def make_older(library: Path) -> None:
    """As the version before wrote it: another name for a column, and for the format."""
    segments = lancedb.connect(library / "tables").open_table("segments")
    segments.alter_columns({"path": "centroids", "rename": "scenes"})
    manifest = json.loads((library / "wordframe.json").read_text())
    (library / "wordframe.json").write_text(json.dumps(manifest | {"schema_version": 3}))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["index", "{tmp}/nowhere", "-l", "{tmp}/new"], "{tmp}/nowhere: no such file or folder"),
        (["index", "{tmp}/empty", "-l", "{tmp}/new"], "no video files found below the given paths"),
        (["index", "{tmp}/bad.mp4", "-l", "{tmp}/new"], "{tmp}/bad.mp4"),
        (["index", "{place}/videos", "-l", "{place}/videos"], "but no library; name a new or empty folder"),
        (["index", "{place}/videos", "-l", "{tmp}/bad.mp4"], "{tmp}/bad.mp4: cannot be written (file exists)"),
        (["search", "a dog", "-l", "{tmp}/nowhere"], "no library here; make one with: wordframe index"),
        (["search", "", "-l", "{place}/library"], "the query is empty"),
        (["search", "x" * 10_000, "-l", "{place}/library"], "the query has 10000 characters"),
        (["search", "--image", "{tmp}/no.png", "-l", "{place}/library"], "{tmp}/no.png: no such file"),
        (["search", "--clip", "{tmp}/bad.mp4", "-l", "{place}/library"], "{tmp}/bad.mp4"),
        (["search", "--image", "{tmp}/bad.mp4", "-l", "{place}/library"], "cannot be read as a picture"),
        (["search", "a dog", "-l", "{place}/library", "--model", "nonsense"], "nonsense"),
        (["index", "{place}/videos", "-l", "{tmp}/new", "--encoder", "{tmp}/no-encoder"], "no-encoder"),
        (["index", "{place}/videos", "-l", "{tmp}/new", "--sampling", "often"], "choose one of seconds, keyframes"),
        (["export", "{tmp}/nowhere.mp4", "1", "2", "--to", "{tmp}/x.mp4"], "{tmp}/nowhere.mp4"),
        (["export", "{tmp}/bad.mp4", "one", "2"], "'one' is not a time; write seconds (12.5) or a timecode"),
        (["evaluate", "--videos", "{place}/videos", "--captions", "{tmp}/no.json"], "{tmp}/no.json"),
        (["doctor", "-l", "{tmp}/nowhere"], "no library here"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_bad_input_is_told_in_one_line(
    place: Path, tmp_path: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.mp4").write_text("this is no video\n" * 50)
    filled = [argument.replace("{tmp}", str(tmp_path)).replace("{place}", str(place)) for argument in arguments]
    assert main(filled) == 1
    shown = capsys.readouterr()
    everything = lines(shown.err) + [line for line in lines(shown.out) if "BROKEN" in line]
    fitting = [line for line in everything if told.replace("{tmp}", str(tmp_path)) in line]
    assert len(fitting) == 1, everything
    assert "Traceback" not in shown.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["search"],
        ["search", "a dog"],
        ["search", "-l", "somewhere"],
        ["search", "a dog", "--image", "x.png", "-l", "somewhere"],
        ["search", "a dog", "-l", "somewhere", "--top", "0"],
        ["search", "a dog", "-l", "somewhere", "--after", "yesterday"],
        ["index", "-l", "somewhere"],
        ["export", "a.mp4", "5", "4"],
        ["nonsense"],
        ["prepare", "-l", "somewhere"],
        ["prepare", "zero-shot", "--list", "-l", "somewhere"],
        ["prepare", "--list", "--untrained", "-l", "somewhere"],
        ["prepare", "--remove", "xclip", "--untrained", "-l", "somewhere"],
        ["mcp", "--url", "http://127.0.0.1:9", "--model", "xclip"],
        ["mcp", "--url", "http://127.0.0.1:9", "--untrained"],
        ["search", "a dog", "-l", "somewhere", "--nonsense"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_status_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WORDFRAME_LIBRARY", raising=False)
    assert main(arguments) == 2
    assert "--help shows the usage" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        "index",
        "search",
        "serve",
        "prepare",
        "mcp",
        "export",
        "evaluate",
        "convert",
        "models",
        "doctor",
        "upgrade",
        "encoders",
    ],
)
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"wordframe {command}" in capsys.readouterr().out.split("Example", 1)[1]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("wordframe 0.")


def test_a_library_of_an_older_offline_encoder_is_refused_with_the_command_that_mends_it(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = tmp_path / "library"
    shutil.copytree(place / "library", library)
    manifest = library / "wordframe.json"
    manifest.write_text(manifest.read_text().replace(json.loads(manifest.read_text())["fingerprint"], "0000"))
    command = f"wordframe upgrade --encoder offline --library {library}"
    for arguments in (["search", "red"], ["index", str(place / "videos")]):
        assert main([*arguments, "--library", str(library)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "made with another version of the encoder 'offline'" in line
        assert line.endswith(f"make them anew with: {command}")
    assert main(["upgrade", "--library", str(library)]) == 0
    said = capsys.readouterr()
    assert said.out == f"{library}: its format is up to date\n"
    assert said.err.endswith(f"{command}\n")
    assert main([*command.split()[1:], "--json"]) == 0
    change = json.loads(capsys.readouterr().out)
    assert (change["done"], change["before"], change["after"]) == (True, "offline", "offline")
    assert len(change["summary"]["indexed"]) == 2
    assert main(["search", "red", "--library", str(library)]) == 0
    assert main(command.split()[1:]) == 0
    assert f"{library}: has the features of offline already" in capsys.readouterr().out


def test_an_unreadable_table_is_told(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "library"
    shutil.copytree(place / "library", copy)
    for path in (copy / "tables" / "segments.lance" / "data").iterdir():
        path.write_bytes(b"\0" * path.stat().st_size)
    assert main(["search", "red", "--library", str(copy)]) == 1
    (told,) = lines(capsys.readouterr().err)
    assert "cannot read the library's tables" in told


def test_a_full_disk_is_told_and_loses_nothing(place: Path, tmp_path: Path) -> None:
    """A limit on the size of a file stands in for the disk: LanceDB fails in the same place with another number."""
    write_scenes(tmp_path / "more" / "new.mp4", ("white", 30))
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "from wordframe.cli.main import main; from wordframe.encoders import load_encoder; "
        "load_encoder('offline').encode_text(['warm']); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["index", str(tmp_path / "more"), "--library", str(place / "library")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert "a file would be larger than the system allows; free some space and run the command again" in done.stderr
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    assert main(["search", "red", "--library", str(place / "library")]) == 0


def under_way(library: Path) -> bool:
    """Whether an indexer has finished something and has more to do."""
    status = read_status(library)
    return status is not None and 0 < status.files_done < status.files_total


def test_ctrl_c_leaves_all_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(20):
        write_scenes(tmp_path / "videos" / f"{number}.mp4", ("red", 2 + number / 10))
    arguments = ["index", str(tmp_path / "videos"), "--library", str(tmp_path / "library")]
    slowly = [str(Path(sys.executable).with_name("wordframe")), *arguments, "--every-frame"]
    process = subprocess.Popen(slowly, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not under_way(tmp_path / "library"):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted: what was finished is kept" in err
    assert "Traceback" not in err
    assert main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["indexed"]) + len(told["unchanged"]) == 20
    assert told["unchanged"]


def test_the_runtime_is_a_choice_that_changes_no_library(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = {}
    for runtime, other in (("torch", "openvino"), ("openvino", "torch")):
        command = ["index", str(place / "videos"), "--library", str(tmp_path / runtime)]
        assert main([*command, "--runtime", runtime]) == 0
        capsys.readouterr()
        assert main([*command, "--runtime", other]) == 0
        assert lines(capsys.readouterr().out) == ["0 videos indexed · 2 unchanged"]
        assert main(["search", "a red picture", "--library", str(tmp_path / runtime), "--json"]) == 0
        scores[runtime] = {hit["path"]: hit["score"] for hit in json.loads(capsys.readouterr().out)}
    assert scores["torch"] == pytest.approx(scores["openvino"], abs=1e-3)
    capsys.readouterr()
    assert main(["index", str(place / "videos"), "--library", str(tmp_path / "a"), "--runtime", "onnx"]) == 2
    assert "for '--runtime': 'onnx' is not one of 'auto', 'torch', 'openvino'" in capsys.readouterr().err


def test_a_runtime_that_is_not_installed_names_the_line_that_installs_it(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    library = str(place / "library")
    for command in (["index", str(place / "videos")], ["serve", "--port", "0"]):
        assert main([*command, "--library", library, "--runtime", "openvino"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line == (
            "wordframe: runtime 'openvino' needs more than the core of wordframe; "
            "install it with: pip install 'wordframe[openvino]'"
        )
    assert main(["index", str(place / "videos"), "--library", library]) == 0
    capsys.readouterr()
    assert main(["doctor", "--json"]) == 0
    (check,) = [check for check in json.loads(capsys.readouterr().out)["checks"] if check["name"] == "runtime"]
    assert check["detail"].startswith("torch; OpenVINO encodes frames 2.")
    assert check["detail"].endswith(" times as fast on a CPU: pip install 'wordframe[openvino]'")


def test_index_says_which_commands_take_a_model(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", str(place / "videos"), "--library", str(place / "library"), "--model", "tcmgc-msrvtt"]) == 2
    told = capsys.readouterr().err
    assert "index takes no --model" in told
    assert "--model goes with search, serve and evaluate" in told
    assert "--model" not in _help_of_index(capsys)


def _help_of_index(capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["index", "--help"]) == 0
    return capsys.readouterr().out


def test_waiting_threads_do_not_spin_unless_somebody_wants_them_to() -> None:
    """OpenMP reads it when torch loads, so it is set before a command imports anything."""
    code = (
        "import os, sys, wordframe.cli.main\nm = sys.modules['wordframe.cli.main']\nm.main = lambda: 0\n"
        "try: m.entry_point()\nexcept SystemExit: print(os.environ['OMP_WAIT_POLICY'])"
    )
    for given, wanted in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
        environment |= {} if given is None else {"OMP_WAIT_POLICY": given}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == wanted
