"""Rows of figures, one for each model or category."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual.binding import BindingType
from textual.widgets import DataTable

from tokenflow_tui import keymap

Row = dict[str, Any]


@dataclass(frozen=True)
class Column:
    title: str
    of_row: Callable[[Row], str]
    is_number: bool = True


class FiguresTable(DataTable[Text]):
    """Has as many of the columns, from the first, as there is room for."""

    BINDINGS: ClassVar[list[BindingType]] = list(keymap.LIST)

    def __init__(self, columns: Sequence[Column], title: str, id: str) -> None:
        super().__init__(id=id, cursor_type="row", zebra_stripes=False, cell_padding=1)
        self._all_columns = columns
        self._figures: Sequence[Row] = ()
        self._room = 0
        self.border_title = title

    def show(self, rows: Sequence[Row]) -> None:
        """In place of what was there; the cursor stays where it is."""
        if rows != self._figures:
            self._figures = rows
            self._fill()

    def on_resize(self) -> None:
        if self._room != self.size.width:
            self._room = self.size.width
            self._fill()

    def _fill(self) -> None:
        place, room = self.cursor_row, self._room
        self.clear(columns=True)
        shown: list[Column] = []
        for column in self._all_columns:
            texts = [column.title, *map(column.of_row, self._figures)]
            width = max(map(cell_len, texts))
            room -= width + 2 * self.cell_padding
            if room < 0 and shown:
                break
            shown.append(column)
            # A width that the table finds out for itself comes a moment after the rows.
            self.add_column(_cell(column.title, column), width=width)
        for row in self._figures:
            self.add_row(*(_cell(column.of_row(row), column) for column in shown))
        self.move_cursor(row=place, animate=False)

    def action_first(self) -> None:
        self.move_cursor(row=0)

    def action_last(self) -> None:
        self.move_cursor(row=self.row_count - 1)


def _cell(text: str, column: Column) -> Text:
    return Text(text, justify="right" if column.is_number else "left")
