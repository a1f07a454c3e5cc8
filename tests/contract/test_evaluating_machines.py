"""An evaluation over two and three machines that share no file: every rank, list, sum and report is that of one."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.colours import ColourEncoder, write_scenes
from tests.processes import run_machines
from wordframe.cli import main
from wordframe.data import Split, VideoFiles, build_feature_cache, match_videos
from wordframe.errors import WordframeError
from wordframe.evaluate import Share, evaluate_cached, evaluate_videos, measure_features
from wordframe.evaluate.ranker import read_tiles, streamed_views
from wordframe.evaluate.rescoring import Statistics
from wordframe.evaluate.sharing import PARTS, parts_of
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.models import PRESETS, TextVideoModel, load_ready

D, F, V, T, BANK = 64, 24, 503, 701, 97
"""No number of processes divides them, and 16 MB take the videos in several groups."""
COLOURS = ("red", "green", "blue", "yellow", "cyan")
CAPTIONS = {f"{name}.mp4": (f"a {name} picture", f"{name} and white") for name in COLOURS}


def texts(count: int, seed: int) -> TextFeatures:
    generator = torch.Generator().manual_seed(seed)
    # few different ones: equal scores are where an order of tiles would show
    kinds = torch.randint(0, 40, (count,), generator=generator)
    words = torch.randn(40, 5, D, generator=generator)[kinds]
    return TextFeatures(words[:, 0], words, torch.ones(count, 5, dtype=torch.bool))


def model_of_noise() -> TextVideoModel:
    torch.manual_seed(0)
    settings = replace(PRESETS["clip4clip-mean"].settings, max_words=5, max_frames=F)
    model = TextVideoModel(settings=settings, dimension=D)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return model


def measured(share: Share, checkpoint: Path | None = None) -> dict[str, Any]:
    """Everything that an evaluation finds, in several groups of videos."""
    frames = torch.randn(V, F, D, generator=torch.Generator().manual_seed(1))
    videos = VideoFeatures(frames, frames, torch.ones(V, F, dtype=torch.bool))
    owners = torch.randint(0, V, (T,), generator=torch.Generator().manual_seed(2))
    options: dict[str, Any] = {"top": 7, "dsl": True, "bank": texts(BANK, 4), "max_memory_mb": 16}
    found = measure_features(
        model_of_noise(), texts(T, 3), videos, owners, share=share, checkpoint=checkpoint, **options
    )
    assert found.lists is not None
    lists = (*found.lists.text_lists(found.ranks.t2v), *found.lists.video_lists(found.ranks.v2t))
    return {
        "t2v": found.ranks.t2v.tolist(),
        "v2t": found.ranks.v2t.tolist(),
        "lists": [tensor.tolist() for tensor in lists],
        "rescored": {each.name: {side: x.tolist() for side, x in each.ranks.items()} for each in found.rescored},
    }


def summed(share: Share) -> list[list[float]]:
    """The sums of floats behind post-processing, with a matching score and without one."""
    logits = 30 * torch.randn(50, 60, generator=torch.Generator().manual_seed(5))
    found = []

    def score(rows: Tensor, columns: slice) -> Tensor:
        return logits[rows, columns]

    for owners in (torch.arange(50), None):
        sums = Statistics(num_texts=50, asking=torch.arange(60) < 50)
        sizes: dict[str, Any] = {"num_videos": 60, "max_rows": 4, "max_columns": 7, "group_size": 14, "share": share}
        if owners is None:
            read_tiles(score, sums, num_texts=50, **sizes)
        else:
            streamed_views(score, owners, {"plain": lambda tile, rows, columns: tile}, readers={"s": sums}, **sizes)
        found += [sums.column_sums.tolist(), sums.row_sums.tolist(), sums.best.tolist()]
    return found


def of_videos(own: Path, share: Share, sampling: Any) -> dict[str, Any]:
    model = load_ready("zero-shot", dimension=ColourEncoder().dimension)
    matched = match_videos(own / "videos", {**CAPTIONS, "broken.mp4": ("nothing",), "gone.mp4": ("nowhere",)})
    outcome = evaluate_videos(
        matched,
        ColourEncoder(),
        model,
        model_name="m",
        sampling=sampling,
        num_frames=3,
        allow_missing=True,
        share=share,
    )
    return outcome.report.to_json()


def refused(own: Path, share: Share) -> str:
    """Of an evaluation whose features one machine lacks."""
    folder = own / "features" if share.rank == 0 else own / "nowhere"
    with pytest.raises(WordframeError) as refusal:
        evaluate_cached(folder, load_ready("zero-shot", dimension=6), model_name="m", share=share)
    return str(refusal.value)


def unlike(share: Share) -> str:
    """Of an evaluation whose captions are others on one machine."""
    frames = torch.ones(3, 1, D)
    videos = VideoFeatures(frames, frames, torch.ones(3, 1, dtype=torch.bool))
    owners = torch.tensor([0, 1, 2] if share.rank == 0 else [0, 2, 1])
    with pytest.raises(WordframeError) as refusal:
        measure_features(model_of_noise(), texts(3, 3), videos, owners, share=share)
    return str(refusal.value)


def command(own: Path) -> list[str]:
    features = str(own / "features")
    return ["evaluate", "--features", features, "--dsl", "--qb-norm", features, "--to", str(own / "run"), "--json"]


def told_by(rank: int, own: Path) -> dict[str, Any]:
    """One machine's; its copies lie elsewhere than the others'."""
    share = Share.of_group()
    for name in ("videos", "features"):
        shutil.copytree(own.parents[1] / name, own / name)
    told = {
        "measured": measured(share),
        "from states": [measured(share, own / "states") for _ in range(2)],
        "states": sorted(path.name for path in (own / "states").iterdir()),
        "summed": summed(share),
        "uniform": of_videos(own, share, "uniform"),
        "seconds": of_videos(own, share, "seconds"),
        "refused": refused(own, share),
        "unlike": unlike(share),
    }
    # last, since it ends the group as it ends its process
    return {**told, "status": main(command(own)), "run": sorted(path.name for path in own.glob("run/*"))}


@pytest.fixture(scope="module", params=[pytest.param(number, marks=pytest.mark.slow) for number in (2, 3)])
def machines(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    folder = tmp_path_factory.mktemp("machines")
    for name in COLOURS:
        write_scenes(folder / "videos" / f"{name}.mp4", (name, 2), ("white", 1))
    (folder / "videos" / "broken.mp4").write_bytes(b"no video")
    paths = {name: folder / "videos" / name for name in CAPTIONS}
    build_feature_cache(
        folder / "features", Split("own", "test", CAPTIONS), VideoFiles(paths, 16), ColourEncoder(), num_frames=3
    )
    return folder, run_machines(told_by, folder=folder, machines=request.param)[0]


@pytest.fixture(scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)  # as the machines have; sums over threads differ in their last digit


def test_ranks_and_lists_are_those_of_one_process(one_thread: None, machines: tuple[Path, list[Any]]) -> None:
    expected = json.loads(json.dumps(measured(Share())))
    for told in machines[1]:
        assert told["measured"] == expected
        assert told["from states"] == [expected, expected]
    assert len(expected["rescored"]) == 2


def test_each_machine_keeps_the_state_of_its_own_share(machines: tuple[Path, list[Any]]) -> None:
    for rank, told in enumerate(machines[1]):
        assert {name.partition("-process-")[2] for name in told["states"]} == {f"{rank}-of-{len(machines[1])}"}


def test_sums_of_floats_are_those_of_one_process(one_thread: None, machines: tuple[Path, list[Any]]) -> None:
    expected = summed(Share())
    assert all(told["summed"] == expected for told in machines[1])


@pytest.mark.parametrize("sampling", ["uniform", "seconds"])
def test_each_machine_reads_some_videos_and_all_report_the_same(
    one_thread: None, machines: tuple[Path, list[Any]], sampling: str
) -> None:
    folder, told = machines
    expected = json.loads(json.dumps(of_videos(folder / "machine-0" / "work", Share(), sampling)))
    # why a file could not be read is told in the words of the machine that read it, its path included
    assert json.loads(re.sub(r"machine-\d", "machine-0", json.dumps(told[0][sampling]))) == expected
    assert len(expected["skipped"]) == 2
    for each in told:
        assert (each[sampling]["t2v"], each[sampling]["v2t"]) == (expected["t2v"], expected["v2t"])


def test_the_command_writes_one_folder_and_it_is_that_of_one_process(
    one_thread: None, machines: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    folder, told = machines
    assert [each["status"] for each in told] == [0] * len(told)
    shutil.copytree(folder / "features", tmp_path / "features")
    assert main(command(tmp_path)) == 0
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert told[0]["run"] == names
    assert all(each["run"] == [] for each in told[1:])
    for name in names:
        if not name.endswith(".png"):
            found = (folder / "machine-0" / "work" / "run" / name).read_bytes()
            assert found == (tmp_path / "run" / name).read_bytes(), name


def test_what_one_machine_lacks_or_has_otherwise_ends_all_with_one_line(machines: tuple[Path, list[Any]]) -> None:
    first, *others = machines[1]
    assert first["refused"].startswith("process 0 ends with process 1: ")
    assert all(
        "there is no feature cache; make one with wordframe cache features" in each["refused"] for each in others
    )
    for told in machines[1]:
        assert told["unlike"].startswith("the processes do not agree: captions is ")


@pytest.mark.parametrize("processes", [1, 2, 3, 7, PARTS + 1])
def test_every_part_is_some_process_s(processes: int) -> None:
    taken = [[part for part in range(PARTS) if Share(rank, processes).takes(part)] for rank in range(processes)]
    assert sorted(chain.from_iterable(taken)) == list(range(PARTS))
    assert all(part == list(range(part[0], part[-1] + 1)) for part in taken if part)
    assert set(parts_of(500)) == set(range(PARTS))
