"""What ``wordframe doctor --verify`` tells of a library's files.

Neighbours: ``doctor.py`` calls, ``wordframe.library`` does the work.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wordframe.library import Verification


def verified(folder: str, *, mend: bool) -> dict[str, Any]:
    """What was found, as plain values, with ``advice``: the command that is next, if one is.

    Raises:
        LibraryError: there is no library, it is being written, or it cannot be read or mended.
    """
    from wordframe.cli._terminal import bars_in_turn
    from wordframe.library import verify

    with bars_in_turn() as show:
        found = verify(folder, mend=mend, on_progress=lambda d, t: show("Reading (MB)", d // 10**6, t // 10**6))
    return asdict(found) | {"is_in_order": found.is_in_order, "advice": _advice(folder, found)}


def _advice(folder: str, found: Verification) -> str | None:
    from wordframe.disk import shown_command
    from wordframe.library import Library

    if not found.is_in_order:
        return shown_command("wordframe", "doctor", "--library", folder, "--verify", "--mend")
    if not (found.segments_lost or found.went_back or found.tables_lost):
        return None
    return shown_command("wordframe", "index", *(Library.open(folder).roots() or ["VIDEOS"]), "--library", folder)


def show_verified(found: dict[str, Any]) -> None:
    """For people, on standard output."""
    from wordframe.disk import one_line
    from wordframe.errors import counted

    compared = f"{counted(found['files'], 'file')} of tables, {found['bytes'] / 1e6:.1f} MB"
    if not found["is_noted"]:
        told = "noted them now" if found["mended"] else "the next index run notes them"
        print(f"Verified:  the library has no digests of its files to compare with; {told}")
    elif not found["damaged"]:
        print(f"Verified:  {compared}: all as they were written")
    for damage in found["damaged"]:
        print(f"DAMAGED:   {one_line(damage['path'])}: {one_line(damage['problem'])}")
    if found["not_noted"]:
        print(f"           {counted(found['not_noted'], 'file')} of a run that was killed could not be compared")
    for line in _losses(found):
        print(f"           {one_line(line)}")
    if found["mended"] and found["damaged"]:
        print("Mended:    what was whole is kept")
    if found["advice"] is not None:
        print(f"           {'then' if found['mended'] else 'mend it'}: {found['advice']}")


def _losses(found: dict[str, Any]) -> list[str]:
    from wordframe.errors import counted

    lines = []
    if found["segments_lost"] or found["videos"]:
        shown = ", ".join(found["videos"][:5]) or "videos whose names cannot be read any more"
        more = f" and {len(found['videos']) - 5:,} more" if len(found["videos"]) > 5 else ""
        verb = "is" if found["segments_lost"] == 1 else "are"
        lines.append(f"with them {counted(found['segments_lost'], 'segment')} {verb} lost, of {shown}{more}")
    if found["went_back"]:
        lines.append("what was written to the segments last is lost; the state before it is whole")
    for table in found["tables_lost"]:
        lines.append(f"nothing is left of the table {table}, which is made anew{_MEANING.get(table, '')}")
    return lines


_MEANING = {
    "segments": ": all videos have to be indexed again",
    "failures": ": files that could not be read are tried again",
    "models": ": wordframe prepare has to be told the models again",
}
