"""Every request to a service becomes a row of the history, whatever became of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
from aiohttp import hdrs, web

from tokenflowd.errors import TokenFlowError
from tokenflowd.store import ClassificationRecord, CompressionRecord, RequestRecord, Store, new_id
from tokenflowd.store.records import Kind, utc_now

T = TypeVar("T", bound=msgspec.Struct)
MAX_CLIENT_CHARS = 200


@dataclass(slots=True)
class Draft:
    """The row in the making: the handler fills in what it comes to know."""

    kind: Kind
    client: str
    id: str = field(default_factory=new_id)
    created_at: str = field(default_factory=utc_now)
    started: float = field(default_factory=time.monotonic)
    input: str | None = None
    output: str | None = None
    model: str | None = None
    details: CompressionRecord | ClassificationRecord | None = None

    @property
    def elapsed_ms(self) -> float:
        return (time.monotonic() - self.started) * 1000

    def finished(self, error_type: str | None = None, detail: str | None = None) -> RequestRecord:
        return RequestRecord(
            id=self.id,
            created_at=self.created_at,
            kind=self.kind,
            client=self.client,
            input=self.input,
            output=self.output,
            model=self.model,
            duration_ms=self.elapsed_ms,
            error_type=error_type,
            error_detail=detail,
            details=self.details,
        )


class Recorder:
    """Commits a row before the answer goes out, so that an answer's `id` can be relied on."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def record(
        self, kind: Kind, request: web.Request, work: Callable[[Draft], Awaitable[T]]
    ) -> T:
        """What `work` returns, with `id` None when the history could not take it."""
        draft = Draft(kind, request.headers.get(hdrs.USER_AGENT, "")[:MAX_CLIENT_CHARS])
        try:
            answer = await work(draft)
        except asyncio.CancelledError:
            self._store.write(draft.finished("cancelled", "the client left"))
            raise
        except TokenFlowError as error:
            await self._commit(draft.finished(error.error, error.detail))
            raise
        except Exception as error:
            await self._commit(draft.finished("internal error", type(error).__name__))
            raise
        if await self._commit(draft.finished()):
            return answer
        return msgspec.structs.replace(answer, id=None)

    async def _commit(self, record: RequestRecord) -> bool:
        return await asyncio.wrap_future(self._store.write(record))
