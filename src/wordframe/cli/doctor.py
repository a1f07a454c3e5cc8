"""``wordframe doctor``: what is installed, what works, and how a library is."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from importlib.util import find_spec
from typing import Annotated, Any

import typer

from wordframe.addresses import is_address
from wordframe.cli.options import JsonOption, library_option, print_json
from wordframe.errors import EXTRAS, WordframeError

_PACKAGES = ("wordframe", "torch", "openvino", "transformers", "av", "lancedb", "numba", "numpy")
_RECALL_SENTENCES = 50
_FASTER = "OpenVINO encodes frames 2.0 times as fast on a CPU"
"""As benchmarks/runtime.py measured it for the offline encoder."""


def doctor(
    library: Annotated[
        str | None,
        library_option("Also check this library."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read all of the library's files: is each as it was written?")
    ] = False,
    mend: Annotated[
        bool,
        typer.Option("--mend", help="With --verify: give up what is damaged, so that indexing makes it anew."),
    ] = False,
    recall: Annotated[
        bool,
        typer.Option("--recall", help="Measure how much of a large library's index must be read, and keep that."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Check the installation and, if one is given, a library.

    For a library it counts videos, lists what is wrong with their files, and measures the share of the exact best
    segments that the first stage of a search finds.

    With --verify every file of the library is read and compared with what was once written, so that a single flipped
    bit is found; it fails if there is one. --mend keeps all videos that are whole, and says what to index again.

    Examples:

        wordframe doctor

        wordframe doctor --library my-library

        wordframe doctor --library my-library --verify

        wordframe doctor --library my-library --verify --mend

        wordframe doctor --library my-library --recall
    """
    if recall and library is None:
        raise typer.BadParameter("--recall goes with --library")
    if verify and library is None:
        raise typer.BadParameter("--verify goes with --library")
    if verify and is_address(str(library)):
        raise typer.BadParameter("--verify is for a library in a folder: an object store checks what it holds itself")
    if mend and not verify:
        raise typer.BadParameter("--mend goes with --verify")
    findings: dict[str, Any] = {
        "installed": _installed(),
        "extras": {extra: all(map(find_spec, libraries)) for extra, libraries in EXTRAS.items()},
        "devices": _devices(),
        "checks": _checks(),
    }
    if library is not None:
        findings["library"] = _verified(library, mend=mend) if verify else _library(library)
        if recall and "problem" not in findings["library"]:
            findings["library"] |= _effort(library)
    if json:
        print_json(findings)
    else:
        _show(findings)
    broken = [check for check in findings["checks"] if not check["works"]]
    if broken or findings.get("library", {}).get("problem"):
        raise typer.Exit(1)


def _installed() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _devices() -> dict[str, Any]:
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpus": gpus,
        "apple_gpu": bool(torch.backends.mps.is_available()),
    }


def _checks() -> list[dict[str, Any]]:
    """Each check does the real thing on something small."""
    return [
        _check("encoder offline", _check_offline_encoder),
        _check("runtime", _check_runtime),
        _check("decoders", _check_decoders),
    ]


def _check(name: str, run: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"name": name, "works": True, "detail": run()}
    except Exception as error:  # whatever is broken is what the doctor is asked for
        return {"name": name, "works": False, "detail": f"{type(error).__name__}: {error}"}


def _check_offline_encoder() -> str:
    import numpy as np

    from wordframe.encoders import load_encoder

    encoder = load_encoder("offline")
    text = encoder.encode_text(["a test"]).sentence
    frame = encoder.encode_frames(np.full((1, encoder.short_side, encoder.short_side, 3), 127, np.uint8))
    if not (bool(text.isfinite().all()) and bool(frame.isfinite().all())):
        raise WordframeError("features are not numbers")
    return f"{encoder.dimension} dimensions, fingerprint {encoder.fingerprint}"


def _check_runtime() -> str:
    """What encodes frames here, after the same frame went through it and through torch."""
    import torch

    from wordframe.encoders import BFLOAT16, has_bfloat16, load_encoder

    chosen = load_encoder("offline")
    if chosen.runtime == "openvino":
        chosen = load_encoder("offline", runtime="openvino")  # at once: auto would do a single frame by torch
    if chosen.device.type != "cpu":
        return f"torch on {chosen.device}"
    if chosen.runtime == "torch":
        return f"torch; {_FASTER}: pip install 'wordframe[openvino]'"
    frame = torch.rand(1, 3, chosen.short_side, chosen.short_side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found, expected = chosen.encode_pixels(frame), load_encoder("offline", runtime="torch").encode_pixels(frame)
    apart = 1 - torch.cosine_similarity(found.double(), expected.double()).item()
    told = f"{chosen.runtime}, features within {max(apart, 1e-7):.0e} in cosine of torch's"
    return f"{told}; this processor also has --runtime {BFLOAT16}" if has_bfloat16() else told


def _check_decoders() -> str:
    from wordframe.video import available_decoders

    found = available_decoders()
    missing = [name for name, there in found.items() if not there]
    if missing:
        raise WordframeError(f"PyAV was built without {', '.join(missing)}")
    return ", ".join(found)


def _library(address: str) -> dict[str, Any]:
    from wordframe.library import Library, file_states
    from wordframe.search import plain_sentences, shortlist_recall

    try:
        library = Library.open(address)
        snapshot = library.snapshot()
        videos = snapshot.videos()
        states = file_states(videos, snapshot.roots)
        found: dict[str, Any] = {
            "folder": address,
            "encoder": snapshot.manifest.encoder,
            "fingerprint": snapshot.manifest.fingerprint,
            "videos": len(videos),
            "segments": snapshot.num_segments,
            "seconds_of_video": sum(video.duration_seconds for video in videos),
            "bytes": library.place.num_bytes(),
            "models": [entry.name for entry in library.models()],
            "files_gone": [path for path, state in states.items() if state == "gone"],
            "files_changed": [path for path, state in states.items() if state == "changed"],
            "files_unknown": [path for path, state in states.items() if state == "unknown"],
            "partly_indexed": {video.path: video.problem for video in videos if video.problem},
            "failed": {entry.path: entry.reason for entry in library.failures()},
        }
        if videos:
            # all sentences are scored in one pass over the library
            measured = shortlist_recall(snapshot, plain_sentences(_RECALL_SENTENCES))
            found["first_stage"] = {
                "recall_percent": 100 * measured.recall,
                "top": measured.top,
                "shortlist": measured.shortlist,
                "queries": measured.queries,
            }
    except WordframeError as error:
        return {"folder": address, "problem": str(error)}
    return found


def _effort(folder: str) -> dict[str, Any]:
    """Ways to read the index on disk, and which of them was chosen and kept."""
    from dataclasses import asdict

    from wordframe.library import Library
    from wordframe.search import chosen, measured_efforts, plain_sentences

    try:
        library = Library.open(folder)
        measured = measured_efforts(library.snapshot(), plain_sentences(_RECALL_SENTENCES))
        if not measured:
            return {"effort": None}
        best = chosen(measured)
        library.keep_effort(best.effort)
    except WordframeError as error:
        return {"folder": folder, "problem": str(error)}
    return {"effort": {"measured": [asdict(each) for each in measured], "kept": asdict(best)}}


def _verified(folder: str, *, mend: bool) -> dict[str, Any]:
    """What verifying found, and then the rest: damaged tables are not opened."""
    from wordframe.cli._verified import verified

    try:
        found = verified(folder, mend=mend)
    except WordframeError as error:
        return {"folder": folder, "problem": str(error)}
    if not found["is_in_order"]:
        problem = f"{folder}: damaged" if found["damaged"] else f"{folder}: cannot be verified yet"
        return {"folder": folder, "problem": problem, "verified": found}
    return _library(folder) | {"verified": found}


def _show(findings: dict[str, Any]) -> None:
    print("Installed: " + ", ".join(f"{name} {number}" for name, number in findings["installed"].items()))
    print("Extras:    " + ", ".join(_extra(name, is_there) for name, is_there in findings["extras"].items()))
    devices = findings["devices"]
    gpus = ", ".join(devices["gpus"]) or ("Apple GPU" if devices["apple_gpu"] else "none")
    print(f"Devices:   {devices['cores']} cores, GPU: {gpus}")
    for check in findings["checks"]:
        print(f"{'Works:    ' if check['works'] else 'BROKEN:   '} {check['name']}: {check['detail']}")
    if "library" in findings:
        _show_library(findings["library"])


def _extra(name: str, is_there: bool) -> str:
    return name if is_there else f"{name} not installed (pip install 'wordframe[{name}]')"


def _show_library(found: dict[str, Any]) -> None:
    from wordframe.cli._terminal import duration
    from wordframe.cli._verified import show_verified
    from wordframe.disk import one_line
    from wordframe.errors import counted

    if "verified" in found:
        show_verified(found["verified"])
    if "problem" in found:
        print(f"BROKEN:   library: {one_line(found['problem'])}")
        return
    print(
        f"Library:   {found['folder']}: {counted(found['videos'], 'video')}, {counted(found['segments'], 'segment')}, "
        f"{duration(found['seconds_of_video'])} of video, {found['bytes'] / 1e6:.1f} MB, encoder {found['encoder']}"
    )
    if found["models"]:
        print(f"           prepared for {', '.join(map(one_line, found['models']))}")
    for title, key, advice in (
        ("gone", "files_gone", "index with --prune forgets them"),
        ("changed since", "files_changed", "index again"),
        ("not to be looked at", "files_unknown", "their store cannot be reached or refuses"),
        ("partly indexed", "partly_indexed", "the files end early or are damaged"),
        ("failed", "failed", "index with --retry tries again"),
    ):
        if found[key]:
            shown = ", ".join(one_line(path) for path in list(found[key])[:3])
            print(f"           {len(found[key]):,} {title} ({advice}): {shown}{' …' if len(found[key]) > 3 else ''}")
    if "effort" in found:
        _show_effort(found["effort"])
    if "first_stage" in found:
        stage = found["first_stage"]
        print(
            f"           first stage: {stage['recall_percent']:.1f} % of the exact top {stage['top']} segments are in "
            f"its {stage['shortlist']} candidates ({stage['queries']} sentences)"
        )


def _show_effort(found: dict[str, Any] | None) -> None:
    if found is None:
        print("           first stage: codes in memory are compared all, so there is nothing to choose")
        return
    for way in found["measured"]:
        kept = ", kept for searches" if way == found["kept"] else ""
        partitions, refine = way["effort"]["partitions"], way["effort"]["refine"]
        print(
            f"           {partitions:,} partitions, {refine} times compared exactly: "
            f"{100 * way['recall']:.1f} % found, {way['median_ms']:.0f} ms{kept}"
        )
