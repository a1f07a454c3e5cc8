"""Reads the videos of a run on many machines, by Ray.

    plan ──► batches of files ──► actors, an encoder each ──► rows, written beside the table ──► the indexer commits

Ray finds the machines and starts the actors; what their deaths mean is decided in ``_ray_pool.py``. A file that killed
its actor twice is a failure as any other.
Ray is to be started before LanceDB is loaded, which does not like to be forked: so an executor is made first, and
connects at once.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import socket
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

from wordframe.cores import usable_cores
from wordframe.disk import one_line
from wordframe.errors import WordframeError, counted, needs_extra
from wordframe.library._fragments import TablePlace
from wordframe.library._ray_pool import Pool, own_error
from wordframe.library._reading import Done, Event, Failed, Settings, Twin, VideoJob

if TYPE_CHECKING:  # it loads LanceDB
    from wordframe.library._lance_index import IndexPart
    from wordframe.library._preparing import Block, Made, Preparing

_BATCH_FILES = 16
_BATCH_BYTES = 1 << 30
_BATCH_BLOCKS = 8
_LISTEN_SECONDS = 5.0
_STORE_BYTES = 256 << 20
"""Of a cluster of one's own: what passes through Ray's store is small."""
_NO_CLUSTER = "no Ray cluster at {}: {}; start one with: ray start --head"
_CORES_AN_ACTOR = 4
"""At most, by default: an actor holds one encoder, however many cores it has."""


class RayExecutor:
    """Reads videos, and makes what models keep of them, by actors of a Ray cluster. A context; at its end a cluster of
    its own is shut down.

    Args:
        address: ``local`` starts a cluster on this machine alone; ``auto`` and ``HOST:PORT`` attach to one, whose
            machines must see the videos and the library under the same paths.
        actors: how many read; default as many as the cluster has room for now.
        cores: of a machine, for each actor; default 4, or all where a machine has fewer.
        gpus: the share of a GPU for each actor; default 1 where the cluster has any, else 0.

    Raises:
        MissingExtraError: Ray is not installed.
        WordframeError: there is no such cluster, or it has no room for an actor.
    """

    writes_fragments = True

    def __init__(
        self, address: str = "local", *, actors: int | None = None, cores: int | None = None, gpus: float | None = None
    ) -> None:
        self._actors, self._cores, self._gpus = actors, cores, gpus
        self._is_own = connect_to_ray(address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the cluster."""
        import ray

        if self._is_own:
            ray.shutdown()

    def read(
        self, jobs: Sequence[VideoJob], settings: Settings, table: TablePlace, should_stop: Callable[[], bool]
    ) -> Generator[Event, None, None]:
        """As ``Executor.read``; rows come as fragments.

        Raises:
            EncoderError: the encoder cannot be loaded there.
            WordframeError: no actor can be started.
        """
        import ray

        from wordframe.library._ray_reader import remote_claims, remote_reader

        count, cores, gpus = _shares(self._actors, self._cores, self._gpus)
        claims, sent = remote_claims(), ray.put(ray.cloudpickle.dumps(settings))
        made_with = (sent, settings.encoder.fingerprint, table, cores, claims)
        batches = _batches(jobs, count)
        pool = Pool(
            lambda: remote_reader(cores, gpus).remote(*made_with),
            min(count, len(jobs)),
            batches,
            answered=_answered,
            blamed=_blamed,
        )
        try:
            yield from pool.run(should_stop)
        finally:
            pool.close()
            with contextlib.suppress(Exception):
                ray.kill(claims)

    def prepare(
        self, blocks: Sequence[Block], asked: Preparing, should_stop: Callable[[], bool]
    ) -> Generator[Made, None, None]:
        """As ``Executor.prepare``; rows come as fragments.

        Raises:
            WordframeError: no actor can be started, or a block killed two of them.
        """
        import ray

        from wordframe.library._ray_preparer import remote_preparer

        count, cores, _ = _shares(self._actors, self._cores, 0.0)
        at_once = max(1, min(_BATCH_BLOCKS, len(blocks) // (4 * count)))
        made_with = (ray.put(ray.cloudpickle.dumps(asked)), asked.model.fingerprint, cores)
        pool = Pool(
            lambda: remote_preparer(cores).remote(*made_with),
            min(count, len(blocks)),
            (list(blocks[start : start + at_once]) for start in range(0, len(blocks), at_once)),
            answered=lambda made: made.keys,
            blamed=_blame_block,
        )
        try:
            yield from pool.run(should_stop)
        finally:
            pool.close()

    def make_index(self, parts: Sequence[IndexPart]) -> list[Any]:
        """As ``Executor.make_index``: a task of the cluster for each part, tried again where its machine is lost.

        Raises:
            WordframeError: a part cannot be made.
        """
        import ray

        from wordframe.library._ray_index import remote_part

        _, cores, _ = _shares(self._actors, self._cores, 0.0)
        try:
            made: list[Any] = ray.get([remote_part(cores).remote(part, cores) for part in parts])
        except ray.exceptions.RayError as error:
            raise own_error(error) from None
        return made


def connect_to_ray(
    address: str, *, module: str = "ray", extra: str = "ray", feature: str = "indexing on many machines"
) -> bool:
    """Connect to a cluster, unless the program has; whether it did.

    Args:
        address: as ``RayExecutor`` takes it.
        module: what is needed of Ray.
        extra, feature: what to install if that is missing, and for what.

    Raises:
        MissingExtraError: the module cannot be loaded.
        WordframeError: there is no such cluster.
    """
    if address.startswith("ray://"):
        raise WordframeError(
            f"{address}: Ray's client cannot drive this; run the command on a machine of the cluster with "
            "--ray auto, or send it there with: ray job submit"
        )
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nobody is told anything
    if address == "local":  # read when Ray loads: the default on other systems, by which all ports are the loopback's
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        # they do this command's work; Ray's 15 lets everything else on the machine go before
        os.environ.setdefault("RAY_worker_niceness", "0")
    with needs_extra(extra, feature):
        import ray

        importlib.import_module(module)
    if ray.is_initialized():
        return False
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or address
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
    if address == "local":
        options |= {"num_cpus": usable_cores(), "object_store_memory": _STORE_BYTES}
    else:
        del options["include_dashboard"]
        if address != "auto":
            _look_for_listener(address)
    try:
        ray.init(address=address, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        told = one_line(next(iter(str(error).splitlines()), type(error).__name__))
        raise WordframeError(_NO_CLUSTER.format(address, told)) from None
    return True


def _look_for_listener(address: str) -> None:
    """Raise unless something listens at HOST:PORT: Ray would try for minutes, and tell so in lines of its own."""
    from ray.util import get_node_ip_address

    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    # where the loopback is named Ray goes to the machine's own address, and there its head listens
    hosts = [host, get_node_ip_address()] if host in ("localhost", "127.0.0.1", "::1") else [host]
    told = "it is no HOST:PORT"
    for each in hosts if port.isdecimal() else ():
        try:
            with socket.create_connection((each, int(port)), timeout=_LISTEN_SECONDS):
                return
        except (OSError, ValueError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            told = f"nothing listens there ({one_line(reason).lower()})"
    raise WordframeError(_NO_CLUSTER.format(one_line(address), told))


def _shares(actors: int | None, cores: int | None, gpus: float | None) -> tuple[int, int, float]:
    """How many actors, and what each takes of a machine: what was asked for, else what the machines have."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    nodes = [node for node in nodes if node.get("CPU", 0) >= 1]
    has_gpus = any(node.get("GPU", 0) for node in nodes)
    gpus = (1.0 if has_gpus else 0.0) if gpus is None else gpus
    if gpus:
        nodes = [node for node in nodes if node.get("GPU", 0)]
    if not nodes:
        raise WordframeError("the Ray cluster has no machine with a free core for an actor, or no GPU where one is due")
    if cores is None:
        a_node = min(int(node["CPU"]) for node in nodes)
        cores = max(1, min(_CORES_AN_ACTOR, a_node))
    room = sum(min(int(node["CPU"] // cores), int(node["GPU"] // gpus) if gpus else 1 << 30) for node in nodes)
    if not room:
        raise WordframeError(f"no machine of the Ray cluster has {counted(cores, 'core')} and {gpus:g} GPUs an actor")
    return room if actors is None else actors, cores, gpus


def _batches(jobs: Sequence[VideoJob], actors: int) -> Iterator[list[VideoJob]]:
    """Few enough files that all actors are busy to the end, and little enough that a death costs little."""
    most = max(1, min(_BATCH_FILES, len(jobs) // (4 * actors)))
    batch: list[VideoJob] = []
    for job in jobs:
        if batch and (len(batch) == most or sum(each.file.size for each in batch) > _BATCH_BYTES):
            yield batch
            batch = []
        batch.append(job)
    if batch:
        yield batch


def _answered(event: Event) -> list[str]:
    """The files that an event is the last word on."""
    if isinstance(event, Done):
        return [video.entry.path for video in event.videos]
    return [event.path] if isinstance(event, (Failed, Twin)) else []


def _blame_block(block: Block) -> Made:
    raise WordframeError("what prepares died twice at the same segments, the second time at nothing else")


def _blamed(job: VideoJob) -> Event:
    told = "its reader died twice, the second time at nothing else"
    return Failed(job.file.path, f"{one_line(job.file.path)}: {told}")
