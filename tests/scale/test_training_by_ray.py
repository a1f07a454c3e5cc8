"""The example of docs/scale.md that trains by Ray's own trainer, run as it stands but for its names and numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.colours import ColourEncoder, write_scenes
from tests.contract.test_training_resume import assert_same_run
from wordframe.data import Split, VideoFiles, build_feature_cache

pytestmark = pytest.mark.scale
pytest.importorskip("ray.train", reason="pip install 'ray[train]'", exc_type=ImportError)
ROOT = Path(__file__).parents[2]
CAPTIONS = {name: (f"a {name} one", f"{name} at last") for name in ("red", "green", "blue", "cyan", "white", "black")}
RECIPE = """
name: small
model: {preset: tcmgc-msrvtt, max_words: 8, max_frames: 4, heads: 2, layers: 1, keep_rate: 0.25}
batch_size: 4
epochs: 4
optimizer: {lr: 1.0e-4}
validation: {every_steps: 6}
"""
CLUSTER = "import ray\nray.init(address='local', num_cpus=3, include_dashboard=False, object_store_memory=80 << 20)\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with caches of tiny features and a recipe."""
    paths = {name: write_scenes(tmp_path / "videos" / f"{name}.mp4", (name, 2), ("white", 2)) for name in CAPTIONS}
    for split in ("train", "val"):
        described = Split("own", split, CAPTIONS)
        videos = VideoFiles(paths, 16)
        build_feature_cache(tmp_path / "features" / split, described, videos, ColourEncoder(), num_frames=4)
    (tmp_path / "small.yaml").write_text(RECIPE)
    return tmp_path


def example(place: Path) -> str:
    """The page's, for two workers without a GPU."""
    page = (ROOT / "docs" / "scale.md").read_text()
    (code,) = (block.split("```")[0] for block in page.split("```python\n")[1:] if "TorchTrainer(" in block)
    changes = {
        '"tcmgc-msrvtt", ["backbone=null"]': repr(str(place / "small.yaml")),
        "s3://bucket/features": str(place / "features"),
        "/runs/first": str(place / "by ray"),
        "/runs/ray": str(place / "ray"),
        "num_workers=8, use_gpu=True": "num_workers=2",
    }
    for written, here in changes.items():
        assert code.count(written) == 1, written
        code = code.replace(written, here)
    return CLUSTER + code


def run(place: Path, *command: str) -> None:
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    settings = {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, *command], cwd=place, env=os.environ | settings, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_run_is_the_one_that_torchrun_makes(place: Path) -> None:
    (place / "example.py").write_text(example(place))
    run(place, "example.py")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "wordframe"]
    run(place, *launch, "train", "small.yaml", "--features", "features", "--out", "by torchrun")
    assert_same_run(place / "by ray", place / "by torchrun")
