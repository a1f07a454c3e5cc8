"""A YAML text of anybody's into plain values, in bounded time, or one reason why not.

Aliases let a few hundred bytes stand for more values than a machine holds, once an error's text or what checks them
writes them out. Neighbour: ``recipe.py`` reads recipes by it.
"""

from __future__ import annotations

from typing import Any

import yaml

MOST_VALUES = 10_000
"""Recipes have a few dozen."""


def plain_values(text: str) -> Any:
    """What a YAML text says.

    Raises:
        ValueError: it is none, or by aliases of aliases (or of itself) it says more than anybody could read.
    """
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, AttributeError, TypeError) as error:
        # beside its own errors PyYAML lets out whatever a deep nest, an odd date or a wrong tag makes it stumble over
        told = str(error) if isinstance(error, (yaml.YAMLError, RecursionError)) else "a value does not fit its tag"
        raise ValueError(told) from error
    waiting, num_values = [values], 0
    while waiting:
        value = waiting.pop()
        num_values += 1
        if num_values > MOST_VALUES:
            raise ValueError(f"with its aliases written out it holds more than {MOST_VALUES:,} values")
        if isinstance(value, (list, dict)):
            waiting += [*value, *value.values()] if isinstance(value, dict) else value
    return values
