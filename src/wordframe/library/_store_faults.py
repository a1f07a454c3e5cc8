"""What an object store's error means, in one plain line that quotes nothing of what was sent.

obstore and Lance both pass on what the store answered, with its address, keys' names and long XML; of that a user needs
the kind alone.
"""

from __future__ import annotations

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


def explain(text: str) -> str | None:
    """The kind of an error by its text; None for one of no known kind.

    >>> explain("Error performing GET http://…: error sending request")
    'the store cannot be reached, or the connection broke; check the endpoint and run it again'
    >>> explain("Object at location films/wordframe.json not found")
    """
    lower = text.lower()
    return next((told for signs, told in _FAULTS if any(sign in lower for sign in signs)), None)


def is_no_bucket(text: str) -> bool:
    """Whether the bucket is missing, and not only what was looked for in it."""
    return any(sign in text.lower() for sign in _NO_BUCKET)
