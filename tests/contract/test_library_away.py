"""A library that is moved away while it is searched: one clear error, nothing made there, and on when it is back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.colours import ColourEncoder
from tests.served import ADDRESS, one_video, serving
from wordframe.errors import LibraryError
from wordframe.library import Library
from wordframe.search import SearchEngine

GONE = "its folder is gone; if it was moved or its drive is not mounted, all goes on when it is back"


def test_an_engine_goes_on_when_its_library_is_back(tmp_path: Path) -> None:
    folder, _ = one_video(tmp_path)
    engine = SearchEngine(Library.open(folder, encoder=ColourEncoder()))
    snapshot = engine.snapshot()
    before = engine.search("red")
    folder.rename(tmp_path / "elsewhere")
    for ask in (lambda: engine.search("red"), snapshot.videos):
        with pytest.raises(LibraryError) as told:
            ask()
        assert str(told.value) == f"{folder}: cannot read the library's tables: {GONE}"
    assert not folder.exists()
    (tmp_path / "elsewhere").rename(folder)
    assert engine.search("red") == before
    assert snapshot.num_videos == 1


def test_a_server_goes_on_when_its_library_is_back(tmp_path: Path) -> None:
    folder, _ = one_video(tmp_path)
    with serving(folder) as client:
        found = client.get(f"{ADDRESS}/api/v1/search?text=red").json()
        segment = found["items"][0]["moments"][0]["segment_id"]
        asked = ["search?text=red", "videos", "library", f"segments/{segment}/thumbnail", f"segments/{segment}/clip"]
        folder.rename(tmp_path / "elsewhere")
        for path in asked:
            answer = client.get(f"{ADDRESS}/api/v1/{path}")
            assert answer.status_code == 503
            assert answer.json()["detail"] == f"the library: cannot read the library's tables: {GONE}"
        assert not folder.exists()
        (tmp_path / "elsewhere").rename(folder)
        assert [client.get(f"{ADDRESS}/api/v1/{path}").status_code for path in asked] == [200] * 5
