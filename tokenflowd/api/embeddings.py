"""POST /v1/embeddings: by our own sentence encoder, or by a provider's model."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from tokenflowd.api.bodies import as_schema, read_object
from tokenflowd.api.guards import json_response
from tokenflowd.api.offload import Offload
from tokenflowd.api.schemas import Embedding, EmbeddingList, EmbeddingsRequest, EmbeddingsUsage
from tokenflowd.compress import count_tokens
from tokenflowd.errors import BadRequest, ModelNotFound
from tokenflowd.generate import Candidate
from tokenflowd.services import Services


class EmbeddingsResource:
    """Embeddings are no prompts: none of them is kept in the history."""

    def __init__(self, services: Services, offload: Offload) -> None:
        self._services = services
        self._offload = offload

    async def post(self, request: web.Request) -> web.Response:
        fields, _ = await read_object(request, self._services.config.server)
        wanted = as_schema(fields, EmbeddingsRequest)
        if wanted.model == self._services.embedder.model_id:
            return json_response(await self._embed(wanted))
        return await self._ask_provider(wanted, fields)

    async def _embed(self, wanted: EmbeddingsRequest) -> EmbeddingList:
        texts = _texts(wanted.input)
        encoder = await self._offload.run(self._services.embedder.get)
        vectors = await self._offload.run_stoppable(encoder.vectors, texts)
        if wanted.dimensions not in (None, vectors.shape[1]):
            raise BadRequest(f"`dimensions`: the vectors of {wanted.model} have {vectors.shape[1]}")
        tokens = await self._offload.run(lambda: sum(map(count_tokens, texts)))
        return EmbeddingList(
            [
                Embedding(index, _encoded(vector, wanted.encoding_format))
                for index, vector in enumerate(vectors)
            ],
            wanted.model,
            EmbeddingsUsage(tokens, tokens),
        )

    async def _ask_provider(
        self, wanted: EmbeddingsRequest, fields: dict[str, Any]
    ) -> web.Response:
        candidate = self._candidate(wanted)
        body = {name: value for name, value in fields.items() if name != "tokenflow"}
        client = self._services.generator.client
        payload, headers = await client.fetch(candidate, body, "embeddings")
        response = web.Response(body=payload, content_type="application/json", headers=headers)
        response.headers["X-TokenFlow-Provider"] = candidate.provider.name
        return response

    def _candidate(self, wanted: EmbeddingsRequest) -> Candidate:
        """Who serves that very model: vectors of another one would be of no use. Raises NotFound,
        ProviderError."""
        local = self._services.discovery.local_candidates()
        route = self._services.router.for_model(wanted.model, local)
        for candidate in route.candidates:
            if candidate.model == candidate.provider.served_as(wanted.model) or (
                f"{candidate.provider.name}/{candidate.model}" == wanted.model
            ):
                return candidate
        raise route.problem or ModelNotFound(f"no provider here serves {wanted.model!r}")


def _texts(given: str | Sequence[Any]) -> list[str]:
    texts = [given] if isinstance(given, str) else list(given)
    if not all(isinstance(text, str) for text in texts):
        raise BadRequest("`input`: our own encoder takes texts, not token ids")
    return texts


def _encoded(vector: NDArray[np.float32], encoding: str) -> list[float] | str:
    """As OpenAI's: a list, or the base64 of little-endian float32."""
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return list(map(float, vector))
