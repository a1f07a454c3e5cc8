"""Addresses on object storage: told from paths of a disk, and read in one way for libraries, videos and caches.

An address is ``s3://``, ``gs://`` or ``az://``, a bucket and a key or prefix, and nothing else. What may be a secret in
it is refused and not repeated.
Neighbours: ``object_storage.py`` opens what lies there.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from wordframe.errors import WordframeError

__all__ = ["bucket_and_key", "is_address", "joined", "parse_address"]

_SCHEMES = ("s3", "gs", "az")
_BEGINNINGS = tuple(f"{scheme}://" for scheme in _SCHEMES)
_SHAPE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(//?)(.*)", re.DOTALL)  # one letter is a drive of Windows
_NEVER_IN_A_BUCKET = frozenset("@:?#")
_SIGNED = re.compile(r"\?(.*&)?[\w-]*(signature|credential|token|sig)=", re.IGNORECASE | re.DOTALL)
"""What a link has behind its key that lets whoever holds it read the object."""


def is_address(place: str | Path) -> bool:
    """Whether a place, as ``parse_address`` gives it, is on object storage.

    >>> is_address("s3://bucket/a.mp4"), is_address("/home/ann/s3:/a.mp4"), is_address("features/s3")
    (True, False, False)
    """
    return os.fspath(place).startswith(_BEGINNINGS)


def parse_address(place: str | Path, lies: str, error: type[WordframeError], *, is_any_key: bool = False) -> str | None:
    """An address as it is kept, without a slash at its end; None for a path of a disk.

    A ``Path`` has lost a slash of its address, which is found all the same.

    Args:
        lies: what would lie on a disk instead, for the message: ``"a library lies in a folder"``.
        error: what is raised.
        is_any_key: objects that others named lie there, whose keys may hold what else ends a prefix (``?``, ``#``), and
            the whole bucket may be meant.

    Raises:
        WordframeError: an address of no known kind, or one that holds less or more than a bucket and a prefix.

    >>> parse_address(Path("S3://bucket/films/"), "a library lies in a folder", WordframeError)
    's3://bucket/films'
    >>> parse_address("films/s3", "a library lies in a folder", WordframeError)
    """
    found = _SHAPE.fullmatch(os.fspath(place))
    if found is None:
        return None
    scheme, rest = found[1].lower(), found[3]
    if scheme not in _SCHEMES:
        if found[2] == "/" and isinstance(place, str):  # a folder may end in a colon
            return None
        raise error(f"{found[1]}://: {lies}, or at s3://, gs:// or az:// BUCKET/PREFIX")
    bucket, _, key = rest.partition("/")
    key = key.strip("/")
    if not bucket or _NEVER_IN_A_BUCKET & set(bucket) or _is_refused(key, is_any_key):
        raise error(
            f"{scheme}://: an address is {scheme}://BUCKET/PREFIX and nothing else; credentials come from the "
            "environment or --storage-option"
        )
    if not key and not is_any_key:
        raise error(f"{scheme}://{bucket}: has no prefix; an address is {scheme}://BUCKET/PREFIX")
    return f"{scheme}://{bucket}/{key}" if key else f"{scheme}://{bucket}"


def _is_refused(key: str, is_any_key: bool) -> bool:
    return _SIGNED.search(key) is not None if is_any_key else not {"?", "#"}.isdisjoint(key)


def joined(place: str | Path, name: str) -> str | Path:
    """What ``name`` is below a folder or an address.

    >>> joined("s3://bucket/features/", "train")
    's3://bucket/features/train'
    """
    return f"{os.fspath(place).rstrip('/')}/{name}" if is_address(place) else Path(place) / name


def bucket_and_key(address: str) -> tuple[str, str]:
    """The bucket's address, and the key, which is empty where the whole bucket is meant.

    >>> bucket_and_key("s3://bucket/films/a.mp4")
    ('s3://bucket', 'films/a.mp4')
    """
    scheme, _, rest = address.partition("://")
    bucket, _, key = rest.partition("/")
    return f"{scheme}://{bucket}", key
