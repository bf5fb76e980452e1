"""Splits a text into words and the gaps between them, and puts kept words together again.

The words and gaps of a text are that text: nothing is normalised, so what is kept is passed on
byte for byte. What separates two kept words is always a gap of the original text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]
Indexes = NDArray[np.int64]

# Scripts written without spaces: each Han or Hiragana character is a word, as for
# LLMLingua-2's multilingual BERT; a run of Katakana, which spells foreign words, is one.
_HAN = "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_HAN += "\U00020000-\U0003ffff"
_HIRAGANA = "\u3040-\u309f"
_KATAKANA = "\u30a0-\u30ff\u31f0-\u31ff\uff66-\uff9f"
UNSPACED = _HAN + _HIRAGANA + _KATAKANA
# What clings to the character before it: variation selectors, voicing marks, closing marks.
_CLOSING = "\ufe00-\ufe0f\U000e0100-\U000e01ef\u3099\u309a、。，．・：；？！」』）】》〉〕｝…"
_WORD = re.compile(f"(?:[{_HAN}{_HIRAGANA}]|[{_KATAKANA}]+)[{_CLOSING}]*|[^\\s{UNSPACED}]+")
_UNSPACED_CHARACTER = re.compile(f"[{UNSPACED}]")

# A longer run without white space (Thai prose, base64, minified JSON) is cut into pieces.
MAX_WORD_CHARS = 64
_PIECE_END = re.compile(r"[,;:.!?/&|)\]}>\-\u0e2f\u0e46]+")

# Markdown that gives a line its meaning: headings, bullets, numbers, quotes, table rules.
_MARKER = re.compile(r"#{1,6}|[-*+]|\d{1,3}[.)]|>+|\[[xX]?\]?|\]|[|:\-=]+")
_BULLET = re.compile(r"[-*+]|\d{1,3}[.)]")
# Markers that may ride with one line.
MAX_RIDERS = 64
# JSON's brackets, once its members are words of their own.
_BRACKETS = re.compile(r"(?<!,),*+[\[\]{}][\[\]{},]*")
# Who speaks, when: "Anna:", "[09:12] kim:", and the keys of "name: value" lines.
_LABEL = re.compile(
    r"(?m)^[ \t]*(?:\[[^\]\n]{1,24}\][ \t]+)?(?:[^\W\d_][\w.'’-]{0,30}[ \t]){0,2}"
    r"[^\W\d_][\w.'’-]{0,30}:(?=[ \t]+\S)"
)


class Words:
    """The words of `text`: arrays of shape (n_words,) with their offsets in characters."""

    def __init__(
        self,
        text: str,
        starts: Sequence[int],
        ends: Sequence[int],
        verbatim: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.text = text
        self._verbatim = verbatim
        self.starts = np.array(starts, np.int64)
        self.ends = np.array(ends, np.int64)
        # The same as Python's own integers, which slice a text three times as fast.
        self._starts = list(starts)
        self._ends = list(ends)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> str:
        return self.text[self._starts[index] : self._ends[index]]

    def gap_before(self, index: int) -> str:
        """The white space between word `index - 1` (or the text's start) and word `index`."""
        start = self._ends[index - 1] if index else 0
        return self.text[start : self._starts[index]]

    @cached_property
    def newlines(self) -> Indexes:
        """Line breaks in the gap before each word: shape (n_words,)."""
        return np.array(self._newlines, np.int64)

    @cached_property
    def _newlines(self) -> list[int]:
        gaps = zip([0, *self._ends], self._starts, strict=False)
        return [self.text.count("\n", start, end) for start, end in gaps]

    @cached_property
    def lines(self) -> Indexes:
        """The number of the line that each word stands in, empty lines not counted."""
        return np.cumsum(self.newlines > 0)

    @cached_property
    def markers(self) -> Flags:
        """True for what shapes a line but says nothing by itself: Markdown markers, a table's
        bars, JSON's brackets, a speaker's name. They ride with the words of the line.

        In the `verbatim` character ranges, such as fenced code, nothing is a marker.
        """
        flags = np.zeros(len(self), np.bool_)
        for label in _LABEL.finditer(self.text):
            flags[slice(*self.indexes_in(*label.span()))] = True
        in_table = at_start = False
        for index, newlines in enumerate(self._newlines):
            begins = self.text[self._starts[index]]
            if newlines or index == 0:
                at_start, in_table = True, begins == "|"
            # Most words are letters: only the others are worth a closer look.
            if at_start or begins in "|[]{},":
                word = self[index]
                at_start = at_start and _MARKER.fullmatch(word) is not None
                is_bar = in_table and word == "|"
                flags[index] |= at_start or is_bar or _BRACKETS.fullmatch(word) is not None
        for start, end in self._verbatim:
            flags[slice(*self.indexes_in(start, end))] = False
        # A line of very many is no table's row: as riders they would all be counted with
        # each word of the line.
        if flags.any():
            flags &= (np.bincount(self.lines[flags]) <= MAX_RIDERS)[
                np.minimum(self.lines, self.lines[flags].max())
            ]
        return flags

    @cached_property
    def riders(self) -> dict[int, list[int]]:
        """The markers that ride with each line that has other words: line -> word indexes.

        A line of markers alone (a table's rule, a heading's underline) rides with the line
        before it; an empty item of a list rides with none.
        """
        markers = np.flatnonzero(self.markers & ~self._empty_items)
        if not len(markers):
            return {}
        has_content = np.zeros(int(self.lines[-1]) + 1, np.bool_)
        has_content[self.lines[~self.markers]] = True
        # For each line the last one up to it that has other words; -1 for none.
        owners = np.maximum.accumulate(np.where(has_content, np.arange(len(has_content)), -1))
        riders: dict[int, list[int]] = {}
        for index, line in zip(markers.tolist(), owners[self.lines[markers]].tolist(), strict=True):
            riders.setdefault(line, []).append(index)
        return riders

    @cached_property
    def _empty_items(self) -> Flags:
        """The markers of list items that hold nothing else."""
        is_empty = np.zeros(int(self.lines[-1]) + 1 if len(self) else 0, np.bool_)
        begins_line = self.newlines > 0
        begins_line[:1] = True
        for index in np.flatnonzero(self.markers & begins_line).tolist():
            is_empty[self.lines[index]] = _BULLET.fullmatch(self[index]) is not None
        is_empty[self.lines[~self.markers]] = False
        return self.markers & is_empty[self.lines]

    def with_markers(self, selected: Flags) -> Flags:
        """`selected`, and the markers that ride with the lines of which something is selected."""
        kept = selected & ~self.markers
        if self.markers.any():
            for line in set(self.lines[kept].tolist()) & self.riders.keys():
                kept[self.riders[line]] = True
        return kept

    def indexes_in(self, start: int, end: int) -> tuple[int, int]:
        """First and one past the last word that overlaps the characters [start, end)."""
        first = int(np.searchsorted(self.ends, start, "right"))
        last = int(np.searchsorted(self.starts, end, "left"))
        return first, last

    def join(self, indexes: Sequence[int], *, head: bool = True, tail: bool = True) -> str:
        """The text of the words at `indexes` (ascending).

        Between two kept words stands the gap with the most line breaks of all gaps between
        them, so that lines and paragraphs survive; failing that, the gap before the second.
        `head` and `tail` add what stands before the first and after the last word of all.
        """
        if not len(indexes):
            return ""
        starts, ends, text = self._starts, self._ends, self.text
        first = before = indexes[0]
        pieces = [self._head(first)] if head else []
        for index in indexes[1:]:
            if index != before + 1:
                pieces += text[starts[first] : ends[before]], self._separator(before, index)
                first = index
            before = index
        pieces.append(text[starts[first] : ends[before]])
        if tail and before == len(self) - 1:
            pieces.append(text[ends[-1] :])
        return "".join(pieces)

    def _separator(self, before: int, after: int) -> str:
        gap_newlines = self._newlines[before + 1 : after + 1]
        most = max(gap_newlines)
        if most and gap_newlines[-1] == most:
            return self.gap_before(after)
        if most:
            gap = self.gap_before(before + 1 + gap_newlines.index(most))
            line_start = next(i for i in range(after, before, -1) if self._newlines[i])
            return gap[: gap.rindex("\n") + 1] + self._indentation(line_start)
        gap = self.gap_before(after)
        if gap or not self._would_glue(before, after):
            return gap
        spaces = (self.gap_before(index) for index in range(before + 1, after))
        return next((space for space in spaces if space), " ")

    def _would_glue(self, before: int, after: int) -> bool:
        """Whether the two words, side by side, would read as one."""
        left, right = self.text[self._ends[before] - 1], self.text[self._starts[after]]
        return (
            left.isalnum()
            and right.isalnum()
            and not (_UNSPACED_CHARACTER.match(left) and _UNSPACED_CHARACTER.match(right))
        )

    def _head(self, index: int) -> str:
        """What stands before a first kept word: all there is, or a line's indentation."""
        if index == 0:
            return self.gap_before(index)
        return self._indentation(index) if self._newlines[index] else ""

    def _indentation(self, index: int) -> str:
        """Of the line that word `index` begins."""
        gap = self.gap_before(index)
        return gap[gap.rindex("\n") + 1 :]


def split_words(
    text: str, *, cuts: Sequence[int] = (), verbatim: Sequence[tuple[int, int]] = ()
) -> Words:
    """The words of `text`. At each offset in `cuts` (ascending) a word ends, come what may."""
    starts: list[int] = []
    ends: list[int] = []
    cut = 0
    for match in _WORD.finditer(text):
        start, end = match.span()
        while cut < len(cuts) and cuts[cut] < end:
            if cuts[cut] > start:
                _append(text, start, cuts[cut], starts, ends)
                start = cuts[cut]
            cut += 1
        _append(text, start, end, starts, ends)
    return Words(text, starts, ends, verbatim)


def _append(text: str, start: int, end: int, starts: list[int], ends: list[int]) -> None:
    while end - start > MAX_WORD_CHARS:
        cut = _piece_end(text, start, start + MAX_WORD_CHARS)
        starts.append(start)
        ends.append(cut)
        start = cut
    if start < end:
        starts.append(start)
        ends.append(end)


def _piece_end(text: str, start: int, limit: int) -> int:
    """Where to cut a long run: after its last punctuation, never before a combining mark."""
    ends = [match.end() for match in _PIECE_END.finditer(text, start, limit)]
    if ends and ends[-1] > start + MAX_WORD_CHARS // 4:
        return ends[-1]
    end = limit
    while end - start > 1 and (
        unicodedata.combining(text[end]) or text[end] in "\u200d\ufe0f" or text[end - 1] == "\u200d"
    ):
        end -= 1
    # A run of nothing but marks is cut all the same: a word for each would take minutes.
    return end if end - start > 1 else limit
