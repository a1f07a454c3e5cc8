"""The program that decodes videos for another process, one after the other: what kills it costs one video.

A request is a line of JSON on standard input: the path, whether keyframes are wanted, the options of
``open_frames``, ``memory_bytes``. An answer is two lengths (4 bytes each, little-endian), so many bytes of JSON, and so
many bytes of a picture. The answers to one request:

    {"info": …}                          what the file says about its video
    {"wants_times": true}                the next line of input is {"times": [seconds, …], "are_all": false}
    {"seconds": …, "shape": [h, w, 3]}   a frame, its picture behind it; "shape" null: the picture before, once more
    {"beat": true}                       packets were read or decoded within the last second
    {"problem": …, "note": …} or {"error": …}      the end; with "is_last" the process ends, too

A request with "export", the arguments of ``export_moment``, is answered by {"report": …} or by {"error": …, "kind": …},
which names the class of the error.

It writes nothing else, loads nothing heavy but PyAV and numpy, and ends when it has been idle for seconds, when its
input ends or when its parent is gone, also in the middle of a loop within FFmpeg. Neighbour: ``apart.py`` starts it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, BinaryIO

from wordframe.disk import failure_line, one_line
from wordframe.errors import VideoError, WordframeError
from wordframe.video._picture import VideoInfo
from wordframe.video._reader import Reader
from wordframe.video.decode import FrameStream, open_frames, open_keyframes

LENGTHS = struct.Struct("<II")
IDLE_SECONDS = 10.0
_BEAT_SECONDS = 1.0
_KILL_ME_FIRST = "500"
"""For a system that runs out of memory: this process rather than the run that it works for."""


def main() -> None:
    """Answer requests until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's: it tells when to end
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write(_KILL_ME_FIRST)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get among the answers
    worker = _Worker(sys.stdin.buffer, answers)
    threading.Thread(target=worker.watch, args=(os.getppid(),), daemon=True).start()
    with contextlib.suppress(BrokenPipeError):  # the parent is gone
        worker.run()
    os._exit(0)


class _Worker:
    def __init__(self, requests: BinaryIO, answers: BinaryIO) -> None:
        self._requests, self._answers = requests, answers
        self._writing = threading.Lock()
        self._idle_since: float | None = time.monotonic()

    def run(self) -> None:
        self._tell({"ready": True})
        goes_on = True
        while goes_on and (line := self._requests.readline()):
            self._idle_since = None
            request = json.loads(line)
            goes_on = self._export(request) if "export" in request else self._decode(request)
            self._idle_since = time.monotonic()

    def watch(self, parent: int) -> None:
        """The other thread. Decoding lets go of Python's lock, so it runs beside it."""
        seen = None
        while True:
            time.sleep(_BEAT_SECONDS)
            idle_since, packets = self._idle_since, Reader.packets_ever_read
            is_idle = idle_since is not None and time.monotonic() - idle_since > IDLE_SECONDS
            if is_idle or (os.name != "nt" and os.getppid() != parent):
                os._exit(0)
            if packets != seen:
                seen = packets
                self._tell({"beat": True}, must=False)

    def _tell(self, values: dict[str, Any], picture: Any = b"", *, must: bool = True) -> None:
        """``must=False``: not while something else is told, which is a sign of life as well."""
        if not self._writing.acquire(blocking=must):
            return
        try:
            text, view = json.dumps(values).encode(), memoryview(picture).cast("B")
            self._answers.write(LENGTHS.pack(len(text), len(view)) + text)
            self._answers.write(view)
            self._answers.flush()
        except BrokenPipeError:
            os._exit(0)
        finally:
            self._writing.release()

    def _decode(self, request: dict[str, Any]) -> bool:
        """Whether this process is good for another video."""
        path = request["path"]
        try:
            _limit_memory(request["memory_bytes"])
            with self._open(request) as stream:
                self._tell_frames(stream)
                ended = {"problem": stream.problem, "note": stream.note}
        except VideoError as error:
            self._tell({"error": str(error)})
        except MemoryError:
            mebibytes = request["memory_bytes"] >> 20
            line = f"{one_line(path)} cannot be decoded: it needs more than {mebibytes} MiB of memory"
            self._tell({"error": line, "is_last": True})
            return False
        except Exception as error:
            self._tell({"error": failure_line(path, error)})
        else:
            self._tell(ended)
        return True

    def _export(self, request: dict[str, Any]) -> bool:
        from wordframe.video.export import export_moment

        arguments = request["export"]
        try:
            _limit_memory(request["memory_bytes"])
            report = export_moment(**arguments)
        except Exception as error:
            is_told = isinstance(error, WordframeError)
            text = str(error) if is_told else failure_line(arguments["source"], error)
            self._tell({"error": text, "kind": type(error).__name__, "is_last": not is_told})
            return is_told
        self._tell({"report": asdict(report) | {"target": os.fspath(report.target)}})
        return True

    def _open(self, request: dict[str, Any]) -> FrameStream:
        path, options = request["path"], request["options"]
        if request["keyframes"]:
            stream = open_keyframes(path, **options)
            self._tell({"info": asdict(stream.info)})
            return stream

        def times(info: VideoInfo) -> Iterator[float]:
            self._tell({"info": asdict(info)})
            return self._asked_times()

        return open_frames(path, times, **options)

    def _asked_times(self) -> Iterator[float]:
        are_all = False
        while not are_all:
            self._tell({"wants_times": True})
            line = self._requests.readline()
            if not line:
                os._exit(0)
            answer = json.loads(line)
            yield from answer["times"]
            are_all = answer["are_all"]

    def _tell_frames(self, stream: FrameStream) -> None:
        shown = None
        for frame in stream:
            if frame.rgb is shown:
                self._tell({"seconds": frame.seconds, "shape": None})
            else:
                shown = frame.rgb
                self._tell({"seconds": frame.seconds, "shape": shown.shape}, shown)


def _limit_memory(num_bytes: int) -> None:
    """What is allocated beyond fails, so a hostile header ends as an error and not in the system's hands."""
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash here is told in a line, and leaves no file behind
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    soft = num_bytes if hard == resource.RLIM_INFINITY else min(num_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
