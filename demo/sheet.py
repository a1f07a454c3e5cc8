"""The demo's results as one page that needs nothing from outside: thumbnails of the hits at their best frame, times."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from answers import Answer

from wordframe.cli import timecode
from wordframe.search import Hit
from wordframe.video import open_frames, thumbnail

THUMBNAIL_WIDTH = 256

STYLE = """
:root { color-scheme: light dark; --ink: #1d2129; --soft: #667085; --paper: #f6f7f9; --card: #fff; --line: #e1e4ea;
        --good: #187a48; --fair: #9a6400; --poor: #b3362b; --mark: #3a66d6; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaee; --soft: #98a1b0; --paper: #14161a; --card: #1d2026;
        --line: #2d323b; --good: #54c58a; --fair: #e2ad4b; --poor: #f07f74; --mark: #86a5fb; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 76rem; background: var(--paper); color: var(--ink);
       font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.6rem; letter-spacing: -.01em; }
h2 { margin: 0; font-size: 1.15rem; }
p { margin: .3rem 0 0; color: var(--soft); }
section { margin-top: 2.5rem; }
header, .head { display: flex; flex-wrap: wrap; gap: .2rem .9rem; align-items: baseline; }
header { display: block; }
.verdict { font-size: .9rem; font-weight: 600; }
.good { color: var(--good); } .fair { color: var(--fair); } .poor { color: var(--poor); }
ol { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(13rem, 100%), 1fr)); gap: .9rem; padding: 0;
     margin: .8rem 0 0; list-style: none; }
li { overflow: hidden; background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }
li.shows { border-color: var(--good); }
img { display: block; width: 100%; aspect-ratio: 16 / 9; object-fit: cover; background: var(--line); }
.text { padding: .5rem .7rem .6rem; font-size: .875rem; }
.times { font-weight: 600; font-variant-numeric: tabular-nums; }
.name { display: flex; justify-content: space-between; gap: .5rem; color: var(--soft); }
.name span:first-child { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.bar { position: relative; height: .45rem; margin-top: .45rem; border-radius: .25rem; background: var(--line); }
.bar i { position: absolute; top: 0; bottom: 0; border-radius: .25rem; background: var(--mark); }
.bar i.true { top: -.15rem; bottom: -.15rem; background: none; border: 2px solid var(--good); }
footer { margin-top: 3rem; font-size: .875rem; color: var(--soft); }
"""


def write_sheet(path: Path, answers: Sequence[Answer], *, summary: str, facts: str) -> None:
    """One self-contained HTML file."""
    sections = "\n".join(_section(answer) for answer in answers)
    path.write_text(
        f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>wordframe: what a dozen sentences found</title>
<style>{STYLE}</style>
<header><h1>What a dozen sentences found</h1><p>{escape(summary)}</p><p>{escape(facts)}</p></header>
{sections}
<footer>The bar under a picture is the whole video. Filled: the moment that was found. Outlined: where the subject is
really seen.</footer>
</html>
""",
        encoding="utf-8",
    )


def _section(answer: Answer) -> str:
    tone = "poor" if not answer.right_video else "fair" if answer.right_moment is False else "good"
    cards = "\n".join(_card(answer, hit) for hit in answer.hits)
    return (
        f'<section><div class="head"><h2>{escape(answer.query.text)}</h2>'
        f'<span class="verdict {tone}">{answer.verdict}</span></div>\n<ol>\n{cards}\n</ol></section>'
    )


def _card(answer: Answer, hit: Hit) -> str:
    scenes = answer.scenes_in(hit)
    name = escape(Path(hit.path).name)
    found = _stretch("found", hit.start_seconds, hit.end_seconds, hit.duration_seconds)
    true = "".join(_stretch("true", s.start_seconds, s.end_seconds, hit.duration_seconds) for s in scenes)
    picture = picture_at(hit.path, hit.moments[0].peak_seconds)
    return (
        f'<li class="{"shows" if scenes else "other"}"><img alt="{name}" src="data:image/jpeg;base64,{picture}">'
        f'<div class="text"><div class="times">{timecode(hit.start_seconds)} – {timecode(hit.end_seconds)}</div>'
        f'<div class="name"><span>{name}</span><span>{hit.score:.3f}</span></div>'
        f'<div class="bar">{found}{true}</div></div></li>'
    )


def _stretch(kind: str, start: float, stop: float, duration: float) -> str:
    left, right = (100 * min(max(seconds / duration, 0.0), 1.0) for seconds in (start, stop))
    return f'<i class="{kind}" style="left:{left:.1f}%;width:{right - left:.1f}%"></i>'


def picture_at(path: str, seconds: float) -> str:
    """The frame shown at ``seconds`` as a small JPEG in base64, as a page takes it into itself."""
    with open_frames(path, [seconds]) as frames:
        return base64.b64encode(thumbnail(next(frames).rgb, THUMBNAIL_WIDTH)).decode()
