"""The server as an application of Ray Serve: replicas on the machines of a cluster, behind Serve's own HTTP proxy.

    caller ──► proxy ──► replicas, each with ``create_app`` of its own ──► one library
                            └──► shards of its index, where it is cut ──────┘

Replicas share nothing but the library and the token, as the processes of ``wordframe serve --replicas`` do. Serve finds
room for them, starts one anew that died, and gives requests only to those that have loaded what a search needs. With
shards no replica reads the index of a large library: all ask the same shards, each of which has a part of it.
``wordframe serve --ray`` uses ``Serving``; programs of Ray that start applications by themselves name ``application``.
"""

from __future__ import annotations

import functools
import logging
import math
import os
import pickle
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from wordframe.cores import limit_cores
from wordframe.disk import one_line
from wordframe.errors import WordframeError, counted
from wordframe.library import connect_to_ray

if TYPE_CHECKING:
    from wordframe.library import Found, Look
    from wordframe.server.served import ServedLibrary

_NAME = "wordframe"
_CORES_A_REPLICA = 4
"""At most, of a cluster that others use, too."""
_AT_ONCE = 100
"""Requests that a replica takes side by side. It is the application that refuses searches beyond its places."""
_LOOK_SECONDS = 2.0
_END_SECONDS = 30.0
"""An indexing run that a replica started has 20 to commit what is finished."""
_SHARD_SECONDS = 60.0
"""So long a search waits for a shard that is started anew, and loads its part of the index."""
_AGAIN_SECONDS = 0.1


class Replica:
    """One replica, in a process that Ray started. Its constructor returns when a search would find all loaded.

    Args:
        sent: a pickled ``ServedLibrary`` and the options of ``create_app``; pickled once more, since the environment
            must be set before they load torch.
        environment: variables of whoever started the server.
        cores: of its machine; less than one where several share one.
        shards: Ray Serve's handles of the shards of the library's index; none where it is not cut.
    """

    def __init__(self, sent: bytes, environment: Mapping[str, str], cores: float, *shards: Any) -> None:
        os.environ.update(environment)
        limit_cores(max(1, int(cores)))
        if os.name != "nt":  # Ray's processes do not hear it, and an indexing run that is started here is ended by it
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        import torch

        from wordframe.server.application import create_app

        torch.set_num_threads(max(1, int(cores)))
        served, options = pickle.loads(sent)
        if shards:
            served.ask_shards = functools.partial(_ask, shards)
        self._made = create_app(served, at_once=max(1, int(cores)), **options)
        warming = self._made.state.context.warming
        warming.start()
        warming.wait()

    def __serve_build_asgi_app__(self) -> Any:
        return self._made


class IndexShard:
    """One shard of a library's index, in a process that Ray started. Its constructor returns when its codes are read.

    Args:
        where: the library; number, shards: this one's, and of how many.
    """

    def __init__(self, where: str, number: int, shards: int, environment: Mapping[str, str], cores: float) -> None:
        os.environ.update(environment)
        limit_cores(max(1, int(cores)))
        from wordframe.library import Shard, place_of

        self._shard = Shard(place_of(where), number, shards)
        self._shard.warm()

    def nearest(self, look: Look) -> Found:
        """See ``Shard``."""
        return self._shard.nearest(look)


def _ask(shards: Sequence[Any], look: Look) -> list[Found]:
    """The answers of all shards. One that died while it looked is asked again, once it is back.

    Raises:
        ProblemError: one does not come back.
    """
    from ray.exceptions import RayActorError

    from wordframe.server.problems import ProblemError

    until = time.monotonic() + _SHARD_SECONDS
    found: dict[int, Found] = {}
    while len(found) < len(shards):
        asked = {number: shards[number].nearest.remote(look) for number in range(len(shards)) if number not in found}
        for number, answer in asked.items():
            try:
                found[number] = answer.result(timeout_s=max(0.0, until - time.monotonic()))
            except RayActorError:
                time.sleep(_AGAIN_SECONDS)
            except TimeoutError:
                raise ProblemError(503, "a part of the library's index is being loaded; ask again soon") from None
    return list(found.values())


@dataclass(frozen=True)
class Condition:
    """How an application gets on. running: replicas and shards that are ready; problem: why it cannot begin."""

    running: int
    is_up: bool
    problem: str | None


class Serving:
    """The application of one command, on a cluster that it connects to at once (Ray's processes are to be started
    before LanceDB is loaded). A context; at its end the application is ended, and a cluster of its own.

    Args:
        address: ``local`` starts a cluster on this machine alone; ``auto`` and ``HOST:PORT`` attach to one.

    Raises:
        MissingExtraError: Ray Serve is not installed.
        WordframeError: there is no such cluster, this is not its head, or something is served there already.
    """

    def __init__(self, address: str) -> None:
        os.environ.setdefault("RAY_SERVE_LOG_TO_STDERR", "0")
        self._is_own = connect_to_ray(
            address, module="ray.serve", extra="ray-serve", feature="serving on many machines"
        )
        from ray.util import list_named_actors

        self._started = False
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        try:
            if not self._is_own or address != "local":
                _check_place()
            if any(actor["namespace"] == "serve" for actor in list_named_actors(all_namespaces=True)):
                raise WordframeError(
                    "Ray Serve runs on this cluster already, with an address of its own; end it with: serve shutdown"
                )
        except BaseException:
            self.close()
            raise
        self._takes_all = address == "local"

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(
        self,
        served: ServedLibrary,
        replicas: int,
        host: str,
        port: int,
        *,
        shards: int = 0,
        everywhere: bool,
        **options: Any,
    ) -> None:
        """Begin to serve at a numeric address; ``look`` tells when it does.

        Args:
            shards: so many processes more, each with a part of the index on disk; 0 leaves it to the replicas.
            everywhere: take requests on each machine with a replica, and not on this one alone.
            options: of ``create_app``.

        Raises:
            WordframeError: the cluster has no room, or the port is taken.
        """
        from ray import serve

        cores = _share(replicas + shards, None if self._takes_all else _CORES_A_REPLICA)
        self._started = True
        try:
            serve.start(
                proxy_location="EveryNode" if everywhere else "HeadOnly", http_options={"host": host, "port": port}
            )
        except (RuntimeError, TimeoutError) as error:
            raise WordframeError(f"Ray Serve cannot listen on {host} port {port}: {_last_line(error)}") from None
        target = serve.RunTarget(_bound(served, replicas, shards, cores, options), name=_NAME)
        serve.run_many([target], wait_for_applications_running=False)

    def look(self) -> Condition:
        """How it gets on.

        Raises:
            WordframeError: the cluster is gone.
        """
        import ray
        from ray import serve

        try:
            told = serve.status().applications.get(_NAME)
        except (ray.exceptions.RayError, ConnectionError, RuntimeError) as error:
            raise WordframeError(f"the Ray cluster is gone: {_last_line(error)}") from None
        if told is None:
            raise WordframeError("the application was ended by somebody else")
        running = sum(deployment.replica_states.get("RUNNING", 0) for deployment in told.deployments.values())
        reasons = [deployment.message for deployment in told.deployments.values() if deployment.message]
        failed = told.status == "DEPLOY_FAILED"
        return Condition(running, told.status == "RUNNING", _last_line("\n".join(reasons)) if failed else None)

    def close(self) -> None:
        """End the application, and the cluster if it is its own."""
        import ray
        from ray import serve

        if self._started:  # once: Ray would start a cluster in order to shut it down
            serve.shutdown()
        if self._is_own:
            ray.shutdown()
        self._started = self._is_own = False


class _Asked(BaseModel):
    """What ``application`` is asked for."""

    model_config = ConfigDict(extra="forbid")

    library: str
    model: str = "zero-shot"
    untrained: bool = False
    runtime: str = "auto"
    replicas: int = 1
    shards: int = 0
    cores: float = 1.0
    token: str | None = None
    hosts: list[str] = []
    any_address: bool = False
    root_path: str = ""
    allow_index: bool = False


def application(asked: dict[str, Any]) -> Any:
    """An application for ``serve run wordframe.server.on_ray:application library=FOLDER`` and for files of Ray Serve.

    Args:
        asked: library, model, untrained, runtime, replicas, shards, cores (of each of both), and token, hosts,
            any_address, root_path and allow_index as ``create_app`` has them. Without a token it is read from
            ``WORDFRAME_TOKEN``.

    Raises:
        WordframeError: it may be reached from elsewhere, and there is no token.
    """
    from wordframe.server.served import ServedLibrary

    read = _Asked.model_validate(asked)
    token = read.token or os.environ.get("WORDFRAME_TOKEN")
    if (read.any_address or read.hosts) and not token:
        raise WordframeError("with hosts or any_address others can reach the server: give it a token")
    served = ServedLibrary(read.library, model=read.model, untrained=read.untrained, runtime=read.runtime)
    options = read.model_dump(include={"hosts", "any_address", "root_path", "allow_index"}) | {"token": token}
    return _bound(served, read.replicas, read.shards, read.cores, options)


def _bound(served: ServedLibrary, replicas: int, shards: int, cores: float, options: dict[str, Any]) -> Any:
    from ray import serve

    if os.path.isdir(served.model_name):  # replicas start in folders of their own
        served.model_name = os.path.abspath(served.model_name)
    of_each: dict[str, Any] = {
        "ray_actor_options": {"num_cpus": cores},
        "max_ongoing_requests": _AT_ONCE,
        "health_check_period_s": _LOOK_SECONDS,
        "graceful_shutdown_wait_loop_s": 0.5,
        "graceful_shutdown_timeout_s": _END_SECONDS,
        "logging_config": {"enable_access_log": False, "log_level": "WARNING"},
    }
    if shards:
        from wordframe.library import check_shards

        check_shards(served.need_snapshot().disk_index, shards, str(served.place))
    parts = [
        serve.deployment(IndexShard, name=f"shard-{number}", **of_each).bind(
            str(served.place), number, shards, _environment(), cores
        )
        for number in range(shards)
    ]
    deployment = serve.deployment(serve.ingress()(Replica), name="replica", num_replicas=replicas, **of_each)
    return deployment.bind(pickle.dumps((served, options)), _environment(), cores, *parts)


def _environment() -> dict[str, str]:
    """What a replica needs to know that is said in variables; Ray would show its own kind (``runtime_env``) to all."""
    quiet = dict.fromkeys(("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE", "DO_NOT_TRACK"), "1")
    usual = {**quiet, "OMP_WAIT_POLICY": "PASSIVE", "LANCEDB_LOG": "error"}
    sent = (*usual, "WORDFRAME_STORAGE_OPTIONS")
    return usual | {name: os.environ[name] for name in sent if name in os.environ}


def _check_place() -> None:
    """The proxy is on the head, and the link that is printed names this machine."""
    import ray

    here = ray.get_runtime_context().get_node_id()
    heads = [node for node in ray.nodes() if node["Alive"] and "node:__internal_head__" in node["Resources"]]
    if all(node["NodeID"] != here for node in heads):
        address = next((str(node["NodeManagerAddress"]) for node in heads), "unknown")
        raise WordframeError(f"Ray Serve listens on the cluster's head ({address}): run the command there")


def _share(replicas: int, most: int | None) -> float:
    """Cores for each of so many replicas: as many as all of them can have, whatever machine each is on."""
    import ray

    machines = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    largest = max(machines, default=0)
    if not largest:
        raise WordframeError("the Ray cluster has no machine with a core for a replica")
    for cores in range(min(largest, most or largest), 0, -1):
        if sum(machine // cores for machine in machines) >= replicas:
            return cores
    if most is not None:
        raise WordframeError(
            f"{counted(replicas, 'replica')} need a core each, and the Ray cluster has {counted(sum(machines), 'core')}"
        )
    return math.floor(1000 * sum(machines) / replicas) / 1000


def _last_line(error: object) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return one_line(lines[-1]) if lines else type(error).__name__
