"""POST /api/generate and /api/models/select: an answer as server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

from aiohttp import web
from msgspec import UNSET

from tokenflowd.api.answering import AUTO, Answering, Chat, Plan
from tokenflowd.api.bodies import read_json
from tokenflowd.api.recording import Draft, Recorder
from tokenflowd.api.schemas import (
    AnswerError,
    AnswerMetadata,
    AnswerUsage,
    EndEvent,
    ErrorEvent,
    GenerateRequest,
    MetadataEvent,
    PromptCompression,
    SelectRequest,
    TextEvent,
    UsageEvent,
)
from tokenflowd.api.streams import (
    EventStream,
    Streams,
    accepts_events,
    encode_event,
    split_text,
)
from tokenflowd.config import ServerConfig
from tokenflowd.errors import InvalidField, ProviderError, TokenFlowError
from tokenflowd.generate import Answer, Generation, Usage
from tokenflowd.store.records import Kind

UNKNOWN_CATEGORY = "unknown"
# Of a text that no model makes at once.
LARGE_CHARS = 1024
EVENTS_AT_ONCE = 4
BURST_PAUSE_S = 0.02
# With more answers under way, classifying beside them would take the processor from them.
MAX_STREAMS_TO_CLASSIFY_BESIDE = 4


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
        async with EventStream(
            request, _failure_event, events_only=accepts_events(request)
        ) as stream:
            with self._streams.counted():
                async with (
                    self._recorder.recording(kind, request) as draft,
                    self._streams.stoppable(),
                ):
                    wanted = await read_json(request, schema, self._settings)
                    stream.keep_alive()
                    await self._stream(draft, stream, wanted)
        return stream.response

    async def _stream(self, draft: Draft, stream: EventStream, wanted: SelectRequest) -> None:
        """Each event in a write of its own, which is a chunk of the body: some clients read no
        other way."""
        plan = await self._answering.plan(draft, _chat(wanted))
        try:
            generation = await self._begin(draft, plan)
        except ProviderError:
            await stream.send(encode_event(MetadataEvent(_metadata(draft, plan))))
            raise
        try:
            await stream.send(encode_event(MetadataEvent(_metadata(draft, plan))))
            pacing = _Pacing()
            async for pieces in generation:
                for text in split_text("".join(piece.text for piece in pieces)):
                    await pacing.before(text)
                    await stream.send(encode_event(TextEvent(text)))
            await self._answering.count(plan)
            is_saved = await self._recorder.commit(draft)
            usage = _usage(plan, generation.answer, draft.id if is_saved else None)
            await stream.send(encode_event(UsageEvent(usage)))
            await stream.send(encode_event(EndEvent()))
        finally:
            generation.close()

    async def _begin(self, draft: Draft, plan: Plan) -> Generation:
        """An answer that has begun. Meanwhile the prompt is classified, if it is not yet."""
        with self._classified_beside(draft, plan):
            return await self._answering.stream(draft, plan)

    @contextlib.contextmanager
    def _classified_beside(self, draft: Draft, plan: Plan) -> Iterator[None]:
        """Classifies while the block runs and no longer: nothing ever waits for it."""
        if plan.classification or len(self._streams) > MAX_STREAMS_TO_CLASSIFY_BESIDE:
            yield
            return
        classifying = asyncio.create_task(self._answering.classify_beside(draft, plan))
        try:
            yield
        finally:
            classifying.cancel()


class _Pacing:
    """Sends long texts in bursts, for pages that take each part that they are handed for whole
    events: Chromium hands on what has come, at most 4 KB together with the head of a response and
    32 KB later, cut anywhere. Words as models make them are never held back."""

    def __init__(self) -> None:
        self._large_events = 0

    async def before(self, text: str) -> None:
        if len(text) < LARGE_CHARS:
            return
        if self._large_events % EVENTS_AT_ONCE == 0:
            await asyncio.sleep(BURST_PAUSE_S)
        self._large_events += 1


def _chat(wanted: SelectRequest) -> Chat:
    messages: list[dict[str, Any]] = []
    if wanted.system:
        messages.append({"role": "system", "content": wanted.system})
    messages += [{"role": said.role, "content": said.content} for said in wanted.messages]
    if said := "\n\n".join(text for text in (wanted.attachment, wanted.prompt) if text):
        messages.append({"role": "user", "content": said})
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
        attachment=wanted.attachment,
        own_defaults=True,
    )


def _metadata(draft: Draft, plan: Plan) -> AnswerMetadata:
    found, wanted = plan.classification, plan.route.wanted
    candidate = plan.answer.candidate if plan.answer else None
    return AnswerMetadata(
        prompt_category=found.top_category if found else UNKNOWN_CATEGORY,
        confidence_score=found.confidence if found else 0.0,
        all_categories=found.scores if found else {},
        selected_model=plan.selected_model,
        id=draft.id,
        route=plan.route.reason,
        served_model=candidate.model if candidate else UNSET,
        wanted_model=wanted if candidate and candidate.model != wanted else UNSET,
        provider=candidate.provider.name if candidate else UNSET,
        attempts=plan.attempts or UNSET,
        compression=_prompt_compression(plan) or UNSET,
    )


def _prompt_compression(plan: Plan) -> PromptCompression | None:
    if plan.decision is None:
        return None
    if plan.compression is None:
        return PromptCompression(False, plan.decision.reason)
    said = (str(message["content"]) for message in plan.messages if message["role"] == "user")
    return PromptCompression(
        True,
        plan.decision.reason,
        plan.compression.original_tokens,
        plan.compression.compressed_tokens,
        "\n".join(said),
    )


def _usage(plan: Plan, answer: Answer, request_id: str | None) -> AnswerUsage:
    record = plan.record()
    reported = answer.usage or Usage()
    return AnswerUsage(
        id=request_id,
        prompt_tokens=record.prompt_tokens,
        completion_tokens=record.completion_tokens,
        cached_tokens=reported.cached_tokens,
        reasoning_tokens=reported.reasoning_tokens,
        ttft_ms=_rounded(record.ttft_ms),
        first_word_ms=_rounded(record.first_word_ms),
        latency_ms=_rounded(record.latency_ms),
        cost_usd=record.cost_usd,
        finish_reason=record.finish_reason,
        answer_kind=answer.kind,
        tokens_counted_by=record.tokens_counted_by,
        saved_tokens=plan.saved_tokens,
        saved_usd=record.saved_usd,
        saved_ms=_rounded(record.saved_ms),
        refusal=answer.text if answer.kind == "refusal" else UNSET,
    )


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 3)


def _failure_event(error: TokenFlowError) -> bytes:
    failure = AnswerError(
        error=error.error,
        detail=error.detail,
        type=error.error.replace(" ", "_"),
        retryable=error.retryable,
        retry_after_s=UNSET if error.retry_after_s is None else error.retry_after_s,
    )
    return encode_event(ErrorEvent(failure))
