"""Wires the HTTP edge to the services, once; nothing else does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from tokenflowd.api import add_routes
from tokenflowd.api.guards import (
    allow_origin,
    answer_errors,
    guard_content_type,
    guard_host,
    guard_origin,
    guard_token,
    name_request,
    protect_response,
)
from tokenflowd.api.offload import READ_WORKERS, SERVICE_WORKERS, Offload
from tokenflowd.api.streams import Streams, cut_off_stalled
from tokenflowd.services import Services
from tokenflowd.store import forget_old


def build_app(services: Services) -> web.Application:
    """The daemon as an aiohttp application; it closes the services when it is cleaned up."""
    settings = services.config.server
    offload = Offload(SERVICE_WORKERS, "service")
    reads = Offload(READ_WORKERS, "read")
    app = web.Application(
        middlewares=[
            cut_off_stalled,
            answer_errors,
            guard_host(settings),
            guard_origin(settings),
            *([guard_token(services.token)] if services.token else []),
            guard_content_type,
        ],
    )
    app.on_response_prepare.extend([allow_origin, name_request, protect_response])
    streams = Streams(settings.max_streams)
    app.on_shutdown.append(streams.stop)
    add_routes(app, services, offload, reads, streams)

    async def lifetime(app: web.Application) -> AsyncIterator[None]:
        services.discovery.refresh()
        forgetting = asyncio.create_task(
            forget_old(services.store, services.config.history.keep_days)
        )
        yield
        forgetting.cancel()
        offload.close()
        reads.close()
        await services.close()

    app.cleanup_ctx.append(lifetime)
    return app
