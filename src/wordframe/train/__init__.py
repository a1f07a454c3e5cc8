"""Training: a recipe, a training set and a model into checkpoints.

``config.py`` what a recipe holds · ``recipe_file.py`` YAML · ``build.py`` its model · ``plan.py`` what comes of it ·
``optim.py`` the update · ``distributed.py`` one loss over many processes · ``step.py`` loss and gradients of a
batch · ``feeding.py`` which pairs come when · ``state.py`` the folder and exact resume · ``validation.py`` the best
checkpoint · ``run.py`` a step · ``loop.py`` all of them.

    result = train(recipe, train_set, model=build_model(recipe, dimension=512), validation=val_set, out=Path("run"))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "Plan": "plan",
    "Progress": "outcome",
    "Recipe": "config",
    "RecipeError": "errors",
    "TrainingError": "errors",
    "TrainingResult": "outcome",
    "build_model": "build",
    "load_recipe": "recipe_file",
    "make_recipe": "recipe_file",
    "train": "loop",
}

if TYPE_CHECKING:
    from wordframe.train.build import build_model as build_model
    from wordframe.train.config import Recipe as Recipe
    from wordframe.train.errors import RecipeError as RecipeError
    from wordframe.train.errors import TrainingError as TrainingError
    from wordframe.train.loop import train as train
    from wordframe.train.outcome import Progress as Progress
    from wordframe.train.outcome import TrainingResult as TrainingResult
    from wordframe.train.plan import Plan as Plan
    from wordframe.train.recipe_file import load_recipe as load_recipe
    from wordframe.train.recipe_file import make_recipe as make_recipe

__all__ = [*sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
