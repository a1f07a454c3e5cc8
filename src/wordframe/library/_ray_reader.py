"""What runs on other machines: an actor that reads videos with an encoder of its own and writes their rows.

It has no library, no lock and no plan. It is told files, and tells what became of them; a dead one loses what it had
not told. Neighbour: ``_ray.py`` hands out the files.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Generator, Sequence
from typing import Any

import ray

from wordframe.cores import limit_cores
from wordframe.errors import EncoderError, WordframeError
from wordframe.library._claims import Claims
from wordframe.library._fragments import TablePlace, need_table, write_rows
from wordframe.library._reading import Done, Event, ReadVideo, Settings, VideoJob, read_videos

WRITE_SECONDS = 4.0
"""Rows wait in memory for so long; a fragment for each of many short videos would be as many files."""


class Reader:
    """The actor. Several batches may be under way at the same time, so that the end of one leaves no core idle."""

    def __init__(self, settings: bytes, fingerprint: str, place: TablePlace, cores: int, claims: Any) -> None:
        self._sent, self._fingerprint = settings, fingerprint
        self._place, self._cores, self._claims = place, cores, claims
        self._stop = threading.Event()

    def prepare(self) -> str:
        """Load the encoder; gives the machine that this is on.

        Raises:
            EncoderError: it cannot be loaded, or is another than the library's.
            LibraryError: the library is not on this machine.
        """
        need_table(self._place)
        limit_cores(self._cores)  # first: an encoder may make a thread a core
        try:
            self._settings: Settings = pickle.loads(self._sent)
        except WordframeError as error:
            raise EncoderError(str(error)) from None
        encoder = self._settings.encoder
        if encoder.fingerprint != self._fingerprint:
            raise EncoderError(
                f"encoder {encoder.name!r} makes other features on a machine of the cluster than here; give all "
                "machines the same versions of wordframe and of the encoder"
            )
        return str(ray.get_runtime_context().get_node_id())

    def stop(self) -> None:
        """End what is under way, in order: what is whole is written and told."""
        self._stop.set()

    def read(self, jobs: Sequence[VideoJob]) -> Generator[Event, None, None]:
        """What became of each file, as ``read_videos``, but for the rows, which lie beside the table by then."""
        waiting: list[Done] = []
        written = time.monotonic()
        for event in read_videos(
            jobs, self._settings, claim=self._claim, should_stop=self._stop.is_set, cores=self._cores
        ):
            if isinstance(event, Done):
                waiting.append(event)
            else:
                yield event
            if waiting and time.monotonic() - written > WRITE_SECONDS:
                yield self._write(waiting)
                waiting, written = [], time.monotonic()
        if waiting:
            yield self._write(waiting)

    def _claim(self, digest: str, path: str) -> bool:
        return bool(ray.get(self._claims.claim.remote(digest, path)))

    def _write(self, waiting: list[Done]) -> Done:
        videos: list[ReadVideo] = [video for done in waiting for video in done.videos]
        fragments = write_rows(self._place, [row for done in waiting for row in done.rows])
        return Done(videos, fragments=fragments)


def remote_reader(cores: int, gpus: float) -> Any:
    """The actor's class with what each one takes of its machine. A dead one stays dead: who started it decides."""
    options = {"num_cpus": cores, "num_gpus": gpus, "max_restarts": 0, "max_task_retries": 0, "max_concurrency": 4}
    return ray.remote(Reader).options(**options)


def remote_claims() -> Any:
    """Who reads which content. Should its machine be lost, two files of one content may both be read, and are kept."""
    return ray.remote(Claims).options(num_cpus=0, max_restarts=-1, max_task_retries=-1, max_concurrency=16).remote()
