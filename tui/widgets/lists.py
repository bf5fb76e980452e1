"""Lists of an answer, light enough to grow while it streams.

Textual gives an item four widgets and makes a list anew for every piece of it that arrives. Here an
item that is one paragraph, as most are, is one widget, and what is written goes on where it ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.css.styles import RulesMap
from textual.selection import Selection
from textual.strip import Strip
from textual.style import Style
from textual.visual import RenderOptions, Visual
from textual.widget import Widget
from textual.widgets._markdown import (
    MarkdownBlock,
    MarkdownBullet,
    MarkdownBulletList,
    MarkdownList,
    MarkdownListItem,
    MarkdownOrderedList,
    MarkdownParagraph,
)


@dataclass(frozen=True)
class Hanging(Visual):
    """A text with a symbol before its first line; the others begin below the first one's text."""

    symbol: Content
    text: Content

    def render_strips(
        self, width: int, height: int | None, style: Style, options: RenderOptions
    ) -> list[Strip]:
        indent = self.symbol.cell_length
        lines = self.text.render_strips(max(1, width - indent), height, style, options)
        (symbol,) = self.symbol.render_strips(indent, 1, style, options)
        blank = Strip.blank(indent, style.rich_style)
        return [
            Strip.join([symbol if number == 0 else blank, line])
            for number, line in enumerate(lines)
        ]

    def get_optimal_width(self, rules: RulesMap, container_width: int) -> int:
        indent = self.symbol.cell_length
        return indent + self.text.get_optimal_width(rules, container_width - indent)

    def get_height(self, rules: RulesMap, width: int) -> int:
        return self.text.get_height(rules, max(1, width - self.symbol.cell_length))


class ItemLine(MarkdownParagraph):
    """An item that is a paragraph."""

    COMPONENT_CLASSES = MarkdownParagraph.COMPONENT_CLASSES | {"symbol"}
    DEFAULT_CSS = """
    ItemLine > .symbol { color: $text-primary; }
    """

    def __init__(self, paragraph: MarkdownParagraph, symbol: str) -> None:
        super().__init__(paragraph._markdown, paragraph._token)
        self.symbol = symbol
        self.set_content(paragraph._content)

    def render(self) -> Visual:
        style = self.get_visual_style("symbol", partial=True)
        return Hanging(Content.styled(self.symbol, style), self._content)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        return selection.extract(self._content.plain), "\n"


# Twice the same: a class that both shared would come first, and of an element's classes Textual's
# stylesheets know only the first base of each.


class GrowingBulletList(MarkdownBulletList):
    def compose(self) -> ComposeResult:
        yield from _rows(self)

    async def _update_from_block(self, block: MarkdownBlock) -> None:
        if not await _grow(self, block):
            await super()._update_from_block(block)


class GrowingOrderedList(MarkdownOrderedList):
    def compose(self) -> ComposeResult:
        yield from _rows(self)

    async def _update_from_block(self, block: MarkdownBlock) -> None:
        if not await _grow(self, block):
            await super()._update_from_block(block)


def _rows(blocks: MarkdownList) -> list[Widget]:
    """A widget for each item of a parsed list: its paragraph, or a bullet and a column."""
    items = [block for block in blocks._blocks if isinstance(block, MarkdownListItem)]
    symbols = [item.bullet for item in items]
    if isinstance(blocks, MarkdownOrderedList) and items:
        first = int(items[0].bullet)
        numbers = [f"{number}. " for number in range(first, first + len(items))]
        width = max(map(len, numbers)) + 1
        symbols = [number.rjust(width) for number in numbers]
    return [_row(item, symbol) for item, symbol in zip(items, symbols, strict=True)]


def _row(item: MarkdownListItem, symbol: str) -> Widget:
    if len(item._blocks) == 1 and isinstance(item._blocks[0], MarkdownParagraph):
        return ItemLine(item._blocks[0], symbol)
    bullet = MarkdownBullet()
    bullet.symbol = symbol
    return Horizontal(bullet, Vertical(*item._blocks))


async def _grow(shown: Widget, longer: Widget) -> bool:
    """Gives a list what a longer one has, which is not mounted; False if that is no such list."""
    rows = list(shown.children)
    if not isinstance(longer, MarkdownList) or type(longer) is not type(shown) or not rows:
        return False
    wanted = _rows(longer)
    if len(wanted) < len(rows):
        return False
    for number, row in enumerate(rows):
        is_last = number == len(rows) - 1
        if not await _grow_row(row, wanted[number], is_last):
            await row.remove()
            await _mount(shown, [wanted[number]])
    await _mount(shown, wanted[len(rows) :])
    return True


async def _grow_row(row: Widget, longer: Widget, is_last: bool) -> bool:
    """Numbers are moved to the right once there are ten; but for the last one, items stay."""
    if isinstance(row, ItemLine) and isinstance(longer, ItemLine):
        if (row.symbol, row._content) != (longer.symbol, longer._content):
            row.symbol = longer.symbol
            row.set_content(longer._content)
        return True
    if isinstance(row, ItemLine) or isinstance(longer, ItemLine):
        return not is_last
    (bullet, column), (symbol, blocks) = row.children, longer._pending_children
    if (
        isinstance(bullet, MarkdownBullet)
        and isinstance(symbol, MarkdownBullet)
        and bullet.symbol != symbol.symbol
    ):
        bullet.symbol = symbol.symbol
        bullet.refresh(layout=True)
    if is_last:
        await _grow_column(column, blocks._pending_children)
    return True


async def _grow_column(column: Widget, blocks: Sequence[Widget]) -> None:
    """The blocks before the last one are as they were."""
    shown = list(column.children)
    if not shown or len(blocks) < len(shown):
        await column.remove_children()
        await _mount(column, blocks)
        return
    last, block = shown[-1], blocks[len(shown) - 1]
    if isinstance(last, MarkdownParagraph) and isinstance(block, MarkdownParagraph):
        if last._content != block._content:
            await last._update_from_block(block)
    elif not await _grow(last, block):
        await last.remove()
        await column.mount(block)
    await _mount(column, blocks[len(shown) :])


async def _mount(parent: Widget, blocks: Sequence[Widget]) -> None:
    """Mounting nothing has its cost too: Textual looks for what is below the mouse."""
    if blocks:
        await parent.mount_all(blocks)
