"""POST /api/generate and /api/models/select: an answer as server-sent events."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from tokenflowd.api.answering import AUTO, Answering, Chat, Plan
from tokenflowd.api.bodies import read_json
from tokenflowd.api.recording import Draft, Recorder
from tokenflowd.api.schemas import GenerateRequest, SelectRequest
from tokenflowd.api.streams import EventStream, Streams, TextEvents, json_event, text_event
from tokenflowd.config import ServerConfig
from tokenflowd.errors import InvalidField, ProviderError, TokenFlowError
from tokenflowd.store.records import Kind


class GenerateResource:
    def __init__(
        self, settings: ServerConfig, answering: Answering, recorder: Recorder, streams: Streams
    ) -> None:
        self._settings = settings
        self._answering = answering
        self._recorder = recorder
        self._streams = streams

    async def generate(self, request: web.Request) -> web.StreamResponse:
        return await self._answer("generate", request, GenerateRequest)

    async def select(self, request: web.Request) -> web.StreamResponse:
        return await self._answer("select", request, SelectRequest)

    async def _answer(
        self, kind: Kind, request: web.Request, schema: type[SelectRequest]
    ) -> web.StreamResponse:
        with self._streams.counted():
            async with (
                EventStream(request, _failure_event) as stream,
                self._recorder.recording(kind, request) as draft,
                self._streams.stoppable(),
            ):
                wanted = await read_json(request, schema, self._settings)
                stream.keep_alive()
                await self._stream(draft, stream, wanted)
            return stream.response

    async def _stream(self, draft: Draft, stream: EventStream, wanted: SelectRequest) -> None:
        plan = await self._answering.plan(draft, _chat(wanted))
        try:
            generation = await self._answering.stream(draft, plan)
        except ProviderError:
            await stream.send(json_event("metadata", _metadata(draft, plan)))
            raise
        try:
            text = TextEvents()
            events = json_event("metadata", _metadata(draft, plan))
            async for pieces in generation:
                events += text.encode("".join(piece.text for piece in pieces))
                if events:
                    await stream.send(events)
                events = b""
            if rest := text.finish():
                await stream.send(rest)
            await self._answering.count(plan)
            is_saved = await self._recorder.commit(draft)
            usage = json_event("usage", _usage(plan, draft.id if is_saved else None))
            await stream.send(usage + text_event("end_stream", "Stream finished"))
        finally:
            generation.close()


def _chat(wanted: SelectRequest) -> Chat:
    messages: list[dict[str, Any]] = []
    if wanted.system:
        messages.append({"role": "system", "content": wanted.system})
    messages += [{"role": said.role, "content": said.content} for said in wanted.messages]
    if wanted.prompt:
        messages.append({"role": "user", "content": wanted.prompt})
    if not any(message["role"] == "user" for message in messages):
        raise InvalidField("there is no `prompt`, and nothing of a user in `messages`")
    return Chat(
        messages=messages,
        model=wanted.model if isinstance(wanted, GenerateRequest) else AUTO,
        categories=wanted.possible_categories,
        parameters={
            "temperature": wanted.temperature,
            "top_p": wanted.top_p,
            "max_tokens": wanted.max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        },
        provider=wanted.provider if isinstance(wanted, GenerateRequest) else "",
        compress=wanted.compress,
        compress_last_turn=True,  # the prompt is what was asked to be compressed
        own_defaults=True,
    )


def _metadata(draft: Draft, plan: Plan) -> dict[str, Any]:
    """The older server's fields, and ours."""
    metadata: dict[str, Any] = {}
    if classification := plan.classification:
        metadata = {
            "prompt_category": classification.top_category,
            "confidence_score": classification.confidence,
            "all_categories": classification.scores,
        }
    metadata |= {"id": draft.id, "selected_model": plan.selected_model, "route": plan.route.reason}
    if plan.route.wanted != plan.selected_model:
        metadata["wanted_model"] = plan.route.wanted
    if plan.answer:
        metadata["provider"] = plan.answer.candidate.provider.name
    if plan.attempts:
        metadata["attempts"] = plan.attempts
    if plan.decision:
        metadata["compression"] = {
            "compressed": plan.compression is not None,
            "reason": plan.decision.reason,
        }
        if plan.compression:
            metadata["compression"] |= {
                "original_tokens": plan.compression.original_tokens,
                "compressed_tokens": plan.compression.compressed_tokens,
                "compressed_text": "\n".join(
                    str(message["content"])
                    for message in plan.messages
                    if message["role"] == "user"
                ),
            }
    return metadata


def _usage(plan: Plan, request_id: str | None) -> dict[str, Any]:
    record = plan.record()
    return {
        "id": request_id,
        "prompt_tokens": record.prompt_tokens,
        "completion_tokens": record.completion_tokens,
        "ttft_ms": _rounded(record.ttft_ms),
        "latency_ms": _rounded(record.latency_ms),
        "cost_usd": record.cost_usd,
        "finish_reason": record.finish_reason,
        "tokens_counted_by": record.tokens_counted_by,
        "saved_tokens": plan.saved_tokens,
        "saved_usd": record.saved_usd,
        "saved_ms": _rounded(record.saved_ms),
    }


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 3)


def _failure_event(error: TokenFlowError) -> bytes:
    failure = {
        "error": error.error,
        "detail": error.detail,
        "type": error.error.replace(" ", "_"),
        "retryable": error.retryable,
    }
    if error.retry_after_s is not None:
        failure["retry_after_s"] = error.retry_after_s
    return json_event("error", failure)
