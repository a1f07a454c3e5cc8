"""Which frames of a video a library looks at: one a second, or the file's keyframes; kept in ``sampling.json``.

``seconds`` is the rule of ``wordframe.video.index_times``. ``keyframes`` decodes nothing else
(``wordframe.video.open_keyframes``), about one a second at most: far faster where they are rare, as in long 4K files,
and moments are as coarse as they stand apart. The library keeps what the last run was told, so that whoever brings it
up to date, a timer or the server, does the same. Videos that are in it stay as they were sampled.
"""

from __future__ import annotations

import json

from wordframe.errors import LibraryError
from wordframe.library._manifest import json_text
from wordframe.library._place import Place

SAMPLING_NAME = "sampling.json"
SAMPLINGS = ("seconds", "keyframes")


def read_sampling(place: Place) -> str:
    """How the library's videos are sampled, one of ``SAMPLINGS``; ``seconds`` where nothing else was ever asked for."""
    try:
        kept = json.loads(place.read(SAMPLING_NAME))
    except (OSError, ValueError, RecursionError):
        return SAMPLINGS[0]
    return kept if kept in SAMPLINGS else SAMPLINGS[0]


def keep_sampling(place: Place, sampling: str | None) -> str:
    """Keep the sampling that a run asks for; if it asks for none, the one that is kept.

    Raises:
        LibraryError: there is no such sampling, or the folder cannot be written.
    """
    known = read_sampling(place)
    if sampling is not None and sampling not in SAMPLINGS:
        raise LibraryError(f"sampling {sampling!r} is not known; choose one of {', '.join(SAMPLINGS)}")
    if sampling is None or sampling == known:
        return known
    place.write(SAMPLING_NAME, json_text(sampling))
    return sampling
