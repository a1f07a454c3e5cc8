"""A Ray cluster of two nodes in this machine, for all tests of a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

STORE_BYTES = 80 << 20


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Its head has no cores to give; two nodes have one each."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}  # as --ray local
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": STORE_BYTES})
    try:
        for _ in range(2):
            add_node(made)
        yield made
    finally:
        import ray

        ray.shutdown()
        made.shutdown()


def add_node(cluster: Any) -> Any:
    """One more machine, with one core."""
    return cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
