"""What a query asks for that the encoder cannot know: told in one line, with what helps.

An encoder declares what it is blind to (``Encoder.blind_to``); negation is beyond all of them (Yuksekgonul et al., ICLR
2023, arXiv 2210.01936: such encoders take a sentence for a bag of words). Nothing is refused: the search goes on.

*Another language.* Letters of another script tell it. Between languages in Latin letters: a query of three words or
more is not English if at most two in five of its words are in ``english_words.txt`` (those of the captions that the
offline encoder's classes are made of, also with an English ending) and two of them that could be no names are not. One
of two words needs a word that other languages join sentences with; of one word nothing is told. A test holds each kind
of note below one in two hundred of the English captions of four benchmarks.

Neighbours: ``queries.py`` reads a query, ``encoders/base.py`` has what is declared. The list is written by

    python -m wordframe.search._note
"""

from __future__ import annotations

import json
import re
import unicodedata
from functools import cache
from importlib.resources import files
from pathlib import Path

from wordframe.encoders import Encoder

WORDS_FILE = Path(__file__).parent / "english_words.txt"
ENGLISH_SHARE = 0.4
"""Where at most so many of its words are English, a query is not."""
_FOREIGN_LETTERS = 1 / 3
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_ENDINGS = ("'s", "s", "es", "ing", "ed", "er", "ers", "ly", "d", "n't")
_SHORTEST_STEM = 3
_JOINING = frozenset(
    "der die das dem und ein eine einer einen mit auf im ist nicht le la les un une des aux et dans sur avec el los "
    "las una unas con por que il lo gli uno di della che nel sulla os um uma da na em het een op aan met zijn och ett "
    "på med det som w z i się se bir ve egy az si cu pe yang".split()
)
"""That join sentences in other languages, and mean nothing in English."""
_NUMBER = re.compile(r"\b(?=(?:[\w.:-]*\d){4})[\w.:-]+\b")
_QUOTED = re.compile(
    r"[\"“”„«»]\s*[^\"“”„«»]+[\"“”»«]|\b(?:that|which|it) (?:says|reads)\b|\b(?:the words?|subtitled?)\b"
)
_NEGATION = re.compile(r"\b(?:no|not|without|never|nobody|nothing|none|\w+n['’]t)\b(?! only\b)", re.IGNORECASE)


def query_note(encoder: Encoder, text: str) -> str | None:
    """The line for a sentence, or None where the encoder may know all of it.

    Args:
        text: as ``check_query`` gives it.
    """
    blind = encoder.blind_to
    words = _WORD.findall(text)
    if not any(character.isalnum() for character in text):
        # encoders of the web's captions met some, and say of none what they made of it
        known = (
            "the encoder knows no emoji" if "emoji" in blind else "what the encoder makes of emoji alone is uncertain"
        )
        return f"there is no word in this query, and {known}: describe in words what is to be seen"
    if "language" in blind and _is_foreign(text, words):
        return (
            "this seems to be no English, which is all that the encoder reads: say it in English, or make a library "
            "with one that reads other languages (wordframe encoders lists them)"
        )
    if "text" in blind and (found := _QUOTED.search(text)):
        return f"{_shown(found[0])}: the encoder reads no text in the picture; describe what else is to be seen"
    if "text" in blind and (found := _NUMBER.search(text)):
        return (
            f"{_shown(found[0])}: the encoder reads no numbers; describe what is to be seen, and use the filters for "
            "file names, folders and dates"
        )
    if "names" in blind and (name := _name(text, words)):
        return f"{_shown(name)}: the encoder knows no names; describe what is to be seen instead"
    if found := _NEGATION.search(text):
        return f"{_shown(found[0])} has hardly an effect: what is named is searched for; name only what is to be seen"
    return None


def _shown(words: str) -> str:
    return "“" + words.strip('"“”„«» ') + "”"


def _is_foreign(text: str, words: list[str]) -> bool:
    letters = [character for character in text if character.isalpha()]
    others = sum(not unicodedata.name(character, "").startswith("LATIN") for character in letters)
    if others > _FOREIGN_LETTERS * len(letters):
        return True
    english = sum(map(_is_english, words))
    if len(words) == 2:
        return not english and any(word.lower() in _JOINING for word in words)
    plain = [word for place, word in enumerate(words) if place == 0 or word[0].islower()]
    unknown = sum(not _is_english(word) for word in plain)
    return len(words) > 2 and english <= ENGLISH_SHARE * len(words) and unknown >= 2


def _name(text: str, words: list[str]) -> str | None:
    """The first capitalised words that are no English ones; not where all are capitals, and not a sentence's first."""
    if text.isupper():
        return None
    found: list[str] = []
    for place, word in enumerate(words):
        is_name = word[0].isupper() and not _is_english(word)
        if is_name and (place or len(words) == 1 or words[1][0].isupper()):
            found.append(word)
        elif found:
            break
    return " ".join(found) or None


def _is_english(word: str) -> bool:
    """Whether the list has the word, also with an English ending.

    >>> _is_english("dogs"), _is_english("Running"), _is_english("Hund"), _is_english("isn't")
    (True, True, False, True)
    """
    word = word.lower().replace("’", "'")
    known = english_words()
    if word.endswith("n't") and word.removesuffix("n't") in known:  # "isn't": its stem is shorter than others may be
        return True
    if word in known or any(part in known for part in word.split("'") if len(part) >= _SHORTEST_STEM):
        return True
    stems = [word.removesuffix(ending) for ending in _ENDINGS if word.endswith(ending)]
    stems += [f"{stem}e" for stem in stems] + [stem[:-1] for stem in stems if stem[-2:-1] == stem[-1:]]
    return any(len(stem) >= _SHORTEST_STEM and stem in known for stem in stems)


@cache
def english_words() -> frozenset[str]:
    """The list, in small letters."""
    return frozenset(WORDS_FILE.read_text(encoding="utf-8").split())


def words_of_captions() -> list[str]:
    """What the list is made of: the words of the captions of classes, which lie in the repository alone."""
    lines = (files("wordframe.encoders") / "data" / "class_captions.jsonl").read_text(encoding="utf-8").splitlines()
    captions = (caption.lower() for line in lines for caption in json.loads(line)["captions"])
    return sorted({word for caption in captions for word in re.findall(r"[^\W\d_]+", caption)})


if __name__ == "__main__":
    WORDS_FILE.write_text("\n".join(words_of_captions()) + "\n", encoding="utf-8")
