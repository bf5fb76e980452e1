"""python -m docs.screenshots: the pictures of the terminal client, taken of the real one.

A daemon with a history of its own and a scripted provider, in a temporary folder.
"""

from __future__ import annotations

import asyncio
import socket
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from tests.program import Program
from tests.tui.conftest import shown, until
from tests.tui.stage import fill
from tests.upstream import DONE, Received, Upstream, Wire, chunk, usage
from tokenflow_tui.app import TokenFlowApp
from tokenflow_tui.state import State
from tokenflowd.store import Store

FOLDER = Path(__file__).with_name("screenshots")
SIZE = (120, 36)
USUAL = "http://127.0.0.1:8000"  # if nobody is there, the pictures show the usual port

QUESTION = """\
Hello! I was wondering whether you could please help me think through a small puzzle that has been \
bothering me for quite some time: three friends paid 90 euros for dinner, 30 each, the waiter gave \
back 5, they kept 1 each and tipped 2. So each paid 29, which is 87 in all, and with the tip that \
makes 89. As you can probably imagine, we argued about it for the whole way home. Where did the \
last euro go?"""
ANSWER = """\
Nowhere: the tip is **part of** the 87, so adding it counts it twice.

- 85 are with the restaurant
- 2 are with the waiter
- 3 are back with the friends

**85 + 2 + 3 = 90.** What must be added to the 87 is the change, not the tip.
"""
FIRST_TOKEN_S = 0.25
MINUTES = """\
Okay, so first of all thanks to everybody for making the time today, I know that it is basically \
the busiest week of the quarter for most of us. Let me just quickly go over where we are, as far \
as I can tell. The migration of the billing database, which, as you will remember, we had \
originally planned for 12 May, is now going to take place on 19 May at 06:30, because the vendor \
needs one more week to deliver the new certificate. Ana, I think, is still the person who talks \
to them, and she mentioned that it should really not be later than that.

The second thing, and this is actually kind of important, is the budget: we have spent 41,200 of \
the 60,000 euros so far, so there is, more or less, enough left for the load test, but certainly \
not for two of them. Jonas suggested that we could possibly share one with the platform team, and \
I personally think that this is quite a good idea.

And finally, somebody has to write the announcement to the customers before Friday. It does not \
have to be long, in my opinion, but it must say that invoices will not be available between 06:00 \
and 09:00, and whom to call: the number is still 555-0117. Mia said that she would be happy to do \
it, provided that she gets the exact times by tomorrow evening.
"""


def main() -> None:
    """Writes one SVG for each screen."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Upstream(said) as upstream:
        home = Path(folder)
        store = Store(home / "tokenflow.db")
        fill(store, datetime.now(UTC))
        store.close()
        program = Program(home, upstream)
        try:
            if is_free(USUAL):
                program.restart_at(USUAL)
            else:
                program.start()
            asyncio.run(take(program.url, State(home / "tui")))
        finally:
            program.close()


async def said(wire: Wire, request: Received) -> None:
    """As a provider would: after a moment, and with its own count of the tokens."""
    await wire.head()
    await asyncio.sleep(FIRST_TOKEN_S)
    for word in ANSWER.split(" "):
        await wire.send(chunk(f"{word} "))
        await asyncio.sleep(0.004)
    await wire.send(chunk(finish_reason="stop") + usage(61, 118) + DONE)
    await wire.end()


def is_free(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) != 0


async def take(url: str, state: State) -> None:
    state.save_draft("ask", QUESTION)
    state.save_draft("compress", MINUTES)
    state.settings.compress = "0.6"
    app = TokenFlowApp(url, state)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.health and app.today)

        await pilot.press("enter")
        await until(pilot, lambda: "not the tip" in shown(app) and "first token" in shown(app))
        await save(pilot, "ask")

        await pilot.press("f3")
        await until(pilot, lambda: "sent at" in shown(app) or "−" in shown(app))
        await save(pilot, "compress")

        await pilot.press("f4", "slash", *"index")
        await until(pilot, lambda: "found" in shown(app))
        await pilot.press("down")
        await until(pilot, lambda: "ANSWER" in shown(app))
        await save(pilot, "history")

        await pilot.press("f5")
        await until(pilot, lambda: "Requests by day" in shown(app))
        await pilot.press("right")
        await save(pilot, "metrics")


async def save(pilot: Pilot[None], name: str) -> None:
    for typed in (*pilot.app.screen.query(TextArea), *pilot.app.screen.query(Input)):
        typed.cursor_blink = False
    await until(pilot, lambda: not pilot.app.screen.query("Toast"))
    await pilot.pause(0.5)
    print(pilot.app.save_screenshot(f"{name}.svg", str(FOLDER)))


if __name__ == "__main__":
    main()
