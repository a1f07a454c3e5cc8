"""Recipes in YAML: read, changed by ``key=value`` from the command line, and told what is wrong by the key's path.

``config.py`` says what a recipe may hold; the files of the published rows lie in ``recipes/``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from wordframe.train.config import Recipe
from wordframe.train.errors import RecipeError

_SHORT = {"model": "preset", "backbone": "name"}
"""Sections that may be written as one word, and the key which that word is for."""


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a YAML file, with ``overrides`` such as ``optimizer.lr=1e-5`` or ``model.keep_rate=0.5``.

    Raises:
        RecipeError: there is no such file, it is no YAML, or something in it does not fit.
    """
    values = _read(Path(path))
    for override in overrides:
        _apply(values, override)
    return make_recipe(values, source=str(path))


def make_recipe(values: Mapping[str, Any], *, source: str = "the recipe") -> Recipe:
    """A recipe of plain values; ``source`` is what an error calls them.

    Raises:
        RecipeError: something does not fit.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        told = "; ".join(_told(found) for found in error.errors(include_url=False))
        raise RecipeError(f"{source}: {told}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {str(path)!r}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{str(path)!r} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{str(path)!r} must hold keys with values, got {type(values).__name__}")
    return values


def _apply(values: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise RecipeError(f"{override!r} is no setting; write key=value, such as optimizer.lr=1e-5")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{override!r}: the value is not valid YAML; put quotes around it") from error
    section = values
    for depth, key in enumerate(keys[:-1]):
        inner = section.get(key)
        if depth == 0 and isinstance(inner, str) and key in _SHORT:
            inner = {_SHORT[key]: inner}
        if inner is not None and not isinstance(inner, dict):
            raise RecipeError(f"{override!r}: {'.'.join(keys[: depth + 1])} is a value, it has no keys")
        section[key] = section = dict(inner or {})
    section[keys[-1]] = value


def _told(found: Any) -> str:
    """One problem as ``optimizer.lr: input should be greater than 0, got -1``."""
    path = [str(key) for key in found["loc"]]
    if found["type"] == "extra_forbidden":
        return f"unknown key {'.'.join(path)}; allowed there: {', '.join(_keys_at(path[:-1]))}"
    message: str = found["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:] if message.startswith(("Input ", "Field ")) else message
    got = "" if found["type"] in ("missing", "value_error") else f", got {found['input']!r}"
    return (f"{'.'.join(path)}: " if path else "") + message + got


def _keys_at(path: Sequence[str]) -> list[str]:
    """The keys of the section at ``path``."""
    section: type[BaseModel] = Recipe
    for key in path:
        annotation = section.model_fields[key].annotation
        options = getattr(annotation, "__args__", (annotation,))
        section = next(option for option in options if isinstance(option, type) and issubclass(option, BaseModel))
    return list(section.model_fields)
