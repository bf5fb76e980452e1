"""Every request to a service becomes a row of the history, whatever became of it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
from aiohttp import hdrs, web

from tokenflowd.api.guards import REQUEST_ID
from tokenflowd.api.metrics import Metrics
from tokenflowd.errors import ClientLeft, TokenFlowError
from tokenflowd.store import (
    ClassificationRecord,
    CompressionRecord,
    GenerationRecord,
    Message,
    RequestRecord,
    Store,
    new_id,
)
from tokenflowd.store.records import Kind, utc_now

T = TypeVar("T", bound=msgspec.Struct)
MAX_CLIENT_CHARS = 200


@dataclass(slots=True)
class Draft:
    """The row in the making: the handler fills in what it comes to know.

    `generation` is asked for when the row is written: an answer grows until then.
    """

    kind: Kind
    client: str
    id: str = field(default_factory=new_id)
    created_at: str = field(default_factory=utc_now)
    started: float = field(default_factory=time.monotonic)
    input: str | None = None
    output: Callable[[], str | None] = lambda: None
    model: str | None = None
    compression: CompressionRecord | None = None
    classification: ClassificationRecord | None = None
    generation: Callable[[], GenerationRecord | None] = lambda: None
    messages: tuple[Message, ...] = ()
    is_committed: bool = False

    @property
    def elapsed_ms(self) -> float:
        return (time.monotonic() - self.started) * 1000

    def finished(self, error: TokenFlowError | None = None) -> RequestRecord:
        return RequestRecord(
            id=self.id,
            created_at=self.created_at,
            kind=self.kind,
            client=self.client,
            input=self.input,
            output=self.output(),
            model=self.model,
            duration_ms=self.elapsed_ms,
            error_type=error.error if error else None,
            error_detail=error.detail if error else None,
            compression=self.compression,
            classification=self.classification,
            generation=self.generation(),
            messages=self.messages,
        )


class Recorder:
    """Commits a row before the answer's end goes out, so that its `id` can be relied on."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics

    @contextlib.asynccontextmanager
    async def recording(self, kind: Kind, request: web.Request) -> AsyncIterator[Draft]:
        """A draft for what the block does. It is committed at the latest when the block ends."""
        draft = Draft(kind, _client(request))
        request[REQUEST_ID] = draft.id
        try:
            yield draft
        except asyncio.CancelledError:
            self._write(draft, ClientLeft("the client left"))
            raise
        except TokenFlowError as error:
            await self.commit(draft, error)
            raise
        except Exception as error:
            await self.commit(draft, TokenFlowError(type(error).__name__))
            raise
        await self.commit(draft)

    async def record(
        self, kind: Kind, request: web.Request, work: Callable[[Draft], Awaitable[T]]
    ) -> T:
        """What `work` returns, with `id` None when the history could not take it."""
        async with self.recording(kind, request) as draft:
            answer = await work(draft)
            is_saved = await self.commit(draft)
        return answer if is_saved else msgspec.structs.replace(answer, id=None)

    async def commit(self, draft: Draft, error: TokenFlowError | None = None) -> bool:
        """Whether the row is in the history. Once: what comes after it is not recorded."""
        future = self._write(draft, error)
        return future is not None and await asyncio.wrap_future(future)

    def _write(self, draft: Draft, error: TokenFlowError | None) -> Future[bool] | None:
        if draft.is_committed:
            return None
        draft.is_committed = True
        record = draft.finished(error)
        self._metrics.observe(record)
        return self._store.write(record)


def _client(request: web.Request) -> str:
    """Who says to be asking. A header may hold any bytes; those that are no UTF-8 become "?"."""
    agent = request.headers.get(hdrs.USER_AGENT, "")[:MAX_CLIENT_CHARS]
    return agent.encode("utf-8", "replace").decode()
