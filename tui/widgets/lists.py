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
    MarkdownList,
    MarkdownListItem,
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


class GrowingList(MarkdownList):
    """Of bullets or numbers: each item is an `ItemLine`, or a bullet beside a column of blocks."""

    DEFAULT_CSS = """
    GrowingList {
        margin: 0 0 1 0;
        & Horizontal, & Vertical { height: auto; width: 1fr; }
    }
    """

    def compose(self) -> ComposeResult:
        yield from map(_row, self.items, self.symbols)
        self._blocks.clear()

    @property
    def items(self) -> list[MarkdownListItem]:
        """As they were parsed; none once they are mounted."""
        return [block for block in self._blocks if isinstance(block, MarkdownListItem)]

    @property
    def symbols(self) -> list[str]:
        """What stands before each item."""
        bullets = [item.bullet for item in self.items]
        if not bullets or self._token.type != "ordered_list_open":
            return bullets
        first = int(bullets[0])
        numbers = [f"{number}. " for number in range(first, first + len(bullets))]
        width = max(map(len, numbers)) + 1
        return [number.rjust(width) for number in numbers]

    async def _update_from_block(self, block: MarkdownBlock) -> None:
        if not await _grow(self, block):
            await super()._update_from_block(block)


def _line(item: MarkdownListItem) -> MarkdownParagraph | None:
    """The paragraph that is all of an item."""
    match item._blocks:
        case [MarkdownParagraph() as paragraph]:
            return paragraph
    return None


def _row(item: MarkdownListItem, symbol: str) -> Widget:
    if line := _line(item):
        return ItemLine(line, symbol)
    bullet = MarkdownBullet()
    bullet.symbol = symbol
    return Horizontal(bullet, Vertical(*item._blocks))


async def _grow(shown: Widget, longer: Widget) -> bool:
    """Gives a list what a longer one has, which is not mounted; False if that is no such list. But
    for the last one, the items that are shown stay as they are."""
    rows = list(shown.children)
    if not isinstance(shown, GrowingList) or not isinstance(longer, GrowingList) or not rows:
        return False
    items, symbols, last = longer.items, longer.symbols, len(rows) - 1
    if shown._token.type != longer._token.type or len(items) < len(rows):
        return False
    for row, symbol in zip(rows, symbols, strict=False):
        _set_symbol(row, symbol)
    if await _grow_row(rows[last], items[last]):
        last += 1
    else:
        await rows[last].remove()
    await _mount(shown, [*map(_row, items[last:], symbols[last:])])
    return True


def _set_symbol(row: Widget, symbol: str) -> None:
    """Numbers are moved to the right once there are ten."""
    bullet = row if isinstance(row, ItemLine) else row.children[0]
    if isinstance(bullet, ItemLine | MarkdownBullet) and bullet.symbol != symbol:
        bullet.symbol = symbol
        bullet.refresh(layout=True)


async def _grow_row(row: Widget, longer: MarkdownListItem) -> bool:
    """False if another kind of row has to take its place."""
    line = _line(longer)
    if isinstance(row, ItemLine):
        return line is not None and await _grow_block(row, line)
    if line is None:
        await _grow_column(row.children[1], longer._blocks)
    return line is None


async def _grow_column(column: Widget, blocks: Sequence[Widget]) -> None:
    """The blocks before the last one are as they were."""
    shown = list(column.children)
    if not shown or len(blocks) < len(shown):
        await column.remove_children()
        await _mount(column, blocks)
        return
    last, block = shown[-1], blocks[len(shown) - 1]
    if not await _grow_block(last, block):
        await last.remove()
        await column.mount(block)
    await _mount(column, blocks[len(shown) :])


async def _grow_block(shown: Widget, longer: Widget) -> bool:
    """A paragraph or a list; False for all else."""
    if not isinstance(shown, MarkdownParagraph) or not isinstance(longer, MarkdownParagraph):
        return await _grow(shown, longer)
    if shown._content != longer._content:
        await shown._update_from_block(longer)
    return True


async def _mount(parent: Widget, blocks: Sequence[Widget]) -> None:
    """Mounting nothing has its cost too: Textual looks for what is below the mouse."""
    if blocks:
        await parent.mount_all(blocks)
