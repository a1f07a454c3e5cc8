"""Training: a recipe, a training set and a model into checkpoints.

``recipe.py`` what is computed, from YAML · ``sources.py`` on which data · ``build.py`` with which model · ``plan.py``
which pairs come when · ``optim.py`` the update and its rates · ``distributed.py`` one loss over many processes ·
``step.py`` loss and gradients of a batch · ``trainer.py`` a step and a validation (``validation.py``) · ``loop.py`` all
of them · ``run_folder.py`` what is kept, and exact resume.

    recipe = load_recipe("tcmgc-msrvtt", ["backbone=null"])
    data = TrainingSetup.from_features(recipe, Path("features"))
    result = train(recipe, data.train_set, model=data.model, validation=data.validation, out="run")
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
