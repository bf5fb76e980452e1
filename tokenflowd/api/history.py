"""GET /api/history, /api/history/{id}, /api/history/export; DELETE /api/history/{id}."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec
from aiohttp import web

from tokenflowd.api.bodies import read_query
from tokenflowd.api.guards import json_response
from tokenflowd.api.offload import Offload
from tokenflowd.api.schemas import HistoryPage, HistoryQuery
from tokenflowd.errors import NotFound, StoreDegraded
from tokenflowd.store import Filter, Store

EXPORT_ROWS = 200


class HistoryResource:
    def __init__(self, store: Store, offload: Offload) -> None:
        self._store = store
        self._offload = offload

    async def page(self, request: web.Request) -> web.Response:
        wanted = read_query(request.query, HistoryQuery)
        rows = await self._offload.run(
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
            await self._offload.run(self._store.history.get, request.match_info["id"])
        )

    async def delete(self, request: web.Request) -> web.Response:
        request_id = request.match_info["id"]
        deleted = await asyncio.wrap_future(self._store.delete(request_id))
        if self._store.problem is not None:
            raise StoreDegraded(f"the history cannot be written: {self._store.problem}")
        if not deleted:
            raise NotFound(f"the history has no request {request_id!r}")
        return web.Response(status=204)

    async def export(self, request: web.Request) -> web.StreamResponse:
        """JSON Lines, oldest first, never more than a few rows in memory."""
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        rows = self._store.history.export()
        chunk = await self._offload.run(_lines, rows)
        await response.prepare(request)
        with contextlib.suppress(ConnectionResetError):  # the client has seen enough
            while chunk:
                await response.write(chunk)
                chunk = await self._offload.run(_lines, rows)
            await response.write_eof()
        return response


def _lines(rows: Iterator[dict[str, Any]]) -> bytes:
    return msgspec.json.Encoder().encode_lines(list(islice(rows, EXPORT_ROWS)))
