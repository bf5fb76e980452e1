"""Cuts a long sequence of subwords into windows that a model can read."""

from __future__ import annotations

from tokenflowd.engine import Subwords

_SENTENCE_ENDS = frozenset(".!?;:。！？；…")


def sentence_windows(text: str, subwords: Subwords, capacity: int) -> list[tuple[int, int]]:
    """Token ranges [first, last) of at most `capacity` tokens that cover all of `subwords`.

    Cut by ids and offsets, never by decoding and encoding again. A window ends, best first, at
    the last line or sentence end in its last quarter, between two words, at its capacity.
    """
    windows = []
    first = 0
    while len(subwords) - first > capacity:
        last = _window_end(text, subwords, first, capacity)
        windows.append((first, last))
        first = last
    windows.append((first, len(subwords)))
    return windows


def _window_end(text: str, subwords: Subwords, first: int, capacity: int) -> int:
    starts, ends = subwords.starts, subwords.ends
    word_end = 0
    for last in range(first + capacity, first + capacity - capacity // 4, -1):
        gap = text[ends[last - 1] : starts[last]]
        if not gap:
            continue
        if "\n" in gap or text[ends[last - 1] - 1] in _SENTENCE_ENDS:
            return last
        word_end = word_end or last
    return word_end or first + capacity
