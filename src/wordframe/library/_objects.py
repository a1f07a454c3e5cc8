"""Videos on object storage: what is asked of an address where a path is asked of the disk.

FFmpeg never sees an address: an object is copied into a scratch file, decoded as any file, and the copy removed. An
object is known again by size, time and etag, the last two of which share ``modified_ns`` (see ``FoundFile``).
Neighbours: ``_listing.py`` finds videos below a prefix, ``wordframe.object_storage`` opens the store.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wordframe.addresses import bucket_and_key, is_address
from wordframe.disk import content_hash, one_line, scratch_file, short_hash
from wordframe.errors import LibraryError, VideoError
from wordframe.library._files import FoundFile, is_below
from wordframe.object_storage import explain, open_store, told

if TYPE_CHECKING:  # with the tables comes torch, and a moment is cut without either
    from wordframe.library._rows import VideoEntry

_PART_BYTES = 4 << 20
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,10}")


class StoppedError(Exception):
    """A copy was given up because the run ends."""


def list_objects(prefix: str, options: Mapping[str, str] | None = None) -> Iterator[FoundFile]:
    """All objects below an address, a request for a thousand; none if nothing lies there.

    The empty object by which consoles show an empty folder (``videos/``) has the address's own name, and is left out.

    Raises:
        LibraryError: there is no such bucket, or the store cannot be reached or refuses.
    """
    bucket, key = bucket_and_key(prefix)
    store = _store(bucket, options)
    with _told(prefix):
        for page in store.list(key or None):
            for meta in page:
                if meta["path"] != key:
                    yield _found(f"{bucket}/{meta['path']}", meta)


def look_at(address: str, options: Mapping[str, str] | None = None) -> FoundFile:
    """An object as it is now, by one request.

    Raises:
        FileNotFoundError: it is not there. LibraryError: the store cannot be reached or refuses.
    """
    bucket, key = bucket_and_key(address)
    store = _store(bucket, options)
    with _told(address):
        return _found(address, store.head(key))


def read_range(
    address: str, start: int, stop: int, options: Mapping[str, str] | None = None
) -> tuple[FoundFile, Generator[bytes, None, None]]:
    """The bytes ``[start, stop)`` of an object in parts, and the object as it was when the answer began.

    At least one byte must be asked for.

    Raises:
        FileNotFoundError, LibraryError: as ``look_at``, here and while the parts are taken.
    """
    bucket, key = bucket_and_key(address)
    store = _store(bucket, options)
    with _told(address):
        answer = store.get(key, options={"range": (start, stop)})
    return _found(address, answer.meta), _stream(address, answer)


def read_whole(address: str, options: Mapping[str, str] | None = None) -> Generator[bytes, None, None]:
    """All bytes of an object in parts; errors as ``look_at``."""
    bucket, key = bucket_and_key(address)
    store = _store(bucket, options)
    with _told(address):
        answer = store.get(key)
    return _stream(address, answer)


def hash_of(path: str) -> str:
    """The content hash of a file or an object.

    Raises:
        OSError: it cannot be read. LibraryError: its store cannot be reached or refuses.
    """
    if not is_address(path):
        return content_hash(path, "blake2b")
    digest = hashlib.blake2b(digest_size=16)
    for part in read_whole(path):
        digest.update(part)
    return digest.hexdigest()


@contextlib.contextmanager
def local_copy(
    path: str,
    *,
    options: Mapping[str, str] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[str, str | None]]:
    """A file that can be opened, for as long as the block lasts, and its content hash if it was copied.

    A file of the disk is itself. What is said within the block of a copy's name is said of the address.

    Raises:
        OSError, LibraryError: there is no such object, it cannot be read, or there is no room for the copy.
        StoppedError: ``should_stop`` said so before the copy was whole.
    """
    if not is_address(path):
        yield path, None
        return
    suffix = os.path.splitext(path)[1]
    with scratch_file(suffix if _SUFFIX.fullmatch(suffix) else "") as (handle, copy):
        digest = _copy(path, handle, options, should_stop)
        try:
            yield copy, digest
        except VideoError as error:
            raise VideoError(str(error).replace(one_line(copy), one_line(path))) from None


def _copy(path: str, handle: int, options: Mapping[str, str] | None, should_stop: Callable[[], bool]) -> str:
    """Copy an object into an open file; gives its content hash."""
    digest = hashlib.blake2b(digest_size=16)
    with open(handle, "wb", buffering=0, closefd=False) as file, contextlib.closing(read_whole(path, options)) as parts:
        for part in parts:
            if should_stop():
                raise StoppedError
            try:
                _write_all(file, part)
            except OSError as error:
                reason = (error.strerror or "output error").lower()
                raise LibraryError(
                    f"{one_line(path)}: no room for its copy in the folder for temporary files ({reason}); "
                    "the variable TMPDIR names another"
                ) from None
            digest.update(part)
    return digest.hexdigest()


def _write_all(file: io.FileIO, part: bytes) -> None:
    left = memoryview(part)
    while left:
        left = left[file.write(left) :]


def is_there(path: str) -> bool:
    """Whether there is a file or folder, an object, or a prefix with something below it.

    Raises:
        LibraryError: the store cannot be reached or refuses.
    """
    if not is_address(path):
        return os.path.lexists(path)
    if next(list_objects(path), None) is not None:
        return True
    try:
        look_at(path)
    except FileNotFoundError:
        return False
    return True


def those_there(places: Sequence[str]) -> list[str]:
    """The paths and addresses at which something is.

    Raises:
        LibraryError: a store failed, and nothing else is there.
    """
    there: list[str] = []
    failed: LibraryError | None = None
    for place in places:
        try:
            there += [place] if is_there(place) else []
        except LibraryError as error:
            failed = failed or error
    if failed is not None and not there:
        raise failed
    return there


def file_states(videos: Sequence[VideoEntry], roots: Iterable[str]) -> dict[str, str]:
    """``gone``, ``changed`` or ``same`` of each video's file, by path; ``unknown`` where its store says nothing.

    A file is looked at once; objects are listed by the roots that hold them.
    """
    places = [root for root in roots if is_address(root)]
    objects: dict[str, FoundFile] = {}
    unknown = []
    for place in places:
        try:
            found = list(list_objects(place)) or [look_at(place)]  # or it was given as an object
            objects |= {each.path: each for each in found}
        except FileNotFoundError:
            continue
        except LibraryError:
            unknown.append(place)
    return {video.path: _state(video, objects, unknown) for video in videos}


def _state(video: VideoEntry, objects: Mapping[str, FoundFile], unknown: Iterable[str]) -> str:
    if not is_address(video.path):
        try:
            status = os.stat(video.path)
        except OSError:
            return "gone"
        now: FoundFile | None = FoundFile(video.path, status.st_size, status.st_mtime_ns)
    elif any(is_below(video.path, place) for place in unknown):
        return "unknown"
    else:
        now = objects.get(video.path)
    if now is None:
        return "gone"
    return "same" if (now.size, now.modified_ns) == (video.size, video.modified_ns) else "changed"


def _found(address: str, meta: Mapping[str, Any]) -> FoundFile:
    # a listing may tell parts of a second, which no other answer does; and the tags of some have no quotes
    seconds = int(meta["last_modified"].timestamp())
    tag = (meta["e_tag"] or "").removeprefix("W/").strip('"')
    return FoundFile(address, meta["size"], seconds * 10**9 + int(short_hash(tag)[:12], 16) % 10**9)


def _stream(address: str, answer: Any) -> Generator[bytes, None, None]:
    with _told(address):
        for part in answer.stream(min_chunk_size=_PART_BYTES):
            yield bytes(part)


@contextlib.contextmanager
def _told(address: str) -> Iterator[None]:
    """As ``told``, and what is not there said as the system says it of files."""
    try:
        with told(one_line(address), LibraryError):
            yield
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "no such object", address) from None
    except ValueError as error:  # obstore's, for a key that makes no path
        raise LibraryError(f"{one_line(address)}: {explain(str(error)) or 'makes no sense as an address'}") from None


def _store(bucket: str, options: Mapping[str, str] | None) -> Any:
    return open_store(bucket, "reading videos from object storage", LibraryError, options)
