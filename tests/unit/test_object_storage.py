"""What a store, its client or its options get wrong is one line that says what to do, and nothing of a secret."""

from __future__ import annotations

import pytest

from wordframe.errors import LibraryError
from wordframe.object_storage import explain, open_store, options_for_lance, told

pytest.importorskip("obstore", reason="of the extra cloud")
ADDRESS, SECRET = "s3://bucket/films", "wJalrXUtnFEMI"


@pytest.fixture(autouse=True)
def _nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("AWS_ENDPOINT", f"{SECRET}.example:9000", "is no address of a store, such as https://store.example"),
        ("AWS_ENDPOINT", "", "is no address of a store"),
        ("AWS_ENDPOINT_URL", f"http://ann:{SECRET}@host:99999", "is no address of a store"),
        ("AWS_ENDPOINT_URL_S3", f"http://{SECRET} host", "is no address of a store"),
        ("AWS_ENDPOINT", f"http://[::1/{SECRET}", "is no address of a store"),
        ("AWS_ACCESS_KEY_ID", f"{SECRET}\r", "holds a line break or a letter that no request can hold"),
        ("AWS_SESSION_TOKEN", f"{SECRET}\n", "holds a line break"),
        ("AWS_REGION", f"eu west {SECRET}", "is no name of a region"),
    ],
)
@pytest.mark.parametrize("way", ["variable", "option"])
def test_what_the_client_would_end_the_program_over_is_refused_before(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, line: str, way: str
) -> None:
    options = {}
    if way == "variable":
        monkeypatch.setenv(name, value)
    else:
        options[name.lower()] = value
    with pytest.raises(LibraryError, match=line) as refusal:
        open_store(ADDRESS, "a library on object storage", LibraryError, options)
    assert str(refusal.value).lower().startswith(f"{name.lower()}: ")
    assert SECRET not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_lance_hears_of_the_endpoint_that_is_for_s3_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    assert (
        options_for_lance(ADDRESS, {}).items() >= {"aws_endpoint": "http://127.0.0.1:9", "allow_http": "true"}.items()
    )
    assert "aws_endpoint" not in options_for_lance(ADDRESS, {"aws_endpoint_url": "https://store.example"})
    assert "aws_endpoint" not in options_for_lance("gs://bucket/films", {})


class PanicException(BaseException):
    """As obstore's."""


def test_a_panic_of_the_client_is_a_line_and_other_ends_stay_what_they_are() -> None:
    with pytest.raises(LibraryError, match="the object store failed; check its options"), told(ADDRESS, LibraryError):
        raise PanicException(SECRET)
    with pytest.raises(KeyboardInterrupt), told(ADDRESS, LibraryError):
        raise KeyboardInterrupt


_FAILED = "Generic S3 error: Error performing GET {} in 5.169243ms - {}"
_STATUS = "Server returned non-2xx status code: "


@pytest.mark.parametrize(
    ("address", "failure", "line"),
    [
        (
            "http://a/b",
            "Received redirect without LOCATION, … an incorrectly configured region",
            "is in another region",
        ),
        ("http://a/b", f"{_STATUS}400 Bad Request: <Code>AuthorizationHeaderMalformed</Code>", "is in another region"),
        ("http://a/b", f"{_STATUS}403 Forbidden: <Code>RequestTimeTooSkewed</Code>", "clock"),
        ("http://a/b", f"{_STATUS}400 Bad Request: <Code>ExpiredToken</Code>", "have expired"),
        ("http://169.254.169.254/latest/api/token", f"{_STATUS}403 Forbidden", "no credentials"),
        ("http://a/b", f"{_STATUS}403 Forbidden: <Code>AccessDenied</Code>", "refuses these credentials"),
        ("http://a/b", f"{_STATUS}503 Slow Down", "busy or down"),
        # what a host, a port or a key is called says nothing
        ("http://127.0.0.1:9503/slowdown/accessdenied", "error sending request", "cannot be reached"),
        ("http://a/429.mp4", f"{_STATUS}500 Internal Server Error", "an error of its own"),
    ],
)
def test_each_kind_of_failure_has_its_line(address: str, failure: str, line: str) -> None:
    assert line in (explain(_FAILED.format(address, failure)) or "")


def test_a_name_that_no_bucket_can_have_is_told() -> None:
    with pytest.raises(LibraryError, match="no bucket or account can have such a name"):
        open_store("s3://my bucket/films", "a library on object storage", LibraryError, {})
