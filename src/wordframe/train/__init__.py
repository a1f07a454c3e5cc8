"""Training: a recipe, a training set and a model into checkpoints.

``config.py`` what a recipe holds · ``recipe_file.py`` YAML · ``build.py`` its model · ``plan.py`` what comes of it ·
``optim.py`` the update · ``distributed.py`` one loss over many processes · ``step.py`` loss and gradients of a
batch · ``feeding.py`` which pairs come when · ``state.py`` the folder and exact resume · ``validation.py`` the best
checkpoint · ``run.py`` a step · ``loop.py`` all of them.

    result = train(recipe, train_set, model=build_model(recipe, dimension=512), validation=val_set, out=Path("run"))
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
