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
        self._said = Content("")
        self.set_interval(1, self.refresh_status)
        self.refresh_status()

    def refresh_status(self) -> None:
        says = self._says()
        self.display = bool(says)
        if says != self._said:  # a new text is laid out anew
            self._said = says
            self.update(says)

    def _says(self) -> Content:
        """Empty when all is well."""
        health, problem = self.app.health, self.app.problem
        if health is None:
            if not problem:
                return Content("")
            can_start = launch.can_start(self.app.daemon.url)
            start = "  [@click=app.start_daemon]start it alt+s[/]" if can_start else ""
            return Content.from_markup(
                f"$problem, next try in $seconds s  [@click=app.retry]try now ^r[/]{start}",
                problem=problem,
                seconds=max(0, round(self.app.next_try_at - time.monotonic())),
            )
        problems = [health.get("problem", ""), problem]
        problems += [model.get("problem", "") for model in health["models"].values()]
        says = "; ".join(filter(None, problems))
        return Content(says or ("" if health["status"] == "ok" else "the daemon is not well"))
