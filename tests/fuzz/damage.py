"""Damage to a file: of its parts where ``boxes.py`` knows them, of its lines where it is a text, of any byte.

``damaged`` is a pure function of the file, another of its kind, and a generator of random numbers.
"""

from __future__ import annotations

import io
import random
import re
import zipfile
from collections.abc import Callable
from urllib.parse import quote_from_bytes, unquote_to_bytes

from tests.fuzz.boxes import READERS, Part, mend_png, write_size

_TEXTS = (".json", ".jsonl", ".csv", ".tsv", ".yaml", ".http")
_ZIPS = (".pt", ".bin")
_BODY_BYTES = 256
"""Numbers of a part stand at its beginning."""
Damage = Callable[[bytearray, list[Part], bytes, random.Random], None]


def damaged(data: bytes, other: bytes, suffix: str, chance: random.Random) -> tuple[bytes, str]:
    """The file with one to three faults, and their names. ``other``: a file to take parts of."""
    if suffix in _ZIPS and chance.random() < 0.7:
        return _damaged_archive(data, other, chance)
    if suffix == ".http" and chance.random() < 0.85:
        return _damaged_request(data, chance)
    broken = bytearray(data)
    names = []
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        if suffix in _TEXTS:
            name = chance.choice(list(TEXT_DAMAGES))
            broken = bytearray(TEXT_DAMAGES[name](bytes(broken), chance))
        else:
            parts = list(READERS[suffix](bytes(broken))) if suffix in READERS else []
            name = chance.choice(list(PART_DAMAGES if parts and chance.random() < 0.75 else BLIND_DAMAGES))
            (PART_DAMAGES | BLIND_DAMAGES)[name](broken, parts, other, chance)
        names.append(name)
    if suffix == ".png" and chance.random() < 0.8:
        mend_png(broken)
    return bytes(broken), "+".join(names)


def _damaged_archive(data: bytes, other: bytes, chance: random.Random) -> tuple[bytes, str]:
    """One entry of a zip damaged, the archive whole; torch's files are such."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(written, "w") as target:
        names = source.namelist()
        pickles = [name for name in names if name.endswith((".pkl", ".py", "version"))]
        chosen = chance.choice(pickles if pickles and chance.random() < 0.7 else names)
        verb = chance.choice(("entry", "entry", "entry", "entry", "lost entry"))
        for name in names:
            content = source.read(name)
            if name == chosen and verb == "lost entry":
                continue
            if name == chosen and content:
                broken = bytearray(content)
                BLIND_DAMAGES[chance.choice(list(BLIND_DAMAGES))](broken, [], other, chance)
                content = bytes(broken)
            target.writestr(name, content)
    return written.getvalue(), verb


def _damaged_request(data: bytes, chance: random.Random) -> tuple[bytes, str]:
    """One part of what is asked for damaged, and written as the protocol wants it, so that the program hears of it."""
    head, _, body = data.partition(b"\n\n")
    line, _, headers = head.partition(b"\n")
    method, target, version = line.split(b" ")
    part = chance.choice(("target", "target", "target", "headers", *["body"] * 3 * bool(body)))
    name = chance.choice(list(TEXT_DAMAGES))
    if part == "body":
        body = TEXT_DAMAGES[name](body, chance)[:1_000_000]
    elif part == "headers":
        place = chance.choice(list(re.finditer(rb"(?<=: )(?!HOST)[^\n]+", headers)) or [re.search(b"$", headers)])
        assert place is not None
        value = re.sub(rb"[\0\r\n]", b" ", TEXT_DAMAGES[name](place[0], chance))[:20_000]
        headers = headers[: place.start()] + value.strip() + headers[place.end() :]
    else:  # a value of its query, or the id of a video or a segment
        place = chance.choice(
            list(re.finditer(rb"(?<==)[^&]+|(?<=eos/)[^/?]+|(?<=nts/)[^/?]+", target)) or [re.search(b"$", target)]
        )
        assert place is not None
        value = TEXT_DAMAGES[name](unquote_to_bytes(place[0]), chance)[:20_000]
        target = target[: place.start()] + quote_from_bytes(value, safe="").encode() + target[place.end() :]
    return b" ".join((method, target, version)) + b"\n" + headers + b"\n\n" + body, f"{part}: {name}"


# Parts ----------------------------------------------------------------------------------------------------------------


def extreme(num_bytes: int, chance: random.Random) -> int:
    """A number of so many bytes that somebody did not think of."""
    top = 1 << (8 * num_bytes)
    number = chance.choice((0, 1, 2, 3, 7, top - 1, top - 2, top // 2, top // 2 - 1, top // 16, 1000, 65_535, 1 << 31))
    return (chance.randrange(top) if chance.random() < 0.2 else number) % top


def _size(data: bytearray, parts: list[Part], other: bytes, chance: random.Random) -> None:
    part = chance.choice([part for part in parts if part.size_bytes] or parts)
    near = part.size + chance.choice((-9, -8, -4, -1, 1, 4, 8, 64, 100_000))
    write_size(data, part, near if chance.random() < 0.5 else extreme(part.size_bytes or 1, chance))


def _place_of_number(part: Part, chance: random.Random) -> tuple[int, int]:
    """Where a number of the part's content may stand, and its bytes."""
    length = max(1, min(part.stop, part.body + _BODY_BYTES) - part.body)
    if length <= 8:  # an element of Matroska is one number
        return part.body, length
    num_bytes = chance.choice((1, 2, 4, 4, 4, 8))
    return part.body + num_bytes * chance.randrange(max(1, length // num_bytes)), num_bytes


def _number(data: bytearray, parts: list[Part], other: bytes, chance: random.Random) -> None:
    """Counts, durations, timescales, dimensions, times, offsets."""
    at, num_bytes = _place_of_number(_leaf(parts, chance), chance)
    order = chance.choice(("big", "little"))
    data[at : at + num_bytes] = extreme(num_bytes, chance).to_bytes(num_bytes, order)  # type: ignore[arg-type]


def _leaf(parts: list[Part], chance: random.Random) -> Part:
    """A part that holds no others; seldom one of the many that hold pictures."""
    by_name: dict[str, list[Part]] = {}
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        if following is None or not part.holds(following):
            by_name.setdefault(part.name, []).append(part)
    return chance.choice(by_name[chance.choice(list(by_name))])


def _flip_in_part(data: bytearray, parts: list[Part], other: bytes, chance: random.Random) -> None:
    part = _leaf(parts, chance)
    stop = min(len(data), max(part.stop, part.body + 1))
    for _ in range(chance.choice((1, 1, 2, 8))):
        if part.body < stop:
            data[chance.randrange(part.body, stop)] ^= 1 << chance.randrange(8)


def _replace(data: bytearray, parts: list[Part], start: int, stop: int, new: bytes, chance: random.Random) -> None:
    """Other bytes in the place of a part; mostly, what holds it says its new size."""
    if chance.random() < 0.8:
        for holder in parts:
            if holder.body <= start and stop <= holder.stop and (holder.start, holder.stop) != (start, stop):
                write_size(data, holder, holder.size + len(new) - (stop - start))
    data[start:stop] = new


def _remove(data: bytearray, parts: list[Part], other: bytes, chance: random.Random) -> None:
    part = chance.choice(parts)
    _replace(data, parts, part.start, part.stop, b"", chance)


def _repeat(data: bytearray, parts: list[Part], other: bytes, chance: random.Random) -> None:
    part, times = chance.choice(parts), chance.choice((2, 2, 3, 50))
    if part.stop - part.start > 20_000:
        times = 2
    _replace(data, parts, part.start, part.stop, bytes(data[part.start : part.stop]) * times, chance)


def _swap(data: bytearray, parts: list[Part], other: bytes, chance: random.Random) -> None:
    first, second = sorted((chance.choice(parts), chance.choice(parts)), key=lambda part: part.start)
    if first.stop <= second.start:
        between = data[first.stop : second.start]
        moved = data[second.start : second.stop] + between + data[first.start : first.stop]
        data[first.start : second.stop] = moved


def _put_into(data: bytearray, parts: list[Part], other: bytes, chance: random.Random) -> None:
    """A part inside another, itself perhaps."""
    inner, outer = chance.choice(parts), chance.choice(parts)
    _replace(data, parts, outer.body, outer.body, bytes(data[inner.start : inner.stop][:20_000]), chance)


def _rename(data: bytearray, parts: list[Part], other: bytes, chance: random.Random) -> None:
    part, model = chance.choice(parts), chance.choice(parts)
    num_bytes = min(4, part.body - part.start, model.body - model.start)
    at, from_ = (4, 4) if part.coding == "big" and part.size_at == part.start else (0, 0)
    data[part.start + at : part.start + at + num_bytes] = data[model.start + from_ : model.start + from_ + num_bytes]


def _cut_at_part(data: bytearray, parts: list[Part], other: bytes, chance: random.Random) -> None:
    part = chance.choice(parts)
    del data[max(1, chance.choice((part.start, part.body, part.stop))) :]


PART_DAMAGES: dict[str, Damage] = {
    "size": _size,
    "number": _number,
    "more numbers": lambda *given: [_number(*given) for _ in range(4)] and None,
    "bits of a part": _flip_in_part,
    "part removed": _remove,
    "part repeated": _repeat,
    "parts swapped": _swap,
    "part within a part": _put_into,
    "part renamed": _rename,
    "cut at a part": _cut_at_part,
}

# Any bytes ------------------------------------------------------------------------------------------------------------


def _flip(data: bytearray, parts: list[Part], other: bytes, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 4, 20, 1 + len(data) // 200)) if data else 0):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _cut(data: bytearray, parts: list[Part], other: bytes, chance: random.Random) -> None:
    del data[chance.randrange(len(data) + 1) :]


def _zeros(data: bytearray, parts: list[Part], other: bytes, chance: random.Random) -> None:
    start = chance.randrange(len(data) + 1)
    stop = min(len(data), start + chance.choice((4, 64, 1024, len(data) // 5)))
    data[start:stop] = bytes(stop - start)


def _lost_run(data: bytearray, parts: list[Part], other: bytes, chance: random.Random) -> None:
    start = chance.randrange(len(data) + 1)
    del data[start : start + chance.choice((1, 4, 188, 1024, len(data) // 4))]


def _splice(data: bytearray, parts: list[Part], other: bytes, chance: random.Random) -> None:
    """The beginning of one file and the end of another, cut where it falls."""
    data[chance.randrange(len(data) + 1) :] = other[chance.randrange(len(other) + 1) :]


def _other_head(data: bytearray, parts: list[Part], other: bytes, chance: random.Random) -> None:
    size = chance.choice((16, 64, 1024, 4096))
    data[:size] = other[:size]


def _joined(data: bytearray, parts: list[Part], other: bytes, chance: random.Random) -> None:
    data += other


BLIND_DAMAGES: dict[str, Damage] = {
    "bits": _flip,
    "cut": _cut,
    "zeros": _zeros,
    "run lost": _lost_run,
    "spliced": _splice,
    "other head": _other_head,
    "joined": _joined,
}

# Texts ----------------------------------------------------------------------------------------------------------------

_ODD_VALUES = (
    *(b"null", b"true", b"[]", b"{}", b'""', b"-1", b"0", b"1e999", b"NaN", b".inf", b"99999999999999999999", b"~"),
    *(
        b"9" * 5000,
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'"\\ud800"',
        b"!!python/object/apply:os.getcwd []",
        b"2024-01-01",
    ),
    b"&a [*a]",
)
_ODD_BYTES = (
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b'"',
    b"'",
    b",",
    b":",
    b"\n",
    b"\r",
    b"\t",
    b"{",
    b"]",
    b"\\",
    b"&",
    b"*",
)
_LAUGHS = b"".join(b"\nx%d: &x%d [%s]" % (i, i, b", ".join([b"*x%d" % (i - 1)] * 9) if i else b"0") for i in range(30))
"""Nine of the nine of the nine: a few hundred bytes that are 10^28 values when written out."""


def _odd_value(data: bytes, chance: random.Random) -> bytes:
    """In the place of a number, a string or a word."""
    places = list(re.finditer(rb'"[^"\n]*"|[\w.+-]+', data))
    if not places:
        return chance.choice(_ODD_VALUES)
    place = chance.choice(places)
    return data[: place.start()] + chance.choice(_ODD_VALUES) + data[place.end() :]


def _laughs(data: bytes, chance: random.Random) -> bytes:
    """In the place of a value."""
    places = list(re.finditer(rb": ([^\n]+)", data))
    if places:
        place = chance.choice(places)
        data = data[: place.start(1)] + b"*x29" + data[place.end(1) :]
    return _LAUGHS + b"\n" + data


def _odd_bytes(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.choice(_ODD_BYTES) * chance.choice((1, 1, 100)) + data[at:]


def _lines(data: bytes, chance: random.Random) -> bytes:
    """One lost, repeated or moved."""
    lines = data.split(b"\n")
    line = lines.pop(chance.randrange(len(lines)))
    for _ in range(chance.choice((0, 1, 2, 1000))):
        lines.insert(chance.randrange(len(lines) + 1), line)
    return b"\n".join(lines)


def _blind(name: str) -> Callable[[bytes, random.Random], bytes]:
    def change(data: bytes, chance: random.Random) -> bytes:
        broken = bytearray(data)
        BLIND_DAMAGES[name](broken, [], data, chance)
        return bytes(broken)

    return change


TEXT_DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "odd value": _odd_value,
    "odd bytes": _odd_bytes,
    "lines": _lines,
    "laughs": _laughs,
    "bits": _blind("bits"),
    "cut": _blind("cut"),
}
