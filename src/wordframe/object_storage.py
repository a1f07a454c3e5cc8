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
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

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
_OF_S3_ALONE = "AWS_ENDPOINT_URL_S3"
_ENDPOINTS = (
    "aws_endpoint",
    "endpoint",
    "aws_endpoint_url_s3",
    "aws_endpoint_url",
    "endpoint_url",
    "azure_storage_endpoint",
    "azure_endpoint",
)
_SENT_AS_THEY_ARE = frozenset(
    f"{kind}{name}"
    for kind in ("aws_", "")
    for name in ("access_key_id", "secret_access_key", "session_token", "token", "region", "default_region")
)
"""A line break in one of these, as of a file from Windows, makes no request."""

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
    if address.startswith("s3:") and not mine.keys() & set(_ENDPOINTS) and (ours := os.environ.get(_OF_S3_ALONE)):
        mine["aws_endpoint"] = ours  # Lance does not read it
    endpoints = [mine.get(name) or os.environ.get(name.upper(), "") for name in _ENDPOINTS]
    # who names an endpoint with http:// wants no TLS
    return ({"allow_http": "true"} if any(value.startswith("http://") for value in endpoints) else {}) | mine


def _check_options(kind: str, options: Mapping[str, str], error: type[WordframeError]) -> None:
    """Raise ``error`` for what obstore and Lance would end the program over; its value is not repeated."""
    usual = {name: value for name, value in os.environ.items() if name.lower().startswith(kind)}
    for name, value in [*usual.items(), *options.items()]:
        if name.lower() in _ENDPOINTS and not _is_endpoint(value):
            raise error(f"{name}: is no address of a store, such as https://store.example; set it anew or unset it")
        if name.lower() in _SENT_AS_THEY_ARE and not re.fullmatch(r"[ -~]*", value):
            raise error(f"{name}: holds a line break or a letter that no request can hold; set it anew")
        if name.lower().endswith("region") and not re.fullmatch(r"[\w-]*", value, re.ASCII):
            raise error(f"{name}: is no name of a region, such as eu-central-1; set it anew")


def _is_endpoint(value: str) -> bool:
    """Whether requests can be sent there.

    >>> [_is_endpoint(each) for each in ("http://[::1]:9000/a", "https://a.example", "a.example:9000", "", "http://:1")]
    [True, True, False, False, False]
    """
    try:
        parts = urlsplit(value)
        has_port = parts.port is None or parts.port > 0
    except ValueError:  # a port that is none, a bracket that is not closed
        return False
    is_plain = re.fullmatch(r"[!-~]+", value) is not None
    return is_plain and has_port and parts.scheme in ("http", "https") and bool(parts.hostname)


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
    _check_options(kind, chosen, error)
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
        ("incorrectly configured region", "authorizationheadermalformed", "permanentredirect"),
        "the bucket is in another region; name it in AWS_REGION or with --storage-option aws_region=…",
    ),
    (
        ("requesttimetooskewed", "requestexpired"),
        "this machine's clock is too far from the store's; set it and run it again",
    ),
    (
        ("missing credentials", "no credentials", "credentials provider", "instance metadata", "169.254.",
         "metadata.google", "credentialsnotloaded", "failed to load credentials"),
        "no credentials; set them in the environment (AWS_ACCESS_KEY_ID …) or with --storage-option",
    ),
    (
        ("expiredtoken", "token has expired"),
        "these credentials have expired; get new ones and set them in the environment or with --storage-option",
    ),
    (
        ("invalidaccesskeyid", "signaturedoesnotmatch", "403 forbidden", "accessdenied", "401 unauthorized",
         "invalidtoken", "permissiondenied", "unauthenticated", "status code: 403", "authorizationfailed"),
        "the store refuses these credentials; check them in the environment or --storage-option, and what they may do",
    ),
    (
        ("unknown configuration", "unknownconfigurationkey", "configuration key"),
        "a --storage-option that the store does not know",
    ),
    (
        ("account must be specified",),
        "no storage account; set AZURE_STORAGE_ACCOUNT_NAME, or --storage-option azure_storage_account_name=…",
    ),
    (("service account file",), "the file that GOOGLE_SERVICE_ACCOUNT names cannot be read, or holds no such account"),
    (("domain character", "domain name"), "no bucket or account can have such a name"),
    (
        ("code: 503", "503 s", "slowdown", "slow down", "service unavailable", "code: 429", "429 too"),
        "the store is busy or down; run it again later",
    ),
    (("500 internal", "502 ", "504 ", "internalerror"), "the store has an error of its own; run it again later"),
    (
        ("error sending request", "connection refused", "tcp connect", "dns error", "timed out", "connection reset",
         "connection closed", "hyper error", "incompletemessage", "operation timed out", "client error (connect)",
         "error decoding response body", "response body error"),
        "the store cannot be reached, or the connection broke; check the endpoint and run it again",
    ),
    (
        ("invalid path", "could not parse path"),
        "a key below it has an empty part, '.' or '..' between slashes, and no listing goes on over that; rename it",
    ),
)  # fmt: skip
_ADDRESS = re.compile(r"[a-z0-9]+://(?!169\.254\.|metadata\.)[^\s<>'\"]+")
"""In a text of small letters: hosts and keys may be called anything. Those kept are asked for credentials."""


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
    except BaseException as fault:
        if type(fault).__name__ != "PanicException":  # obstore's; no Exception, and nothing that can be imported
            raise
        raise error(f"{address}: the object store failed; check its options and the variables that it reads") from None


def explain(text: str) -> str | None:
    """The kind of an error by its text; None for one of no known kind.

    >>> explain("Error performing GET http://…: error sending request")
    'the store cannot be reached, or the connection broke; check the endpoint and run it again'
    >>> explain("Object at location films/wordframe.json not found")
    """
    lower = _ADDRESS.sub("", text.lower())
    return next((told for signs, told in _FAULTS if any(sign in lower for sign in signs)), None)


def _is_no_bucket(text: str) -> bool:
    """Whether the bucket is missing, and not only what was looked for in it."""
    return any(sign in text.lower() for sign in _NO_BUCKET)
