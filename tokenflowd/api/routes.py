"""All routes in one table, from which both the router and the OpenAPI document are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tokenflowd.api.classify import ClassifyResource
from tokenflowd.api.compress import CompressResource
from tokenflowd.api.guards import json_response
from tokenflowd.api.health import HealthResource
from tokenflowd.api.history import HistoryResource
from tokenflowd.api.offload import Offload
from tokenflowd.api.openapi import Operation, openapi_document
from tokenflowd.api.rankings import RankingsResource
from tokenflowd.api.recording import Recorder
from tokenflowd.api.schemas import (
    ClassifyRequest,
    ClassifyResponse,
    CompressRequest,
    CompressResponse,
    Health,
    HistoryPage,
    HistoryQuery,
    RankingOut,
)
from tokenflowd.services import Services

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    operation: Operation
    handler: Handler


def add_routes(app: web.Application, services: Services, offload: Offload, reads: Offload) -> None:
    routes = _routes(services, offload, reads)
    document = openapi_document([route.operation for route in routes])

    async def openapi(request: web.Request) -> web.Response:
        return json_response(document)

    for route in routes:
        app.router.add_route(route.operation.method, route.operation.path, route.handler)
    app.router.add_route("GET", "/api/openapi.json", openapi)


def _routes(services: Services, offload: Offload, reads: Offload) -> list[Route]:
    recorder = Recorder(services.store)
    compress = CompressResource(services, offload, recorder)
    classify = ClassifyResource(services, offload, recorder)
    rankings = RankingsResource(services.rankings)
    history = HistoryResource(services.store, reads)
    health = HealthResource(services)

    def route(
        method: str, path: str, handler: Handler, summary: str, response: Any = None, **more: Any
    ) -> Route:
        return Route(Operation(method, path, summary, response=response, **more), handler)

    return [
        route(
            "POST",
            "/api/compress",
            compress.post,
            "Keep the words of a text that matter, within a token budget",
            CompressResponse,
            body=CompressRequest,
        ),
        route(
            "POST",
            "/api/classify",
            classify.post,
            "Classify a prompt into any categories, and recommend a model",
            ClassifyResponse,
            body=ClassifyRequest,
        ),
        route(
            "GET",
            "/api/model-rankings",
            rankings.get,
            "The models of each category, best first",
            dict[str, RankingOut],
        ),
        route(
            "GET",
            "/api/history",
            history.page,
            "Past requests, newest first",
            HistoryPage,
            query=HistoryQuery,
        ),
        route(
            "GET",
            "/api/history/export",
            history.export,
            "The whole history, oldest first, as JSON Lines",
            media_type="application/x-ndjson",
        ),
        route(
            "GET",
            "/api/history/{id}",
            history.get,
            "Everything about one request",
            dict[str, Any],
        ),
        route(
            "DELETE",
            "/api/history/{id}",
            history.delete,
            "Forget one request",
            status=204,
        ),
        route("GET", "/healthz", health.get, "Is the daemon well?", Health),
        route("GET", "/", health.page, "A page for people", media_type="text/html"),
    ]
