"""Finds what must not be torn apart: code, URLs, e-mail addresses, paths, numbers with their
units, identifiers, JSON keys with their values, negations with what they negate.

Every pattern is linear in the length of the text, or bounded where it repeats.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tokenflowd.compress.words import UNSPACED
from tokenflowd.config import PreserveKind

_UNITS = (
    "ms|µs|us|ns|s|sec|secs|seconds?|min|mins|minutes?|h|hr|hrs|hours?|days?|weeks?|months?|years?|"
    "mm|cm|m|km|in|ft|mi|miles?|mg|g|kg|t|lb|lbs|oz|ml|l|kb|kib|mb|mib|gb|gib|tb|tib|bytes?|bits?|"
    "hz|khz|mhz|ghz|w|kw|mw|kwh|v|mv|a|ma|k|c|f|pa|kpa|bar|psi|db|px|pt|em|rem|fps|rpm|tokens?|"
    "dollars?|euros?|cents?|usd|eur|gbp|percent|million|billion|thousand|pm|am|x|Stunden|Tage"
)
# Words between a number or a negation and the word that it is about, or after it.
_FUNCTION_WORDS = (
    "a|an|the|and|or|but|to|of|in|at|on|for|from|by|with|as|is|are|was|were|be|been|being|it|its|"
    "that|this|these|those|if|then|than|so|we|you|they|he|she|i|do|does|did|has|have|had|will|"
    "would|can|could|may|should|must|not|which|who|when|where|while|per|any|very|only|even|really"
)
# White space within a paragraph: prose is wrapped anywhere.
_SPACE = r"(?:[ \t]+|[ \t]*\r?\n(?=[^\s#>*+|`~-]))"
_FENCE = (
    r"(?m:^[ \t]*(?P<fence>`{3,}+|~{3,}+)[^\n]*+\n)(?s:.*?)(?:^[ \t]*(?P=fence)[`~]*[ \t\r]*$|\Z)"
)
_NEGATION_WORDS = (
    # A following word is bound to these, with the auxiliary before "not".
    r"(?:(?:do|does|did|is|are|was|were|will|would|can|could|may|might|must|shall|should|has|have|"
    r"had|need)[ \t]+)?not|(?:ca|do|does|did|is|are|was|were|wo|would|could|might|must|should|has|"
    r"have|had|ai|need)n['’]t|cannot|never|no|without|neither|nor|unless|except|none|"
    r"nicht|kein(?:e[mnrs]?)?|niemals|ohne|jamais|sans|nunca|jamás|sin|não|nem"
)

_PATTERNS: dict[PreserveKind, re.Pattern[str]] = {
    "code": re.compile(_FENCE + r"|`[^`\n]+`", re.MULTILINE),
    "urls": re.compile(r"\b(?:https?|ftp|file|wss?)://[^\s<>\"'`]+|\bwww\.[^\s<>\"'`]+"),
    "emails": re.compile(r"\b[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64})+\b"),
    "paths": re.compile(
        r"(?<![\w/:])(?:~|\.{1,2})?/[\w.@%+-]+(?:/[\w.@%+-]+)*/?"
        r"|\b[A-Za-z]:\\[\w .\\@%+-]*[\w\\]"
        r"|(?<![\w.@%+/:-])[\w.@%+-]+(?:/[\w.@%+-]+)+\.[A-Za-z]\w{0,7}\b"
    ),
    "numbers": re.compile(
        rf"(?:[$€£¥]|(?<![\w.]))[+-]?\d[\d.,:/]*(?:[ \t]?(?:%|°[CF]?|‰)|[ \t]?(?:{_UNITS})\b)?"
        # "412 million rows", "50 connections": a count without what it counts says nothing
        rf"(?:(?<=[\dnd]){_SPACE}(?!(?:{_FUNCTION_WORDS})\b)(?-i:[a-z])[\w-]+)?",
        re.IGNORECASE,
    ),
    "identifiers": re.compile(
        r"\b[A-Za-z]\w*_\w+\b(?:\(\))?"  # snake_case
        r"|\b[a-z][a-z0-9]*[A-Z]\w*\b(?:\(\))?"  # camelCase
        r"|\b[A-Za-z_]\w*(?:(?:\.|::|->)[A-Za-z_]\w*){1,8}\(\)"  # dotted.calls()
        r"|\b[A-Za-z_]\w*\(\)"  # calls()
        r"|(?<![\w-])--?[A-Za-z][\w-]*(?:=\S+)?"  # --flags=value
        r"|\bv\d+(?:\.\d+)+\b"  # versions
        r"|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b(?=[a-f]*\d)[0-9a-f]{7,64}\b"  # ids
        # ERR404, RFC-2119; possessive, as trying every split of a long run would be quadratic
        r"|\b[A-Z][A-Z0-9]*+(?:[_-]\d++|(?<=\d))\b"
        r"|(?<!\w)[#@][\w-]+"  # issues and handles
    ),
    "keys": re.compile(
        r'"(?:[^"\\\n]|\\.){1,80}"\s*:\s*'
        r'(?:"(?:[^"\\\n]|\\.){0,80}"|-?\d[\d.eE+-]*|true|false|null)?,?'
    ),
    "negations": re.compile(
        rf"\b(?:{_NEGATION_WORDS})\b"
        rf"(?:{_SPACE}(?:{_FUNCTION_WORDS})\b){{0,4}}(?:{_SPACE}[\w'’-]+)?"
        r"|[不没未勿别][\u4e00-\u9fff]{0,2}",
        re.IGNORECASE,
    ),
}


_HEADING = re.compile(r"(?m)^[ \t]*#{1,6}[ \t]\S.{0,80}$")
# Up to a comma or a full stop of any script, or the line's end. "14. März" and "1,4" go on.
_MARKS = ",;:.!?…،؛؟।۔、，。；：！？"
_CLAUSE = re.compile(
    rf"[^\s{_MARKS}](?:[^{_MARKS}\n]|[,;:.!?](?=\S)|(?<=\D\d)\.|(?<=\D\d\d)\.){{0,400}}"
    rf"[{_MARKS}”’」』）\"')»]*"
)
_UNSPACED_CLAUSE = re.compile(r"[^\s、，。；：！？]+[、，。；：！？”’」』）]*")
HAS_UNSPACED = re.compile(f"[{UNSPACED}]")


@dataclass(frozen=True, slots=True)
class Span:
    """Characters [start, end) of a text that are kept or dropped as one."""

    kind: PreserveKind | Literal["heading", "clause"]
    start: int
    end: int


def find_spans(text: str) -> list[Span]:
    """All spans, in the order of their starts; they may overlap."""
    spans = [
        Span(kind, *match.span())
        for kind, pattern in _PATTERNS.items()
        for match in pattern.finditer(text)
    ]
    spans += [Span("heading", *match.span()) for match in _HEADING.finditer(text)]
    return sorted(spans, key=lambda span: (span.start, -span.end))


def find_clauses(text: str) -> list[Span]:
    """Clauses, for models that judge single words too roughly to choose among them."""
    return [Span("clause", *match.span()) for match in _CLAUSE.finditer(text)]


def find_unspaced_clauses(text: str) -> list[Span]:
    """Those in scripts without spaces, whose words some models cannot tell apart."""
    return [
        Span("clause", *match.span())
        for match in _UNSPACED_CLAUSE.finditer(text)
        if HAS_UNSPACED.search(match[0])
    ]
