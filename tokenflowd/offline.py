"""Keeps a process from connecting to any other machine."""

from __future__ import annotations

import ipaddress
import socket
import sys
from typing import Any

_CONNECTING = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_RESOLVING = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})


class OfflineError(ConnectionRefusedError):
    """Raised in place of a connection that would have left this machine."""


def refuse_other_machines() -> None:
    """From now on, and until the process ends, only loopback addresses can be connected to.

    An audit hook (PEP 578) sees what every library does with Python's sockets, and cannot be
    taken away again. Names are not resolved, either: asking a DNS server is a connection. It does
    not see sockets of C libraries, so the event loop has to be asyncio's own, not uvloop.
    """
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _CONNECTING:
        connection, address = arguments[0], arguments[-1]
        if connection.family not in (socket.AF_INET, socket.AF_INET6) or address is None:
            return
        host, is_allowed = address[0], _is_loopback(address[0])
    elif event in _RESOLVING:
        # A number is no question to anybody.
        host, is_allowed = arguments[0], _is_loopback(arguments[0], or_any_number=True)
    else:
        return
    if not is_allowed:
        raise OfflineError(f"offline: no connection to {host}")


def _is_loopback(host: str | bytes | None, *, or_any_number: bool = False) -> bool:
    name = host.decode(errors="replace") if isinstance(host, bytes) else host
    if not name or name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or or_any_number
