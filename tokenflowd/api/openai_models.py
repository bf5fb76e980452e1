"""GET /v1/models and /v1/models/{id}: what an OpenAI client can name here."""

from __future__ import annotations

from aiohttp import hdrs, web

from tokenflowd.api.answering import AUTO
from tokenflowd.api.guards import json_response
from tokenflowd.api.schemas import ListedModel, ModelList
from tokenflowd.errors import ModelNotFound
from tokenflowd.generate import OWNER, USER_AGENT
from tokenflowd.services import Services


class OpenAIModelsResource:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def page(self, request: web.Request) -> web.Response:
        return json_response(ModelList(await self._models(request)))

    async def get(self, request: web.Request) -> web.Response:
        """Ids may hold slashes, as OpenRouter's and many of Groq's do."""
        wanted = request.match_info["id"].rstrip("/")
        for model in [*await self._models(request), *self._retired()]:
            if model.id == wanted:
                return json_response(model)
        raise ModelNotFound(
            f"there is no model {wanted!r} here; GET /v1/models lists those that are"
        )

    async def _models(self, request: web.Request) -> list[ListedModel]:
        """`auto` and our sentence encoder, then what the config names and what this machine's
        servers have."""
        # Another daemon looks for servers: it must not wait for us while we wait for it.
        if request.headers.get(hdrs.USER_AGENT) == USER_AGENT:
            return [ListedModel(AUTO, OWNER)]
        refreshing = self._services.discovery.refresh()
        if refreshing is not None:
            await refreshing
        by_id = {AUTO: OWNER, self._services.embedder.model_id: OWNER}
        for provider in self._services.providers.values():
            if provider.obstacle is None:
                for model in provider.settings.models:
                    by_id.setdefault(model, provider.name)
        for candidate in self._services.discovery.local_candidates():
            by_id.setdefault(candidate.model, candidate.provider.name)
        return [ListedModel(model, owner) for model, owner in by_id.items()]

    def _retired(self) -> list[ListedModel]:
        """Ids that are answered by a successor, and so are not listed."""
        return [
            ListedModel(model, provider.name)
            for provider in self._services.providers.values()
            if provider.obstacle is None
            for model in provider.settings.retired
        ]
