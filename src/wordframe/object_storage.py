"""Object storage for all who read or write there: opens a store, and says what goes wrong in one line without secrets.

Credentials, region and endpoint come from the usual variables of the environment, or from options by object_store's
names: given, or in ``WORDFRAME_STORAGE_OPTIONS``. obstore and Lance both pass on what a store answered, with its
address, keys' names and long XML; of that a user needs the kind alone. Which error is raised is the caller's choice.
Neighbours: ``addresses.py`` says what an address is.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from wordframe.errors import WordframeError, needs_extra

__all__ = [
    "STORAGE_OPTIONS",
    "explain",
    "open_store",
    "options_for_lance",
    "options_of_environment",
    "put_if",
    "told",
]

STORAGE_OPTIONS = "WORDFRAME_STORAGE_OPTIONS"
"""The variable of the environment that holds options of the object store, as one JSON object of texts."""
_CONNECT_SECONDS, _ANSWER_SECONDS, _TRY_SECONDS, _TRIES = 5, 30, 20, 6
_OF_CLIENT = frozenset(
    "allow_http allow_invalid_certificates connect_timeout timeout proxy_url proxy_ca_certificate proxy_excludes "
    "user_agent http1_only http2_only".split()
)
_OF_KIND = {"s3": "aws_", "gs": "google_", "az": "azure_"}
_ENDPOINTS = ("aws_endpoint", "endpoint", "aws_endpoint_url", "endpoint_url", "azure_storage_endpoint")

# Options -------------------------------------------------------------------------------------------------------------


def options_of_environment(error: type[WordframeError] = WordframeError) -> dict[str, str]:
    """What ``WORDFRAME_STORAGE_OPTIONS`` says; ``error`` if it makes no sense."""
    try:
        values = json.loads(os.environ.get(STORAGE_OPTIONS) or "{}")
        return {str(name): str(value) for name, value in values.items()}
    except (ValueError, AttributeError, RecursionError):
        raise error(f'{STORAGE_OPTIONS}: is no JSON object, such as {{"aws_endpoint": "…"}}') from None


def options_for_lance(address: str, options: Mapping[str, str]) -> dict[str, str]:
    """What LanceDB is told of the store at an address, with bounds on how long it tries."""
    bounds = {
        "connect_timeout": f"{_CONNECT_SECONDS}s",
        "timeout": f"{_ANSWER_SECONDS}s",
        "client_max_retries": str(_TRIES),
        "client_retry_timeout": str(_TRY_SECONDS),
    }
    return bounds | _options_of(address, options)


def _options_of(address: str, options: Mapping[str, str]) -> dict[str, str]:
    """Those options that concern the kind of store at an address: a run may know several kinds."""
    others = tuple(kind for scheme, kind in _OF_KIND.items() if scheme != address.partition(":")[0])
    lower = {name.lower(): value for name, value in options.items()}
    mine = {name: value for name, value in lower.items() if not name.startswith(others)}
    endpoints = [mine.get(name) or os.environ.get(name.upper(), "") for name in _ENDPOINTS]
    # who names an endpoint with http:// wants no TLS
    return ({"allow_http": "true"} if any(value.startswith("http://") for value in endpoints) else {}) | mine


# Opening and asking --------------------------------------------------------------------------------------------------


def open_store(address: str, what: str, error: type[WordframeError], options: Mapping[str, str] | None = None) -> Any:
    """obstore's store at a bucket or a prefix, such as ``s3://bucket/films``; nothing is asked of it yet.

    Whoever asks again with the same environment gets the same one, with its connections.

    Args:
        what: lies there, for the message that obstore is missing. options: default those of the environment.

    Raises:
        WordframeError: an option makes no sense; of the class ``error``. MissingExtraError: ``wordframe[cloud]`` is not
            installed.
    """
    with needs_extra("cloud", what):
        from obstore import store
        from obstore.exceptions import BaseError
    chosen = _options_of(address, options_of_environment(error) if options is None else options)
    kind = _OF_KIND[address.partition(":")[0]]
    usual = tuple(sorted(item for item in os.environ.items() if item[0].lower().startswith(kind)))
    try:
        return _opened(store, address, tuple(sorted(chosen.items())), usual)
    except (BaseError, TypeError, ValueError) as fault:
        raise error(f"{address}: {explain(str(fault)) or 'an option of the store makes no sense'}") from None


@lru_cache(maxsize=32)
def _opened(stores: Any, address: str, options: tuple[tuple[str, str], ...], usual: tuple[tuple[str, str], ...]) -> Any:
    """``usual``: the variables of the environment that obstore reads by itself, so that a change of them counts."""
    client = {"connect_timeout": f"{_CONNECT_SECONDS}s", "timeout": f"{_ANSWER_SECONDS}s"}
    client |= {name: value for name, value in options if name in _OF_CLIENT}
    return stores.from_url(
        address,
        config={name: value for name, value in options if name not in _OF_CLIENT and not name.startswith("client_")},
        client_options=_typed(client),
        retry_config={"max_retries": _TRIES, "retry_timeout": datetime.timedelta(seconds=_TRY_SECONDS / 2)},
    )


def _typed(client: dict[str, str]) -> dict[str, Any]:
    """Options of the connection as obstore takes them: what is yes or no as such."""
    return {
        name: value.lower() == "true" if value.lower() in ("true", "false") else value for name, value in client.items()
    }


def put_if(store: Any, key: str, content: bytes, tag: Mapping[str, str] | None) -> Any | None:
    """Write an object if it is as ``tag`` says (None: not there); gives the store's answer, None if it was not so."""
    from obstore.exceptions import AlreadyExistsError, PreconditionError

    try:
        return store.put(key, content, mode="create" if tag is None else tag, use_multipart=False)
    except (AlreadyExistsError, PreconditionError):
        return None


# What goes wrong -----------------------------------------------------------------------------------------------------


_NO_BUCKET = ("nosuchbucket", "bucketnotfound", "specified bucket does not exist", "containernotfound")
_FAULTS = (
    (_NO_BUCKET, "there is no such bucket"),
    (
        ("invalidaccesskeyid", "signaturedoesnotmatch", "403 forbidden", "accessdenied", "401 unauthorized",
         "invalidtoken", "expiredtoken", "permissiondenied", "unauthenticated", "status code: 403",
         "authorizationfailed"),
        "the store refuses these credentials; check them in the environment or --storage-option, and what they may do",
    ),
    (
        ("missing credentials", "no credentials", "credentials provider", "instance metadata", "169.254.",
         "metadata.google", "credentialsnotloaded", "failed to load credentials"),
        "no credentials; set them in the environment (AWS_ACCESS_KEY_ID …) or with --storage-option",
    ),
    (
        ("unknown configuration", "unknownconfigurationkey", "configuration key"),
        "a --storage-option that the store does not know",
    ),
    (("503", "slowdown", "slow down", "service unavailable", "429"), "the store is busy or down; run it again later"),
    (("500 internal", "502 ", "504 ", "internalerror"), "the store has an error of its own; run it again later"),
    (
        ("error sending request", "connection refused", "tcp connect", "dns error", "timed out", "connection reset",
         "connection closed", "hyper error", "incompletemessage", "operation timed out", "client error (connect)",
         "error decoding response body"),
        "the store cannot be reached, or the connection broke; check the endpoint and run it again",
    ),
    (
        ("invalid path", "could not parse path"),
        "a key below it has an empty part, '.' or '..' between slashes, and no listing goes on over that; rename it",
    ),
)  # fmt: skip


@contextlib.contextmanager
def told(address: object, error: type[WordframeError]) -> Iterator[None]:
    """What a store raises within the block becomes ``error``; what is not there stays FileNotFoundError."""
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError as fault:
        if _is_no_bucket(str(fault)):
            raise error(f"{address}: {explain(str(fault))}") from None
        raise
    except (BaseError, OSError) as fault:
        raise error(f"{address}: {explain(str(fault)) or 'the object store failed'}") from None


def explain(text: str) -> str | None:
    """The kind of an error by its text; None for one of no known kind.

    >>> explain("Error performing GET http://…: error sending request")
    'the store cannot be reached, or the connection broke; check the endpoint and run it again'
    >>> explain("Object at location films/wordframe.json not found")
    """
    lower = text.lower()
    return next((told for signs, told in _FAULTS if any(sign in lower for sign in signs)), None)


def _is_no_bucket(text: str) -> bool:
    """Whether the bucket is missing, and not only what was looked for in it."""
    return any(sign in text.lower() for sign in _NO_BUCKET)
