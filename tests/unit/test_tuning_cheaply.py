"""What makes tuning cheap or steady: adapters, the average of the weights, the end of a run that gets no better, and
the sigmoid loss, each against its definition."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.unit.clip_models import save
from wordframe.encoders import load_clip
from wordframe.errors import AnnotationError, MissingExtraError, RecipeError
from wordframe.losses import sigmoid, sigmoid_share
from wordframe.models import TextVideoModel, load_model
from wordframe.train import CaptionSplits, Recipe, TrainingSetup, build_model, load_recipe, make_recipe, train
from wordframe.train.adapters import has_adapters, merged
from wordframe.train.averaging import WeightAverage
from wordframe.train.build import configure, train_mode
from wordframe.train.made_up import MadeUpFeatures, MadeUpPixels, tiny_clip
from wordframe.train.optim import make_optimizer, parameter_groups
from wordframe.train.run_folder import read_log, read_state
from wordframe.train.step import backward
from wordframe.train.trainer import Trainer

PAIRS = [0, 3, 5, 6]
SETTINGS = {"preset": "clip4clip-mean", "max_words": 6, "max_frames": 3}


def recipe_of(**changes: Any) -> Recipe:
    return make_recipe({"name": "t", "model": SETTINGS, "batch_size": 4, **changes})


def with_adapters(**lora: Any) -> tuple[Recipe, TextVideoModel]:
    recipe = recipe_of(backbone={"name": "x", "lora": {"rank": 3, **lora}}, optimizer={"lr": 1e-2})
    model = build_model(recipe, backbone=tiny_clip(recipe))
    configure(model, recipe)
    return recipe, model


def stepped(recipe: Recipe, model: TextVideoModel, steps: int = 3) -> None:
    optimizer = make_optimizer(parameter_groups(model, recipe.optimizer), recipe.optimizer)
    train_mode(model)
    for _ in range(steps):
        optimizer.zero_grad()
        backward(model, MadeUpPixels(recipe).batch(PAIRS), sizes=[4], decorrelation=0.0)
        optimizer.step()
    model.eval()


@torch.inference_mode()
def logits(model: TextVideoModel, recipe: Recipe) -> Tensor:
    return model.score(*MadeUpPixels(recipe).batch(PAIRS).encode(model)).logits


# Adapters -------------------------------------------------------------------------------------------------------------


def test_adapters_start_as_the_model_itself_and_train_alone() -> None:
    recipe, model = with_adapters()
    plain = build_model(recipe, backbone=tiny_clip(recipe)).eval()
    assert torch.equal(logits(model.eval(), recipe), logits(plain, recipe))
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name for name in trained if "lora_" not in name} == {"backbone.model.logit_scale"}
    # six linear layers in the one block of each tower, two matrices each
    assert len(trained) == 1 + 2 * 6 * 2
    frozen = {name: p.clone() for name, p in model.named_parameters() if name not in trained}
    stepped(recipe, model)
    assert all(torch.equal(dict(model.named_parameters())[name], before) for name, before in frozen.items())
    assert not torch.equal(logits(model, recipe), logits(plain, recipe))


def test_merged_layers_compute_what_adapters_compute_and_come_apart_again() -> None:
    recipe, model = with_adapters()
    stepped(recipe, model)
    before, expected = {name: x.clone() for name, x in model.state_dict().items()}, logits(model, recipe)
    with merged(model):
        assert not has_adapters(model)
        torch.testing.assert_close(logits(model, recipe), expected, atol=1e-4, rtol=1e-5)
        name = "backbone.model.vision_model.encoder.layers.0.mlp.fc1"
        weight = model.state_dict()[f"{name}.weight"]
    change = before[f"{name}.lora_B.default.weight"] @ before[f"{name}.lora_A.default.weight"]
    torch.testing.assert_close(weight, before[f"{name}.base_layer.weight"] + 2 * change)  # α / r = 2 by default
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], x) for name, x in before.items())


def test_a_run_with_adapters_leaves_an_ordinary_checkpoint_and_resumes(tmp_path: Path) -> None:
    recipe = recipe_of(backbone={"name": "x", "lora": {"rank": 2, "dropout": 0.1}}, epochs=1, ema=0.5)
    data = MadeUpPixels(recipe)
    model = build_model(recipe, backbone=tiny_clip(recipe))
    train(recipe, data, model=model, out=tmp_path / "run", validation=data)
    loaded = load_model(tmp_path / "run" / "last")
    assert not any("lora" in name for name in loaded.state_dict())
    assert any("lora_A" in name for name in read_state(tmp_path / "run")["model"])  # type: ignore[index]
    # the model in memory is left as it was saved
    assert torch.equal(logits(loaded, recipe), logits(model.eval(), recipe))
    best = json.loads((tmp_path / "run" / "report.json").read_text())["best"]
    halves = [build_model(recipe, backbone=tiny_clip(recipe)) for _ in range(2)]

    class KilledError(Exception):
        """As a process that dies behind its second step."""

    def dies(progress: Any) -> None:
        if progress.step == 2:
            raise KilledError

    with pytest.raises(KilledError):
        train(
            recipe,
            data,
            model=halves[0],
            out=tmp_path / "cut",
            validation=data,
            save_every_seconds=0.0,
            on_progress=dies,
        )
    train(recipe, data, model=halves[1], out=tmp_path / "cut", validation=data)
    resumed = load_model(tmp_path / "cut" / "last")
    assert all(torch.equal(loaded.state_dict()[name], x) for name, x in resumed.state_dict().items())
    assert json.loads((tmp_path / "cut" / "report.json").read_text())["best"] == best


@pytest.mark.parametrize("kind", ["siglip2", "metaclip_2", "chinese_clip"])
def test_adapters_find_the_layers_of_every_family(kind: str, tmp_path: Path) -> None:
    save(kind, tmp_path)
    recipe = recipe_of(backbone={"name": "x", "lora": {"rank": 2}})
    model = build_model(recipe, backbone=load_clip(str(tmp_path)).towers)
    configure(model, recipe)
    with_them = [name for name, _ in model.named_parameters() if name.endswith("lora_A.default.weight")]
    assert len(with_them) == 2 * 2 * 6, "two towers of two blocks, six linear layers each"
    assert not any("head" in name for name in with_them)


def test_targets_are_named_or_refused() -> None:
    _, model = with_adapters(targets=["q_proj", "v_proj"])
    assert len([name for name, _ in model.named_parameters() if "lora_A" in name]) == 2 * 2
    with pytest.raises(
        RecipeError, match=r"lora.targets: query is no linear layer of a clip .*; these are fc1, fc2, k_pro"
    ):
        with_adapters(targets=["query"])


def test_adapters_learn_at_the_rate_of_new_modules() -> None:
    lora = {"backbone": {"name": "x", "lora": {}}}
    assert recipe_of(**lora).optimizer.backbone_lr == recipe_of().optimizer.lr
    assert recipe_of(**lora, optimizer={"lr": 3e-4}).optimizer.backbone_lr == 3e-4
    assert recipe_of(**lora, optimizer={"backbone_lr": 1e-5}).optimizer.backbone_lr == 1e-5
    assert recipe_of(backbone="x").optimizer.backbone_lr == recipe_of().optimizer.backbone_lr < 1e-5
    published = recipe_of(**lora, procedure="published", precision="float32")
    assert published.optimizer.backbone_lr == published.optimizer.lr, "not that of the published tuning of all of CLIP"
    with pytest.raises(RecipeError, match="lora tunes the backbone, which tuned: false leaves as it is"):
        recipe_of(backbone={"name": "x", "tuned": False, "lora": {}})


@pytest.mark.parametrize(
    ("backbone", "changes", "told"),
    [
        ("siglip", {"precision": "float16-weights"}, "is how OpenAI's CLIP was tuned as a whole; say float32 or bf"),
        (
            "clip",
            {"precision": "float16-weights", "lora": {}},
            "is how OpenAI's CLIP was tuned as a whole; .* for LoRA",
        ),
        ("clip", {"precision": "float16-weights", "ema": 0.9}, "ema: an average in float16 loses what it is to keep"),
    ],
)
def test_what_does_not_go_together_is_told(backbone: str, changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    rest = {key: value for key, value in changes.items() if key != "lora"}

    def configured() -> None:
        recipe = recipe_of(backbone={"name": "x", "lora": changes.get("lora")}, **rest)
        if backbone != "clip":
            save(backbone, tmp_path)
        towers = tiny_clip(recipe) if backbone == "clip" else load_clip(str(tmp_path)).towers
        configure(build_model(recipe, backbone=towers), recipe)

    with pytest.raises(RecipeError, match=told):
        configured()


def test_without_peft_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"wordframe\[train\]"):
        with_adapters()


# The average ----------------------------------------------------------------------------------------------------------


def test_the_average_is_the_recursion_and_goes_on_from_its_state() -> None:
    weight = nn.Parameter(torch.tensor([0.0, 0.0]))
    average, expected = WeightAverage([weight], decay=0.75), None
    for step in range(4):
        weight.data = torch.tensor([float(step + 1), -2.0 * step])
        average.update()
        now = weight.detach().clone()
        expected = now if expected is None else 0.75 * expected + 0.25 * now
        if step == 1:  # another object takes over, as after a kill
            state, average = average.state_dict(), WeightAverage([weight], decay=0.75)
            average.load_state_dict(state)
    own = weight.detach().clone()
    with average.in_place():
        torch.testing.assert_close(weight.detach(), expected)
    assert torch.equal(weight, own)
    average.copy_into_parameters()
    torch.testing.assert_close(weight.detach(), expected)


def test_validation_and_checkpoints_are_of_the_average(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Tensor]] = []
    update = Trainer.update

    def noted(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        told = update(self, *args, **kwargs)
        seen.append({name: x.detach().clone() for name, x in self.model.named_parameters()})
        return told

    monkeypatch.setattr(Trainer, "update", noted)
    recipe = make_recipe(
        {
            "name": "t",
            "model": {"preset": "xclip", "max_words": 6, "max_frames": 3, "layers": 1, "heads": 2},
            "batch_size": 4,
            "epochs": 1,
            "ema": 0.6,
            "optimizer": {"lr": 1e-2},
        }
    )
    data = MadeUpFeatures(recipe)
    train(recipe, data, model=build_model(recipe, dimension=64), out=tmp_path / "run", validation=data)
    expected = seen[0]
    for weights in seen[1:]:
        expected = {name: 0.6 * x + 0.4 * weights[name] for name, x in expected.items()}
    for name in ("best", "last"):  # one validation, at the end
        saved = dict(load_model(tmp_path / "run" / name).named_parameters())
        for key, x in expected.items():
            torch.testing.assert_close(saved[key].detach(), x, atol=1e-6, rtol=1e-5)
        assert not torch.equal(saved["similarity.logit_scale"], seen[-1]["similarity.logit_scale"])


# Early stop -----------------------------------------------------------------------------------------------------------


def test_a_run_ends_when_validation_finds_nothing_better(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # a rate so small that nothing changes: the first validation stays the best
    recipe = recipe_of(epochs=20, optimizer={"lr": 1e-12}, validation={"every_steps": 2, "patience": 2})
    data = MadeUpFeatures(recipe)
    result = train(recipe, data, model=build_model(recipe, dimension=64), out=tmp_path / "run", validation=data)
    assert (result.steps, result.plan.total_steps, result.interrupted) == (6, 80, False)
    assert [found["step"] for found in result.validations] == [2, 4, 6]
    assert (tmp_path / "run" / "report.json").is_file()
    assert (tmp_path / "run" / "last").is_dir()
    again = train(recipe, data, model=build_model(recipe, dimension=64), out=tmp_path / "run", validation=data)
    assert (again.steps, again.interrupted) == (6, False), "it stays ended"
    assert max(line["step"] for line in read_log(tmp_path / "run" / "metrics.jsonl")) == 6


def test_patience_needs_something_to_wait_for(tmp_path: Path) -> None:
    recipe = recipe_of(validation={"patience": 2})
    with pytest.raises(RecipeError, match=r"validation.patience=2 needs a validation set; give one, .*held_out=0.1"):
        train(recipe, MadeUpFeatures(recipe), model=build_model(recipe, dimension=64), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_features_without_those_that_a_recipe_validates_on_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"validation.held_out=0.1 is of captions, .* \(--validation\), or say --set"):
        TrainingSetup.from_features(recipe_of(validation={"held_out": 0.1}), tmp_path)
    with pytest.raises(
        RecipeError, match=r"validation.split is test, but there are no features of it; put them beside"
    ):
        TrainingSetup.from_features(recipe_of(validation={"split": "test"}), tmp_path)


def test_held_out_videos_are_the_same_ones_whatever_is_added(tmp_path: Path) -> None:
    captions = {f"{number}.mp4": [f"one {number}", f"two {number}"] for number in range(20)}
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    found = CaptionSplits.of_files(tmp_path / "captions.json", None, held_out=0.2)
    assert found.validation is not None
    assert len(found.validation) == 4
    assert {*found.train.captions} | {*found.validation.captions} == {*captions}
    assert not {*found.train.captions} & {*found.validation.captions}
    assert found.validation.note == "4 videos of 20 held out by a hash of their names"
    (tmp_path / "captions.json").write_text(json.dumps(dict(reversed(captions.items()))))
    turned = CaptionSplits.of_files(tmp_path / "captions.json", None, held_out=0.2)
    assert turned.validation is not None
    assert {*turned.validation.captions} == {*found.validation.captions}
    assert CaptionSplits.of_files(tmp_path / "captions.json", None).validation is None
    (tmp_path / "captions.json").write_text(json.dumps({"a.mp4": ["alone"]}))
    with pytest.raises(AnnotationError, match="has captions of 1 video, of which none can be held out"):
        CaptionSplits.of_files(tmp_path / "captions.json", None, held_out=0.2)
    assert load_recipe("own-videos").validation.held_out == 0.1


# The sigmoid loss -----------------------------------------------------------------------------------------------------


def test_sigmoid_by_hand() -> None:
    logits, bias = torch.tensor([[2.0, 0.0], [1.0, 3.0]]), torch.tensor(-1.0)
    sure = [1 / (1 + math.exp(-x)) for x in (2 - 1, -(0 - 1), -(1 - 1), 3 - 1)]
    assert sigmoid(logits, bias).item() == pytest.approx(-sum(map(math.log, sure)) / 2)


def test_sigmoid_is_binary_cross_entropy_and_its_shares_add_up() -> None:
    torch.manual_seed(0)
    logits, bias = (30 * torch.randn(7, 7, dtype=torch.float64)).requires_grad_(), torch.tensor(-4.0).double()
    bias.requires_grad_()
    expected = nn.functional.binary_cross_entropy_with_logits(
        logits + bias, torch.eye(7, dtype=torch.float64), reduction="sum"
    )
    expected_gradients = torch.autograd.grad(expected / 7, (logits, bias))
    loss = sigmoid(logits, bias)
    torch.testing.assert_close(loss, expected / 7)
    torch.testing.assert_close(torch.autograd.grad(loss, (logits, bias)), expected_gradients)
    shares = [sigmoid_share(logits[at], bias, first=at.start) for at in (slice(0, 3), slice(3, 4), slice(4, 7))]
    torch.testing.assert_close(sum(shares), expected / 7)
    assert sigmoid(logits.detach().bfloat16(), bias.detach().bfloat16()).dtype == torch.float32
    with pytest.raises(ValueError, match=r"must be square \(N, N\)"):
        sigmoid(torch.zeros(2, 3), bias)
    with pytest.raises(ValueError, match=r"do not fit: rows \(2, 3\), first=2"):
        sigmoid_share(torch.zeros(2, 3), bias, first=2)


@pytest.mark.parametrize("chunk", [1, 3])
def test_chunks_have_the_sigmoids_gradients_of_the_whole_batch(chunk: int) -> None:
    recipe = recipe_of(backbone="x", loss={"contrast": "sigmoid"})
    model = build_model(recipe, backbone=tiny_clip(recipe))
    configure(model, recipe)
    assert model.logit_bias is not None
    assert model.logit_bias.item() == -10.0
    model, batch, found = model.double(), MadeUpPixels(recipe).batch(PAIRS), []
    batch = type(batch)(**{**vars(batch), "pixels": batch.pixels.double()})
    for size in (None, chunk):
        model.zero_grad()
        share = backward(model, batch, sizes=[4], decorrelation=0.0, chunk=size)
        found.append((share, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}))
    (whole, expected), (in_chunks, gradients) = found
    torch.testing.assert_close(in_chunks, whole)
    assert "logit_bias" in expected
    torch.testing.assert_close(gradients, expected, atol=1e-9, rtol=1e-6)
    output = model.score(*batch.encode(model)).logits
    torch.testing.assert_close(whole[0], sigmoid(output, model.logit_bias).detach())


@pytest.mark.parametrize("kind", ["siglip", "clip"])
def test_the_loss_is_the_one_that_the_backbone_was_trained_with(kind: str, tmp_path: Path) -> None:
    save(kind, tmp_path / kind)

    def model_of(**changes: Any) -> TextVideoModel:
        recipe = recipe_of(backbone="x", **changes)
        model = build_model(recipe, backbone=load_clip(str(tmp_path / kind)).towers)
        configure(model, recipe)
        return model

    model = model_of()
    assert model.backbone is not None
    assert model_of(loss={"contrast": "softmax"}).logit_bias is None
    if kind == "clip":
        assert model.logit_bias is None
        assert model_of(loss={"contrast": "sigmoid", "bias": -3.0}).logit_bias.item() == -3.0  # type: ignore[union-attr]
        return
    assert model.logit_bias is not None
    assert model.backbone.logit_bias is not None
    assert model.logit_bias.item() == model.backbone.logit_bias.item()
    assert not model.backbone.logit_bias.requires_grad
    model.logit_bias.data.fill_(-7.0)
    model.save(tmp_path / "saved")
    loaded = load_model(tmp_path / "saved")
    assert loaded.logit_bias is not None
    assert loaded.logit_bias.item() == -7.0
    assert loaded.fingerprint == model.fingerprint
