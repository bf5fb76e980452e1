"""Compressing: what is shown at once, what the daemon decides, and that no text is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot

from tests.program import Program
from tests.tui.conftest import SMALL, WIDE, Drive, shown, until, write
from tests.upstream import Upstream
from tokenflow_tui.app import TokenFlowApp
from tokenflow_tui.files import MAX_BYTES
from tokenflow_tui.screens.ask import AskScreen
from tokenflow_tui.screens.compress import CompressScreen
from tokenflow_tui.widgets.slider import Slider

TEXT = """\
Well, the thing is that the committee, as you may know, met on Tuesday in room 41 of the old \
library. After a long talk about this and that, it was agreed that the bridge would be closed \
for repairs until October.

Then there was also some talk about the money: the repairs cost about 2,300,000 euros, which is \
rather more than anybody had thought it would be when it was first talked about.
"""
SENTENCE = "The committee agreed that the bridge is closed until October."


async def opened(pilot: Pilot[None], app: TokenFlowApp, text: str = "") -> CompressScreen:
    """The screen; with a text, as soon as that is compressed."""
    await pilot.press("f3")
    screen = await until(pilot, lambda: isinstance(app.screen, CompressScreen) and app.screen)
    await until(pilot, lambda: screen.source.has_focus)
    if text:
        screen.set_text(text)
        await settled(pilot, screen)
    return screen  # type: ignore[no-any-return]


async def settled(pilot: Pilot[None], screen: CompressScreen) -> None:
    """Once the daemon has decided what is wanted now."""
    await until(pilot, lambda: "tokens ·" in shown(screen.app) and " ms" in facts(screen))


def facts(screen: CompressScreen) -> str:
    return str(screen.query_one("#facts").render())


def problem(screen: CompressScreen) -> str:
    said = screen.query_one("#problem")
    return str(said.render()) if said.display else ""


def styled(screen: CompressScreen, *, struck: bool) -> str:
    """All words that are in sight and struck through, or not."""
    view = screen.words
    return " ".join(
        segment.text.strip()
        for y in range(view.size.height)
        for segment in view.render_line(y)
        if segment.text.strip() and bool(segment.style and segment.style.strike) is struck
    )


async def compressions(app: TokenFlowApp) -> list[dict[str, Any]]:
    """The history's rows, the latest first."""
    page = await app.daemon.get("/api/history", kind="compress", limit=500)
    return page["requests"]  # type: ignore[no-any-return]


def test_a_typed_text_is_compressed_and_its_dropped_words_are_struck_through(
    drive: Drive,
) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        screen = await opened(pilot, app)
        assert "Nothing to compress yet" in shown(app)
        screen.source.insert(SENTENCE[:-1])
        await write(pilot, ".")
        await settled(pilot, screen)
        assert "bridge" in styled(screen, struck=False)
        assert "that" in styled(screen, struck=True)
        assert "tokenflow-compressor" in facts(screen)
        assert "−" in facts(screen)

    drive(scenario, size=WIDE)


def test_the_slider_shows_at_once_what_may_go_and_asks_when_it_rests(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        screen = await opened(pilot, app, TEXT)
        before = len(await compressions(app))
        struck = styled(screen, struck=True)
        for _ in range(4):  # faster than a pilot presses keys
            screen.slider.action_move(-0.05)
        await pilot.pause()
        assert screen.slider.value == pytest.approx(0.3)
        assert "about" in facts(screen)  # not asked yet
        guessed = styled(screen, struck=True)
        assert len(guessed) > len(struck)
        await settled(pilot, screen)
        assert "−7" in facts(screen)
        assert len(await compressions(app)) == before + 1
        # Back where it was, and what it was is exactly what it is again.
        screen.slider.action_move(0.2)
        await pilot.pause()
        await settled(pilot, screen)
        assert styled(screen, struck=True) == struck

    drive(scenario, size=WIDE)


def test_the_slider_by_all_its_keys_and_by_the_mouse(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        screen = await opened(pilot, app)
        await pilot.press("escape")
        for key, value in (
            ("right", 0.55), ("l", 0.56), ("shift+right", 0.57), ("h", 0.56), ("shift+left", 0.55),
            ("end", 1.0), ("right", 1.0), ("home", 0.05), ("left", 0.05),
        ):  # fmt: skip
            await pilot.press(key)
            assert screen.slider.value == pytest.approx(value), key
        await pilot.click(Slider, offset=(20, 0))
        clicked = screen.slider.value
        assert 0.1 < clicked < 0.9
        await pilot.mouse_down(Slider, offset=(20, 0))
        await pilot.hover(Slider, offset=(30, 0))
        dragged = screen.slider.value
        assert dragged > clicked
        await pilot.mouse_up(Slider, offset=(30, 0))
        await pilot.hover(Slider, offset=(5, 0))
        assert screen.slider.value == dragged

    drive(scenario)


def test_an_exact_number_of_tokens_until_the_slider_moves(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        screen = await opened(pilot, app, TEXT)
        screen.target.focus()
        await write(pilot, "20")
        await settled(pilot, screen)
        assert " → 20 tokens" in facts(screen)
        assert screen.slider.value < 0.3
        screen.slider.focus()
        await pilot.press("right")
        assert not screen.target.value
        await settled(pilot, screen)
        assert " → 20 tokens" not in facts(screen)

    drive(scenario)


def test_a_wrong_number_of_tokens_is_said_and_changes_nothing(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        screen = await opened(pilot, app, TEXT)
        kept = styled(screen, struck=False)
        screen.target.focus()
        await write(pilot, "0")
        assert "whole number from 1" in problem(screen)
        assert styled(screen, struck=False) == kept
        assert screen.source.text == TEXT
        await pilot.press("backspace")
        assert not problem(screen)

    drive(scenario, size=WIDE)


def test_words_digits_and_a_question_that_are_not_to_be_dropped(
    drive: Drive, program: Program
) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        screen = await opened(pilot, app, TEXT)
        assert "thing" in styled(screen, struck=True)
        screen.force.focus()
        await write(pilot, "thing, may")
        await pilot.press("tab")
        await write(pilot, "What is closed?")
        await pilot.press("tab", "space")
        await until(pilot, lambda: "thing" in styled(screen, struck=False))
        await settled(pilot, screen)
        assert "may" in styled(screen, struck=False)
        asked = program.recorded((await compressions(app))[0]["id"])["options"]
        assert asked["force_tokens"] == ["thing", "may"]
        assert asked["question"] == "What is closed?"
        assert asked["force_reserve_digit"] is True

    drive(scenario, size=WIDE)


def test_a_budget_that_cannot_be_met_is_said(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        screen = await opened(pilot, app, TEXT)
        screen.force.value = "committee, bridge, repairs, October"
        screen.target.value = "3"
        await until(pilot, lambda: "what has to be kept is more than 3" in shown(app))

    drive(scenario)


def test_what_the_model_reads_already_is_not_begun_anew_by_the_slider(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        screen = await opened(pilot, app)
        before = len(await compressions(app))
        screen.set_text(" ".join(f"In year {number}: {SENTENCE}" for number in range(400)))
        await until(pilot, lambda: "compressing…" in facts(screen))
        await pilot.press("escape", "left")
        await until(pilot, lambda: "about" in facts(screen))
        await settled(pilot, screen)
        rows = await compressions(app)
        assert len(rows) == before + 2
        assert {row["status"] for row in rows[:2]} == {"ok"}

    drive(scenario)


def test_only_the_kept_words(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        screen = await opened(pilot, app, TEXT)
        kept = styled(screen, struck=False).split()
        await pilot.press("alt+d")
        assert styled(screen, struck=True) == ""
        assert styled(screen, struck=False).split() == kept
        await pilot.press("escape", "home")
        assert len(styled(screen, struck=False).split()) < len(kept)
        await pilot.press("alt+d")
        assert styled(screen, struck=True)

    drive(scenario, size=WIDE)


def test_keys_with_alt_work_while_one_types(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        screen = await opened(pilot, app, TEXT)
        for field in (screen.source, screen.question):
            field.focus()
            before = screen.words.only_kept
            # As terminals send it: with the letter, which a field would take for typed.
            app.post_message(events.Key("alt+d", "d"))
            await until(pilot, lambda: screen.words.only_kept is not before)  # noqa: B023
        assert screen.source.text == TEXT
        assert not screen.question.value

    drive(scenario, size=WIDE)


def test_the_indentation_after_a_dropped_word_is_not_struck_through(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        screen = await opened(pilot, app)
        screen.set_text(SENTENCE.replace(" ", "\n    "))
        await settled(pilot, screen)
        assert "bridge" in styled(screen, struck=False)
        assert "that" in styled(screen, struck=True)

    drive(scenario, size=WIDE)


def test_a_small_terminal_shows_the_text_or_its_words(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        screen = await opened(pilot, app)
        screen.source.insert(SENTENCE)
        await settled(pilot, screen)
        assert screen.source.region
        assert not screen.words.region
        await pilot.press("f9")
        await until(pilot, lambda: screen.words.has_focus and screen.words.region)
        assert not screen.source.region
        await pilot.press("f9")
        await until(pilot, lambda: screen.source.has_focus)
        await pilot.press("escape", "left")
        await until(pilot, lambda: screen.words.region)
        await pilot.press("escape")
        assert screen.words.has_focus

    drive(scenario, size=SMALL)


def test_the_words_scroll(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        screen = await opened(pilot, app, TEXT * 12)
        screen.words.focus()
        await pilot.press("j", "j", "k")
        assert screen.words.scroll_y == 1
        await pilot.press("G")
        assert screen.words.scroll_y == screen.words.max_scroll_y > 10
        assert "thought it would be" in shown(app)
        await pilot.press("g")
        assert screen.words.scroll_y == 0

    drive(scenario, size=WIDE)


async def load(pilot: Pilot[None], app: TokenFlowApp, file: Path) -> None:
    """Names a file in the dialog, which is open or opened."""
    if isinstance(app.screen, CompressScreen):
        await pilot.press("ctrl+l")
        await until(pilot, lambda: not isinstance(app.screen, CompressScreen))
    app.screen.query_one("Input").value = str(file)  # type: ignore[attr-defined]
    await pilot.press("enter")


def test_a_file_is_loaded_and_one_that_cannot_be_is_said(drive: Drive, tmp_path: Path) -> None:
    good, binary, huge = tmp_path / "a.txt", tmp_path / "b.bin", tmp_path / "c.txt"
    good.write_text(TEXT)
    binary.write_bytes(b"\x00\x01text")
    huge.write_bytes(b"a" * (MAX_BYTES + 1))

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        screen = await opened(pilot, app, SENTENCE)
        for file, complaint in (
            (tmp_path / "nowhere", "No such file"), (tmp_path, "is no file"),
            (binary, "is no text"), (huge, "more than 5 MB"),
        ):  # fmt: skip
            await load(pilot, app, file)
            said = app.screen.query_one("#problem")
            await until(pilot, lambda: complaint in str(said.render()))  # noqa: B023
            assert screen.source.text == SENTENCE
        await load(pilot, app, good)
        await until(pilot, lambda: screen.source.text == TEXT)
        await settled(pilot, screen)
        screen.source.focus()
        await pilot.press("ctrl+z")
        assert screen.source.text == SENTENCE

    drive(scenario, size=WIDE)


def test_the_compressed_text_is_saved_and_nothing_is_replaced_unasked(
    drive: Drive, tmp_path: Path
) -> None:
    file = tmp_path / "kept.txt"
    file.write_text("precious")

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await opened(pilot, app, TEXT)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: not isinstance(app.screen, CompressScreen))
        await load(pilot, app, file)
        await until(pilot, lambda: "is there already" in shown(app))
        assert file.read_text() == "precious"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, CompressScreen))

    drive(scenario)
    assert "bridge" in file.read_text()
    assert len(file.read_text()) < len(TEXT)


def test_the_compressed_text_goes_to_ask_and_to_the_clipboard(
    drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")  # no clipboard tools: by the terminal then

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await write(pilot, "Sum up")
        await opened(pilot, app, TEXT)
        await pilot.press("alt+c")
        await until(pilot, lambda: "bridge" in app.clipboard)
        assert len(app.clipboard) < len(TEXT)
        await pilot.press("alt+a")
        await until(pilot, lambda: isinstance(app.screen, AskScreen))
        assert isinstance(app.screen, AskScreen)
        assert app.screen.composer.text == f"Sum up\n\n{app.clipboard}"

    drive(scenario)


def test_without_a_compressed_text_there_is_none_to_take(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await opened(pilot, app)
        for key in ("alt+c", "alt+a", "ctrl+s"):
            app.clear_notifications()
            await pilot.press(key)
            assert [said.message for said in app._notifications] == [
                "There is no compressed text yet"
            ], key
            assert isinstance(app.screen, CompressScreen)

    drive(scenario)


def test_the_text_outlives_the_app_and_new_begins_another(drive: Drive) -> None:
    async def first(pilot: Pilot[None], app: TokenFlowApp) -> None:
        screen = await opened(pilot, app)
        screen.source.insert(SENTENCE)

    async def second(pilot: Pilot[None], app: TokenFlowApp) -> None:
        screen = await opened(pilot, app)
        assert screen.source.text == SENTENCE
        await settled(pilot, screen)
        await pilot.press("ctrl+n")
        await until(pilot, lambda: "Nothing to compress yet" in shown(app))
        await until(pilot, lambda: "Which words stay" in shown(app))
        await pilot.press("ctrl+z")
        assert screen.source.text == SENTENCE

    drive(first, size=WIDE)
    drive(second, size=WIDE)


def test_a_text_from_elsewhere_takes_the_drafts_place(drive: Drive) -> None:
    async def first(pilot: Pilot[None], app: TokenFlowApp) -> None:
        screen = await opened(pilot, app)
        screen.source.insert("An old draft")

    async def second(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await app.switch_mode("compress")
        assert isinstance(app.screen, CompressScreen)
        app.screen.set_text(TEXT)
        await settled(pilot, app.screen)
        assert app.screen.source.text == TEXT

    drive(first)
    drive(second)


def test_without_a_daemon_it_waits_and_goes_on_when_there_is_one(
    drive: Drive, tmp_path: Path, provider: Upstream
) -> None:
    program = Program(tmp_path, provider)
    process = program.start()
    url = program.url
    process.kill()
    process.wait()

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        screen = await opened(pilot, app)
        screen.set_text(TEXT)
        await until(pilot, lambda: "no daemon answers" in problem(screen))
        assert screen.source.text == TEXT
        program.restart_at(url)
        await settled(pilot, screen)
        assert not problem(screen)

    drive(scenario, url=url)
    program.close()


def test_what_the_daemon_refuses_is_said(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        screen = await opened(pilot, app, TEXT)
        screen.force.value = ",".join(f"word{number}" for number in range(101))
        await until(pilot, lambda: "force_tokens" in problem(screen))
        screen.force.value = ""
        await settled(pilot, screen)
        assert not problem(screen)

    drive(scenario)
