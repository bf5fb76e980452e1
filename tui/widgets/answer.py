"""An answer as it arrives: Markdown that grows without being rendered anew for every chunk."""

from __future__ import annotations

import asyncio
import time

from textual.widgets import Markdown

from tokenflow_tui.visible import visible
from tokenflow_tui.widgets.lists import GrowingList

# The pause between two times that what has arrived is shown: with what showing takes, there are
# fewer than ten a second; and how much of the time showing may take.
FLUSH_S = 0.093
PAUSE_PER_COST = 3.0


class Answer(Markdown):
    """`feed` only fills a buffer; a task of its own shows what is in it, and the dearer that was,
    the longer it waits for the next time: typing stays fast beside any stream."""

    BLOCKS = Markdown.BLOCKS | {
        "bullet_list_open": GrowingList,
        "ordered_list_open": GrowingList,
    }

    def __init__(self) -> None:
        super().__init__(open_links=False)
        self.text = ""
        self._waiting: list[str] = []
        self._fed = asyncio.Event()
        self._ended = False

    def feed(self, chunk: str) -> None:
        self.text += chunk
        self._waiting.append(chunk)
        self._fed.set()

    def end(self) -> None:
        """No more comes."""
        self._ended = True
        self._fed.set()

    async def show(self) -> None:
        """Until `end`; then the whole text once more, as Markdown that was complete all along."""
        pieces = 0
        while True:
            await self._fed.wait()
            self._fed.clear()
            if self._waiting:
                started = time.monotonic()
                waiting, self._waiting = "".join(self._waiting), []
                await self.append(_drawable(waiting))
                pieces += 1
                cost = time.monotonic() - started
                if not self._ended:
                    await asyncio.sleep(max(FLUSH_S, PAUSE_PER_COST * cost))
            if self._ended and not self._waiting:
                break
            if self._waiting or self._ended:
                self._fed.set()
        if pieces > 1:
            await asyncio.sleep(FLUSH_S)  # first the last words are seen
            await self.show_whole(self.text)

    async def show_whole(self, text: str) -> None:
        """Instead of what was shown before."""
        await self.update(_drawable(text))


def _drawable(text: str) -> str:
    """With one kind of line break, and control characters that a terminal does not obey."""
    return visible(text.replace("\r\n", "\n"))
