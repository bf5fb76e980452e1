"""One request of the history, to be read: its texts, its scores, all its figures."""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_left, bisect_right
from itertools import pairwise
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import work
from textual.binding import BindingType
from textual.color import Color
from textual.geometry import Size
from textual.selection import Selection
from textual.strip import Strip
from textual.visual import Visual

from tokenflow_tui import keymap
from tokenflow_tui.request import Request
from tokenflow_tui.widgets import document
from tokenflow_tui.widgets.reading import Reading
from tokenflow_tui.widgets.turn import score_bars

# Lines that stay above a match that is scrolled to.
CONTEXT = 3
BARS_WIDTH = 50


class Detail(Reading):
    """Lines that are made once for a width: scrolling a long text costs no more than a short."""

    BINDINGS: ClassVar[list[BindingType]] = [*keymap.LIST, *keymap.DETAIL]

    def __init__(self) -> None:
        super().__init__()
        self.request: Request | None = None
        self._matches: re.Pattern[str] | None = None
        self._lines: list[Strip] = []
        self._strips: dict[int, Strip] = {}  # as drawn
        self._starts: list[int] = []
        self._drawn_for = (0, "")

    def show(self, request: Request | None, matches: re.Pattern[str] | None = None) -> None:
        """From its beginning, or from the first match."""
        self.request, self._matches = request, matches
        self._draw(anew=True)

    def on_resize(self) -> None:
        self._draw_if_stale()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._strips.clear()
        self._draw_if_stale()

    def _draw_if_stale(self) -> None:
        if self.is_mounted and self._drawn_for != self._looks:
            self._draw(anew=False)

    @property
    def _looks(self) -> tuple[int, str]:
        """What lines are made for."""
        return self.scrollable_content_region.width, self.app.theme

    @work(exclusive=True, group="draw", exit_on_error=False)
    async def _draw(self, anew: bool) -> None:
        request, width = self.request, self.scrollable_content_region.width
        self._drawn_for = self._looks
        lines: list[document.Line] = []
        starts: list[int] = []
        if request is not None and width > document.INDENT:
            colours = document.theme(*map(self._colour, ("primary", "accent", "success", "error")))
            # Long texts take their time; keys do not wait for it.
            lines, starts = await asyncio.to_thread(
                document.render, request, self._bars(request, width), width, colours
            )
        mark = self._colour("accent") + Style(bold=True, reverse=True)
        marked = [_marked(line, self._matches, mark) for line in lines]
        self._lines, self._starts = [Strip(line) for line in marked], starts
        self._strips.clear()
        self.virtual_size = Size(width, len(lines))
        if anew:
            first = next((i for i, line in enumerate(marked) if line is not lines[i]), 0)
            is_seen = first < self.scrollable_content_region.height
            self.scroll_to(y=0 if is_seen else first - CONTEXT, animate=False)
        self.refresh()

    def _bars(self, request: Request, width: int) -> list[Strip]:
        scores = request.get("scores")
        if not scores:
            return []
        bars = score_bars(scores, min(width - document.INDENT, BARS_WIDTH))
        return Visual.to_strips(self, bars, width, None, self.visual_style, apply_selection=False)

    def _colour(self, name: str) -> Style:
        return Style(color=Color.parse(self.app.theme_variables[name]).rich_color)

    def render_line(self, y: int) -> Strip:
        y += self.scroll_offset.y
        width, style = self.scrollable_content_region.width, self.rich_style
        if y >= len(self._lines):
            return Strip.blank(width, style)
        if self.text_selection and (span := self.text_selection.get_span(y)):
            chosen = self.screen.get_component_rich_style("screen--selection")
            return self._fitted(_selected(self._lines[y], span, chosen), y)
        strip = self._strips.get(y)
        if strip is None:
            strip = self._strips[y] = self._fitted(self._lines[y], y)
        return strip

    def _fitted(self, line: Strip, y: int) -> Strip:
        width, style = self.scrollable_content_region.width, self.rich_style
        return line.apply_style(style).crop_extend(0, width, style).apply_offsets(0, y)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        return selection.extract("\n".join(line.text for line in self._lines)), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        self.refresh()

    # What keys do

    def action_next_part(self) -> None:
        index = bisect_right(self._starts, self.scroll_offset.y)
        if index < len(self._starts):
            self.scroll_to(y=self._starts[index], animate=False)

    def action_previous_part(self) -> None:
        index = bisect_left(self._starts, self.scroll_offset.y) - 1
        if index >= 0:
            self.scroll_to(y=self._starts[index], animate=False)


def _marked(line: document.Line, matches: re.Pattern[str] | None, mark: Style) -> document.Line:
    """The same line if nothing in it matches."""
    text = "".join(segment.text for segment in line)
    spans = [match.span() for match in matches.finditer(text)] if matches else []
    if not spans:
        return line
    edges = sorted({edge for span in spans for edge in span})
    marked: document.Line = []
    offset = 0
    for segment in line:
        end = offset + len(segment.text)
        within = edges[bisect_right(edges, offset) : bisect_left(edges, end)]
        for left, right in pairwise((offset, *within, end)):
            style = segment.style
            if any(start <= left < stop for start, stop in spans):
                style = mark if style is None else style + mark
            marked.append(Segment(text[left:right], style))
        offset = end
    return marked


def _selected(line: Strip, span: tuple[int, int], style: Style) -> Strip:
    start, end = span
    end = line.cell_length if end == -1 else end
    before, within, after = line.crop(0, start), line.crop(start, end), line.crop(end)
    chosen = Strip(Segment.apply_style(within, post_style=style))
    return Strip.join([before, chosen, after])
