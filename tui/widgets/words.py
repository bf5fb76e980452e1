"""A text with the words that compressing drops struck through."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import ClassVar

from rich.cells import cell_len, chop_cells
from rich.segment import Segment
from rich.style import Style
from textual.binding import BindingType
from textual.geometry import Size
from textual.reactive import reactive
from textual.strip import Strip

from tokenflow_tui import keymap
from tokenflow_tui.visible import visible
from tokenflow_tui.widgets.reading import Reading

TAB = "    "
# A line break, or what may stand at the end of a line with the white space after it: between
# characters that are written without spaces a line may end anywhere.
_UNSPACED = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"
_PART = re.compile(rf"\n|[^\s{_UNSPACED}]+[^\S\n]*|[{_UNSPACED}][^\S\n]*|[^\S\n]+")
# Pieces of text, each with the index of its word.
Line = list[tuple[str, int]]


def wrap(words: Iterable[str], width: int) -> list[Line]:
    """Lines of at most `width` cells, but for white space at their end."""
    lines: list[Line] = []
    line: Line = []
    at = 0
    for index, word in enumerate(words):
        for part in _PART.findall(visible(word.replace("\r\n", "\n")).replace("\t", TAB)):
            if part == "\n":
                lines.append(line)
                line, at = [], 0
                continue
            size = cell_len(part.rstrip())
            if at and at + size > width:
                lines.append(line)
                line, at = [], 0
            if size > width:
                *full, part = chop_cells(part, width)
                lines += [[(piece, index)] for piece in full]
            line.append((part, index))
            at += cell_len(part)
    lines.append(line)
    return lines


class WordsView(Reading):
    """Shows the words of which `ranks` are below `kept` as kept, the others as dropped; or, if
    `only_kept`, the compressed text alone. Draws no more than the lines in sight."""

    BINDINGS: ClassVar[list[BindingType]] = list(keymap.LIST)
    COMPONENT_CLASSES: ClassVar[set[str]] = {"words--kept", "words--dropped", "words--hint"}
    DEFAULT_CSS = """
    WordsView {
        background: $surface;
        scrollbar-gutter: stable;
        & > .words--kept { color: $foreground; }
        & > .words--dropped { color: $foreground 40%; text-style: strike; }
        & > .words--hint { color: $text-muted; }
    }
    """
    ALLOW_SELECT = False

    only_kept: reactive[bool] = reactive(False)

    def __init__(self, hint: str) -> None:
        super().__init__()
        self._hint = hint
        self._words: Sequence[str] = ()
        self._ranks: Sequence[int] = ()
        self.kept = 0  # how many words
        self._compressed: str | None = None
        self._lines: list[Line] = []
        self._width = 0

    def show(self, words: Sequence[str], ranks: Sequence[int], kept: int, compressed: str) -> None:
        """What has been decided: `compressed` is the text of the kept words."""
        if words is self._words and compressed == self._compressed:
            return
        laid_out = words is self._words and not self.only_kept
        self._words, self._ranks, self.kept = words, ranks, kept
        self._compressed = compressed
        if not laid_out:
            self._lay_out()
        self.refresh()

    def preview(self, kept: int) -> None:
        """As if so many words had been kept."""
        if kept == self.kept:
            return
        self.kept, self._compressed = kept, None
        if self.only_kept:
            self._lay_out()
        self.refresh()

    def watch_only_kept(self) -> None:
        self._lay_out()

    def on_resize(self) -> None:
        if self.scrollable_content_region.width != self._width:
            self._lay_out()

    def _lay_out(self) -> None:
        """Anew, staying at about the same place of the text."""
        self._width = self.scrollable_content_region.width
        if not self._width:
            return
        place = self.scroll_y / max(1, len(self._lines))
        self._lines = wrap(self._pieces(), self._width)
        self.virtual_size = Size(self._width, len(self._lines))
        self.scroll_to(y=round(place * len(self._lines)), animate=False)
        self.refresh()

    def _pieces(self) -> Iterable[str]:
        if not self._words:
            return (self._hint,)
        if not self.only_kept:
            return self._words
        if self._compressed is not None:
            return (self._compressed,)
        return (word for at, word in enumerate(self._words) if self._ranks[at] < self.kept)

    def render_line(self, y: int) -> Strip:
        width, number = self.size.width, y + self.scroll_offset.y
        ground = self.get_component_rich_style("words--kept")
        if number >= len(self._lines):
            return Strip.blank(width, ground)
        line = self._lines[number]
        if self._words and not self.only_kept:
            segments = self._segments(line, ground)
        else:
            style = ground if self._words else self.get_component_rich_style("words--hint")
            segments = (Segment(text, style) for text, _ in line)
        return Strip(segments).adjust_cell_length(width, ground)

    def _segments(self, line: Line, kept: Style) -> Iterator[Segment]:
        """Of each run of words that are all kept or all dropped."""
        dropped = self.get_component_rich_style("words--dropped")
        for is_kept, run in groupby(line, lambda part: self._ranks[part[1]] < self.kept):
            text = "".join(part for part, _ in run)
            # The gaps around what is struck through are not.
            inked = text.strip()
            if is_kept or not inked:
                yield Segment(text, kept)
                continue
            before, _, after = text.partition(inked)
            yield from (Segment(before, kept), Segment(inked, dropped), Segment(after, kept))
