"""Rows of figures, one for each model or category."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

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
    BINDINGS: ClassVar[list[BindingType]] = list(keymap.LIST)

    def __init__(self, columns: Sequence[Column], title: str, id: str) -> None:
        super().__init__(id=id, cursor_type="row", zebra_stripes=False, cell_padding=1)
        self._columns = columns
        self.border_title = title

    def on_mount(self) -> None:
        for column in self._columns:
            self.add_column(_cell(column.title, column))

    def show(self, rows: Sequence[Row]) -> None:
        """In place of what was there; the cursor stays where it is."""
        place = self.cursor_row
        self.clear()
        for row in rows:
            self.add_row(*(_cell(column.of_row(row), column) for column in self._columns))
        self.move_cursor(row=place, animate=False)

    def action_first(self) -> None:
        self.move_cursor(row=0)

    def action_last(self) -> None:
        self.move_cursor(row=self.row_count - 1)


def _cell(text: str, column: Column) -> Text:
    return Text(text, justify="right" if column.is_number else "left")
