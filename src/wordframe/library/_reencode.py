"""``wordframe upgrade --encoder``: a library of the same videos with another encoder, in the place of the old one.

Features of two encoders never mix, so all videos are read again, into a library beside the old one (``_swap.py``).
It is an ordinary index run: killed or interrupted, it goes on with the same command. Until it is done the old library
stays as it is and answers as before, if its encoder is still to be had; nobody writes into it meanwhile.
Neighbours: ``indexer.py`` does the reading, ``_upgrade.py`` is what a new format needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from wordframe.encoders import Encoder, load_encoder
from wordframe.errors import LibraryError, counted
from wordframe.library._local import LocalFolder
from wordframe.library._manifest import Manifest
from wordframe.library._objects import file_states, is_there
from wordframe.library._place import local_folder
from wordframe.library._sampling import read_sampling
from wordframe.library._swap import begin, start_over, swap
from wordframe.library.library import Library
from wordframe.library.status import IndexProgress, IndexSummary


@dataclass(frozen=True)
class EncoderChange:
    """What became of a library.

    Attributes:
        before, after: the encoders' names.
        done: the library holds the features of ``after`` now; False after Ctrl-C.
        summary: of the index run; None if there was nothing to do.
        left_out: videos of the old library whose files are gone, and so are not in the new one.
        models_gone: what the old library was prepared for, and the new one is not.
        started_over: a change to another encoder had been begun, and was given up.
    """

    before: str
    after: str
    done: bool
    summary: IndexSummary | None = None
    left_out: list[str] = field(default_factory=list)
    models_gone: list[str] = field(default_factory=list)
    started_over: bool = False


def change_encoder(
    folder: str | Path,
    encoder: Encoder | str,
    *,
    runtime: str = "auto",
    allow_missing: bool = False,
    on_progress: Callable[[IndexProgress], None] | None = None,
) -> EncoderChange:
    """Make a library anew with another encoder, from the same roots, and put it in its place when it is done.

    Ctrl-C ends it in order, and the same call goes on; until it is done the library stays as it is.

    Args:
        encoder: an encoder or its name, which is fetched if need be once the library has been found.
        runtime: of an encoder by name.
        allow_missing: leave out videos whose files are gone, instead of refusing.
        on_progress: as for ``Library.index``.

    Raises:
        WordframeError: there is no library, files are missing, it is being written, or cannot be.
    """
    folder = local_folder(
        folder,
        "its encoder is not changed in place on object storage; index its videos into a new prefix with --encoder",
    )
    Library.upgrade(folder)
    old = Library.open(folder)
    loaded = load_encoder(encoder, runtime=runtime) if isinstance(encoder, str) else encoder
    before = old.manifest.encoder
    if loaded.fingerprint == old.manifest.fingerprint:
        return EncoderChange(before, loaded.name, done=True)
    with old.locked():
        states = file_states(old.videos(), old.roots())
        left_out = [path for path, state in states.items() if state == "gone"]
        if left_out and not allow_missing:
            raise LibraryError(
                f"{folder}: {counted(len(left_out), 'video')} of it would be lost, since the files are not there "
                f"({left_out[0]}): attach their disk, or leave them out with --allow-missing"
            )
        roots = [root for root in old.roots() if is_there(root)]
        if not roots:
            raise LibraryError(f"{folder}: none of the folders that were indexed into it is there")
        models_gone = [entry.name for entry in old.models()]
        new = begin(folder)
        begun = Manifest.read(LocalFolder(new))
        started_over = begun is not None and begun.fingerprint != loaded.fingerprint
        if started_over:
            new = start_over(folder)
        summary = Library.open(new, encoder=loaded).index(
            roots, **asdict(read_sampling(LocalFolder(folder))), on_progress=on_progress
        )
        if not summary.interrupted:
            swap(folder)
    return EncoderChange(
        before,
        loaded.name,
        done=not summary.interrupted,
        summary=summary,
        left_out=left_out,
        models_gone=models_gone,
        started_over=started_over,
    )
