"""Asking: what is sent, what is shown while it comes, and what happens when it does not."""

from __future__ import annotations

import asyncio
from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Input

from tests.tui.conftest import WIDE, Drive, shown, until, write
from tests.upstream import DONE, Received, Upstream, Wire, answer, chunk, events, usage
from tokenflow_tui.app import TokenFlowApp
from tokenflow_tui.screens.ask import AskScreen
from tokenflow_tui.widgets.turn import Turn


def screen(app: TokenFlowApp) -> AskScreen:
    assert isinstance(app.screen, AskScreen)
    return app.screen


async def ask(pilot: Pilot[None], prompt: str) -> None:
    await write(pilot, prompt)
    await pilot.press("enter")


def test_an_answer_is_streamed_with_all_that_is_known_of_it(
    drive: Drive, provider: Upstream
) -> None:
    provider.scripts = [answer("## A title\n\n", "- one\n", "- two\n\n", "The **end**.")]

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await ask(pilot, "Why is the sky blue?")
        await until(pilot, lambda: "The end." in shown(app))
        await until(pilot, lambda: "first token" in shown(app))
        text = shown(app)
        assert "A title" in text
        assert "• one" in text
        assert "auto: " in text
        assert "groq" in text
        assert not screen(app).composer.text

    drive(scenario)
    assert provider.bodies[-1]["messages"][-1]["content"] == "Why is the sky blue?"


def test_what_was_said_before_is_sent_along(drive: Drive, provider: Upstream) -> None:
    provider.scripts = [answer("Four."), answer("Eight.")]

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await ask(pilot, "Two and two?")
        await until(pilot, lambda: "Four." in shown(app) and not screen(app).is_answering)
        await ask(pilot, "Twice that?")
        await until(pilot, lambda: "Eight." in shown(app))

    drive(scenario)
    said = [(message["role"], message["content"]) for message in provider.bodies[-1]["messages"]]
    assert said == [("user", "Two and two?"), ("assistant", "Four."), ("user", "Twice that?")]


def test_escape_stops_the_provider_and_keeps_what_came(drive: Drive, provider: Upstream) -> None:
    async def endless(wire: Wire, request: Received) -> None:
        await wire.head()
        for number in range(1_000):
            await wire.send(chunk(f"word{number} "))
            await asyncio.sleep(0.02)

    provider.scripts = [endless]

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await ask(pilot, "Count!")
        await until(pilot, lambda: "word3" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: "stopped" in shown(app), 1.0)
        assert "word3" in shown(app)
        await until(pilot, provider.requests[-1].gone.is_set, 2.0)

    drive(scenario)


def test_without_a_daemon_nothing_typed_is_lost(drive: Drive) -> None:
    nowhere = "http://127.0.0.1:9"

    async def first(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await until(pilot, lambda: "no daemon answers" in shown(app))
        await ask(pilot, "A thought")
        await until(pilot, lambda: app.screen.query(Turn))
        assert screen(app).composer.text == "A thought"

    async def second(pilot: Pilot[None], app: TokenFlowApp) -> None:
        assert screen(app).composer.text == "A thought"

    drive(first, url=nowhere)
    drive(second, url=nowhere)


def test_a_failure_is_one_sentence_and_the_prompt_stays(drive: Drive, provider: Upstream) -> None:
    async def refuse(wire: Wire, request: Received) -> None:
        await wire.json(400, {"error": {"message": "the prompt is not to its taste"}})

    provider.scripts = [refuse]

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await ask(pilot, "Anything")
        await until(pilot, lambda: "not to its taste" in shown(app))

    drive(scenario)


def test_an_answer_of_reasoning_alone_says_so(drive: Drive, provider: Upstream) -> None:
    thought = chunk(choices=[{"index": 0, "delta": {"reasoning": "Well, "}}])
    provider.scripts = [events(thought, chunk(finish_reason="length"), usage(), DONE)]

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await ask(pilot, "Why?")
        await until(pilot, lambda: "no answer, only reasoning" in shown(app))
        assert "(finish reason length: more tokens with ctrl+t)" in shown(app)

    drive(scenario, size=WIDE)


def test_text_is_shown_as_it_was_sent(drive: Drive, provider: Upstream) -> None:
    pieces = ["汉字 🙂\r", "\n", "data: {", '"event": 1}\r\n\r\n', "x" * 100_000, "\r\nZ"]
    provider.scripts = [answer(*pieces)]

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await ask(pilot, "Why?")
        await until(pilot, lambda: "Z" in shown(app) and not screen(app).is_answering)
        text = app.screen.query_one(Turn).answer.text
        assert text == "".join(pieces)
        await until(pilot, lambda: "␍" not in shown(app))

    drive(scenario)


def test_control_characters_of_an_answer_do_not_reach_the_terminal(
    drive: Drive, provider: Upstream
) -> None:
    provider.scripts = [answer("before \x1b[2J", "\x1b]52;c;aGk=\x07 after")]

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await ask(pilot, "Attack!")
        await until(pilot, lambda: "after" in shown(app) and not screen(app).is_answering)
        assert "\x1b" not in shown(app)
        assert "\u241b[2J" in shown(app)

    drive(scenario)


def test_a_file_goes_along_with_the_prompt(
    drive: Drive, provider: Upstream, tmp_path: Path
) -> None:
    provider.scripts = [answer("A poem.")]
    (tmp_path / "poem.md").write_text("Roses are\n```red```\n")

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await write(pilot, "What is this?")
        await pilot.press("alt+a")
        await until(pilot, lambda: "Attach" in shown(app))
        app.screen.query_one(Input).value = str(tmp_path / "missing")
        await pilot.press("enter")
        await until(pilot, lambda: "No such file" in shown(app))
        app.screen.query_one(Input).value = str(tmp_path / "poem.md")
        await pilot.press("enter")
        await until(pilot, lambda: "1 file attached" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: "A poem." in shown(app))
        assert "attached" not in shown(app)

    drive(scenario)
    sent = provider.bodies[-1]["messages"][-1]["content"]
    assert sent == "What is this?\n\npoem.md:\n````\nRoses are\n```red```\n````"
