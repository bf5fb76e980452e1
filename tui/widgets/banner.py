"""What is wrong with the daemon, in one line that does not stop anyone from typing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import Static

from tokenflow_tui import launch

if TYPE_CHECKING:
    from tokenflow_tui.app import TokenFlowApp


class Banner(Static):
    """Shown while the daemon does not answer, or says that it is not well."""

    app: TokenFlowApp

    def on_mount(self) -> None:
        self.set_interval(1, self.refresh_status)
        self.refresh_status()

    def refresh_status(self) -> None:
        health = self.app.health
        if health is None:
            self.display = bool(self.app.problem)
            seconds = max(0, round(self.app.next_try_at - time.monotonic()))
            start = (
                "  [@click=app.start_daemon]start it alt+s[/]"
                if launch.can_start(self.app.daemon.url)
                else ""
            )
            self.update(
                Content.from_markup(
                    f"$problem, next try in $seconds s  [@click=app.retry]try now ^r[/]{start}",
                    problem=self.app.problem,
                    seconds=seconds,
                )
            )
        else:
            self.display = health["status"] != "ok" or bool(self.app.problem)
            problems = [health.get("problem", ""), self.app.problem]
            problems += [model.get("problem", "") for model in health["models"].values()]
            self.update(Content("; ".join(filter(None, problems)) or "the daemon is not well"))
