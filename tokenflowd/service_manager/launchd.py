"""launchd: an agent of the user's login session on macOS."""

from __future__ import annotations

import os
import plistlib
from collections.abc import Sequence
from pathlib import Path

from tokenflowd.service_manager.user_service import (
    Command,
    DaemonCommand,
    UserService,
    output_of,
)

LABEL = "tokenflow.tokenflowd"


class LaunchAgent(UserService):
    def __init__(self) -> None:
        super().__init__(Path.home() / "Library" / "LaunchAgents" / f"{LABEL}.plist")
        self._domain = f"gui/{os.getuid()}"
        self._target = f"{self._domain}/{LABEL}"

    def content(self, daemon: DaemonCommand) -> bytes:
        return plistlib.dumps(
            {
                "Label": LABEL,
                # launchd keeps no journal, so the daemon writes a log of its own.
                "ProgramArguments": [
                    str(daemon.program),
                    "--data-dir",
                    str(daemon.home),
                    "--log-file",
                ],
                "WorkingDirectory": str(daemon.home),
                "RunAtLoad": True,
                "KeepAlive": {"SuccessfulExit": False},
                "Umask": 0o077,
                # Why it did not even start.
                "StandardErrorPath": str(daemon.home / "launchd.log"),
            }
        )

    def starting(self) -> Sequence[Command]:
        return (*self.stopping(), ("launchctl", "bootstrap", self._domain, str(self.file)))

    def stopping(self) -> Sequence[Command]:
        is_loaded = self._printed() is not None
        return (("launchctl", "bootout", self._target),) if is_loaded else ()

    def forgetting(self) -> Sequence[Command]:
        return ()

    def is_running(self) -> bool:
        return "state = running" in (self._printed() or "")

    def _printed(self) -> str | None:
        return output_of(("launchctl", "print", self._target))
