"""What runs the image tower: OpenVINO gives torch's features, and is chosen, refused and left out as it should be."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.unit.clip_models import SIDE, openai_weights, save
from wordframe.cores import usable_cores
from wordframe.encoders import (
    BFLOAT16,
    MODEL_TYPES,
    ClipBackbone,
    ClipEncoder,
    OfflineEncoder,
    has_bfloat16,
    load_encoder,
)
from wordframe.encoders._runtime import ImageTower, choose_runtime
from wordframe.errors import EncoderError, MissingExtraError

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def noise(count: int, side: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def farthest(found: Tensor, expected: Tensor) -> float:
    """The largest distance in cosine of a row to its own."""
    assert found.shape == expected.shape
    assert (found.dtype, found.device.type) == (torch.float32, "cpu")
    return (1 - F.cosine_similarity(found.double(), expected.double(), dim=-1)).max().item()


def tower(function: Any, runtime: str = "openvino", **changes: Any) -> ImageTower:
    given = {"dimension": 2, "size": (4, 4), "device": CPU, "batch_size": 2, "runtime": runtime}
    return ImageTower(function, **given | changes)


def channel_sums(pixels: Tensor) -> Tensor:
    return pixels.sum(dim=(2, 3))[:, :2]


@pytest.fixture(scope="module")
def offline() -> tuple[OfflineEncoder, OfflineEncoder]:
    """By OpenVINO and by torch."""
    return OfflineEncoder(device="cpu", runtime="openvino"), OfflineEncoder(device="cpu", runtime="torch")


def test_photographs_have_the_same_features_in_either_runtime(offline: tuple[OfflineEncoder, OfflineEncoder]) -> None:
    from skimage import data

    compiled, plain = offline
    for photograph in (data.chelsea(), data.coffee(), data.rocket(), data.astronaut()):
        found, expected = compiled.encode_frames(photograph[None]), plain.encode_frames(photograph[None])
        assert farthest(found, expected) < 1e-6
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_noise_has_the_same_features_in_either_runtime(offline: tuple[OfflineEncoder, OfflineEncoder]) -> None:
    compiled, plain = offline
    pixels = noise(5, compiled.short_side)
    before = pixels.clone()
    assert farthest(compiled.encode_pixels(pixels), plain.encode_pixels(pixels)) < 1e-6
    assert torch.equal(pixels, before)
    # a view that is not contiguous, as a caller may cut it
    turned = pixels.transpose(2, 3)
    assert farthest(compiled.encode_pixels(turned), plain.encode_pixels(turned)) < 1e-6
    assert compiled.encode_pixels(pixels[:0]).shape == (0, 384)


def test_in_bfloat16_photographs_have_nearly_the_same_features(
    offline: tuple[OfflineEncoder, OfflineEncoder], tmp_path: Path
) -> None:
    from skimage import data

    if not has_bfloat16():
        pytest.skip("the processor has no instructions for bfloat16")
    short, exact = OfflineEncoder(device="cpu", runtime=BFLOAT16), offline[1]
    assert (short.runtime, short.fingerprint) == (BFLOAT16, exact.fingerprint)
    apart = [
        farthest(short.encode_frames(photograph[None]), exact.encode_frames(photograph[None]))
        for photograph in (data.chelsea(), data.coffee(), data.rocket(), data.astronaut())
    ]
    assert 1e-6 < max(apart) < 0.02  # it is another precision, and no other picture
    save("clip", tmp_path)
    towers = [load_encoder(str(tmp_path), device="cpu", runtime=name) for name in (BFLOAT16, "torch")]
    pixels = noise(5, SIDE)
    assert farthest(towers[0].encode_pixels(pixels), towers[1].encode_pixels(pixels)) < 0.02


def test_where_the_processor_has_no_bfloat16_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wordframe.encoders._runtime.has_bfloat16", lambda: False)
    with pytest.raises(EncoderError, match=r"'openvino-bfloat16': this processor has no instructions .* 'openvino'$"):
        OfflineEncoder(device="cpu", runtime=BFLOAT16)


def test_the_fingerprint_knows_no_runtime(offline: tuple[OfflineEncoder, OfflineEncoder], tmp_path: Path) -> None:
    assert offline[0].fingerprint == offline[1].fingerprint
    save("clip", tmp_path)
    by_runtime = [load_encoder(str(tmp_path), device="cpu", runtime=name) for name in ("openvino", "torch", "auto")]
    assert [encoder.runtime for encoder in by_runtime] == ["openvino", "torch", "openvino"]
    assert len({encoder.fingerprint for encoder in by_runtime}) == 1


@pytest.mark.parametrize("kind", sorted(MODEL_TYPES))
def test_each_family_has_the_same_features_in_either_runtime(kind: str, tmp_path: Path) -> None:
    save(kind, tmp_path)
    compiled = ClipEncoder.load(str(tmp_path), device="cpu", runtime="openvino")
    plain = ClipEncoder.load(str(tmp_path), device="cpu", runtime="torch")
    pixels = noise(5, SIDE)
    assert farthest(compiled.encode_pixels(pixels), plain.encode_pixels(pixels)) < 1e-6
    alone = torch.cat([compiled.encode_pixels(frame[None]) for frame in pixels])
    torch.testing.assert_close(compiled.encode_pixels(pixels), alone)


def test_openais_clip_has_the_same_features_in_either_runtime() -> None:
    backbone = ClipBackbone.from_openai(openai_weights()).requires_grad_(False)
    given = {"dimension": 48, "size": (SIDE, SIDE)}
    pixels = noise(3, SIDE)
    compiled, plain = (tower(backbone.encode_pixels, runtime, **given) for runtime in ("openvino", "torch"))
    assert farthest(compiled(pixels), plain(pixels)) < 1e-6


@pytest.mark.parametrize("threads", [1, 3])
def test_frames_from_several_threads_keep_their_own_features(threads: int) -> None:
    shared = tower(channel_sums)
    many = [noise(7, 4, seed) for seed in range(40)]

    def encode(pixels: Tensor) -> Tensor:
        torch.set_num_threads(threads)  # how many frames one caller has under way
        return shared(pixels)

    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(4) as pool:  # the first use comes from all at once
            for pixels, found in zip(many, pool.map(encode, many), strict=True):
                torch.testing.assert_close(found, channel_sums(pixels), atol=1e-5, rtol=1e-5)
    finally:
        torch.set_num_threads(before)


def test_two_callers_do_not_wait_for_each_other(offline: tuple[OfflineEncoder, OfflineEncoder]) -> None:
    # one stream for all callers would let an index run use a single core
    compiled, _ = offline
    compiled.encode_pixels(noise(1, compiled.short_side))
    streams = compiled._image_side()._compiled._model.get_property("NUM_STREAMS")  # type: ignore[union-attr]
    cores = compiled._image_side()._compiled._model.get_property("INFERENCE_NUM_THREADS")  # type: ignore[union-attr]
    assert streams == cores == usable_cores()


def test_auto_compiles_when_frames_come_in_numbers() -> None:
    used = tower(channel_sums, "auto")
    for _ in range(4):
        used(noise(8, 4))
        assert used._compiled is None
    torch.testing.assert_close(used(noise(3, 4)), channel_sums(noise(3, 4)), atol=1e-5, rtol=1e-5)
    assert used._compiled is not None
    at_once = tower(channel_sums)
    at_once(noise(1, 4))
    assert at_once._compiled is not None


def test_auto_is_openvino_on_a_cpu_and_torch_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_runtime("auto", CPU) == "openvino"
    assert choose_runtime("auto", GPU) == choose_runtime("auto", torch.device("mps")) == "torch"
    assert choose_runtime("torch", CPU) == choose_runtime("torch", GPU) == "torch"
    with pytest.raises(EncoderError, match="runtime 'openvino' runs on the CPU, the device is cuda; choose runtime 't"):
        choose_runtime("openvino", GPU)
    with pytest.raises(EncoderError, match="runtime 'onnx' is not known; choose one of auto, torch, openvino"):
        OfflineEncoder(runtime="onnx")


def test_without_openvino_auto_is_torch_and_asking_for_it_names_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    encoder = OfflineEncoder(device="cpu")
    assert encoder.runtime == "torch"
    used = tower(channel_sums, "auto")
    for _ in range(6):
        used(noise(8, 4))
    assert used._compiled is None
    with pytest.raises(MissingExtraError, match=r"runtime 'openvino' needs .*: pip install 'wordframe\[openvino\]'"):
        OfflineEncoder(device="cpu", runtime="openvino")


def with_an_odd_trace(pixels: Tensor) -> Tensor:
    """Not what its trace gives, as a tower that decides by the values of its pixels."""
    return channel_sums(pixels) if not torch.jit.is_tracing() else channel_sums(pixels).flip(-1)


def test_a_compiled_tower_that_differs_from_torch_is_not_used() -> None:
    with pytest.raises(EncoderError, match=r"OpenVINO cannot run this model \(its features are .* from torch's"):
        tower(with_an_odd_trace)(noise(1, 4))
    used = tower(with_an_odd_trace, "auto")
    used(noise(40, 4))
    with pytest.warns(UserWarning, match=r"OpenVINO cannot run this model \(its features are .*\); torch does"):
        found = used(noise(1, 4))
    torch.testing.assert_close(found, channel_sums(noise(1, 4)))
    torch.testing.assert_close(used(noise(1, 4, 5)), channel_sums(noise(1, 4, 5)))  # told once


def test_features_that_are_not_finite_come_through(offline: tuple[OfflineEncoder, OfflineEncoder]) -> None:
    # the pipeline tells them as that video's failure; the next frame is not harmed
    pixels = noise(2, 4)
    pixels[0] = torch.nan
    found = tower(channel_sums)(pixels)
    assert found[0].isnan().all()
    torch.testing.assert_close(found[1], channel_sums(pixels)[1], atol=1e-5, rtol=1e-5)


def test_pixels_of_another_size_are_refused() -> None:
    for runtime in ("torch", "openvino"):
        with pytest.raises(ValueError, match=r"pixels must be \(N, 3, 4, 4\), got \(1, 3, 5, 4\)"):
            tower(channel_sums, runtime)(torch.zeros(1, 3, 5, 4))


def test_openvino_is_used_without_its_telemetry() -> None:
    """It would report its import and each conversion to its makers' servers. Nothing may leave this machine."""
    program = (
        "import socket, sys, urllib.request\n"
        "def refuse(*given, **named): print('CONNECTS', given)\n"
        "socket.socket.connect = socket.create_connection = urllib.request.urlopen = refuse\n"
        "import torch\n"
        "from wordframe.encoders._runtime import ImageTower\n"
        "sums = lambda pixels: pixels.sum(dim=(2, 3))[:, :2]\n"
        "sizes = {'dimension': 2, 'size': (4, 4), 'device': torch.device('cpu'), 'batch_size': 2}\n"
        "print(ImageTower(sums, runtime='openvino', **sizes)(torch.ones(1, 3, 4, 4)).tolist())\n"
        "print([name for name, module in sys.modules.items() if module and name.startswith('openvino_telemetry')])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[[16.0, 16.0]]", "[]"]


PRESSED = """
import gc, signal, threading, torch
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever started this
from wordframe.encoders._runtime import ImageTower

def make():
    tower = ImageTower(
        lambda pixels: pixels.sum(dim=(2, 3))[:, :2],
        dimension=2, size=(4, 4), device=torch.device("cpu"), batch_size=2, runtime="openvino",
    )
    tower(torch.rand(2, 3, 4, 4))
    return tower

towers = [make() for _ in range(3)]
cleaner = threading.Thread(target=lambda: (towers.clear(), gc.collect()))  # what is left of them goes in another thread
cleaner.start()
cleaner.join()
for _ in range(2):
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


def test_ctrl_c_comes_through_when_compiled_towers_are_gone() -> None:
    done = subprocess.run([sys.executable, "-c", PRESSED], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "interrupted\n" * 2), done.stderr
