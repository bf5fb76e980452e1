"""From a chat to an answer: classify, route, compress, ask. What /api/generate,
/api/models/select and /v1/chat/completions have in common."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import msgspec

from tokenflowd.api.classify import classify
from tokenflowd.api.compress import record_of as compression_record
from tokenflowd.api.offload import Offload
from tokenflowd.api.parts import IMAGE_PARTS, holds
from tokenflowd.api.recording import Draft
from tokenflowd.classify import Classification
from tokenflowd.compress import CompressionOptions, count_tokens
from tokenflowd.compress.chat import (
    MIN_TOKENS,
    ChatMessage,
    compress_chat,
    compressible_texts,
    last_user_text,
    texts_of,
)
from tokenflowd.errors import BadRequest, NotFound, StoreDegraded, TokenFlowError
from tokenflowd.generate import (
    AllFailed,
    Answer,
    Attempt,
    Candidate,
    Endpoint,
    Generation,
    Usage,
)
from tokenflowd.route import Decision, Decisions, Measured, Needs, Route, decide
from tokenflowd.services import Services
from tokenflowd.store import CompressionRecord, GenerationRecord, Message

log = logging.getLogger(__name__)

AUTO = "auto"
# A provider that begins to answer within this time is faster than a classification.
HEAD_START_S = 0.01


@dataclass(frozen=True, slots=True)
class Chat:
    """What somebody wants answered. `model` may be "auto": then `categories` decide.

    `parameters` are sent as they are; `own_defaults` lets the config's parameters of a model be
    sent along. `repeats` lets what failed be asked again: not for clients that do so themselves.
    The last message begins with the `attachment`, if there is one: all of it that `compress`
    shrinks. In other messages that is material of at least `min_compress_tokens`.
    """

    messages: Sequence[ChatMessage]
    model: str
    categories: tuple[str, ...]
    parameters: Mapping[str, Any]
    provider: str = ""
    compress: float | Literal["auto"] | None = None
    min_compress_tokens: int = MIN_TOKENS
    attachment: str = ""
    own_defaults: bool = False
    repeats: bool = True
    endpoint: Endpoint = "chat/completions"


@dataclass(slots=True)
class Plan:
    """A chat that is ready to be sent, and what came of it."""

    chat: Chat
    route: Route
    messages: Sequence[ChatMessage]
    classification: Classification | None = None
    measured: Measured = field(default_factory=Measured)
    decision: Decision | None = None
    compression: CompressionRecord | None = None
    answer: Answer | None = None
    attempts: tuple[Attempt, ...] = ()  # in vain
    counted: Usage | None = None  # by us, where the provider reports nothing

    def body(self, candidate: Candidate) -> dict[str, Any]:
        """What to send to `candidate`."""
        facts = candidate.provider.facts(candidate.model)
        defaults = facts.parameters if self.chat.own_defaults else {}
        body = {**defaults, **self.chat.parameters}
        if self.chat.endpoint == "chat/completions":
            body["messages"] = self.messages
        return body

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Raises ProviderError when there are none."""
        if self.route.problem:
            raise self.route.problem
        return self.route.candidates

    @property
    def selected_model(self) -> str:
        """The model that answers: by the id that was asked for or ranks first if its provider
        serves that or a successor of it, by its own if it is another. Until one answers, the
        former."""
        wanted = self.route.wanted
        if self.answer is None:
            return wanted
        candidate = self.answer.candidate
        answers = candidate.provider.served_as(wanted) == candidate.model
        return wanted if answers else candidate.model

    @property
    def usage(self) -> Usage | None:
        return self.counted or (self.answer.usage if self.answer else None)

    @property
    def cost_usd(self) -> float | None:
        if self.answer is None or self.usage is None:
            return None
        candidate = self.answer.candidate
        return candidate.provider.cost_usd(candidate.model, self.usage)

    @property
    def saved_tokens(self) -> int:
        if self.compression is None:
            return 0
        return self.compression.original_tokens - self.compression.compressed_tokens

    @property
    def saved_ms(self) -> float | None:
        """Estimated: what reading the tokens would have taken, less what compressing took."""
        if self.compression is None:
            return None
        spent_s = self.compression.compress_ms / 1000
        saved_s = self.measured.saved_s(self.saved_tokens, spent_s)
        return None if saved_s is None else saved_s * 1000

    def record(self) -> GenerationRecord:
        record = GenerationRecord(
            wanted_model=self.route.wanted,
            route=self.route.reason,
            parameters=dict(self.chat.parameters),
            attempts=[asdict(attempt) for attempt in self.attempts],
            compress_decision=self.decision.reason if self.decision else None,
            saved_usd=self.measured.saved_usd(self.saved_tokens) if self.compression else None,
            saved_ms=self.saved_ms,
        )
        if self.answer is None:
            return record
        usage = self.usage or Usage()
        return replace(
            record,
            provider=self.answer.candidate.provider.name,
            model=self.answer.candidate.model,
            partial=not self.answer.is_complete,
            finish_reason=self.answer.finish_reason,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            tokens_counted_by="tokenflow" if self.counted else "provider" if self.usage else None,
            ttft_ms=self.answer.ttft_ms,
            first_word_ms=self.answer.first_word_ms,
            latency_ms=self.answer.latency_ms,
            cost_usd=self.cost_usd,
        )


class Answering:
    def __init__(self, services: Services, offload: Offload, reads: Offload) -> None:
        self._services = services
        self._offload = offload
        self._reads = reads
        self._decisions = Decisions()

    async def plan(self, draft: Draft, chat: Chat) -> Plan:
        """Classifies, routes and compresses; the draft knows what came of it."""
        prompt = last_user_text(chat.messages)
        draft.input = prompt
        draft.messages = tuple(map(_as_sent, chat.messages))
        classification = None
        if chat.model == AUTO:
            classification, _ = await classify(
                self._services, self._offload, draft, prompt, chat.categories
            )
        texts = await self._compressible_texts(chat)
        route = await self._route(chat, classification, sum(tokens for _, tokens in texts))
        plan = Plan(chat, route, chat.messages, classification)
        draft.generation = plan.record
        candidates = plan.route.candidates
        draft.model = candidates[0].model if candidates else plan.route.wanted
        if chat.compress is not None:
            await self._compress(draft, plan, chat.compress, texts)
        return plan

    async def classify_beside(self, draft: Draft, plan: Plan) -> None:
        """Classifies the prompt of a plan whose model was named, while its provider is asked. To
        be cancelled once that answers; a failure leaves the plan as it is."""
        await asyncio.sleep(HEAD_START_S)
        prompt = last_user_text(plan.chat.messages)
        try:
            plan.classification, _ = await classify(
                self._services, self._offload, draft, prompt, plan.chat.categories
            )
        except TokenFlowError as error:
            log.info("a prompt was not classified: %s", error.detail)

    async def stream(self, draft: Draft, plan: Plan) -> Generation:
        """An answer that has begun. Raises ProviderError."""
        with _attempts_noted(plan):
            generation = await self._services.generator.stream(
                plan.candidates,
                plan.body,
                endpoint=plan.chat.endpoint,
                repeats=plan.chat.repeats,
            )
        self._begun(draft, plan, generation.answer)
        return generation

    async def complete(self, draft: Draft, plan: Plan) -> bytes:
        """The JSON of a whole answer. Raises ProviderError."""
        with _attempts_noted(plan):
            answer, payload = await self._services.generator.complete(
                plan.candidates,
                plan.body,
                endpoint=plan.chat.endpoint,
                repeats=plan.chat.repeats,
            )
        self._begun(draft, plan, answer)
        await self.count(plan)
        return payload

    async def count(self, plan: Plan) -> None:
        """Counts the tokens of a complete answer if the provider did not."""
        answer = plan.answer
        if answer is None or (answer.usage and answer.usage.prompt_tokens is not None):
            return
        plan.counted = Usage(
            await self._offload.run(_tokens_of, plan.messages),
            await self._offload.run(count_tokens, answer.text),
        )

    def _begun(self, draft: Draft, plan: Plan, answer: Answer) -> None:
        plan.answer = answer
        plan.attempts = answer.attempts
        draft.model = answer.candidate.model
        draft.output = lambda: answer.text

    async def route_by(self, choose: Callable[[Sequence[Candidate]], Route]) -> Route:
        """What `choose` makes of the servers of this machine as they were last seen; when nobody
        else can answer, as they are now."""
        discovery = self._services.discovery
        refreshing = discovery.refresh()
        try:
            route = choose(discovery.local_candidates())
            if route.candidates or refreshing is None:
                return route
        except (NotFound, BadRequest):
            if refreshing is None:
                raise
        await refreshing
        return choose(discovery.local_candidates())

    async def _compressible_texts(self, chat: Chat) -> list[tuple[str, int]]:
        """Found once for a request: dividing a text takes its time. None unless it is asked for."""
        if chat.compress is None:
            return []
        return await self._offload.run(
            compressible_texts,
            chat.messages,
            min_tokens=chat.min_compress_tokens,
            attachment=chat.attachment,
        )

    async def _route(
        self, chat: Chat, classification: Classification | None, compressible_tokens: int
    ) -> Route:
        router = self._services.router
        if classification is not None:
            auto_ratio = self._services.config.route.auto_ratio
            needs = await self._offload.run(_needs_of, chat, compressible_tokens, auto_ratio)
            return await self.route_by(
                lambda local: router.for_category(classification, local, needs)
            )
        if chat.provider:
            return await self.route_by(lambda _: router.at_provider(chat.provider, chat.model))
        if chat.model == self._services.embedder.model_id:
            raise BadRequest(f"{chat.model} makes vectors only: send it texts at /v1/embeddings")
        return await self.route_by(lambda local: router.for_model(chat.model, local))

    async def _compress(
        self,
        draft: Draft,
        plan: Plan,
        wanted: float | Literal["auto"],
        texts: Sequence[tuple[str, int]],
    ) -> None:
        chat = plan.chat
        plan.measured = await self._reads.run(self._measure, plan.route)
        which: dict[str, Any] = {
            "min_tokens": chat.min_compress_tokens,
            "attachment": chat.attachment,
        }
        settings = self._services.config.route
        if isinstance(wanted, str):
            ratio = settings.auto_ratio
            plan.decision, which["left_alone"] = self._decisions.decide(
                texts, plan.selected_model, lambda new: decide(new, plan.measured, settings)
            )
        else:
            ratio = wanted
            plan.decision = Decision(
                bool(texts), "asked for" if texts else "nothing but what is asked, or too short"
            )
        if not plan.decision.compress:
            return
        options = CompressionOptions(ratio=ratio)
        started = time.monotonic()
        compressed = await self._offload.run_stoppable(
            compress_chat, chat.messages, self._services.compressor_for, options, **which
        )
        plan.messages = compressed.messages
        plan.compression = compression_record(
            compressed.compressions, options, (time.monotonic() - started) * 1000
        )
        draft.compression = plan.compression
        draft.messages = tuple(map(_as_sent, plan.messages))

    def _measure(self, route: Route) -> Measured:
        """Of the candidate that will be asked first."""
        metrics = self._services.store.metrics
        if not route.candidates:
            return Measured()
        first = route.candidates[0]
        price = first.provider.facts(first.model).input_usd
        try:
            return Measured(
                metrics.compressed_tokens_per_s(),
                metrics.seconds_per_prompt_token(first.provider.name, first.model),
                price,
            )
        except StoreDegraded:  # answers go on without the history
            return Measured(input_usd=price)


@contextlib.contextmanager
def _attempts_noted(plan: Plan) -> Iterator[None]:
    try:
        yield
    except AllFailed as error:
        plan.attempts = error.attempts
        raise


def _as_sent(message: ChatMessage) -> Message:
    content = message.get("content")
    if isinstance(content, str) and message.keys() <= {"role", "content"}:
        text = content
    else:
        rest = {name: value for name, value in message.items() if name != "role"}
        text = msgspec.json.encode(rest).decode()
    return Message(str(message.get("role", "")), text)


def _needs_of(chat: Chat, compressible_tokens: int, auto_ratio: float) -> Needs:
    """What the model has to take that `auto` chooses, once the chat is compressed if it is to be;
    with "auto" perhaps to `auto_ratio`."""
    parameters = chat.parameters
    limits = (parameters.get(name) for name in ("max_completion_tokens", "max_tokens"))
    longest = next((limit for limit in limits if isinstance(limit, int)), 0)
    tools = parameters.get("tools") or parameters.get("functions")
    tokens = _tokens_of(chat.messages) + max(0, longest)
    if tools:
        tokens += count_tokens(msgspec.json.encode(tools).decode())
    if chat.compress is not None:
        ratio = auto_ratio if isinstance(chat.compress, str) else chat.compress
        tokens -= int((1 - ratio) * compressible_tokens)
    return Needs(holds(chat.messages, IMAGE_PARTS), bool(tools), tokens)


def _tokens_of(messages: Sequence[ChatMessage]) -> int:
    """Of all texts. What images and files cost is the provider's secret."""
    return count_tokens("\n".join(text for message in messages for text in texts_of(message)))
