"""Which words would be kept at another budget, before the daemon has said it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any


class Ranking:
    """The words of a compression from the one that goes last to the one that goes first.

    The daemon keeps by one ranking, too, so that a smaller budget takes from the words it has
    kept, and a larger one adds to them. Among these the keep probability decides here; the
    daemon also heeds numbers, code and the like. `ranks` has each word's place, in the order of
    the text; `kept` is how many the daemon has kept.
    """

    def __init__(
        self, words: Sequence[dict[str, Any]], original_tokens: int, compressed_tokens: int
    ) -> None:
        order = sorted(
            range(len(words)), key=lambda at: (not words[at]["keep"], -words[at]["probability"])
        )
        self.ranks = [0] * len(words)
        for rank, at in enumerate(order):
            self.ranks[at] = rank
        self.kept = sum(word["keep"] for word in words)
        # What a word costs is not told, only what the kept ones cost together: by length then.
        lengths = [len(words[at]["text"].strip()) or 1 for at in order]
        costs: list[float] = []
        for part, tokens in (
            (lengths[: self.kept], compressed_tokens),
            (lengths[self.kept :], original_tokens - compressed_tokens),
        ):
            each = tokens / max(1, sum(part))
            costs += [each * length for length in part]
        self._filled = list(accumulate(costs))

    def count(self, tokens: float) -> int:
        """How many words fit into a budget of so many tokens."""
        return bisect_right(self._filled, tokens + 1e-6)
