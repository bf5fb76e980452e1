"""Server-sent events as they go out, and the clients that read them: too many, too slow, gone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from tokenflowd.api.guards import OWN_FAULT
from tokenflowd.errors import Busy, ClientLeft, ClientStalled, Stopping, TokenFlowError

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 15.0
# `write()` waits for ever for a client that does not read, once about 2.8 MB are on their way.
STALLED_S = 15.0
SMALL_BYTES = 32 * 1024
# Of an event's text in UTF-8: there are clients that take each read for whole events.
MAX_TEXT_BYTES = 4 * 1024


@contextlib.asynccontextmanager
async def cutting_off_the_stalled(request: web.Request) -> AsyncIterator[None]:
    """Raises ClientStalled when what the block writes is not taken in time, and ends the
    connection."""
    try:
        async with asyncio.timeout(STALLED_S):
            yield
    except TimeoutError:
        if request.transport:
            request.transport.abort()
        raise ClientStalled(f"the client read nothing for {STALLED_S:g} s") from None


@web.middleware
async def cut_off_stalled(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Sends ordinary answers, too, no longer than somebody reads them: they may be megabytes."""
    response = await handler(request)
    with contextlib.suppress(ClientStalled, ConnectionError):
        async with cutting_off_the_stalled(request):
            await response.prepare(request)
            await response.write_eof()
    return response


class Streams:
    """All answers under way: how many may be, and an end to them when the daemon stops."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._scopes: set[asyncio.Timeout] = set()
        self._open = 0

    def __len__(self) -> int:
        return self._open

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Raises Busy when too many are open."""
        if self._open >= self._limit:
            raise Busy(f"{self._open} answers are being streamed; try again shortly")
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    @contextlib.asynccontextmanager
    async def stoppable(self) -> AsyncIterator[None]:
        """Raises Stopping inside the block when the daemon stops. aiohttp itself would cancel
        handlers only after twice its shutdown timeout."""
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._scopes.add(scope)
                try:
                    yield
                finally:
                    self._scopes.discard(scope)
        except TimeoutError:
            if scope.expired():
                raise Stopping("the daemon stops; ask again when it is back") from None
            raise

    async def stop(self, app: web.Application) -> None:
        now = asyncio.get_running_loop().time()
        for scope in self._scopes:
            scope.reschedule(now)


class EventStream:
    """One response of events. It begins with the first that is sent: until then a failure can
    still be an ordinary answer; from then on it ends the stream with an event, and the block.

    With `events_only` a failure is an event even before.
    """

    def __init__(
        self,
        request: web.Request,
        failure: Callable[[TokenFlowError], bytes],
        *,
        events_only: bool = False,
    ) -> None:
        self._request = request
        self._failure = failure
        self._events_only = events_only
        self.response = web.StreamResponse(
            headers={
                hdrs.CONTENT_TYPE: "text/event-stream; charset=utf-8",
                hdrs.CACHE_CONTROL: "no-cache",
                "X-Accel-Buffering": "no",  # nginx would hold events back
            }
        )
        self._lock = asyncio.Lock()
        self._last_write = time.monotonic()
        self._keeping_alive: asyncio.Task[None] | None = None

    @property
    def has_begun(self) -> bool:
        return self.response.prepared

    async def __aenter__(self) -> EventStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> bool:
        if self._keeping_alive:
            self._keeping_alive.cancel()
        if error and not isinstance(error, Exception):
            return False
        if not self.has_begun and not (error and self._events_only):
            return False
        failure = error if isinstance(error, TokenFlowError) else None
        if error and failure is None:
            log.error("%s failed", self._request.path, exc_info=error)
            failure = TokenFlowError(OWN_FAULT)
        with contextlib.suppress(ClientLeft, ClientStalled, ConnectionResetError):
            if failure:
                log.info("%s ends with an error: %s", self._request.path, failure.detail)
                await self.send(self._failure(failure))
            await self.response.write_eof()
        return True

    def keep_alive(self) -> None:
        """From now on a comment is sent whenever nothing else was for a while."""
        self._keeping_alive = asyncio.create_task(self._fill_silence())

    async def send(self, events: bytes) -> None:
        """Raises ClientLeft, and ClientStalled once a client that reads nothing was cut off."""
        self._last_write = time.monotonic()
        try:
            if self._cannot_block(events):
                await self.response.write(events)
                return
            async with self._lock, cutting_off_the_stalled(self._request):
                if not self.has_begun:
                    await self.response.prepare(self._request)
                await self.response.write(events)
        except ConnectionResetError:
            raise ClientLeft("the client left") from None

    def _cannot_block(self, events: bytes) -> bool:
        """Whether the client has taken all that was sent, and this is less than a transport holds
        before it makes its writer wait: no lock and no clock, which cost more than the write."""
        transport = self._request.transport
        return (
            transport is not None
            and self.has_begun
            and not self._lock.locked()
            and len(events) < SMALL_BYTES
            and transport.get_write_buffer_size() == 0
        )

    async def _fill_silence(self) -> None:
        with contextlib.suppress(ClientLeft, ClientStalled):
            while True:
                idle = time.monotonic() - self._last_write
                if idle >= KEEP_ALIVE_S:
                    await self.send(b": keep-alive\n\n")
                else:
                    await asyncio.sleep(KEEP_ALIVE_S - idle)


def accepts_events(request: web.Request) -> bool:
    """Whether the client names event streams among what it accepts."""
    accepted = ",".join(request.headers.getall(hdrs.ACCEPT, [])).lower()
    kinds = (part.partition(";")[0].strip() for part in accepted.split(","))
    return "text/event-stream" in kinds


def encode_event(event: msgspec.Struct) -> bytes:
    """A struct with a tag as a server-sent event of that name, whose data is its JSON, in one
    line."""
    name = event.__struct_config__.tag
    return f"event: {name}\n".encode() + b"data: %b\n\n" % msgspec.json.encode(event)


def split_text(text: str) -> Iterator[str]:
    """`text` in parts of at most MAX_TEXT_BYTES of UTF-8, cut between characters; nothing for no
    text. Half a surrogate pair, which UTF-8 cannot hold, becomes U+FFFD."""
    encoded = _utf8(text)
    start = 0
    while start < len(encoded):
        end = start + MAX_TEXT_BYTES
        while end < len(encoded) and encoded[end] & 0xC0 == 0x80:  # within a character
            end -= 1
        yield encoded[start:end].decode()
        start = end


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
