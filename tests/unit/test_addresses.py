"""What is an address on object storage, and what is refused in one without being repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from wordframe.addresses import is_address, parse_address
from wordframe.errors import LibraryError

LIES = "a library lies in a folder"
SECRET = "wJalrXUtnFEMI"


@pytest.mark.parametrize(
    ("place", "address"),
    [
        ("s3://bucket/films", "s3://bucket/films"),
        ("GS://bucket/a/b/", "gs://bucket/a/b"),
        ("az:/bucket/films", "az://bucket/films"),
        (Path("s3://bucket/films/"), "s3://bucket/films"),
        ("s3://bucket//films", "s3://bucket/films"),
        ("s3://bucket/ann@home/a film", "s3://bucket/ann@home/a film"),
        ("/home/ann/s3:/films", None),
        ("./s3://bucket/films", None),
        ("films:/own", None),
        ("C://films", None),
        ("s3", None),
        ("", None),
    ],
)
def test_addresses_are_told_from_paths(place: str | Path, address: str | None) -> None:
    assert parse_address(place, LIES, LibraryError) == address
    assert address is None or is_address(address)


@pytest.mark.parametrize(
    "place",
    [
        f"s3://key:{SECRET}@bucket/films",
        f"s3://key:half/{SECRET}@bucket/films",  # keys of AWS may hold a slash
        f"s3:/key:{SECRET}@bucket/films",
        f"s3://bucket?token={SECRET}",
        f"az://bucket/films?sig={SECRET}",
        f"gs://bucket/films#{SECRET}",
        f"s3:///{SECRET}",
        "s3://",
        f"https://bucket.example/films?X-Amz-Signature={SECRET}",
        Path(f"ftp://host/{SECRET}"),
        "s3://bucket",
        "s3://bucket/",
    ],
)
def test_what_is_more_or_less_than_an_address_is_refused_and_not_repeated(place: str | Path) -> None:
    with pytest.raises(LibraryError, match=r"BUCKET/PREFIX") as refusal:
        parse_address(place, LIES, LibraryError)
    assert SECRET not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_objects_may_be_named_as_their_owners_like() -> None:
    for address in ("s3://bucket/what? #1.mp4", "s3://bucket"):
        assert parse_address(address, LIES, LibraryError, is_any_key=True) == address


@pytest.mark.parametrize(
    "query",
    ["", "X-Amz-Credential=ann&X-Amz-Signature=", "X-Goog-Signature=", "sv=2024-11-04&sig=", "x-amz-security-token="],
)
def test_a_signed_link_is_no_object_and_not_repeated(query: str) -> None:
    place = f"s3://bucket/a.mp4?{query}{SECRET}" if query else f"s3://bucket?{SECRET}"
    with pytest.raises(LibraryError, match=r"credentials come from the environment") as refusal:
        parse_address(place, LIES, LibraryError, is_any_key=True)
    assert SECRET not in str(refusal.value)
