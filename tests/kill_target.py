"""The victim of ``test_killed_indexing.py``: ``python -m tests.kill_target VIDEOS LIBRARY`` indexes until killed."""

from __future__ import annotations

import sys

from tests.colours import ColourEncoder
from wordframe.library import Library, indexer


def main(videos: str, library: str) -> None:
    indexer.COMMIT_SECONDS = 0.05  # many commits, so that many kills meet one
    opened = Library.open(library, encoder=ColourEncoder(delay_seconds=0.02))
    print("ready", flush=True)
    opened.index([videos])
    print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
