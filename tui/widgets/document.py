"""A request as lines of text for a width. Nothing here touches the screen: a thread may do it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import ClassVar

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markdown import Heading, Markdown
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text
from rich.theme import Theme
from textual.strip import Strip

from tokenflow_tui.numbers import tokens
from tokenflow_tui.request import (
    ASKED,
    Request,
    answer,
    conversation,
    facts,
    plain,
    problem,
    prompt,
)

# Of each text so much is shown; copies and exports have all of it.
MAX_CHARS = 20_000
MAX_EARLIER_CHARS = 2_000  # of each message before the prompt
INDENT = 2
HEADLINE = ("when", "model", "category", "tokens", "cost")

Line = list[Segment]


class _Heading(Heading):
    LEVEL_ALIGN: ClassVar = dict.fromkeys(Heading.LEVEL_ALIGN, "left")


class _Markdown(Markdown):
    elements: ClassVar = Markdown.elements | {"heading_open": _Heading}


class _Drawn:
    """Lines that are ready."""

    def __init__(self, strips: Sequence[Strip]) -> None:
        self._strips = strips

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for strip in self._strips:
            yield from strip
            yield Segment.line()


def theme(primary: Style, accent: Style, success: Style, error: Style) -> Theme:
    """Styles of the parts, in the app's colours."""
    title = primary + Style(bold=True)
    return Theme(
        {
            "title": title,
            "note": Style(dim=True),
            "error": error,
            "markdown.code": accent,
            "markdown.code_block": success,
            "markdown.block_quote": Style(dim=True),
            "markdown.list": Style(),
            "markdown.item.bullet": primary,
            "markdown.item.number": primary,
            "markdown.link": primary,
            "markdown.link_url": primary + Style(underline=True),
            "markdown.table.border": Style(dim=True),
            "markdown.table.header": Style(bold=True),
            **{f"markdown.h{level}": title for level in range(1, 7)},
        }
    )


def render(
    request: Request, bars: Sequence[Strip], width: int, colours: Theme
) -> tuple[list[Line], list[int]]:
    """The lines, and at which of them a part begins. `bars` show the scores."""
    console = Console(
        file=io.StringIO(), width=width, force_terminal=True, color_system="truecolor",
        theme=colours, legacy_windows=False,
    )  # fmt: skip
    lines: list[Line] = _lines(console, _headline(request), width)
    starts = [0]
    for title, note, body in _parts(request, bars):
        lines.append([])
        starts.append(len(lines))
        lines += _lines(console, Text.assemble((title, "title"), "  ", (note, "note")), width)
        lines += [[Segment(" " * INDENT), *line] for line in _lines(console, body, width - INDENT)]
    return lines, starts


def _lines(console: Console, body: RenderableType, width: int) -> list[Line]:
    options = console.options.update(width=max(1, width), height=None)
    lines = console.render_lines(body, options, pad=False)
    while lines and not "".join(segment.text for segment in lines[-1]).strip():
        lines.pop()
    return lines


def _headline(request: Request) -> Text:
    known = dict(facts(request))
    first = " · ".join(known[name] for name in HEADLINE if name in known)
    text = Text.assemble((request["kind"], "title"), "  ", (first, "note"))
    if problem(request):
        text.append(f"\n✗ {plain(problem(request))}", "error")
    return text


def _parts(request: Request, bars: Sequence[Strip]) -> Iterator[tuple[str, str, RenderableType]]:
    is_asked = request["kind"] in ASKED
    if prompt(request):
        title = "TEXT" if request["kind"] == "compress" else "PROMPT"
        yield title, _size(prompt(request)), Text(_cut(prompt(request)))
    if answer(request) and is_asked:
        yield "ANSWER", _size(answer(request)), _Markdown(_cut(answer(request)), hyperlinks=False)
    elif answer(request):
        yield "COMPRESSED", _size(answer(request)), Text(_cut(answer(request)))
    if bars:
        yield "CATEGORIES", "", _Drawn(bars)
    figures = Table.grid(padding=(0, 2, 0, 0))
    figures.add_column(style="note", no_wrap=True)
    figures.add_column(overflow="fold")
    for name, value in facts(request):
        if name not in HEADLINE:
            figures.add_row(name, Text(value))
    yield "FIGURES", request["id"], figures
    for role, text in conversation(request):
        yield f"SENT AS {role.upper()}", _size(text), Text(_cut(text, MAX_EARLIER_CHARS))


def _size(text: str) -> str:
    return f"{tokens(len(text))} characters"


def _cut(text: str, limit: int = MAX_CHARS) -> str:
    if len(text) <= limit:
        return plain(text)
    return f"{plain(text[:limit])}\n\n… {len(text) - limit:,} more characters: e exports them all"
