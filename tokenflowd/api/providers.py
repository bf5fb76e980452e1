"""GET /api/providers: who is up, and with what."""

from __future__ import annotations

from aiohttp import web
from msgspec import UNSET

from tokenflowd.api.guards import json_response
from tokenflowd.api.schemas import ProviderOut
from tokenflowd.generate import Discovery, Providers, ServerState


class ProvidersResource:
    def __init__(self, providers: Providers, discovery: Discovery) -> None:
        self._providers = providers
        self._discovery = discovery

    async def get(self, request: web.Request) -> web.Response:
        states = await self._discovery.check(list(self._providers.values()))
        return json_response([_out(state) for state in states])


def _out(state: ServerState) -> ProviderOut:
    provider = state.provider
    return ProviderOut(
        name=provider.name,
        base_url=provider.base_url,
        local=provider.is_local,
        up=state.problem is None,
        models=list(state.models),
        problem=UNSET if state.problem is None else state.problem,
        latency_ms=UNSET if state.latency_ms is None else round(state.latency_ms, 3),
    )
