"""Chooses units of words by one global ranking that meets a token budget exactly."""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenflowd.compress.tokens import count_tokens
from tokenflowd.compress.units import Units
from tokenflowd.compress.words import Flags, Indexes, Words
from tokenflowd.errors import Cancelled

# Words on either side of an insertion that are counted again with it: a token never reaches
# further, except in scripts without spaces, where the final count decides.
_CONTEXT_WORDS = 3
# How often the estimate is corrected before single units are tried.
MAX_ESTIMATES = 5


@dataclass(frozen=True, slots=True)
class Selection:
    """The kept words (flags of shape (n_words,)), their text and its tokens."""

    kept: Flags
    text: str
    tokens: int


def select(
    words: Words, units: Units, budget: int, *, stop: threading.Event | None = None
) -> Selection:
    """The best-scored units whose text has at most `budget` tokens, and so many that no other
    unit would fit in. A unit too large for what is left is skipped, not the end.

    Forced units are kept even above the budget; nothing else is kept then. Raises Cancelled
    when `stop` is set.
    """
    costs = _estimated_costs(words, units)
    ranking = np.lexsort((-units.scores, ~units.forced))
    n_forced = int(units.forced.sum())
    filling = _Filling(words, units, stop)
    n_taken = _take_by_estimate(filling, ranking, costs, n_forced, budget)
    for unit in ranking[n_taken:].tolist():
        raise_if_stopped(stop)
        spare = budget - filling.tokens
        if spare <= 0:
            break
        # An insertion can cost a token less than estimated where punctuation and line
        # breaks merge; more than two it never does.
        if costs[unit] <= spare + 2 and filling.add_if_it_fits(unit, budget):
            continue
        if units.divisible[unit]:
            filling.add_beginning(unit, budget)
    return filling.settle(budget)


def raise_if_stopped(stop: threading.Event | None) -> None:
    """Raises Cancelled when `stop` is set: a thread can only be asked to end."""
    if stop is not None and stop.is_set():
        raise Cancelled("the work was stopped")


def at_least_one(words: Words, units: Units, selection: Selection) -> Selection:
    """`selection`, or the best of the cheapest units where nothing was selected: a text that has
    words never becomes empty, even if the budget is exceeded."""
    if selection.text.strip() or not len(words):
        return selection
    costs = _estimated_costs(words, units)
    # A line's markers say nothing by themselves.
    says_something = np.logical_or.reduceat(~words.markers, units.firsts)
    choice = says_something if says_something.any() else np.ones_like(says_something)
    best = np.lexsort((-units.scores, costs, ~choice))[0]
    first = units.firsts[best]
    last = [*units.firsts[1:], len(words)][best]
    kept = np.zeros(len(words), np.bool_)
    kept[first:last] = True
    text = words.join(np.flatnonzero(kept).tolist()).strip()
    return Selection(kept, text, count_tokens(text))


def _estimated_costs(words: Words, units: Units) -> NDArray[np.int64]:
    """Tokens of each unit by itself: exact for words between spaces."""
    known: dict[str, int] = {}
    costs = np.empty(len(words), np.int64)
    text = words.text
    for index, (start, end) in enumerate(
        zip(words.starts.tolist(), words.ends.tolist(), strict=True)
    ):
        spaced = start > 0 and text[start - 1].isspace()
        written = " " + text[start:end] if spaced else text[start:end]
        cost = known.get(written)
        if cost is None:
            cost = known[written] = count_tokens(written)
        costs[index] = cost
    costs += words.newlines > 0
    return np.add.reduceat(costs, units.firsts) if len(costs) else costs


def _take_by_estimate(
    filling: _Filling,
    ranking: Indexes,
    costs: NDArray[np.int64],
    n_forced: int,
    budget: int,
) -> int:
    """Takes the longest prefix of the ranking that fits; returns its length."""
    cumulated = np.cumsum(costs[ranking])
    limit, n_taken = budget, -1
    for _ in range(MAX_ESTIMATES):
        n_before, n_taken = n_taken, max(n_forced, int(np.searchsorted(cumulated, limit, "right")))
        if n_taken == n_before:
            break
        filling.take(ranking[:n_taken])
        spare = budget - filling.tokens
        # What is added one by one is counted exactly, so a little may be left for that.
        if 0 <= spare <= budget // 100:
            break
        limit += spare if spare > 0 else spare + spare // 8 - 1
    while filling.tokens > budget and n_taken > n_forced:
        n_taken = max(n_forced, n_taken - max(1, n_taken // 50))
        filling.take(ranking[:n_taken])
    return n_taken


class _Filling:
    """A selection under way, with the exact number of tokens that its text has."""

    def __init__(self, words: Words, units: Units, stop: threading.Event | None) -> None:
        self._words = words
        self._stop = stop
        self._firsts = units.firsts.tolist()
        self._lasts = [*self._firsts[1:], len(words)]
        self._selected = np.zeros(len(words), np.bool_)
        self._kept: list[int] = []
        self._added: list[list[int]] = []
        self.tokens = 0

    def take(self, units: Indexes) -> None:
        """Starts anew with these units. Raises Cancelled."""
        raise_if_stopped(self._stop)
        self._selected[:] = False
        for unit in units.tolist():
            self._selected[self._firsts[unit] : self._lasts[unit]] = True
        self._kept = np.flatnonzero(self._words.with_markers(self._selected)).tolist()
        self.tokens = count_tokens(self._words.join(self._kept))

    def add_if_it_fits(self, unit: int, budget: int) -> bool:
        return self._add(self._new_words(self._firsts[unit], self._lasts[unit]), budget)

    def add_beginning(self, unit: int, budget: int) -> None:
        """Adds the unit's first words, as many as fit."""
        for word in range(self._firsts[unit], self._lasts[unit]):
            if not self._add(self._new_words(word, word + 1), budget):
                return

    def _add(self, new: list[int], budget: int) -> bool:
        if not new:
            return True
        low = bisect_left(self._kept, new[0])
        high = bisect_left(self._kept, new[-1])
        nearby = self._kept[max(0, low - _CONTEXT_WORDS) : high + _CONTEXT_WORDS]
        head, tail = low <= _CONTEXT_WORDS, high + _CONTEXT_WORDS >= len(self._kept)
        before = count_tokens(self._words.join(nearby, head=head, tail=tail))
        after = count_tokens(self._words.join(sorted([*nearby, *new]), head=head, tail=tail))
        if self.tokens + after - before > budget:
            return False
        self.tokens += after - before
        self._added.append(new)
        for index in new:
            insort(self._kept, index)
        return True

    def settle(self, budget: int) -> Selection:
        """The selection with its text counted as a whole; never above the budget, if that
        can be had by giving up what was added last."""
        while True:
            raise_if_stopped(self._stop)
            text = self._words.join(self._kept)
            tokens = count_tokens(text)
            if tokens <= budget or not self._added:
                break
            given_up = set(self._added.pop())
            self._kept = [index for index in self._kept if index not in given_up]
        kept = np.zeros(len(self._words), np.bool_)
        kept[self._kept] = True
        return Selection(kept, text, tokens)

    def _new_words(self, first: int, last: int) -> list[int]:
        """The words [first, last) and the markers of their lines that are not kept yet."""
        new = [index for index in range(first, last) if not self._words.markers[index]]
        for line in {int(self._words.lines[index]) for index in new}:
            riders = self._words.riders.get(line, ())
            new.extend(index for index in riders if not self._is_kept(index))
        return sorted(new)

    def _is_kept(self, index: int) -> bool:
        at = bisect_left(self._kept, index)
        return at < len(self._kept) and self._kept[at] == index
