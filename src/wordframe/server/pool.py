"""Model work in threads of its own: so many at once, so many more may wait, the others are told to come back.

The event loop stays free for files, thumbnails and health. Work that nobody waits for any more is finished all the
same: torch cannot be stopped half-way.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from wordframe.server.problems import ProblemError

Result = TypeVar("Result")
RETRY_SECONDS = 1


class WorkerPool:
    """At most ``at_once`` calls run, at most ``waiting`` more wait."""

    def __init__(self, *, at_once: int, waiting: int) -> None:
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="model")
        self._most = at_once + waiting
        self._taken = 0  # changed by the event loop's thread alone, so it needs no lock

    async def run(self, work: Callable[[], Result]) -> tuple[Result, float]:
        """The result of ``work``, and the milliseconds until it began.

        Raises:
            ProblemError: 503 with Retry-After, if all places are taken.
        """
        if self._taken >= self._most:
            raise ProblemError(
                503, "too many searches at once; try again in a moment", {"Retry-After": str(RETRY_SECONDS)}
            )
        self._taken += 1
        loop = asyncio.get_running_loop()
        future = self._threads.submit(functools.partial(_timed, work, time.perf_counter()))
        # given back when the work ends, not when its caller leaves: a caller that is gone frees no thread
        future.add_done_callback(lambda _: self._leave(loop))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Take no more work; what waits is dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._give_back)

    def _give_back(self) -> None:
        self._taken -= 1


def _timed(work: Callable[[], Result], submitted: float) -> tuple[Result, float]:
    waited = 1000 * (time.perf_counter() - submitted)
    return work(), waited
