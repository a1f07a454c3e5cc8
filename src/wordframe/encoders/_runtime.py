"""What runs an image tower: torch, or on a CPU the same tower compiled by OpenVINO, with the same features.

OpenVINO fuses a tower's layers and chooses their memory layouts for the processor at hand. It computes in float32, as
torch does, and stays within 1e-6 of it in cosine: features of either runtime may lie in one library, and the
fingerprint knows no runtime. ``openvino-bfloat16`` has to be asked for: it computes with 8 bits of each number instead
of 24, which processors with instructions for it do two to several times as fast. ``benchmarks/runtime.py`` says how far
that moves features, and that it costs no recall that can be measured.
Neighbours: ``offline.py`` and ``clip.py`` hand their towers in.
"""

from __future__ import annotations

import sys
import warnings
from collections import deque
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from threading import Lock
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from wordframe.cores import usable_cores
from wordframe.errors import EncoderError, needs_extra

BFLOAT16 = "openvino-bfloat16"
RUNTIMES = ("auto", "torch", "openvino", BFLOAT16)
_TRIED_FRAMES = 32
"""So many frames go through torch before ``auto`` compiles: by then compiling (0.5 s and more) costs no more than it
saves, and who shows one picture to a search never waits for it."""
_FARTHEST = {"f32": 1e-3, "bf16": 0.1}
"""In cosine: how far a compiled tower may lie from torch. Above 1e-3 it would make other features, were it not asked
for; above 0.1 something is broken."""


def choose_runtime(wanted: str, device: torch.device) -> str:
    """What is wanted, for a tower on ``device``; ``auto`` is the fastest that is installed and gives torch's features.

    Raises:
        EncoderError: there is no such runtime, or it does not run on the device or the processor.
        MissingExtraError: it is not installed.
    """
    if wanted not in RUNTIMES:
        raise EncoderError(f"runtime {wanted!r} is not known; choose one of {', '.join(RUNTIMES)}")
    if wanted in ("openvino", BFLOAT16):
        if device.type != "cpu":
            raise EncoderError(f"runtime {wanted!r} runs on the CPU, the device is {device}; choose runtime 'torch'")
        with needs_extra("openvino", f"runtime {wanted!r}"):
            _openvino()
    if wanted == BFLOAT16 and not has_bfloat16():
        raise EncoderError(f"runtime {wanted!r}: this processor has no instructions for it; choose runtime 'openvino'")
    if wanted != "auto":
        return wanted
    return "openvino" if device.type == "cpu" and find_spec("openvino") is not None else "torch"


def has_bfloat16() -> bool:
    """Whether OpenVINO is installed and finds instructions for bfloat16 in this processor."""
    if find_spec("openvino") is None:
        return False
    capabilities: list[str] = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "BF16" in capabilities


class ImageTower:
    """Pixels into frame features, by the runtime that was asked for. Thread-safe.

    Args:
        function: pixels ``(N, 3, H, W)`` on the device into features ``(N, D)``, in torch.
        dimension: ``D``.
        size: ``(H, W)``.
        device: where ``function`` runs.
        batch_size: frames at a time in torch.
        runtime: one of ``RUNTIMES``.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        *,
        dimension: int,
        size: tuple[int, int],
        device: torch.device,
        batch_size: int,
        runtime: str,
    ) -> None:
        self._function, self._dimension, self._size = function, dimension, size
        self._device, self._batch_size = device, batch_size
        chosen = choose_runtime(runtime, device)
        self._is_wanted = runtime == chosen != "torch"
        self._may_compile = chosen != "torch"
        self._precision = "bf16" if chosen == BFLOAT16 else "f32"
        self._compiling = Lock()
        self._frames_seen = 0
        self._compiled: _CompiledTower | None = None

    def __call__(self, pixels: Tensor) -> Tensor:
        """Pixels ``(N, 3, H, W)`` into frame features ``(N, D)``, float32 on the CPU."""
        if pixels.dim() != 4 or pixels.shape[1:] != (3, *self._size):
            raise ValueError(f"pixels must be (N, 3, {self._size[0]}, {self._size[1]}), got {tuple(pixels.shape)}")
        frames = torch.empty(len(pixels), self._dimension)
        with torch.inference_mode():
            if (compiled := self._ready(len(pixels))) is not None:
                compiled.run(pixels, frames)
                return frames
            for start in range(0, len(pixels), self._batch_size):
                rows = slice(start, start + self._batch_size)
                frames[rows] = self._function(pixels[rows].to(self._device)).float().cpu()
        return frames

    def _ready(self, num_frames: int) -> _CompiledTower | None:
        """The compiled tower, where one is to run ``num_frames`` more."""
        if not self._may_compile:
            return None
        with self._compiling:
            if self._compiled is None and self._may_compile and (self._is_wanted or self._frames_seen >= _TRIED_FRAMES):
                try:
                    self._compiled = _CompiledTower(self._function, self._size, self._precision)
                except Exception as error:  # an operation that it lacks, a fault of one version: torch can do all
                    first = next(iter(str(error).strip().splitlines()), type(error).__name__)  # of pages, at times
                    told = f"OpenVINO cannot run this model ({first})"
                    if self._is_wanted:
                        raise EncoderError(f"{told}; choose runtime 'torch'") from error
                    self._may_compile = False
                    warnings.warn(f"{told}; torch does", stacklevel=4)
            self._frames_seen += num_frames
            return self._compiled


class _CompiledTower:
    """``function`` for this processor, a frame at a time, computed in ``precision``, ``f32`` or ``bf16``.

    More frames at a time are no faster with OpenVINO (2 % for the offline encoder, 5 % for CLIP B/32) and need more
    memory, and some towers of transformers fix the number of frames when they are traced.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], size: tuple[int, int], precision: str) -> None:
        openvino = _openvino()
        example = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
        expected = function(example)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # shapes become constants, as is meant; TorchScript grows old, as is known
            # a function and not the module, which takes three times as long; tracing's own check takes as long again
            trace: Any = torch.jit.trace  # has no types
            traced = trace(lambda pixels: function(pixels), example, check_trace=False)
            model = openvino.convert_model(traced, example_input=example)
        model.reshape([1, 3, *size])
        # A stream is a thread with one core. A caller takes as many as it may use: one in a thread of an index run.
        cores = usable_cores()
        self._model: Any = _core().compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": precision,
                "NUM_STREAMS": cores,
                "INFERENCE_NUM_THREADS": cores,
                "ENABLE_CPU_PINNING": False,  # other threads decode meanwhile: the system knows better who waits
            },
        )
        self._tensor = openvino.Tensor
        self._idle: deque[Any] = deque()  # requests: buffers for one frame under way each
        found = torch.empty_like(expected)
        self.run(example, found)
        apart = 1 - F.cosine_similarity(found.double(), expected.double()).item()
        if not apart <= _FARTHEST[precision]:  # not a number fails, too
            allowed = _FARTHEST[precision]
            raise EncoderError(f"its features are {apart:.2g} in cosine from torch's, allowed: {allowed:g}")

    def run(self, pixels: Tensor, frames: Tensor) -> None:
        """Pixels ``(N, 3, H, W)`` into ``frames (N, D)``, on as many cores as the caller's thread has in torch."""
        pixels = pixels.float().contiguous()
        share = max(1, min(torch.get_num_threads(), len(pixels)))
        requests = [self._request() for _ in range(share)]
        for start in range(0, len(pixels), share):
            inputs = [self._tensor(frame[None].numpy(), shared_memory=True) for frame in pixels[start : start + share]]
            for request, frame in zip(requests, inputs, strict=False):
                request.set_input_tensor(frame)
                request.start_async()
            for row, (request, _) in enumerate(zip(requests, inputs, strict=False), start):
                request.wait()
                frames[row] = torch.from_numpy(request.get_output_tensor(0).data[0])
        self._idle.extend(requests)  # not in a finally: one that failed is not used again

    def _request(self) -> Any:
        try:
            return self._idle.pop()
        except IndexError:
            return self._model.create_infer_request()


@cache
def _core() -> Any:
    """One for all towers, never given back.

    While a core compiles, its CPU part gives the calling thread a stack for signals in its own memory, which goes with
    the core. The next Ctrl-C in that thread would then be a segmentation fault.
    """
    return _openvino().Core()


def _openvino() -> ModuleType:
    """The package, without its telemetry: on import and on each conversion it would report to its makers' servers.

    Without ``openvino_telemetry`` it takes a stand-in of its own that does nothing; None says that it is not there.
    """
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    module: ModuleType = openvino
    return module
