"""Makes the small golden files again from a folder of the full ones: ``python -m tests.golden FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.golden import NAMES, pack, path_of, read, shrink


def main(folder: Path) -> int:
    for name in NAMES:
        tensors, metadata = read(folder / f"{name}.safetensors")
        data = pack(shrink(name, tensors), metadata)
        path_of(name).write_bytes(data)
        print(f"{len(data) / 1e6:5.2f} MB  {name}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.golden FOLDER-WITH-THE-FULL-FILES")
    sys.exit(main(Path(sys.argv[1])))
