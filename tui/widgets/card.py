"""A figure with its course."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Sparkline, Static

from tokenflow_tui.figures import Bucket, Figure


class Card(Vertical):
    """Can be clicked, so that the plot shows its figure."""

    class Chosen(Message):
        def __init__(self, figure: Figure) -> None:
            super().__init__()
            self.figure = figure

    def __init__(self, figure: Figure) -> None:
        super().__init__(id=figure.name)
        self.figure = figure

    def compose(self) -> ComposeResult:
        yield Static(self.figure.title, classes="title")
        with Horizontal(classes="figures"):
            yield Static(classes="value", markup=False)
            yield Static(classes="detail", markup=False)
        yield Sparkline()

    def show(self, summary: dict[str, Any], series: Sequence[Bucket]) -> None:
        self.query_one(".value", Static).update(self.figure.value(summary))
        self.query_one(".detail", Static).update(self.figure.detail(summary))
        self.query_one(Sparkline).data = [self.figure.of_bucket(bucket) or 0 for bucket in series]

    def on_click(self) -> None:
        self.post_message(self.Chosen(self.figure))
