"""Where the words of a search stand in a text."""

from __future__ import annotations

import re


def matches_of(query: str) -> re.Pattern[str] | None:
    """Finds what the daemon's full-text search finds: words that begin as those of `query` do, in
    any case. None if it has no words."""
    words = sorted(set(re.findall(r"\w+", query)), key=len, reverse=True)
    if not words:
        return None
    # Scripts without spaces begin at Thai: in those a word may stand anywhere.
    beginnings = [word if word >= "\u0e00" else rf"(?<!\w){word}" for word in words]
    return re.compile("|".join(beginnings), re.IGNORECASE)
