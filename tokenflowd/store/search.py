"""Full-text search: a query's terms, the requests that may have all of them, and those that do.

A text has a term if it contains it literally, in any case, with or without accents, where a word or
a part of one begins: "user" is in getUserById, user_id and 请把user改, not in "abuser". A term
that begins with a sign, or in a script without capitals, may be anywhere.

Two indexes find the candidates: the words, which know no accents, and the trigrams, which know
signs, emoji and scripts without spaces. The texts of the candidates are then compared.
"""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from itertools import chain

# Terms that are looked up; of a pasted page the others are only compared.
INDEXED_TERMS = 4
TRIGRAMS = 32  # of one term that are looked up
# A term of one or two characters stands for all trigrams that begin with it, up to so many in so
# many requests. What is more common is soon found in the newest requests without an index.
COMMON_TRIGRAMS = 200
COMMON_REQUESTS = 5_000

_MAY_HAVE_TERM = """r.number IN (
    SELECT rowid FROM requests_trigrams WHERE requests_trigrams MATCH :trigrams_{0}
    UNION ALL SELECT rowid FROM requests_fts WHERE requests_fts MATCH :words_{0}
)"""
_SPACE = re.compile(r"[\s\0\ud800-\udfff，。、；：！？]+")
_QUOTES = "\"'`“”„‘’«»「」『』"
_SENTENCE_END = ",;:.!?…\ufe0f"
_WORD = re.compile(r"[^\W_]{2}")
_ACCENTS = re.compile("[\u0300-\u036f]+")


def terms_of(query: str) -> tuple[str, ...]:
    """What a text must have, the longest first. Nothing in `query` is syntax. Quotes around a term,
    and what ends a sentence, are left out."""
    words = _SPACE.split(unicodedata.normalize("NFC", query))
    return tuple(sorted({_trimmed(word) for word in words if word}, key=len, reverse=True))


def condition(connection: sqlite3.Connection, terms: Sequence[str]) -> tuple[str, dict[str, str]]:
    """For the WHERE of one query on this connection, where r is the request, i and o are the texts
    of its input and output, which together have all `terms`; and its parameters."""
    connection.create_function("has_terms", 2, _matcher(terms), deterministic=True)
    connection.execute(
        "CREATE VIRTUAL TABLE temp.trigrams USING fts5vocab(main, requests_trigrams, row)"
    )
    clauses: list[str] = []
    parameters: dict[str, str] = {}
    for number, term in enumerate(terms[:INDEXED_TERMS]):
        if (trigrams := _trigrams_match(connection, term)) is None:
            continue
        clauses.append(_MAY_HAVE_TERM.format(number))
        parameters[f"trigrams_{number}"] = trigrams
        parameters[f"words_{number}"] = _words_match(term)
    # Last, as it reads the texts.
    return " AND ".join([*clauses, "has_terms(i.text, o.text)"]), parameters


def _matcher(terms: Sequence[str]) -> Callable[[str | None, str | None], bool]:
    wanted = [_folded(_without_accents(term) or term) for term in terms]

    def has_terms(*texts: str | None) -> bool:
        plain = [_without_accents(text) for text in texts if text]
        pairs = [(text, _folded(text)) for text in plain]
        return all(any(_has(text, folded, term) for text, folded in pairs) for term in wanted)

    return has_terms


def _trimmed(word: str) -> str:
    return word.lstrip(_QUOTES).rstrip(_QUOTES + _SENTENCE_END) or word


def _words_match(term: str) -> str:
    """An FTS5 query for the words of the term one after the other, the last maybe unfinished."""
    if len(term) > 1 and not _WORD.search(term):
        return '""'  # such as C++: the trigrams have it, and too many texts have a word "c"
    return _quoted(term) + ("*" if term[-1].isalnum() else "")


def _trigrams_match(connection: sqlite3.Connection, term: str) -> str | None:
    """An FTS5 query for its trigrams, or for those that begin with it. None if it is common."""
    # As it is typed, and as the file names of macOS are, where が is two characters.
    forms = dict.fromkeys((term, unicodedata.normalize("NFD", term)))
    if len(term) >= 3:
        return " OR ".join(f"({_all_trigrams(form)})" for form in forms)
    found: list[str] = []
    requests = 0
    for trigram, count in chain.from_iterable(_beginning(connection, form) for form in forms):
        found.append(_quoted(trigram))
        requests += count
        if len(found) > COMMON_TRIGRAMS or requests > COMMON_REQUESTS:
            return None
    return " OR ".join(found) or '""'


def _all_trigrams(term: str) -> str:
    starts = [*range(0, len(term) - 3, 3)[: TRIGRAMS - 1], len(term) - 3]
    return " AND ".join(_quoted(term[start : start + 3]) for start in starts)


def _beginning(connection: sqlite3.Connection, term: str) -> Iterable[tuple[str, int]]:
    """The trigrams that begin with the first of its characters; in how many requests they are."""
    first = _folded(term)[:3]
    return connection.execute(
        "SELECT term, doc FROM temp.trigrams WHERE term >= ? AND term < ?",
        (first, first + "\U0010ffff"),
    )


def _quoted(text: str) -> str:
    return '"{}"'.format(text.replace('"', '""'))


def _without_accents(text: str) -> str:
    """Those that SQLite's remove_diacritics leaves out, too."""
    if text.isascii():
        return text
    decomposed = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", _ACCENTS.sub("", decomposed))


def _folded(text: str) -> str:
    """In lower case, as SQLite has it; of the same length where there are no accents."""
    return text.lower().replace("ς", "σ").replace("ſ", "s")


def _has(text: str, folded: str, term: str) -> bool:
    at = folded.find(term)
    while at >= 0 and not _may_begin(text, at):
        at = folded.find(term, at + 1)
    return at >= 0


def _may_begin(text: str, at: int) -> bool:
    """Whether a word may begin there, or a part of one as in getUserById, HTTPServer and utf8."""
    before, here = text[at - 1 : at], text[at]
    if before.islower():
        return not here.islower()
    if before.isupper():
        return text[at + 1 : at + 2].islower() if here.isupper() else not here.islower()
    return not (before.isdigit() and here.isdigit())
