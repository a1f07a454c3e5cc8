"""torchrun on two nodes that share no file, as one types it: training that is stopped and goes on, and evaluating."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.colours import ColourEncoder, write_scenes
from tests.contract.test_training_resume import assert_same_run
from tests.processes import free_port
from wordframe.data import Split, VideoFiles, build_feature_cache
from wordframe.train.run_folder import read_log, read_state

pytestmark = pytest.mark.scale

ROOT = Path(__file__).parents[2]
CAPTIONS = {name: (f"a {name} one", f"{name} at last") for name in ("red", "green", "blue", "cyan", "white", "black")}
STEPS = 240
RECIPE = f"""
name: small
model: {{preset: tcmgc-msrvtt, max_words: 8, max_frames: 4, heads: 2, layers: 1, keep_rate: 0.25}}
batch_size: 4
epochs: {STEPS // 3}
optimizer: {{lr: 1.0e-4}}
validation: {{every_steps: 50}}
"""
MOMENTS = "file,caption,start,end\nred.mp4,a red picture,0,2\nblue.mp4,a blue picture,0,2\ngreen.mp4,green,0,2\n"


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folders of two nodes, each with copies of its own at a path of its own."""
    source = tmp_path_factory.mktemp("source")
    paths = {
        name: write_scenes(source / "videos" / f"{name}.mp4", (name, 2), ("white", 2), rate=4) for name in CAPTIONS
    }
    for split in ("train", "val"):
        build_feature_cache(
            source / "features" / split,
            Split("own", split, CAPTIONS),
            VideoFiles(paths, 16),
            ColourEncoder(),
            num_frames=4,
        )
    (source / "small.yaml").write_text(RECIPE)
    (source / "moments.csv").write_text(MOMENTS)
    return [Path(shutil.copytree(source, tmp_path_factory.mktemp(name) / "own")) for name in ("first", "second")]


def environment(node: Path) -> dict[str, str]:
    for name in ("home", "tmp"):
        (node / name).mkdir(exist_ok=True)
    own = {"HOME": str(node / "home"), "TMPDIR": str(node / "tmp"), "OMP_NUM_THREADS": "1"}
    return {**os.environ, **own, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}


def start(nodes: list[Path], *arguments: str) -> list[subprocess.Popen[str]]:
    """``torchrun … -m wordframe ARGUMENTS`` on each node, in its folder."""
    launch = ["-m", "torch.distributed.run", "--nnodes", str(len(nodes)), "--nproc-per-node", "1"]
    launch += ["--master-addr", "127.0.0.1", "--master-port", str(free_port())]
    return [
        subprocess.Popen(
            [sys.executable, *launch, "--node-rank", str(rank), "-m", "wordframe", *arguments],
            cwd=node,
            env=environment(node),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, node in enumerate(nodes)
    ]


def ended(started: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Status, output and errors of each node, once all have ended."""
    try:
        told = [process.communicate(timeout=240) for process in started]
    finally:
        for process in started:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(started, told, strict=True)]


def train(out: str) -> list[str]:
    return ["train", "small.yaml", "--features", "features", "--out", out]


def test_a_run_that_one_node_was_told_to_stop_goes_on_as_if_it_had_not_been(nodes: list[Path]) -> None:
    for status, _, errors in ended(start(nodes, *train("whole"))):
        assert status == 0, errors
    started = start(nodes, *train("stopped"))
    log = nodes[0] / "stopped" / "metrics.jsonl"
    until = time.monotonic() + 120
    while not (log.is_file() and log.read_text().count("\n") > 3) and time.monotonic() < until:
        time.sleep(0.02)
    started[1].send_signal(signal.SIGTERM)
    told = ended(started)
    assert all(status for status, _, _ in told)
    assert "the same command goes on from here" in told[0][2]
    state = read_state(nodes[0] / "stopped")
    assert state is not None
    assert 3 < state["done"] == len([line for line in read_log(log) if "loss" in line]) < STEPS
    for status, _, errors in ended(start(nodes, *train("stopped"))):
        assert status == 0, errors
    assert_same_run(nodes[0] / "stopped", nodes[0] / "whole")
    assert not (nodes[1] / "whole").exists()
    assert not (nodes[1] / "stopped").exists()


def test_what_one_node_lacks_is_one_line_on_each(nodes: list[Path]) -> None:
    (nodes[1] / "features").rename(nodes[1] / "elsewhere")
    try:
        here, there = ended(start(nodes, *train("lacking")))
    finally:
        (nodes[1] / "elsewhere").rename(nodes[1] / "features")
    assert here[0] != 0 != there[0]
    assert "features: there is no feature cache; make one with wordframe cache features" in there[2]
    assert "process 0 ends with process 1: features: there is no feature cache" in here[2]
    assert not (nodes[0] / "lacking").exists()


def alone(node: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "wordframe", *arguments],
        cwd=node,
        env=environment(node),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("of features", ["--features", "features/val", "--dsl", "--qb-norm", "features/train"]),
        ("of moments", ["--moments", "--videos", "videos", "--captions", "moments.csv", "--library", "library"]),
    ],
)
def test_evaluating_is_that_of_one_process(nodes: list[Path], name: str, arguments: list[str]) -> None:
    expected = json.loads(alone(nodes[0], "evaluate", *arguments, "--to", f"{name} alone", "--json"))
    told = ended(start(nodes, "evaluate", *arguments, "--to", name, "--json"))
    assert [status for status, _, _ in told] == [0, 0], told
    assert json.loads(told[0][1]) == expected
    assert told[1][1] == ""
    assert not (nodes[1] / name).exists()
    for file in (nodes[0] / f"{name} alone").iterdir():
        if file.suffix not in (".png", ".npz"):  # both say when they were written
            assert (nodes[0] / name / file.name).read_bytes() == file.read_bytes(), file.name
