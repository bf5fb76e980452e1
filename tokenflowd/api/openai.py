"""POST /v1/chat/completions and /v1/completions: OpenAI's shapes, for any OpenAI client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from tokenflowd.api.answering import Answering, Chat, Plan
from tokenflowd.api.bodies import as_openai_request, read_object, read_object_with_media
from tokenflowd.api.guards import openai_error, printable
from tokenflowd.api.offload import Offload
from tokenflowd.api.recording import Draft, Recorder
from tokenflowd.api.schemas import ChatCompletionRequest, CompletionRequest
from tokenflowd.api.streams import EventStream, Streams
from tokenflowd.config import ServerConfig
from tokenflowd.errors import InvalidField, TokenFlowError
from tokenflowd.generate import Piece
from tokenflowd.route.break_even import MIN_TOKENS

_OURS = ("model", "messages", "tokenflow")


class CompletionsResource:
    def __init__(
        self,
        settings: ServerConfig,
        offload: Offload,
        answering: Answering,
        recorder: Recorder,
        streams: Streams,
    ) -> None:
        self._settings = settings
        self._offload = offload
        self._answering = answering
        self._recorder = recorder
        self._streams = streams

    async def chat(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, self._read_chat)

    async def legacy(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, self._read_legacy)

    async def _read_chat(self, request: web.Request) -> tuple[Chat, _Streaming]:
        fields = await read_object_with_media(request, self._settings, self._offload)
        wanted = as_openai_request(fields, ChatCompletionRequest)
        return _chat(fields, wanted), _streaming(wanted)

    async def _read_legacy(self, request: web.Request) -> tuple[Chat, _Streaming]:
        fields = await read_object(request, self._settings)
        wanted = as_openai_request(fields, CompletionRequest)
        if wanted.tokenflow.compress is not None:
            raise InvalidField("`tokenflow.compress` is for chat completions; compress the prompt")
        return _legacy_chat(fields, wanted), _streaming(wanted)

    async def _answer(
        self,
        request: web.Request,
        read: Callable[[web.Request], Awaitable[tuple[Chat, _Streaming]]],
    ) -> web.StreamResponse:
        with self._streams.counted():
            async with (
                EventStream(request, _failure_event) as stream,
                self._recorder.recording("chat", request) as draft,
                self._streams.stoppable(),
            ):
                chat, streaming = await read(request)
                if streaming.is_wanted:
                    # The id at least is there, however late the first event is.
                    stream.response.headers["X-TokenFlow-Id"] = draft.id
                    stream.keep_alive()
                plan = await self._answering.plan(draft, chat)
                if not streaming.is_wanted:
                    return await self._whole(draft, plan)
                await self._stream(draft, stream, plan, streaming)
            return stream.response

    async def _whole(self, draft: Draft, plan: Plan) -> web.Response:
        payload = await self._answering.complete(draft, plan)
        is_saved = await self._recorder.commit(draft)
        return web.Response(
            body=payload,
            content_type="application/json",
            headers=_headers(draft.id if is_saved else None, plan),
        )

    async def _stream(
        self, draft: Draft, stream: EventStream, plan: Plan, streaming: _Streaming
    ) -> None:
        """The provider's events, byte for byte."""
        _announce(stream, _headers(draft.id, plan))
        generation = await self._answering.stream(draft, plan)
        try:
            _announce(stream, _headers(draft.id, plan))
            async for pieces in generation:
                events = [
                    _event(piece.payload)
                    for piece in pieces
                    if streaming.with_usage or not _is_usage(piece)
                ]
                if events:
                    await stream.send(b"".join(events))
            await self._answering.count(plan)
            await self._recorder.commit(draft)
            await stream.send(_event(b"[DONE]"))
        finally:
            generation.close()


@dataclass(frozen=True, slots=True)
class _Streaming:
    """Whether the client wants a stream, and whether one that ends with the usage."""

    is_wanted: bool
    with_usage: bool


def _streaming(wanted: ChatCompletionRequest | CompletionRequest) -> _Streaming:
    options = wanted.stream_options
    return _Streaming(bool(wanted.stream), bool(options and options.include_usage))


def _announce(stream: EventStream, headers: dict[str, str]) -> None:
    """Sets headers of a stream, unless a comment has begun it already."""
    if not stream.has_begun:
        stream.response.headers.update(headers)


def _chat(fields: dict[str, Any], wanted: ChatCompletionRequest) -> Chat:
    options = wanted.tokenflow
    return Chat(
        messages=wanted.messages,
        model=wanted.model,
        categories=options.possible_categories,
        parameters=_passed_on(fields, is_stream=bool(wanted.stream)),
        provider=options.provider,
        compress=options.compress,
        min_compress_tokens=MIN_TOKENS,
        repeats=False,
    )


def _legacy_chat(fields: dict[str, Any], wanted: CompletionRequest) -> Chat:
    """A completion as a chat of one message, for all but the provider, who gets the prompt."""
    prompts = [wanted.prompt] if isinstance(wanted.prompt, str) else wanted.prompt
    text = "\n\n".join(prompt for prompt in prompts if isinstance(prompt, str))
    return Chat(
        messages=[{"role": "user", "content": text}],
        model=wanted.model,
        categories=wanted.tokenflow.possible_categories,
        parameters=_passed_on(fields, is_stream=bool(wanted.stream)),
        provider=wanted.tokenflow.provider,
        repeats=False,
        endpoint="completions",
    )


def _passed_on(fields: dict[str, Any], *, is_stream: bool) -> dict[str, Any]:
    """What goes to the provider as it came. A stream is to end with its usage, for us."""
    parameters = {name: value for name, value in fields.items() if name not in _OURS}
    if is_stream:
        parameters["stream_options"] = {
            **(fields.get("stream_options") or {}),
            "include_usage": True,
        }
    return parameters


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
        headers |= plan.answer.headers
        if unknown := [name for name in plan.answer.left_out if name != "stream_options"]:
            headers["X-TokenFlow-Left-Out"] = ", ".join(unknown)
    headers["X-TokenFlow-Route"] = plan.route.reason
    if plan.decision:
        headers["X-TokenFlow-Compression"] = plan.decision.reason
        headers["X-TokenFlow-Saved-Tokens"] = str(plan.saved_tokens)
    return printable(headers)
