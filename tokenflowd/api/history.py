"""GET /api/history, /api/history/export; POST /api/history/vacuum; GET and DELETE
/api/history/{id}; PUT and DELETE /api/history/{id}/category."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from concurrent.futures import Future
from itertools import islice
from typing import Any

import msgspec
from aiohttp import hdrs, web

from tokenflowd.api.bodies import read_json, read_query
from tokenflowd.api.guards import json_response
from tokenflowd.api.offload import Offload
from tokenflowd.api.schemas import (
    Correction,
    CorrectionRequest,
    HistoryPage,
    HistoryQuery,
    Vacuumed,
)
from tokenflowd.api.streams import cutting_off_the_stalled
from tokenflowd.errors import ClientStalled, NotFound, StoreDegraded
from tokenflowd.services import Services
from tokenflowd.store import Filter

EXPORT_ROWS = 200


class HistoryResource:
    def __init__(self, services: Services, offload: Offload, reads: Offload) -> None:
        self._services = services
        self._store = services.store
        self._offload = offload
        self._reads = reads

    async def page(self, request: web.Request) -> web.Response:
        wanted = read_query(request.query, HistoryQuery)
        rows = await self._reads.run_stoppable(
            self._store.history.page,
            Filter(
                query=wanted.q,
                kind=wanted.kind,
                model=wanted.model,
                category=wanted.category,
                since=wanted.since,
                before=wanted.before,
                limit=wanted.limit,
            ),
        )
        more = len(rows) == wanted.limit
        return json_response(HistoryPage(rows, rows[-1]["id"] if more else None))

    async def get(self, request: web.Request) -> web.Response:
        return json_response(
            await self._reads.run(self._store.history.get, request.match_info["id"])
        )

    async def delete(self, request: web.Request) -> web.Response:
        request_id = request.match_info["id"]
        if not await self._written(self._store.delete(request_id)):
            raise NotFound(f"the history has no request {request_id!r}")
        return web.Response(status=204)

    async def correct(self, request: web.Request) -> web.Response:
        wanted = await read_json(request, CorrectionRequest, self._services.config.server)
        request_id = request.match_info["id"]
        correction = await self._offload.run_stoppable(
            self._services.corrector.correction, request_id, wanted.category
        )
        if not await self._written(self._store.correct(correction)):
            raise NotFound(f"the history has no request {request_id!r}")
        return json_response(Correction(request_id, wanted.category))

    async def uncorrect(self, request: web.Request) -> web.Response:
        request_id = request.match_info["id"]
        if not await self._written(self._store.uncorrect(request_id)):
            raise NotFound(f"the history has no request {request_id!r} that was corrected")
        return web.Response(status=204)

    async def export(self, request: web.Request) -> web.StreamResponse:
        """JSON Lines, oldest first, never more than a few rows in memory."""
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        rows = self._store.history.export()
        await response.prepare(request)
        if request.method == hdrs.METH_HEAD:
            return response
        chunk = await self._reads.run(_lines, rows)
        # The client has seen enough, or takes no more. It must not stay: SQLite keeps what is
        # being read, and meanwhile its log of later writes only grows.
        with contextlib.suppress(ConnectionResetError, ClientStalled):
            while chunk:
                async with cutting_off_the_stalled(request):
                    await response.write(chunk)
                chunk = await self._reads.run(_lines, rows)
            await response.write_eof()
        return response

    async def vacuum(self, request: web.Request) -> web.Response:
        done = await asyncio.wrap_future(self._store.vacuum())
        return json_response(Vacuumed(done.before, done.after))

    async def _written(self, outcome: Future[bool]) -> bool:
        """What the store says. Raises StoreDegraded when it cannot write."""
        found = await asyncio.wrap_future(outcome)
        if self._store.problem is not None:
            raise StoreDegraded(f"the history cannot be written: {self._store.problem}")
        return found


def _lines(rows: Iterator[dict[str, Any]]) -> bytes:
    return msgspec.json.Encoder().encode_lines(list(islice(rows, EXPORT_ROWS)))
