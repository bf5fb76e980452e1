"""What a service manager hands over to the daemon, and what it is told in return: systemd's
protocols (sd_listen_fds(3), sd_notify(3)), which others speak as well."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass

from tokenflowd.errors import ConfigError

log = logging.getLogger(__name__)

_FIRST_PASSED_SOCKET = 3


@dataclass(frozen=True)
class Handover:
    """Nothing of it is there when the daemon was started by hand."""

    notify_socket: str = ""
    sockets: tuple[socket.socket, ...] = ()

    @classmethod
    def take(cls, environment: MutableMapping[str, str]) -> Handover:
        """Takes it out of the environment: it is meant for this process, not for its children.
        Raises ConfigError."""
        notify_socket = environment.pop("NOTIFY_SOCKET", "")
        pid, count = environment.pop("LISTEN_PID", ""), environment.pop("LISTEN_FDS", "")
        environment.pop("LISTEN_FDNAMES", None)
        is_meant_for_us = pid == str(os.getpid()) and count.isdecimal()
        return cls(notify_socket, _passed_sockets(int(count)) if is_meant_for_us else ())

    def ready(self, url: str) -> None:
        self._notify(f"READY=1\nSTATUS=Answers on {url}")

    def stopping(self) -> None:
        self._notify("STOPPING=1\nSTATUS=Ends the answers under way")

    def _notify(self, state: str) -> None:
        if not self.notify_socket:
            return
        # @ stands for the zero byte of Linux's abstract names.
        address = self.notify_socket
        if address.startswith("@"):
            address = f"\0{address[1:]}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifying:
            try:
                notifying.sendto(state.encode(), address)
            except OSError as error:
                log.warning("the service manager cannot be told %s: %s", state, error)


def _passed_sockets(count: int) -> tuple[socket.socket, ...]:
    passed = []
    for number in range(_FIRST_PASSED_SOCKET, _FIRST_PASSED_SOCKET + count):
        try:
            listener = socket.socket(fileno=number)
            listens = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError:
            listens = 0
        if not listens:
            raise ConfigError(
                f"file descriptor {number}, which the service manager passed, is no listening "
                "socket; its unit needs ListenStream= and Accept=no"
            )
        listener.set_inheritable(False)
        passed.append(listener)
    return tuple(passed)
