"""Serves the app until told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from tokenflowd.app import build_app
from tokenflowd.errors import ConfigError
from tokenflowd.services import Services
from tokenflowd.sockets import UNIX

# aiohttp waits this long for handlers, twice, before it cancels them; the whole must end
# within 5 s of a SIGTERM.
SHUTDOWN_TIMEOUT_S = 1.0
# Clients that may connect at one moment. Those above are not refused: their kernel tries again
# after one second, then two, then four.
BACKLOG = 1024


def without_contents(record: logging.LogRecord) -> bool:
    """aiohttp quotes the line of a request that is no HTTP, and that may be the one with a key."""
    if record.exc_info and isinstance(record.exc_info[1], HttpProcessingError):
        record.msg, record.exc_info = f"{record.msg}: it is no HTTP", None
    return True


log = logging.getLogger("tokenflowd.server")
log.addFilter(without_contents)


async def serve(
    services: Services,
    *,
    host: str,
    port: int,
    stop: asyncio.Event,
    on_ready: Callable[[str], None],
    sockets: Sequence[socket.socket] = (),
) -> None:
    """Answers until `stop` is set, on `sockets` if any are open already, else on `host` and
    `port`. `on_ready` gets the base URL, or unix:PATH, once the first of them listens.

    Raises ConfigError when the address cannot be had.
    """
    # Without handler_cancellation a client that leaves is not noticed.
    runner = web.AppRunner(
        build_app(services),
        access_log=None,
        logger=log,
        handler_cancellation=True,
        shutdown_timeout=SHUTDOWN_TIMEOUT_S,
        auto_decompress=False,  # encoded bodies are refused; aiohttp would unpack them first
    )
    await runner.setup()
    try:
        if sockets:
            for listener in sockets:
                await web.SockSite(runner, listener, backlog=BACKLOG).start()
        else:
            await _listen(runner, host, port)
        on_ready(_url(runner.addresses[0]))
        await stop.wait()
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host, port, backlog=BACKLOG).start()
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror}; is another program using "
            "it? Name another with --port"
        ) from error


def _url(address: Any) -> str:
    """Of a socket's own name, in the form that its family has."""
    if not isinstance(address, tuple):
        return f"{UNIX}{os.fsdecode(address)}"
    host, port = address[:2]
    if host in ("127.0.0.1", "::1"):
        host = "localhost"
    return f"http://{host}:{port}"
