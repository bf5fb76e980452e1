"""systemd's user manager: a unit that lets the daemon write into its own directory only."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tokenflowd.service_manager.user_service import (
    Command,
    DaemonCommand,
    UserService,
    output_of,
)

NAME = "tokenflowd.service"
_SYSTEMCTL = ("systemctl", "--user")

# What is not here has a reason. PrivateDevices and the ProtectKernel… options take capabilities
# away, which a user's manager may not: such a unit does not start (218/CAPABILITIES). ProtectHome
# would hide the daemon's own virtual environment. Where user namespaces are forbidden, systemd
# leaves out ProtectSystem, ReadWritePaths and PrivateTmp by itself.
# MemoryDenyWriteExecute stays: ONNX Runtime's kernels on the CPU are compiled ahead.
_UNIT = """\
[Unit]
Description=TokenFlow, which compresses, routes and remembers prompts

[Service]
Type=notify
ExecStart=:{program} --data-dir {home}
WorkingDirectory={working_directory}
Restart=on-failure
UMask=0077

NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths={writable}
PrivateTmp=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native

[Install]
WantedBy=default.target
"""


class SystemdUnit(UserService):
    def __init__(self) -> None:
        config_home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
        super().__init__(Path(config_home, "systemd", "user", NAME))

    def content(self, daemon: DaemonCommand) -> bytes:
        unit = _UNIT.format(
            program=_quoted(daemon.program),
            home=_quoted(daemon.home),
            working_directory=str(daemon.home).replace("%", "%%"),  # takes no quotes
            writable=" ".join(map(_quoted, (daemon.home, *daemon.also_writes))),
        )
        return os.fsencode(unit)

    def starting(self) -> Sequence[Command]:
        # `enable --now` would leave an older daemon running as it is.
        return (
            (*_SYSTEMCTL, "daemon-reload"),
            (*_SYSTEMCTL, "enable", NAME),
            (*_SYSTEMCTL, "restart", NAME),
        )

    def stopping(self) -> Sequence[Command]:
        return ((*_SYSTEMCTL, "disable", "--now", NAME),)

    def forgetting(self) -> Sequence[Command]:
        return ((*_SYSTEMCTL, "daemon-reload"),)

    def is_running(self) -> bool:
        return output_of((*_SYSTEMCTL, "is-active", NAME)) is not None


def _quoted(path: Path) -> str:
    """As one word of a unit (systemd.syntax(7)), without specifiers (systemd.unit(5)). The colon
    before ExecStart's program keeps its dollars."""
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
