"""What is the same on every screen: the daemon's state, the palette, help, jumps, keys."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.program import Program
from tests.tui.conftest import Drive, shown, until, write
from tests.upstream import Upstream
from tokenflow_tui.app import TokenFlowApp
from tokenflow_tui.screens.ask import AskScreen
from tokenflow_tui.screens.options import OptionsScreen
from tokenflowd.store.lock import owner_of


def test_a_daemon_is_started_and_outlives_the_app(
    drive: Drive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("TOKENFLOW_HOME", str(home))
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await until(pilot, lambda: "start it" in shown(app))
        await pilot.press("alt+s")
        await until(pilot, lambda: app.health is not None)
        await until(pilot, lambda: "no daemon answers" not in shown(app))

    drive(scenario, url=url)
    owner = owner_of(home)
    assert owner is not None
    os.kill(int(owner.pid), 0)  # it is there
    os.kill(int(owner.pid), signal.SIGTERM)
    deadline = time.monotonic() + 10
    while owner_of(home) is not None and time.monotonic() < deadline:
        time.sleep(0.05)


def test_a_daemon_that_comes_back_is_found(
    drive: Drive, tmp_path: Path, provider: Upstream
) -> None:
    home = tmp_path / "own"
    home.mkdir()
    program = Program(home, provider)
    process = program.start()

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await until(pilot, lambda: app.health is not None)
        process.kill()
        process.wait()
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "no daemon answers" in shown(app))
        await write(pilot, "typed meanwhile")
        program.restart_at(app.daemon.url)
        await until(pilot, lambda: app.health is not None)
        assert "typed meanwhile" in shown(app)

    drive(scenario, url=program.url)
    program.close()


def test_every_key_is_in_the_palette(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await pilot.press("ctrl+p")
        await write(pilot, "export")
        await until(pilot, lambda: "Export the conversation" in shown(app))

    drive(scenario)


def test_help_lists_the_keys_and_goes_again(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await pilot.press("f1")
        await until(pilot, lambda: app.screen.query("HelpPanel") and "Newline" in shown(app))
        await pilot.press("f1")
        await until(pilot, lambda: not app.screen.query("HelpPanel"))

    drive(scenario, size=(120, 40))


def test_a_letter_jumps_to_a_field(drive: Drive) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        assert isinstance(app.screen, AskScreen)
        ask = app.screen
        await until(pilot, lambda: ask.composer.has_focus)
        await pilot.press("ctrl+o", "a")
        await until(pilot, lambda: app.screen is ask and not ask.composer.has_focus)

    drive(scenario)


def test_options_are_kept_and_wrong_ones_are_not(drive: Drive, tmp_path: Path) -> None:
    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await pilot.press("ctrl+t")
        await until(pilot, lambda: isinstance(app.screen, OptionsScreen))
        compress = app.screen.query_one("#compress", Input)
        for value in ("0.4", "7", "much"):
            compress.value = value
            await pilot.pause()
        app.screen.query_one("#model", Input).value = "groq/some-model"
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, AskScreen))

    drive(scenario)
    kept = json.loads((tmp_path / "tui" / "tui.json").read_text())
    assert (kept["compress"], kept["model"]) == ("0.4", "groq/some-model")


def test_a_key_can_be_another(drive: Drive, tmp_path: Path) -> None:
    (tmp_path / "tui").mkdir()
    (tmp_path / "tui" / "tui.json").write_text(json.dumps({"keys": {"ask.options": "f12"}}))

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await pilot.press("f12")
        await until(pilot, lambda: isinstance(app.screen, OptionsScreen))

    drive(scenario)
