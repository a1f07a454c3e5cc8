"""Recipes: what they hold by default, what changes them, and how their mistakes are told."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import torch

import wordframe
from wordframe.errors import RecipeError
from wordframe.models import PRESETS
from wordframe.train import build_model, load_recipe, make_recipe, shipped_recipes
from wordframe.train.build import configure

RECIPE = """
name: tcmgc
published: {msrvtt_9k_1ka: 47.4}
model: tcmgc-msrvtt
backbone: openai/clip-vit-base-patch32
optimizer: {lr: 1e-4}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "recipe.yaml"
    file.write_text(RECIPE)
    return file


def test_defaults_are_the_published_ones_but_for_the_rate_of_clip(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.settings == PRESETS["tcmgc-msrvtt"].settings
    assert (recipe.batch_size, recipe.epochs, recipe.decorrelation) == (128, 5, 0.5)
    optimizer = recipe.optimizer
    assert (optimizer.lr, optimizer.backbone_lr, optimizer.weight_decay) == (1e-4, 3e-6, 0.2)
    assert (optimizer.betas, optimizer.eps, optimizer.warmup, optimizer.clip) == ((0.9, 0.98), 1e-6, 0.1, 1.0)
    assert recipe.tuned
    assert recipe.published == {"msrvtt_9k_1ka": 47.4}


def test_only_tcmgc_is_decorrelated_unless_asked() -> None:
    assert make_recipe({"name": "x", "model": "xclip"}).decorrelation == 0
    assert make_recipe({"name": "x", "model": "tcmgc-vatex", "loss": {"decorrelation": 0}}).decorrelation == 0
    assert make_recipe({"name": "x", "model": "xclip", "loss": {"decorrelation": 0.2}}).decorrelation == 0.2


def test_overrides_reach_any_depth_and_words_become_sections(path: Path) -> None:
    changes = [
        "model.keep_rate=0.5",
        "optimizer.betas=[0.8, 0.9]",
        "backbone.tuned=false",
        "chunk=16",
        "data.benchmark=vatex",
    ]
    recipe = load_recipe(path, changes)
    assert recipe.settings.keep_rate == 0.5
    assert recipe.settings.sim_header == "seqTransf"
    assert recipe.optimizer.betas == (0.8, 0.9)
    assert not recipe.tuned
    assert recipe.backbone is not None
    assert recipe.backbone.name == "openai/clip-vit-base-patch32"
    assert recipe.chunk == 16
    assert recipe.data.benchmark == "vatex"


def test_a_model_may_be_a_family_of_its_own() -> None:
    recipe = make_recipe({"name": "x", "model": {"family": "clip4clip", "sim_header": "seqLSTM", "max_frames": 64}})
    assert (recipe.settings.sim_header, recipe.settings.max_frames) == ("seqLSTM", 64)


def test_the_fingerprint_is_of_what_is_computed_alone(path: Path) -> None:
    plain = load_recipe(path).fingerprint
    assert load_recipe(path, ["name=other", "title=other"]).fingerprint == plain
    assert load_recipe(path, ["seed=1"]).fingerprint != plain
    assert load_recipe(path, ["model.preset=tcmgc-vatex"]).fingerprint == plain, "the same settings by another name"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("optimizer.lr=-1", "optimizer.lr: input should be greater than 0, got -1"),
        ("optimizer.lr=.inf", "optimizer.lr: input should be a finite number, got inf"),
        (
            "optimizer.rate=1",
            "unknown key optimizer.rate; allowed there: lr, backbone_lr, weight_decay, decayed, betas, eps",
        ),
        (
            "backbone.size=1",
            "unknown key backbone.size; allowed there: name, tuned, freeze_layers, gradient_checkpointing",
        ),
        (
            "epoch=1",
            "unknown key epoch; allowed there: name, title, paper, published, procedure, model, backbone, data",
        ),
        ("model.keep=1", "model: keep=1 has no meaning for family='tcmgc'; leave it out; its settings are family, max"),
        ("model.keep_rate=much", "model: keep_rate: input should be a valid number"),
        ("model.preset=tcmg", "model: preset 'tcmg' is not known; use one of zero-shot, tcmgc-msrvtt"),
        ("model.family=xclip", "model: keep_rate=0.1 has no meaning for family='xclip'; leave it out"),
        ("model={}", r"model: give a preset \(wordframe models lists them\) or a family"),
        ("batch_size=1", "batch_size: input should be greater than or equal to 2, got 1"),
        ("precision=half", "precision: input should be 'float32', 'bfloat16' or 'float16-weights', got 'half'"),
        ("backbone=offline", "backbone: the offline encoder is not tuned; say tuned: false, or name a CLIP"),
        ("backbone={name: a, tuned: false, gradient_checkpointing: true}", "saves nothing where tuned is false"),
        ("name.first=x", "'name.first=x': name is a value, it has no keys"),
        ("seed", "'seed' is no setting; write key=value, such as optimizer.lr=1e-5"),
        ("seed=[1", "the value is not valid YAML; put quotes around it"),
    ],
)
def test_mistakes_are_told_by_the_path_of_their_key(path: Path, change: str, told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        load_recipe(path, [change])


def _aliases(depth: int) -> str:
    """Nine of the nine of the nine …: ``x{depth}`` stands for 9^depth values."""
    return "\n".join(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9) if i else 0}]" for i in range(depth + 1))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{_aliases(29)}\nname: *x29", "with its aliases written out it holds more than 10,000 values"),
        ("name: &a [*a]", "with its aliases written out it holds more than 10,000 values"),
        (f"name: {'[' * 5000}", "maximum recursion depth"),
        (f"name: {'9' * 5000}", "Exceeds the limit"),
        ("name: 2024-13-45", "month must be in 1..12"),
        ("name: !!timestamp soon", "a value does not fit its tag"),
        ("name: !!int some", "invalid literal"),
    ],
    ids=["billions", "endless", "deep", "digits", "date", "timestamp", "tag"],
)
def test_what_no_recipe_holds_is_told_in_a_line(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text(text)
    with pytest.raises(RecipeError, match=told) as caught:
        load_recipe(tmp_path / "odd.yaml")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_of_many_problems_some_are_told_and_long_values_are_cut(tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text("name: x\nmodel: zero-shot\n" + "\n".join(f"x{i}: 1" for i in range(9)))
    with pytest.raises(RecipeError, match=r"unknown key x4; [^;]*; and 4 other problems$"):
        load_recipe(tmp_path / "odd.yaml")
    with pytest.raises(RecipeError, match="batch_size: ") as caught:
        make_recipe({"name": "x", "model": "zero-shot", "batch_size": [["long"] * 1000] * 9})
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["clip4clip-mean", "ea-clip4clip-tight", "zero-shot", "tcmgc-msrvtt", "xclip"])
def test_a_loss_that_the_model_cannot_have_is_refused(name: str) -> None:
    recipe = make_recipe({"name": "x", "model": name, "loss": {"decorrelation": 0.5}})
    model = build_model(recipe, dimension=64)
    before = torch.get_rng_state()
    if name in ("tcmgc-msrvtt", "xclip"):
        configure(model, recipe)
    else:
        with pytest.raises(
            RecipeError, match=r"x: loss.decorrelation=0.5 needs a model that puts several similarities"
        ):
            configure(model, recipe)
    assert model.training
    assert torch.equal(torch.get_rng_state(), before), "the question draws random numbers"


def test_files_that_are_no_recipe_are_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"cannot read the recipe .*none.yaml': No such file or directory; wordframe"):
        load_recipe(tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1")
    with pytest.raises(RecipeError, match="is not valid YAML"):
        load_recipe(broken)
    broken.write_text("just words")
    with pytest.raises(RecipeError, match="must hold keys with values, got str"):
        load_recipe(broken)
    broken.write_text("title: x")
    with pytest.raises(RecipeError, match=r"name: field required; model: field required"):
        load_recipe(broken)


def test_a_published_recipe_is_called_by_its_name_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tcmgc-msrvtt").mkdir()  # a run's folder, say
    assert load_recipe("tcmgc-msrvtt", ["seed=3"]).seed == 3
    assert load_recipe("tcmgc-msrvtt-keep-0.3").settings.keep_rate == 0.3, "an ablation"
    (tmp_path / "mine.yaml").write_text(RECIPE)
    assert load_recipe("mine.yaml").name == "tcmgc"


def test_all_published_recipes_are_listed() -> None:
    recipes = {recipe.name: recipe for recipe in shipped_recipes() if recipe.name != "own-videos"}
    assert len(recipes) == 56
    assert all(recipe.title and recipe.paper and recipe.data.benchmark for recipe in recipes.values())
    assert recipes["tcmgc-vatex"].published == {"VATEX": 60.9}


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("tcmgc-msvtt", "there is no recipe 'tcmgc-msvtt'; did you mean tcmgc-msrvtt, which ships with wordframe? "),
        (
            "recipes/xclip-vatex.yaml",
            "cannot read the recipe 'recipes/xclip-vatex.yaml': No such file or directory; did you mean xclip-vatex, ",
        ),
        (
            "nothing like it",
            "there is no recipe 'nothing like it'; wordframe train --list names",
        ),
    ],
)
def test_an_unknown_recipe_is_answered_with_the_nearest(name: str, answer: str) -> None:
    with pytest.raises(RecipeError, match="^" + re.escape(answer)):
        load_recipe(name)


def test_the_wheel_carries_every_recipe() -> None:
    root = Path(__file__).parents[2]
    settings = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]
    package = root / "src" / "wordframe"
    carried = {file for pattern in settings["package-data"]["wordframe"] for file in package.glob(pattern)}
    assert {recipe.name for recipe in shipped_recipes()} <= {file.stem for file in carried if file.suffix == ".yaml"}


def test_what_the_readme_of_the_recipes_gives_as_published_is_what_they_say() -> None:
    told = (Path(wordframe.__file__).parent / "recipes" / "README.md").read_text(encoding="utf-8")
    figures = {recipe.name: f"{value:.1f}" for recipe in shipped_recipes() for value in recipe.published.values()}
    assert {name for name, figure in figures.items() if figure not in told} == set()
