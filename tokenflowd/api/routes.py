"""All routes in one table, from which both the router and the OpenAPI document are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tokenflowd.api.answering import Answering
from tokenflowd.api.classify import ClassifyResource
from tokenflowd.api.compress import CompressResource
from tokenflowd.api.embeddings import EmbeddingsResource
from tokenflowd.api.generate import GenerateResource
from tokenflowd.api.guards import json_response
from tokenflowd.api.health import HealthResource
from tokenflowd.api.history import HistoryResource
from tokenflowd.api.metrics import Metrics, MetricsResource
from tokenflowd.api.models import ModelsResource
from tokenflowd.api.offload import Offload
from tokenflowd.api.openai import CompletionsResource
from tokenflowd.api.openai_models import OpenAIModelsResource
from tokenflowd.api.openapi import Operation, openapi_document
from tokenflowd.api.providers import ProvidersResource
from tokenflowd.api.rankings import RankingsResource
from tokenflowd.api.recording import Recorder
from tokenflowd.api.schemas import (
    AnswerEvent,
    ChatCompletionRequest,
    ClassifyRequest,
    ClassifyResponse,
    CompletionRequest,
    CompressRequest,
    CompressResponse,
    Correction,
    CorrectionRequest,
    EmbeddingList,
    EmbeddingsRequest,
    GenerateRequest,
    Health,
    HistoryPage,
    HistoryQuery,
    InstalledModel,
    ListedModel,
    MetricsQuery,
    ModelList,
    OpenAIError,
    ProviderOut,
    RankingOut,
    SelectRequest,
    UsedModel,
    UseModelRequest,
    Vacuumed,
)
from tokenflowd.api.streams import Streams
from tokenflowd.services import Services

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    operation: Operation
    handler: Handler


def add_routes(
    app: web.Application,
    services: Services,
    offload: Offload,
    reads: Offload,
    streams: Streams,
) -> None:
    routes = _routes(services, offload, reads, streams)
    document = openapi_document([route.operation for route in routes])

    async def openapi(request: web.Request) -> web.Response:
        return json_response(document)

    for route in routes:
        _add_route(app, route.operation.method, route.operation.path, route.handler)
    _add_route(app, "GET", "/api/openapi.json", openapi)


def _add_route(app: web.Application, method: str, path: str, handler: Handler) -> None:
    """What can be got can be asked for its head; a slash at the end changes nothing."""
    # Ids of models have slashes of their own.
    pattern = path.replace("/v1/models/{id}", "/v1/models/{id:.+}")
    for spelled in (pattern, f"{pattern}/") if path != "/" else (pattern,):
        if method == "GET":
            app.router.add_get(spelled, handler, allow_head=True)
        else:
            app.router.add_route(method, spelled, handler)


def _routes(services: Services, offload: Offload, reads: Offload, streams: Streams) -> list[Route]:
    counters = Metrics(streams.__len__, services.store)
    recorder = Recorder(services.store, counters)
    answering = Answering(services, offload, reads)
    compress = CompressResource(services, offload, recorder)
    classify = ClassifyResource(services, offload, recorder)
    rankings = RankingsResource(services.rankings)
    history = HistoryResource(services, offload, reads)
    generate = GenerateResource(services.config.server, answering, recorder, streams)
    completions = CompletionsResource(services.config.server, offload, answering, recorder, streams)
    embeddings = EmbeddingsResource(services, offload, answering)
    openai_models = OpenAIModelsResource(services)
    providers = ProvidersResource(services.providers, services.discovery)
    models = ModelsResource(services, offload)
    metrics = MetricsResource(counters, services.store, reads)
    health = HealthResource(services, streams)

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
            "POST",
            "/api/generate",
            generate.generate,
            "Stream a model's answer",
            AnswerEvent,
            body=GenerateRequest,
            media_type="text/event-stream",
        ),
        route(
            "POST",
            "/api/models/select",
            generate.select,
            "Classify a prompt and stream the answer of the model that ranks first",
            AnswerEvent,
            body=SelectRequest,
            media_type="text/event-stream",
        ),
        route(
            "POST",
            "/v1/chat/completions",
            completions.chat,
            "OpenAI's chat completions; model auto routes by classification",
            body=ChatCompletionRequest,
            error=OpenAIError,
        ),
        route(
            "GET",
            "/v1/models",
            openai_models.page,
            "The models that can be named here",
            ModelList,
            error=OpenAIError,
        ),
        route(
            "GET",
            "/v1/models/{id}",
            openai_models.get,
            "One of them; its id may hold slashes",
            ListedModel,
            error=OpenAIError,
        ),
        route(
            "POST",
            "/v1/completions",
            completions.legacy,
            "OpenAI's legacy completions, for providers that have them",
            body=CompletionRequest,
            error=OpenAIError,
        ),
        route(
            "POST",
            "/v1/embeddings",
            embeddings.post,
            "Vectors of texts: of the sentence encoder here, or of a provider's model",
            EmbeddingList,
            body=EmbeddingsRequest,
            error=OpenAIError,
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
            "POST",
            "/api/history/vacuum",
            history.vacuum,
            "Give back the space of what was deleted; answers wait meanwhile",
            Vacuumed,
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
        route(
            "PUT",
            "/api/history/{id}/category",
            history.correct,
            "Say what a request's category should have been; prompts like it follow",
            Correction,
            body=CorrectionRequest,
        ),
        route(
            "DELETE",
            "/api/history/{id}/category",
            history.uncorrect,
            "Take that back",
            status=204,
        ),
        route(
            "GET",
            "/api/models",
            models.list,
            "The installed models, and which are in use",
            list[InstalledModel],
        ),
        route(
            "GET",
            "/api/models/{id}",
            models.get,
            "Everything about one model, after its files were verified",
            dict[str, Any],
        ),
        route(
            "DELETE",
            "/api/models/{id}",
            models.remove,
            "Remove a model that is not in use",
            status=204,
        ),
        route(
            "POST",
            "/api/models/use",
            models.use,
            "Switch to a model, without a restart",
            UsedModel,
            body=UseModelRequest,
        ),
        route(
            "GET",
            "/api/providers",
            providers.get,
            "Which providers are up, and what they serve",
            list[ProviderOut],
        ),
        route(
            "GET",
            "/api/metrics",
            metrics.summary,
            "Totals, times, days, models and categories of the last days",
            dict[str, Any],
            query=MetricsQuery,
        ),
        route(
            "GET",
            "/metrics",
            metrics.prometheus,
            "Counters since the start, for Prometheus",
            media_type="text/plain",
        ),
        route("GET", "/healthz", health.get, "Is the daemon well?", Health),
        route("GET", "/", health.page, "A page for people", media_type="text/html"),
    ]
