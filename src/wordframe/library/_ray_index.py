"""What runs on other machines: a task that makes a part of the index on disk of a large library.

Neighbours: ``_ray.py`` starts them, ``_lance_index.py`` is the work, and commits all parts together.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import ray

if TYPE_CHECKING:  # it loads LanceDB
    from wordframe.library._lance_index import IndexPart

_TRIES_AGAIN = 3


def _make(part: IndexPart, cores: int) -> Any:
    for name in ("LANCE_CPU_THREADS", "RAYON_NUM_THREADS"):  # read once, when Lance begins to work
        os.environ[name] = str(cores)
    from wordframe.library._fragments import need_table
    from wordframe.library._lance_index import make_part

    need_table(part.table)
    return make_part(part)


def remote_part(cores: int) -> Any:
    """The task, with what it takes of its machine."""
    return ray.remote(_make).options(num_cpus=cores, max_retries=_TRIES_AGAIN)
