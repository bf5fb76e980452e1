"""Finds what must not be torn apart: code, URLs, e-mail addresses, paths, numbers with their
units, identifiers, JSON keys with their values, negations with what they negate.

Every pattern is linear in the length of the text, or bounded where it repeats.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from tokenflowd.config import PRESERVE_KINDS, PreserveKind

_UNITS = (
    "ms|µs|us|ns|s|sec|secs|seconds?|min|mins|minutes?|h|hr|hrs|hours?|days?|weeks?|months?|years?|"
    "mm|cm|m|km|in|ft|mi|miles?|mg|g|kg|t|lb|lbs|oz|ml|l|kb|kib|mb|mib|gb|gib|tb|tib|bytes?|bits?|"
    "hz|khz|mhz|ghz|w|kw|mw|kwh|v|mv|a|ma|k|c|f|pa|kpa|bar|psi|db|px|pt|em|rem|fps|rpm|tokens?|"
    "dollars?|euros?|cents?|usd|eur|gbp|percent|million|billion|thousand|pm|am|x|Stunden|Tage"
)
_FENCE = r"(?m:^[ \t]*(?P<fence>`{3,}|~{3,})[^\n]*\n)(?s:.*?)(?:^[ \t]*(?P=fence)[`~]*[ \t]*$|\Z)"
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
        rf"(?:[$€£¥]|(?<![\w.]))[+-]?\d[\d.,:/]*(?:[ \t]?(?:%|°[CF]?|‰)|[ \t]?(?:{_UNITS})\b)?",
        re.IGNORECASE,
    ),
    "identifiers": re.compile(
        r"\b[A-Za-z]\w*_\w+\b(?:\(\))?"  # snake_case
        r"|\b[a-z]+[a-z0-9]*[A-Z]\w*\b(?:\(\))?"  # camelCase
        r"|\b[A-Za-z_]\w*(?:(?:\.|::|->)[A-Za-z_]\w*){1,8}\(\)"  # dotted.calls()
        r"|\b[A-Za-z_]\w*\(\)"  # calls()
        r"|(?<![\w-])--?[A-Za-z][\w-]*(?:=\S+)?"  # --flags=value
        r"|\bv\d+(?:\.\d+)+\b"  # versions
        r"|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b(?=[a-f]*\d)[0-9a-f]{7,64}\b"  # ids
        r"|\b[A-Z][A-Z0-9]*[_-]?\d+\b"  # ERR404, RFC-2119
        r"|(?<!\w)[#@][\w-]+"  # issues and handles
    ),
    "keys": re.compile(
        r'"(?:[^"\\\n]|\\.){1,80}"\s*:\s*'
        r'(?:"(?:[^"\\\n]|\\.){0,48}"|-?\d[\d.eE+-]*|true|false|null)?,?'
    ),
    "negations": re.compile(rf"\b(?:{_NEGATION_WORDS})\b(?:[ \t]+[\w'’-]+)?", re.IGNORECASE),
}


@dataclass(frozen=True, slots=True)
class Span:
    """Characters [start, end) of a text that are kept or dropped as one."""

    kind: PreserveKind
    start: int
    end: int


def find_spans(text: str, kinds: Collection[PreserveKind] = PRESERVE_KINDS) -> list[Span]:
    """All spans of the given kinds, in the order of their starts; they may overlap."""
    spans = [
        Span(kind, match.start(), match.end())
        for kind, pattern in _PATTERNS.items()
        if kind in kinds
        for match in pattern.finditer(text)
    ]
    return sorted(spans, key=lambda span: (span.start, -span.end))
