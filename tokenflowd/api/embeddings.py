"""POST /v1/embeddings: by our own sentence encoder, or by a provider's model."""

from __future__ import annotations

import base64
import threading
from typing import Any

import msgspec
import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from tokenflowd.api.answering import AUTO, Answering
from tokenflowd.api.bodies import as_openai_request, read_object
from tokenflowd.api.guards import printable
from tokenflowd.api.offload import Offload
from tokenflowd.api.schemas import Embedding, EmbeddingList, EmbeddingsRequest, EmbeddingsUsage
from tokenflowd.compress import count_tokens
from tokenflowd.errors import BadRequest, ModelNotFound
from tokenflowd.services import Services


class EmbeddingsResource:
    """Embeddings are no prompts: none of them is kept in the history."""

    def __init__(self, services: Services, offload: Offload, answering: Answering) -> None:
        self._services = services
        self._offload = offload
        self._answering = answering

    async def post(self, request: web.Request) -> web.Response:
        fields = await read_object(request, self._services.config.server)
        wanted = as_openai_request(fields, EmbeddingsRequest)
        own = self._services.embedder.model_id
        if wanted.model == AUTO:
            raise BadRequest(f"`model`: auto is for chats; name {own}, or a provider's model")
        if wanted.model == own:
            payload = await self._offload.run_stoppable(self._embed, wanted)
            return web.Response(body=payload, content_type="application/json")
        return await self._ask_provider(wanted, fields)

    def _embed(self, wanted: EmbeddingsRequest, stop: threading.Event) -> bytes:
        texts = _texts(wanted)
        vectors = self._services.embedder.get().vectors(texts, stop)
        if wanted.dimensions not in (None, vectors.shape[1]):
            raise BadRequest(f"`dimensions`: the vectors of {wanted.model} have {vectors.shape[1]}")
        tokens = sum(map(count_tokens, texts))
        embeddings = [
            Embedding(index, _encoded(vector, wanted.encoding_format))
            for index, vector in enumerate(vectors)
        ]
        usage = EmbeddingsUsage(tokens, tokens)
        return msgspec.json.encode(EmbeddingList(embeddings, wanted.model, usage))

    async def _ask_provider(
        self, wanted: EmbeddingsRequest, fields: dict[str, Any]
    ) -> web.Response:
        route = await self._answering.route_by(
            lambda local: self._services.router.for_embeddings(wanted.model, local)
        )
        if not route.candidates:
            raise route.problem or ModelNotFound(f"no provider here serves {wanted.model!r}")
        candidate = route.candidates[0]
        body = {name: value for name, value in fields.items() if name != "tokenflow"}
        client = self._services.generator.client
        payload, limits = await client.fetch(candidate, body, "embeddings")
        headers = {
            "X-TokenFlow-Model": candidate.model,
            "X-TokenFlow-Provider": candidate.provider.name,
        }
        return web.Response(
            body=payload, content_type="application/json", headers=printable(headers | limits)
        )


def _texts(wanted: EmbeddingsRequest) -> list[str]:
    texts = [wanted.input] if isinstance(wanted.input, str) else wanted.input
    if not all(isinstance(text, str) for text in texts):
        raise BadRequest(
            f"`input`: {wanted.model} takes strings, not token ids; LangChain sends strings with "
            "OpenAIEmbeddings(check_embedding_ctx_length=False)"
        )
    return texts


def _encoded(vector: NDArray[np.float32], encoding: str) -> list[float] | str:
    """As OpenAI's: a list, or the base64 of little-endian float32."""
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return list(map(float, vector))
