"""Reads the videos of a run on many machines, by Ray.

    plan ──► batches of files ──► actors, an encoder each ──► rows, written beside the table ──► the indexer commits

Ray finds the machines, starts the actors and tells of their deaths; here it is decided what a death means. The files
that an actor had not answered for are tried again, each alone in an actor: whichever kills that one, too, is a failure
as any other. A machine that is lost blames no file.
Ray is to be started before LanceDB is loaded, which does not like to be forked: so an executor is made first, and
connects at once.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from wordframe.cores import usable_cores
from wordframe.disk import one_line
from wordframe.errors import WordframeError, counted, needs_extra
from wordframe.library._fragments import TablePlace
from wordframe.library._reading import Done, Event, Failed, Settings, Twin, VideoJob

_BATCH_FILES = 16
_BATCH_BYTES = 1 << 30
_BATCHES_AT_ONCE = 2
"""So that an actor has work while the last videos of a batch are under way."""
_STARTS = 5
"""Actors in a row that die before they are ready while none is: then something is wrong with all of them."""
_POLL_SECONDS = 0.1
_STOP_SECONDS = 20.0
_LISTEN_SECONDS = 5.0
_STORE_BYTES = 256 << 20
"""Of a cluster of one's own: what passes through Ray's store is small."""
_NO_CLUSTER = "no Ray cluster at {}: {}; start one with: ray start --head"
_CORES_AN_ACTOR = 4
"""At most, by default: an actor holds one encoder, however many cores it has."""


class RayExecutor:
    """Reads videos by actors of a Ray cluster. A context; at its end a cluster of its own is shut down.

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
        pool = _Pool(lambda: remote_reader(cores, gpus).remote(*made_with), min(count, len(jobs)), batches)
        try:
            yield from pool.run(should_stop)
        finally:
            pool.close(claims)


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


@dataclass(eq=False)
class _Actor:
    """An actor that is starting or at work. node: where, once it is ready; under_way: its batches."""

    handle: Any
    starting: Any
    node: str | None = None
    under_way: list[_Batch] = field(default_factory=list)


@dataclass(eq=False)
class _Batch:
    """Files that an actor has not answered for. is_alone: it does nothing else meanwhile."""

    jobs: dict[str, VideoJob]
    is_alone: bool
    actor: _Actor
    events: Any


class _Pool:
    """The actors of one run, what each is at, and what is still to be done."""

    def __init__(self, start: Callable[[], Any], count: int, batches: Iterable[list[VideoJob]]) -> None:
        self._start, self._count = start, count
        self._actors: list[_Actor] = []
        self._waiting = deque(batches)
        self._suspects: deque[VideoJob] = deque()
        self._failed_starts = 0

    def run(self, should_stop: Callable[[], bool]) -> Generator[Event, None, None]:
        while not should_stop():
            self._start_actors()
            self._hand_out()
            if not (self._busy() or self._waiting or self._suspects):
                return
            yield from self._hear()
        for actor in self._actors:
            actor.handle.stop.remote()
        stop_at = time.monotonic() + _STOP_SECONDS
        while self._busy() and time.monotonic() < stop_at:
            yield from self._hear()

    def _busy(self) -> list[_Batch]:
        return [batch for actor in self._actors for batch in actor.under_way]

    def close(self, claims: Any) -> None:
        import ray

        for handle in [*(actor.handle for actor in self._actors), claims]:
            with contextlib.suppress(Exception):
                ray.kill(handle)

    def _start_actors(self) -> None:
        while len(self._actors) < self._count:
            handle = self._start()
            self._actors.append(_Actor(handle, handle.prepare.remote()))

    def _hand_out(self) -> None:
        """Give batches to the actors that have least to do; while there are suspects, each to one that runs idle."""
        ready = [actor for actor in self._actors if actor.node is not None]
        for load in range(_BATCHES_AT_ONCE):
            for actor in ready:
                if len(actor.under_way) != load or any(batch.is_alone for batch in actor.under_way):
                    continue
                if self._suspects and not actor.under_way:
                    self._hand(actor, [self._suspects.popleft()], is_alone=True)
                elif self._waiting and not self._suspects:
                    self._hand(actor, self._waiting.popleft(), is_alone=False)

    def _hand(self, actor: _Actor, jobs: list[VideoJob], *, is_alone: bool) -> None:
        events = actor.handle.read.options(num_returns="streaming").remote(jobs)
        actor.under_way.append(_Batch({job.file.path: job for job in jobs}, is_alone, actor, events))

    def _hear(self) -> Iterator[Event]:
        """What the actors tell next."""
        import ray

        starting = {actor.starting: actor for actor in self._actors if actor.node is None}
        streams = {batch.events: batch for batch in self._busy()}
        told, _ = ray.wait([*starting, *streams], timeout=_POLL_SECONDS)
        for each in told:
            if each in starting:
                self._note_start(starting[each])
            else:
                yield from self._hear_batch(streams[each])

    def _note_start(self, actor: _Actor) -> None:
        import ray

        try:
            actor.node = ray.get(actor.starting)
            self._failed_starts = 0
        except ray.exceptions.RayError as error:
            self._actors.remove(actor)
            self._failed_starts += 1
            is_hopeless = self._failed_starts >= _STARTS and not any(other.node for other in self._actors)
            if is_hopeless or isinstance(error, ray.exceptions.RayTaskError):
                raise _own_error(error) from None

    def _hear_batch(self, batch: _Batch) -> Iterator[Event]:
        import ray

        try:
            event: Event = ray.get(next(batch.events))
        except StopIteration:
            batch.actor.under_way.remove(batch)
            return
        except ray.exceptions.RayTaskError as error:
            raise _own_error(error) from None
        except ray.exceptions.RayError:
            yield from self._bury(batch.actor)
            return
        for path in _answered(event):
            batch.jobs.pop(path, None)
        yield event

    def _bury(self, actor: _Actor) -> Iterator[Event]:
        """Of an actor that died: what it had told is kept, all else is tried again, or blamed for it."""
        import ray

        if actor not in self._actors:
            return
        self._actors.remove(actor)
        with contextlib.suppress(Exception):
            ray.kill(actor.handle)
        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        for batch in actor.under_way:
            for event in _told_before(batch):
                for path in _answered(event):
                    batch.jobs.pop(path, None)
                yield event
            left = list(batch.jobs.values())
            if actor.node not in alive:
                self._waiting.extend([left] if left else [])
            elif batch.is_alone:
                for job in left:
                    told = "its reader died twice, the second time at nothing else"
                    yield Failed(job.file.path, f"{one_line(job.file.path)}: {told}")
            else:
                self._suspects.extend(left)


def _told_before(batch: _Batch) -> Iterator[Event]:
    """What a dead actor had told of a batch and nobody has heard."""
    import ray

    with contextlib.suppress(StopIteration, ray.exceptions.RayError):
        while True:
            event: Event = ray.get(next(batch.events))
            yield event


def _answered(event: Event) -> list[str]:
    """The files that an event is the last word on."""
    if isinstance(event, Done):
        return [video.entry.path for video in event.videos]
    return [event.path] if isinstance(event, (Failed, Twin)) else []


def _own_error(error: Exception) -> WordframeError:
    """What an actor raised, in one line: wordframe's own errors are complete by themselves."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, WordframeError):
        return type(cause)(str(cause))
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return WordframeError(f"a reader on the Ray cluster failed: {one_line(lines[-1])}")
