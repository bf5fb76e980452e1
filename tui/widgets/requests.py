"""A long list of requests, of which only the lines that are seen are ever drawn."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from textual import events
from textual.binding import BindingType
from textual.content import Content
from textual.geometry import Region, Size, Spacing
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.style import Style
from textual.visual import Visual

from tokenflow_tui import keymap
from tokenflow_tui.numbers import age, dollars, tokens
from tokenflow_tui.request import Request, category, plain, saved

GAP = 2
# Columns leave, the least wanted first, until this much is left for what was asked.
MIN_PREVIEW = 26
MATCH = "$accent bold"


@dataclass(frozen=True)
class Column:
    """`width` 0 takes what is left. The greater `spare`, the earlier the column leaves."""

    title: str
    width: int
    cell: Callable[[Request], tuple[str, str]]  # text and style
    spare: int = 0
    right: bool = False


def _age(row: Request) -> tuple[str, str]:
    span = age(row["created_at"])
    if span.count("-") == 2:  # a date
        day = date.fromisoformat(span)
        span = f"{day:%-d %b}" if day.year == date.today().year else f"{day:%b’%y}"
    return span, "dim"


def _kind(row: Request) -> tuple[str, str]:
    if row["status"] == "error":
        return row["kind"], "$error"
    return row["kind"], "$warning" if row.get("partial") else "$primary"


def _preview(row: Request) -> tuple[str, str]:
    return " ".join(plain(row.get("preview", "")).split()), ""


def _category(row: Request) -> tuple[str, str]:
    return category(row), "$accent" if row.get("corrected_category") else "dim"


def _model(row: Request) -> tuple[str, str]:
    return (row.get("model") or "").rpartition("/")[2], "dim"


def _tokens(row: Request) -> tuple[str, str]:
    asked = (row.get("prompt_tokens") or 0) + (row.get("completion_tokens") or 0)
    count = asked or row.get("original_tokens")
    return tokens(count) if count else "", ""


def _saved(row: Request) -> tuple[str, str]:
    return saved(row), "$success"


def _cost(row: Request) -> tuple[str, str]:
    cost = row.get("cost_usd")
    return "" if cost is None else dollars(cost), "dim"


COLUMNS = (
    Column("age", 6, _age, right=True),
    Column("kind", 8, _kind, spare=1),
    Column("request", 0, _preview),
    Column("category", 16, _category, spare=4),
    Column("model", 18, _model, spare=6),
    Column("tokens", 6, _tokens, spare=3, right=True),
    Column("saved", 5, _saved, spare=2, right=True),
    Column("cost", 9, _cost, spare=5, right=True),
)


class RequestList(ScrollView, can_focus=True):
    """`rows` are those of GET /api/history; `cursor` is the index of the one that is chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [*keymap.LIST, *keymap.ROWS]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "request-list--header",
        "request-list--cursor",
        "request-list--hover",
    }

    cursor: reactive[int] = reactive(0)
    hover: reactive[int] = reactive(-1)

    class Highlighted(Message):
        """Another request is under the cursor, or none."""

    class Opened(Message):
        """The request under the cursor is to be read."""

    class NearEnd(Message):
        """What is loaded will soon have been seen."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Request] = []
        self.matches: re.Pattern[str] | None = None
        self._ids: set[str] = set()
        self._columns: list[tuple[Column, int]] = []
        self._strips: dict[tuple[str, Style], Strip] = {}

    @property
    def row(self) -> Request | None:
        """The one under the cursor."""
        return self.rows[self.cursor] if self.cursor < len(self.rows) else None

    # What is in it

    def show(self, rows: Iterable[Request], matches: re.Pattern[str] | None) -> None:
        """These instead of all before; the cursor stays on its request if that is among them."""
        chosen = self.row["id"] if self.row else ""
        self.rows, self.matches = list(rows), matches
        self._changed()
        self.set_reactive(RequestList.cursor, self._index_of(chosen) or 0)
        self._reveal()
        self.post_message(self.Highlighted())

    def append(self, rows: Iterable[Request]) -> None:
        """Older ones."""
        self.rows += [row for row in rows if row["id"] not in self._ids]
        self._changed()

    def prepend(self, rows: list[Request]) -> None:
        """Newer ones; what is seen stays where it is."""
        self.rows[:0] = rows
        self._changed()
        self.set_reactive(RequestList.cursor, self.cursor + len(rows))
        if self.scroll_offset.y:
            self.scroll_to(y=self.scroll_offset.y + len(rows), animate=False)

    def update_row(self, request_id: str, **values: str | None) -> None:
        index = self._index_of(request_id)
        if index is not None:
            self.rows[index] |= values
            self._changed()

    def remove_row(self, request_id: str) -> None:
        """The cursor goes to the one after it."""
        index = self._index_of(request_id)
        if index is None:
            return
        del self.rows[index]
        self._changed()
        cursor = self.cursor - (index < self.cursor)
        self.set_reactive(RequestList.cursor, max(0, min(cursor, len(self.rows) - 1)))
        self._reveal()
        self.post_message(self.Highlighted())

    def redraw(self) -> None:
        """Ages change with time."""
        self._strips.clear()
        self.refresh()

    def _index_of(self, request_id: str) -> int | None:
        if request_id not in self._ids:
            return None
        return next(i for i, row in enumerate(self.rows) if row["id"] == request_id)

    def _changed(self) -> None:
        self._ids = {row["id"] for row in self.rows}
        self.virtual_size = Size(self.scrollable_content_region.width, len(self.rows) + 1)
        self.redraw()

    # How it looks

    def on_resize(self) -> None:
        self._columns = _fitting(self.scrollable_content_region.width)
        self.virtual_size = Size(self.scrollable_content_region.width, len(self.rows) + 1)
        self.redraw()
        self._reveal()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._strips.clear()

    def render_line(self, y: int) -> Strip:
        index = self.scroll_offset.y + y - 1
        if y == 0:
            return self._strip(None, "request-list--header")
        if index >= len(self.rows):
            return Strip.blank(self.scrollable_content_region.width, self.rich_style)
        if index == self.cursor:
            return self._strip(index, "request-list--cursor")
        if index == self.hover:
            return self._strip(index, "request-list--hover")
        return self._strip(index)

    def _strip(self, index: int | None, *component: str) -> Strip:
        """The line of a row, or with None the titles; the same object as long as it looks the
        same, which makes drawing it again cheap."""
        style = self.get_visual_style(*component) if component else self.visual_style
        key = ("" if index is None else self.rows[index]["id"], style)
        strip = self._strips.get(key)
        if strip is None:
            if index is None:
                content = _line([(c.title, "", c, width) for c, width in self._columns])
            else:
                row = self.rows[index]
                cells = [(*c.cell(row), c, width) for c, width in self._columns]
                content = _line(cells, self.matches)
            width = self.scrollable_content_region.width
            (drawn,) = Visual.to_strips(self, content, width, 1, style, apply_selection=False)
            strip = self._strips[key] = drawn.extend_cell_length(width, style.rich_style)
        return strip

    # Where one is in it

    def validate_cursor(self, cursor: int) -> int:
        return max(0, min(cursor, len(self.rows) - 1))

    def watch_cursor(self, before: int, cursor: int) -> None:
        self.refresh_lines(before + 1)
        self.refresh_lines(cursor + 1)
        self._reveal()
        self.post_message(self.Highlighted())

    def watch_hover(self, before: int, hover: int) -> None:
        self.refresh_lines(before + 1)
        self.refresh_lines(hover + 1)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if new_value + 3 * self.size.height >= len(self.rows):
            self.post_message(self.NearEnd())

    def _reveal(self) -> None:
        self.scroll_to_region(
            Region(0, self.cursor + 1, 1, 1),
            spacing=Spacing(top=1),  # the header
            animate=False,
            force=True,
            immediate=True,
        )

    def action_cursor_down(self) -> None:
        self.cursor += 1

    def action_cursor_up(self) -> None:
        self.cursor -= 1

    def action_page_down(self) -> None:
        self.cursor += max(1, self.size.height - 2)

    def action_page_up(self) -> None:
        self.cursor -= max(1, self.size.height - 2)

    def action_first(self) -> None:
        self.cursor = 0

    def action_last(self) -> None:
        self.cursor = len(self.rows) - 1

    def action_open(self) -> None:
        if self.row:
            self.post_message(self.Opened())

    def on_click(self, event: events.Click) -> None:
        index = self._index_at(event)
        if index is not None:
            self.cursor = index
            if event.chain == 2:
                self.action_open()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        index = self._index_at(event)
        self.hover = -1 if index is None else index

    def _index_at(self, event: events.MouseEvent) -> int | None:
        index = self.scroll_offset.y + event.y - 1
        return index if event.y and index < len(self.rows) else None

    def on_leave(self) -> None:
        self.hover = -1


def _fitting(width: int) -> list[tuple[Column, int]]:
    """The columns that have room, each with its width."""
    columns = list(COLUMNS)
    while True:
        preview = width - sum(column.width for column in columns) - GAP * (len(columns) - 1)
        spare = max(columns, key=lambda column: column.spare)
        if preview >= MIN_PREVIEW or not spare.spare:
            return [(column, column.width or max(1, preview)) for column in columns]
        columns.remove(spare)


def _line(
    cells: list[tuple[str, str, Column, int]], matches: re.Pattern[str] | None = None
) -> Content:
    parts: list[Content] = []
    for text, style, column, width in cells:
        fitted = _fit(text, width, column.right)
        cell = Content.styled(fitted, style)
        if matches and not column.width:
            cell = cell.highlight_regex(matches, style=MATCH)
        parts.append(cell)
    return Content(" " * GAP).join(parts)


def _fit(text: str, width: int, right: bool) -> str:
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…"
    return " " * (width - length) + text if right else text + " " * (width - length)
