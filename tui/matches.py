"""Where the terms of a search are in a text."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from functools import cache

_SPACE = re.compile(r"[\s\0，。、；：！？]+")
_QUOTES = "\"'`“”„‘’«»「」『』"
_SENTENCE_END = ",;:.!?…\ufe0f"
_ACCENTS = "[\u0300-\u036f]"
# The scripts that have capitals.
_CASED = "\\0-\u058f\u1e00-\u1fff"
# Where a word may begin, or a part of one: after what is no letter of these scripts, at a capital
# after a small letter, and at the last of several capitals.
_BEGINNING = rf"(?:(?<![^\W\d_])|(?<=[^{_CASED}])|(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]))"


def matches_of(query: str) -> re.Pattern[str] | None:
    """Finds what the daemon's full-text search finds (tokenflowd/store/search.py): each term of
    `query` literally, in any case, with or without accents, where a word begins if it begins with a
    letter that has a capital, or with a digit. None if it has no terms."""
    words = _SPACE.split(unicodedata.normalize("NFC", query))
    terms = sorted({_trimmed(word) for word in words if word}, key=len, reverse=True)
    return re.compile("|".join(map(_pattern, terms))) if terms else None


def _trimmed(word: str) -> str:
    return word.lstrip(_QUOTES).rstrip(_QUOTES + _SENTENCE_END) or word


def _pattern(term: str) -> str:
    letters = re.sub(_ACCENTS, "", unicodedata.normalize("NFD", term)) or term
    literal = "".join(map(_letter, unicodedata.normalize("NFC", letters)))
    first = letters[0]
    if first.isdigit():
        return rf"(?<!\d)(?i:{literal})"
    return f"{_BEGINNING if first.lower() != first.upper() else ''}(?i:{literal})"


def _letter(letter: str) -> str:
    """With any accents, in one character or as characters that follow it."""
    accented = _accented().get(letter.lower(), "")
    return f"[{letter}{accented}]{_ACCENTS}*" if accented else re.escape(letter)


@cache
def _accented() -> dict[str, str]:
    """The letters with accents, by the letter without."""
    found: dict[str, str] = defaultdict(str)
    for letter in map(chr, (*range(0xC0, 0x250), *range(0x1E00, 0x1F00))):
        plain = re.sub(_ACCENTS, "", unicodedata.normalize("NFD", letter))
        if plain != letter and letter.islower():
            found[plain] += letter
    return dict(found)
