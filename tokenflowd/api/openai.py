"""POST /v1/chat/completions and GET /v1/models: OpenAI's shapes, for any OpenAI client."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from aiohttp import hdrs, web

from tokenflowd.api.answering import AUTO, Answering, Chat, Plan
from tokenflowd.api.bodies import as_schema, read_object
from tokenflowd.api.guards import json_response, openai_error
from tokenflowd.api.recording import Draft, Recorder
from tokenflowd.api.schemas import ChatCompletionRequest, ListedModel, ModelList
from tokenflowd.api.streams import EventStream, Streams
from tokenflowd.errors import TokenFlowError
from tokenflowd.generate import OWNER, USER_AGENT, Piece
from tokenflowd.route.break_even import MIN_TOKENS
from tokenflowd.services import Services

_OURS = ("model", "messages", "tokenflow")


class OpenAIResource:
    def __init__(
        self, services: Services, answering: Answering, recorder: Recorder, streams: Streams
    ) -> None:
        self._services = services
        self._answering = answering
        self._recorder = recorder
        self._streams = streams

    async def chat_completions(self, request: web.Request) -> web.StreamResponse:
        with self._streams.counted():
            async with (
                EventStream(request, _failure_event) as stream,
                self._recorder.recording("chat", request) as draft,
                self._streams.stoppable(),
            ):
                fields = await read_object(request, self._services.config.server)
                wanted = as_schema(fields, ChatCompletionRequest)
                plan = await self._answering.plan(draft, _chat(fields, wanted))
                if not wanted.stream:
                    return await self._whole(draft, plan)
                await self._stream(draft, stream, plan, wanted)
            return stream.response

    async def models(self, request: web.Request) -> web.Response:
        """`auto`, then what the config names and what this machine's servers have."""
        listed = [ListedModel(AUTO, OWNER)]
        # Another daemon looks for servers: it must not wait for us while we wait for it.
        if request.headers.get(hdrs.USER_AGENT) != USER_AGENT:
            refreshing = self._services.discovery.refresh()
            if refreshing is not None:
                await refreshing
            listed += self._listed()
        return json_response(ModelList(listed))

    def _listed(self) -> list[ListedModel]:
        by_id: dict[str, str] = {}
        for provider in self._services.providers.values():
            if provider.obstacle is None:
                for model in provider.settings.models:
                    by_id.setdefault(model, provider.name)
        for candidate in self._services.discovery.local_candidates():
            by_id.setdefault(candidate.model, candidate.provider.name)
        return [ListedModel(model, owner) for model, owner in by_id.items()]

    async def _whole(self, draft: Draft, plan: Plan) -> web.Response:
        payload = await self._answering.complete(draft, plan)
        is_saved = await self._recorder.commit(draft)
        return web.Response(
            body=payload,
            content_type="application/json",
            headers=_headers(draft.id if is_saved else None, plan),
        )

    async def _stream(
        self, draft: Draft, stream: EventStream, plan: Plan, wanted: ChatCompletionRequest
    ) -> None:
        """The provider's events, byte for byte."""
        stream.keep_alive()
        generation = await self._answering.stream(draft, plan)
        wants_usage = bool(wanted.stream_options and wanted.stream_options.include_usage)
        try:
            stream.response.headers.update(_headers(draft.id, plan))
            async for pieces in generation:
                events = [_event(p.payload) for p in pieces if wants_usage or not _is_usage(p)]
                if events:
                    await stream.send(b"".join(events))
            await self._answering.count(plan)
            await self._recorder.commit(draft)
            await stream.send(_event(b"[DONE]"))
        finally:
            generation.close()


def _chat(fields: dict[str, Any], wanted: ChatCompletionRequest) -> Chat:
    options = wanted.tokenflow
    parameters = {name: value for name, value in fields.items() if name not in _OURS}
    if wanted.stream:
        parameters["stream_options"] = {
            **(fields.get("stream_options") or {}),
            "include_usage": True,
        }
    return Chat(
        messages=wanted.messages,
        model=wanted.model,
        categories=options.possible_categories,
        parameters=parameters,
        provider=options.provider,
        compress=options.compress,
        compress_last_turn=options.compress_last_turn,
        min_compress_tokens=MIN_TOKENS,
        repeats=False,
    )


def _is_usage(piece: Piece) -> bool:
    """The event that a client gets only if it asked for it (`include_usage`)."""
    return piece.usage is not None and not piece.choices


def _event(payload: bytes) -> bytes:
    # A payload of several lines came as several `data:` lines, and leaves so.
    return b"data: " + payload.replace(b"\n", b"\ndata: ") + b"\n\n"


def _failure_event(error: TokenFlowError) -> bytes:
    return _event(msgspec.json.encode(openai_error(error)))


def _headers(request_id: str | None, plan: Plan) -> dict[str, str]:
    headers = {"X-TokenFlow-Id": request_id or ""}
    if plan.answer:
        headers["X-TokenFlow-Model"] = plan.answer.candidate.model
        headers["X-TokenFlow-Provider"] = plan.answer.candidate.provider.name
    headers["X-TokenFlow-Route"] = plan.route.reason
    if plan.decision:
        headers["X-TokenFlow-Compression"] = plan.decision.reason
        headers["X-TokenFlow-Saved-Tokens"] = str(plan.saved_tokens)
    # A category may hold anything; a header may not.
    return {name: re.sub(r"[^\x20-\x7e]", "?", value) for name, value in headers.items()}
