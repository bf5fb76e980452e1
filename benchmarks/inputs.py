"""The texts, prompts and labels that everything is measured with: any machine has them."""

from __future__ import annotations

from bisect import bisect_right
from functools import cache
from pydoc_data.topics import topics

from tokenflowd.compress import count_tokens
from tokenflowd.route import DEFAULT_CATEGORIES

# 60 tokens (o200k_base).
PROMPT = (
    "Here is the stack trace of our payment service. It fails twice a day, always when two "
    "requests for the same order arrive within a second. Explain which lock is missing, show the "
    "smallest change to the Python code that fixes it, and add a test that would have found it "
    "before the release."
)
LABELS = list(DEFAULT_CATEGORIES)
MANY_LABELS = list(topics)[:77]  # as many as Banking77 has


@cache
def english(tokens: int) -> str:
    """The beginning of Python's own documentation, cut to so many tokens (o200k_base)."""
    text = "\n\n".join(topics.values())
    ends = range(len(text))
    return text[: bisect_right(ends, tokens, key=lambda end: count_tokens(text[:end])) - 1]
