"""A text with the words that compressing drops struck through."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import ClassVar

from rich.cells import cell_len, chop_cells
from rich.segment import Segment
from rich.style import Style
from textual.binding import BindingType
from textual.geometry import Size
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tokenflow_tui import keymap

# A line break, or what may stand at the end of a line with the white space after it: between
# characters that are written without spaces a line may end anywhere.
_UNSPACED = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"
_PART = re.compile(rf"\n|[^\s{_UNSPACED}]+[^\S\n]*|[{_UNSPACED}][^\S\n]*|[^\S\n]+")
# A terminal would obey control characters instead of showing them.
_VISIBLE = {code: chr(0x2400 + code) for code in range(0x20)} | {
    ord("\n"): "\n",
    ord("\r"): "",
    ord("\t"): "    ",
    0x7F: "␡",
    **dict.fromkeys((*range(0x80, 0xA0), 0x2028, 0x2029), "\ufffd"),
}

# Pieces of text, each with the index of its word.
Line = list[tuple[str, int]]


def wrap(words: Iterable[str], width: int) -> list[Line]:
    """Lines of at most `width` cells, but for white space at their end."""
    lines: list[Line] = []
    line: Line = []
    at = 0
    for index, word in enumerate(words):
        if not word.isprintable():
            word = word.translate(_VISIBLE)
        for part in _PART.findall(word):
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


class WordsView(ScrollView, can_focus=True):
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
        self._kept = 0
        self._compressed: str | None = None
        self._lines: list[Line] = []
        self._width = 0

    def show(self, words: Sequence[str], ranks: Sequence[int], kept: int, compressed: str) -> None:
        """What has been decided: `compressed` is the text of the kept words."""
        same = words == self._words
        self._words, self._ranks, self._kept = words, ranks, kept
        self._compressed = compressed
        if self.only_kept or not same:
            self._lay_out()
        self.refresh()

    def preview(self, kept: int) -> None:
        """As if so many words had been kept."""
        if kept == self._kept:
            return
        self._kept, self._compressed = kept, None
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
        return (word for at, word in enumerate(self._words) if self._ranks[at] < self._kept)

    def render_line(self, y: int) -> Strip:
        width, number = self.size.width, y + self.scroll_offset.y
        if number >= len(self._lines):
            return Strip.blank(width, self.rich_style)
        line = self._lines[number]
        if not self._words:
            hint = self.get_component_rich_style("words--hint")
            segments = [Segment(text, hint) for text, _ in line]
        else:
            segments = list(self._segments(line))
        return Strip(segments).adjust_cell_length(width, self.rich_style)

    def _segments(self, line: Line) -> Iterable[Segment]:
        kept_style = self.get_component_rich_style("words--kept")
        dropped_style = self.get_component_rich_style("words--dropped")
        if self.only_kept:
            yield Segment("".join(text for text, _ in line), kept_style)
            return
        text, style = "", kept_style
        for part, index in line:
            following = kept_style if self._ranks[index] < self._kept else dropped_style
            if following is not style:
                # The gap before a word that is not struck through is not, either.
                yield from _with_gap(text, style, kept_style)
                text, style = "", following
            text += part
        yield from _with_gap(text, style, kept_style)

    def action_cursor_down(self) -> None:
        self.scroll_down(animate=False)

    def action_cursor_up(self) -> None:
        self.scroll_up(animate=False)

    def action_first(self) -> None:
        self.scroll_home(animate=False)

    def action_last(self) -> None:
        self.scroll_end(animate=False)


def _with_gap(text: str, style: Style, gap_style: Style) -> Iterable[Segment]:
    inked = text.rstrip()
    yield Segment(inked, style)
    yield Segment(text[len(inked) :], gap_style)
