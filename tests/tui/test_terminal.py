"""Whatever a widget draws of what others wrote, the terminal has nothing to obey in it."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from tests.program import Program
from tests.security.test_terminal import ATTACK, OBEYED
from tests.tui.conftest import WIDE, Drive, shown, until
from tests.upstream import Upstream, answer
from tokenflow_tui.app import TokenFlowApp

MODES = {"ask": "", "history": "f8", "metrics": "f5", "options": "f2"}


@pytest.mark.parametrize("key", MODES.values(), ids=MODES)
def test_no_label_is_obeyed(drive: Drive, provider: Upstream, program: Program, key: str) -> None:
    """A model's id, a category, an error, a notification."""
    provider.scripts = [answer(ATTACK)]
    for model in (f"groq/m{ATTACK}x", "m1"):
        program.request("POST", "/api/generate", {"prompt": ATTACK, "model": model})
    label = f"{ATTACK}x"
    program.request("POST", "/api/classify", {"prompt": "Hi", "possible_categories": [label, "y"]})

    async def scenario(pilot: Pilot[None], app: TokenFlowApp) -> None:
        await until(pilot, lambda: app.health)
        app.notify(ATTACK, title=ATTACK)
        if key:
            await pilot.press(key)
        await until(pilot, lambda: "\u241b" in shown(app))
        for sequence in OBEYED:
            assert sequence not in shown(app)

    drive(scenario, size=WIDE)
