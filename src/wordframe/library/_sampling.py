"""Which frames of a video a library looks at, and which of them it encodes; kept in ``sampling.json``.

``seconds`` is the rule of ``wordframe.video.index_times``, about one a second. ``keyframes`` decodes nothing else
(``wordframe.video.open_keyframes``), about one a second at most: far faster where they are rare, as in long 4K files,
and moments are as coarse as they stand apart. Of either, frames that hardly differ from the last encoded one take its
feature, unless every frame is to be encoded. The library keeps what the last run was told, so that whoever brings it
up to date, a timer or the server, does the same. Videos that are in it stay as they were sampled.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from wordframe.errors import LibraryError
from wordframe.library._manifest import json_text
from wordframe.library._place import Place

SAMPLING_NAME = "sampling.json"
SAMPLINGS = ("seconds", "keyframes")


@dataclass(frozen=True)
class Sampling:
    """How a library's videos are read; ``sampling`` is one of ``SAMPLINGS``."""

    sampling: str = SAMPLINGS[0]
    every_frame: bool = False


DEFAULT_SAMPLING = Sampling()


def read_sampling(place: Place) -> Sampling:
    """What the library keeps; the defaults where nothing else was ever asked for."""
    try:
        kept = json.loads(place.read(SAMPLING_NAME))
    except (OSError, ValueError, RecursionError):
        return DEFAULT_SAMPLING
    if isinstance(kept, str):  # before every_frame was kept
        kept = {"sampling": kept}
    if not isinstance(kept, dict) or kept.get("sampling") not in SAMPLINGS:
        return DEFAULT_SAMPLING
    return Sampling(kept["sampling"], kept.get("every_frame") is True)


def keep_sampling(place: Place, sampling: str | None, every_frame: bool | None) -> Sampling:
    """Keep what a run asks for; where it asks for nothing, what is kept.

    Raises:
        LibraryError: there is no such sampling, or the folder cannot be written.
    """
    known = read_sampling(place)
    if sampling is not None and sampling not in SAMPLINGS:
        raise LibraryError(f"sampling {sampling!r} is not known; choose one of {', '.join(SAMPLINGS)}")
    wanted = Sampling(
        known.sampling if sampling is None else sampling, known.every_frame if every_frame is None else every_frame
    )
    if wanted != known:
        place.write(SAMPLING_NAME, json_text(asdict(wanted)))
    return wanted
