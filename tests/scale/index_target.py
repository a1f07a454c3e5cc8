"""The driver that tests kill: ``python -m tests.scale.index_target ADDRESS VIDEOS LIBRARY`` indexes until then."""

from __future__ import annotations

import sys

from tests.colours import ColourEncoder
from wordframe.library import Library, RayExecutor


def main(address: str, videos: str, folder: str) -> None:
    with RayExecutor(address, cores=1) as executor:
        from wordframe.library import _ray_reader, indexer

        indexer.COMMIT_SECONDS = _ray_reader.WRITE_SECONDS = 0.05  # many commits, so that many kills meet one
        library = Library.open(folder, encoder=ColourEncoder(delay_seconds=0.02))
        print("ready", flush=True)
        library.index(videos, executor=executor, on_progress=lambda now: print(now.files_done, flush=True))
        print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
