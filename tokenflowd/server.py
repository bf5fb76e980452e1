"""Serves the app until told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from tokenflowd.app import build_app
from tokenflowd.errors import ConfigError
from tokenflowd.services import Services

# aiohttp waits this long for handlers, twice, before it cancels them; the whole must end
# within 5 s of a SIGTERM.
SHUTDOWN_TIMEOUT_S = 1.0


async def serve(
    services: Services,
    *,
    host: str,
    port: int,
    stop: asyncio.Event,
    on_ready: Callable[[str], None],
) -> None:
    """Answers until `stop` is set. `on_ready` gets the base URL once the socket listens.

    Raises ConfigError when the address cannot be had.
    """
    # Without handler_cancellation a client that leaves is not noticed.
    runner = web.AppRunner(
        build_app(services),
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=SHUTDOWN_TIMEOUT_S,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host}:{port}: {error.strerror}; is another program using "
                "it? Name another with --port"
            ) from error
        bound = runner.addresses[0]
        name = "localhost" if bound[0] in ("127.0.0.1", "::1") else bound[0]
        on_ready(f"http://{name}:{bound[1]}")
        await stop.wait()
    finally:
        await runner.cleanup()
