"""Damaged files of a library and of models: one line each, without the insides of LanceDB, Rust or Python."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.colours import ColourEncoder, write_scenes
from wordframe.encoders import load_encoder
from wordframe.errors import CheckpointError, EncoderError, LibraryError
from wordframe.library import Library
from wordframe.library._local import LocalFolder
from wordframe.library._segment_table import library_errors
from wordframe.models import load_model

BRACKETS = "[" * 100_000
"""JSON, as far as it goes, and deeper than Python's parser goes."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damaged")
    write_scenes(folder / "videos" / "red.mp4", ("red", 2.0))
    Library.open(folder / "library", encoder=ColourEncoder()).index([folder / "videos"])
    return folder / "library"


@pytest.mark.parametrize("damage", ["cut", "zeros"])
def test_damaged_tables_are_told_without_places_in_somebodys_code(damage: str, whole: Path) -> None:
    manifests = sorted((whole / "tables" / "segments.lance" / "_versions").glob("*.manifest"))
    kept = {path: path.read_bytes() for path in manifests}
    changed = {"cut": lambda data: data[:9], "zeros": lambda data: bytes(len(data))}
    try:
        for path, data in kept.items():
            path.write_bytes(changed[damage](data))
        with pytest.raises(LibraryError) as caught:
            Library.open(whole, encoder=ColourEncoder()).snapshot().videos()
    finally:
        for path, data in kept.items():
            path.write_bytes(data)
    assert str(caught.value).startswith(f"{whole}: cannot ")
    assert not re.search(r"\.rs\b|LanceError|\.cargo|\n", str(caught.value))


def test_a_panic_of_lancedb_is_a_library_error_and_an_interrupt_is_none(tmp_path: Path) -> None:
    panic = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})
    told = r"cannot read the library's tables: they are damaged; .* wordframe doctor --verify"
    (tmp_path / "tables").mkdir()
    with pytest.raises(LibraryError, match=told), library_errors(LocalFolder(tmp_path), "read"):
        raise panic("rust future panicked: unknown error")
    with pytest.raises(KeyboardInterrupt), library_errors(LocalFolder(tmp_path), "read"):
        raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["roots.json", "sampling.json", "indexing.json", "durable.json"])
def test_a_senseless_side_file_stops_no_library(name: str, whole: Path) -> None:
    file = whole / name
    kept = file.read_bytes() if file.exists() else None
    try:
        for text in (BRACKETS, "5", "null", '"x"', "[]", "{}"):
            file.write_text(text)
            library = Library.open(whole, encoder=ColourEncoder())
            assert len(library.snapshot().videos()) == 1
            assert library.index([whole.parent / "videos"]).unchanged
    finally:
        file.write_bytes(kept) if kept is not None else file.unlink()


def test_json_that_is_nested_without_end_is_told_with_its_file(tmp_path: Path, whole: Path) -> None:
    (tmp_path / "wordframe.json").write_text(BRACKETS)
    with pytest.raises(LibraryError, match=r"wordframe\.json: damaged"):
        Library.open(tmp_path)
    (tmp_path / "config.json").write_text(BRACKETS)
    with pytest.raises(CheckpointError, match=r"config\.json' is not valid JSON"):
        load_model(tmp_path)
    with pytest.raises(EncoderError, match=r"config\.json is no valid JSON"):
        load_encoder(str(tmp_path))
