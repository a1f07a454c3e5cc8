"""Opens a bucket, or a prefix of one, and says in one line without credentials what it refuses.

Credentials, region and endpoint come from the usual variables of the environment, or from options by object_store's
names. Neighbours: ``_object_store.py`` keeps a library there, ``_objects.py`` reads videos.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator, Mapping
from typing import Any

from wordframe.errors import LibraryError, needs_extra
from wordframe.library._store_faults import explain, is_no_bucket

CONNECT_SECONDS, ANSWER_SECONDS, TRY_SECONDS, TRIES = 5, 30, 20, 6
_OF_CLIENT = frozenset(
    "allow_http allow_invalid_certificates connect_timeout timeout proxy_url proxy_ca_certificate proxy_excludes "
    "user_agent http1_only http2_only".split()
)


def plain_http(options: Mapping[str, str]) -> dict[str, str]:
    """Who names an endpoint with http:// wants no TLS."""
    names = ("aws_endpoint", "endpoint", "aws_endpoint_url", "endpoint_url", "azure_storage_endpoint")
    named = [options.get(name) or os.environ.get(name.upper(), "") for name in names]
    return {"allow_http": "true"} if any(value.startswith("http://") for value in named) else {}


def open_store(address: str, options: Mapping[str, str], what: str) -> Any:
    """obstore's store at an address, such as ``s3://bucket/films``; nothing is asked of it yet.

    Args:
        options: their names in lower case. what: lies there, for the message that obstore is missing.

    Raises:
        LibraryError: an option makes no sense. MissingExtraError: ``wordframe[cloud]`` is not installed.
    """
    with needs_extra("cloud", what):
        from obstore import store
        from obstore.exceptions import BaseError
    chosen = plain_http(options) | dict(options)
    client = {"connect_timeout": f"{CONNECT_SECONDS}s", "timeout": f"{ANSWER_SECONDS}s"}
    client |= {name: value for name, value in chosen.items() if name in _OF_CLIENT}
    try:
        open_it: Any = store.from_url  # its types know each kind of store apart
        return open_it(
            address,
            config={
                name: value
                for name, value in chosen.items()
                if name not in _OF_CLIENT and not name.startswith("client_")
            },
            client_options=_typed(client),
            retry_config={"max_retries": TRIES, "retry_timeout": datetime.timedelta(seconds=TRY_SECONDS / 2)},
        )
    except (BaseError, TypeError, ValueError) as error:
        raise LibraryError(f"{address}: {explain(str(error)) or 'an option of the store makes no sense'}") from None


@contextlib.contextmanager
def told(address: object) -> Iterator[None]:
    """What obstore raises within the block becomes a LibraryError; what is not there stays FileNotFoundError."""
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError as error:
        if is_no_bucket(str(error)):
            raise LibraryError(f"{address}: {explain(str(error))}") from None
        raise
    except (BaseError, OSError) as error:
        raise LibraryError(f"{address}: {explain(str(error)) or 'the object store failed'}") from None


def _typed(client: dict[str, str]) -> dict[str, Any]:
    """Options of the connection as obstore takes them: what is yes or no as such."""
    return {
        name: value.lower() == "true" if value.lower() in ("true", "false") else value for name, value in client.items()
    }
