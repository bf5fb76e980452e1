"""Lists that grow while they arrive look like lists that were there at once."""

from __future__ import annotations

import asyncio

import pytest
from textual.app import App, ComposeResult
from textual.widgets import Markdown

from tests.tui.conftest import shown
from tokenflow_tui.widgets.answer import Answer
from tokenflow_tui.widgets.lists import GrowingList

BULLETS = """\
- one item
- another, **bold** in the middle
  of two lines
- with a list in it
  - deeper
    1. and deeper
    2. still
  - back
- and code

  ```python
  print("in an item")
  ```

  with words after it
- last
"""
NUMBERS = "\n".join(f"{number}. item {number}" for number in range(1, 13)) + "\n"
LIST_THEN_TEXT = "- one\n- two\n\nA paragraph.\n\n1. one\n2. two\n\n- again\n"
ITEM_THAT_TURNS = "- a\n- \n- b\n-\n- # no heading yet\n"


class Shows(App[None]):
    def compose(self) -> ComposeResult:
        yield Answer()


@pytest.mark.parametrize("size", [1, 3, 7, 40])
@pytest.mark.parametrize("text", [BULLETS, NUMBERS, LIST_THEN_TEXT, ITEM_THAT_TURNS])
def test_a_list_in_pieces_looks_as_if_it_had_come_at_once(text: str, size: int) -> None:
    async def scenario() -> None:
        app = Shows()
        async with app.run_test(size=(60, 40)) as pilot:
            answer = app.query_one(Answer)
            for start in range(0, len(text), size):
                await answer.append(text[start : start + size])
            await pilot.pause()
            in_pieces = shown(app)
            await answer.update(text)
            await pilot.pause()
            assert in_pieces == shown(app)

    asyncio.run(scenario())


@pytest.mark.parametrize("text", [BULLETS, NUMBERS, LIST_THEN_TEXT])
@pytest.mark.parametrize("width", [60, 12])
def test_a_list_looks_as_textual_draws_it(
    text: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def looks() -> str:
        app = Shows()
        async with app.run_test(size=(width, 60)) as pilot:
            await app.query_one(Answer).update(text)
            await pilot.pause()
            return shown(app)

    ours = asyncio.run(looks())
    monkeypatch.setattr(Answer, "BLOCKS", Markdown.BLOCKS)
    assert ours == asyncio.run(looks())


@pytest.mark.parametrize("text", [BULLETS, NUMBERS])
def test_what_has_been_shown_of_a_list_stays(text: str) -> None:
    async def scenario() -> None:
        app = Shows()
        async with app.run_test(size=(60, 40)):
            answer = app.query_one(Answer)
            lines = text.splitlines(keepends=True)
            await answer.append("".join(lines[:2]))
            first = answer.query(GrowingList).first()
            row = first.children[0]
            await answer.append("".join(lines[2:]))
            assert answer.query(GrowingList).first() is first
            assert first.children[0] is row

    asyncio.run(scenario())
