"""Actors at work on jobs: who starts them, hands out batches, hears what they tell, and buries the dead.

Ray starts processes and tells of their deaths; here it is decided what a death means. The jobs that an actor had not
answered for are tried again, each alone in an actor: whichever kills that one, too, is blamed. A machine that is lost
blames no job. Neighbours: ``_ray.py`` says what the jobs are.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from wordframe.disk import one_line
from wordframe.errors import WordframeError

_BATCHES_AT_ONCE = 2
"""So that an actor has work while the last videos of a batch are under way."""
_STARTS = 5
"""Actors in a row that die before they are ready while none is: then something is wrong with all of them."""
_POLL_SECONDS = 0.1
_STOP_SECONDS = 20.0


class Job(Protocol):
    """Something to do. key: no other job of the run has it."""

    @property
    def key(self) -> str: ...


AJob = TypeVar("AJob", bound=Job)
AnEvent = TypeVar("AnEvent")


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

    jobs: dict[str, Any]
    is_alone: bool
    actor: _Actor
    events: Any


class Pool(Generic[AJob, AnEvent]):
    """The actors of one run, what each is at, and what is still to be done.

    Args:
        start: makes an actor: ``prepare()`` gives its machine, ``read(jobs)`` a stream of events, ``stop()`` ends that.
        count: of actors.
        answered: the keys of the jobs that an event is the last word on.
        blamed: what is told of a job that killed its actor twice; may raise.
    """

    def __init__(
        self,
        start: Callable[[], Any],
        count: int,
        batches: Iterable[list[AJob]],
        *,
        answered: Callable[[AnEvent], list[str]],
        blamed: Callable[[AJob], AnEvent],
    ) -> None:
        self._start, self._count = start, count
        self._answered, self._blamed = answered, blamed
        self._actors: list[_Actor] = []
        self._waiting = deque(batches)
        self._suspects: deque[AJob] = deque()
        self._failed_starts = 0

    def run(self, should_stop: Callable[[], bool]) -> Generator[AnEvent, None, None]:
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

    def close(self) -> None:
        """End all actors, whatever they are at."""
        import ray

        for actor in self._actors:
            with contextlib.suppress(Exception):
                ray.kill(actor.handle)

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

    def _hand(self, actor: _Actor, jobs: list[AJob], *, is_alone: bool) -> None:
        events = actor.handle.read.options(num_returns="streaming").remote(jobs)
        actor.under_way.append(_Batch({job.key: job for job in jobs}, is_alone, actor, events))

    def _hear(self) -> Iterator[AnEvent]:
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
                raise own_error(error) from None

    def _hear_batch(self, batch: _Batch) -> Iterator[AnEvent]:
        import ray

        try:
            event: AnEvent = ray.get(next(batch.events))
        except StopIteration:
            batch.actor.under_way.remove(batch)
            return
        except ray.exceptions.RayTaskError as error:
            raise own_error(error) from None
        except ray.exceptions.RayError:
            yield from self._bury(batch.actor)
            return
        for path in self._answered(event):
            batch.jobs.pop(path, None)
        yield event

    def _bury(self, actor: _Actor) -> Iterator[AnEvent]:
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
                for path in self._answered(event):
                    batch.jobs.pop(path, None)
                yield event
            left = list(batch.jobs.values())
            if actor.node not in alive:
                self._waiting.extend([left] if left else [])
            elif batch.is_alone:
                yield from map(self._blamed, left)
            else:
                self._suspects.extend(left)


def _told_before(batch: _Batch) -> Iterator[Any]:
    """What a dead actor had told of a batch and nobody has heard."""
    import ray

    with contextlib.suppress(StopIteration, ray.exceptions.RayError):
        while True:
            yield ray.get(next(batch.events))


def own_error(error: Exception) -> WordframeError:
    """What an actor raised, in one line: wordframe's own errors are complete by themselves."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, WordframeError):
        return type(cause)(str(cause))
    lines = str(error).strip().splitlines() or [type(error).__name__]
    place = re.search(r"\bip=([^,)\s]+)", lines[0])  # Ray says it in its first line alone
    where = f" on {place[1]}" if place else ""
    return WordframeError(f"a reader on the Ray cluster failed{where}: {one_line(lines[-1])}")
