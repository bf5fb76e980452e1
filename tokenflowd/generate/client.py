"""Asks one provider once. Every failure leaves here as a ProviderError without secrets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

import aiohttp
import msgspec
from aiohttp import hdrs

from tokenflowd import __version__
from tokenflowd.config import GenerateConfig
from tokenflowd.errors import ProviderError, ProviderFault
from tokenflowd.generate.providers import Candidate, Provider
from tokenflowd.generate.sse import EventParser
from tokenflowd.generate.wire import DONE, Piece, error_message, read_piece

USER_AGENT = f"tokenflowd/{__version__}"
OWNER = "tokenflow"  # whose models /v1/models lists: another TokenFlow is no provider
# Groq answers 400 for these.
_MODEL_IS_GONE = (b'"model_decommissioned"', b'"model_not_found"')
PROBE_TIMEOUT_S = 3.0
LOCAL_PROBE_TIMEOUT_S = 1.0
# What may still come after the finish reason: the usage, then [DONE].
LAST_WORDS_S = 2.0
# What a finished response may take to end.
DRAIN_S = 0.5
DAY_S = 86_400.0
MAX_ERROR_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_DETAIL_CHARS = 300

_FAULTS: dict[int, ProviderFault] = {
    401: "authentication",
    404: "model_not_found",
    408: "timeout",
    429: "rate_limited",
    498: "rate_limited",  # Groq: no capacity for flex processing
}


class ProviderClient:
    """One for all providers. Its connections belong to the event loop that first uses it."""

    def __init__(self, settings: GenerateConfig) -> None:
        self._settings = settings
        self._opened: aiohttp.ClientSession | None = None
        self._ending: set[asyncio.Task[None]] = set()
        # llama-cpp-python's server breaks off an answer when it is asked anything else, even for
        # its models: one's own servers are asked for them only between answers.
        self._answers: Counter[str] = Counter()
        self._listing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def stream(self, candidate: Candidate, body: Mapping[str, Any]) -> ProviderStream:
        """An answer as it is made, begun: its first events are there."""
        provider = candidate.provider
        end = await self._begin_answer(provider)
        try:
            with _boundary(provider):
                async with asyncio.timeout(self._settings.first_token_timeout_s):
                    response = await self._post(candidate, body)
                    stream = ProviderStream(
                        provider, response, self._settings.chunk_timeout_s, self._ending, end
                    )
                    try:
                        await _expect(response, "text/event-stream")
                        await stream.begin()
                    except BaseException:
                        response.close()
                        raise
        except BaseException:
            end()
            raise
        return stream

    async def complete(self, candidate: Candidate, body: Mapping[str, Any]) -> Piece:
        """An answer that comes whole."""
        end = await self._begin_answer(candidate.provider)
        try:
            with _boundary(candidate.provider):
                async with (
                    asyncio.timeout(self._settings.answer_timeout_s),
                    await self._post(candidate, body) as response,
                ):
                    await _expect(response, "application/json")
                    piece = read_piece(await _read_at_most(response, MAX_ANSWER_BYTES))
        finally:
            end()
        if piece.finish_reason is None:
            raise _error(candidate.provider, "bad_answer", "sent an answer without an end")
        return piece

    async def models(self, provider: Provider) -> tuple[str, ...] | None:
        """The ids of the models that it serves; None while one's own server answers and is not to
        be disturbed. Raises ProviderError."""
        if not provider.is_own:
            return await self._models(provider)
        async with self._listing[provider.name]:
            return None if self._answers[provider.name] else await self._models(provider)

    async def _models(self, provider: Provider) -> tuple[str, ...]:
        seconds = LOCAL_PROBE_TIMEOUT_S if provider.is_local else PROBE_TIMEOUT_S
        with _boundary(provider):
            async with (
                asyncio.timeout(seconds),
                self._session.get(
                    f"{provider.base_url}/models",
                    headers=_authorization(provider),
                    allow_redirects=False,
                    proxy=provider.proxy,
                ) as response,
            ):
                await _expect(response, "application/json")
                listed = await _read_at_most(response, MAX_ANSWER_BYTES)
        try:
            models = msgspec.json.decode(listed, type=_Models).data
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise _error(provider, "bad_answer", "did not list its models") from None
        if any(model.owned_by == OWNER for model in models):
            raise _error(provider, "bad_answer", "is a TokenFlow daemon itself")
        return tuple(model.id for model in models)

    async def _begin_answer(self, provider: Provider) -> Callable[[], None]:
        """Waits until nobody asks for its models. What is returned ends the answer."""
        if provider.is_own:
            async with self._listing[provider.name]:
                pass
        self._answers[provider.name] += 1
        return partial(self._answers.subtract, [provider.name])

    async def close(self) -> None:
        await asyncio.gather(*self._ending)
        if self._opened:
            await self._opened.close()

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            # The defaults would end every stream after 300 s, and allow 100 at a time. Our own
            # timeouts stand around each read: aiohttp's are not kept on a malformed chunk.
            connect_s = self._settings.connect_timeout_s
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={hdrs.USER_AGENT: USER_AGENT},
            )
        return self._opened

    async def _post(self, candidate: Candidate, body: Mapping[str, Any]) -> aiohttp.ClientResponse:
        provider = candidate.provider
        return await self._session.post(
            f"{provider.base_url}/chat/completions",
            data=msgspec.json.encode({**body, "model": candidate.model}),
            headers={
                hdrs.CONTENT_TYPE: "application/json",
                hdrs.ACCEPT_ENCODING: "identity",  # a compressed stream would come in lumps
                **_authorization(provider),
            },
            allow_redirects=False,  # the key is for this address only
            proxy=provider.proxy,
        )


class ProviderStream:
    """The events of one answer. Ends only after a finish reason; anything else is an error."""

    def __init__(
        self,
        provider: Provider,
        response: aiohttp.ClientResponse,
        chunk_timeout_s: float,
        ending: set[asyncio.Task[None]],
        end: Callable[[], None],
    ) -> None:
        self._provider = provider
        self._response = response
        self._chunk_timeout_s = chunk_timeout_s
        self._ending = ending
        self._end = end
        self._parser = EventParser()
        self._first: list[Piece] = []
        self._finished_at: float | None = None  # when the finish reason came
        self._has_ended = False
        self._failure: ProviderError | None = None

    async def begin(self) -> None:
        """Waits for the first events; its caller holds the clock."""
        while not self._first:
            self._first = await self._receive()

    async def read(self) -> list[Piece]:
        """The events that came together, at least one; none when the answer is complete."""
        if self._first:
            first, self._first = self._first, []
            return first
        with _boundary(self._provider):
            try:
                while not self._is_complete:
                    async with asyncio.timeout(self._patience_s):
                        pieces = await self._receive()
                    if pieces:
                        return pieces
            except (TimeoutError, aiohttp.ClientError, OSError, ProviderError):
                if self._finished_at is None:
                    raise
        return []

    @property
    def _patience_s(self) -> float:
        return self._chunk_timeout_s if self._finished_at is None else LAST_WORDS_S

    @property
    def _is_complete(self) -> bool:
        """After the finish reason, at the end of the stream; or long after, if it goes on."""
        if self._finished_at is None:
            return False
        return self._has_ended or time.monotonic() - self._finished_at > LAST_WORDS_S

    def close(self) -> None:
        """Tells the provider to stop, if it has not: a closed connection is the only way."""
        self._end()
        if self._has_ended:
            self._ending.add(drain := asyncio.create_task(self._drain()))
            drain.add_done_callback(self._ending.discard)
        else:
            self._response.close()

    async def _drain(self) -> None:
        """Reads on to the end of the response: only then can its connection be used again."""
        try:
            async with asyncio.timeout(DRAIN_S):
                await self._response.content.readany()
        except (TimeoutError, aiohttp.ClientError, OSError):
            pass
        finally:
            self._response.close()

    async def _receive(self) -> list[Piece]:
        """May be nothing. What came before a failure is given out before it is raised."""
        if self._failure:
            raise self._failure
        pieces: list[Piece] = []
        try:
            received = await self._response.content.readany()
            for event in self._parser.feed(received) if received else self._parser.finish():
                if event.strip() == DONE:
                    self._has_ended = True
                    break
                pieces.append(read_piece(event))
                if pieces[-1].finish_reason is not None and self._finished_at is None:
                    self._finished_at = time.monotonic()
            self._has_ended |= not received
            if self._has_ended and self._finished_at is None:
                raise ProviderError("bad_answer", "ended the answer before its end")
        except ProviderError as error:
            if not pieces:
                raise
            self._failure = error
        return pieces


class _Model(msgspec.Struct):
    id: str
    owned_by: str | None = None


class _Models(msgspec.Struct):
    data: list[_Model]


async def _expect(response: aiohttp.ClientResponse, content_type: str) -> None:
    """Raises what the provider says instead."""
    if response.status == 200 and response.content_type == content_type:
        return
    body = await _read_at_most(response, MAX_ERROR_BYTES, cut=True)
    said = _message_in(body)
    if response.status == 200:
        raise ProviderError(
            "bad_answer", f"sent {response.content_type} instead of {content_type}: {said}"
        )
    status = response.status
    fault: ProviderFault = _FAULTS.get(status) or (
        "refused" if 400 <= status < 500 else "bad_answer" if status < 400 else "server_error"
    )
    if any(code in body for code in _MODEL_IS_GONE):
        fault = "model_not_found"
    raise ProviderError(
        fault,
        f"answered {status} {said}".rstrip(),
        status=status if fault == "refused" else None,
        retry_after_s=_retry_after(response.headers.get(hdrs.RETRY_AFTER)),
    )


async def _read_at_most(
    response: aiohttp.ClientResponse, limit: int, *, cut: bool = False
) -> bytes:
    received = bytearray()
    async for chunk in response.content.iter_any():
        received += chunk
        if len(received) > limit:
            if cut:
                break
            raise ProviderError("bad_answer", "the answer is too long")
    return bytes(received)


def _message_in(body: bytes) -> str:
    try:
        return error_message(msgspec.json.decode(body))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        text = body.decode(errors="replace").strip()
        return "" if text.startswith("<") else text  # a proxy's page says nothing


def _retry_after(value: str | None) -> float | None:
    """Seconds, from either of the header's forms (RFC 9110, 10.2.3); no more than a day."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return min(max(0.0, seconds), DAY_S)


@contextlib.contextmanager
def _boundary(provider: Provider) -> Iterator[None]:
    """The one place where a failure to talk to a provider becomes a ProviderError.

    Causes are cut off (`from None`): the reprs of aiohttp's errors hold the request's headers.
    """
    try:
        yield
    except ProviderError as error:
        raise _error(
            provider, error.fault, error.detail, status=error.status, after=error.retry_after_s
        ) from None
    except aiohttp.ConnectionTimeoutError:
        raise _error(provider, "unreachable", "cannot be reached: it does not answer") from None
    except TimeoutError:
        raise _error(provider, "timeout", "did not answer in time") from None
    except aiohttp.ClientConnectorError as error:
        raise _error(provider, "unreachable", f"cannot be reached: {_reason(error)}") from None
    except aiohttp.ClientPayloadError:
        raise _error(provider, "bad_answer", "broke off in the middle of an answer") from None
    except aiohttp.ClientResponseError:
        raise _error(provider, "bad_answer", "broke the rules of HTTP") from None
    except (aiohttp.ClientError, OSError):
        raise _error(provider, "unreachable", "closed the connection") from None


def _error(
    provider: Provider,
    fault: ProviderFault,
    said: str,
    *,
    status: int | None = None,
    after: float | None = None,
) -> ProviderError:
    """A sentence that begins with who it is about, ends with what to do, and holds no key."""
    if provider.key:
        said = said.replace(provider.key, "***")
    said = " ".join(said.split())
    if len(said) > MAX_DETAIL_CHARS:
        said = f"{said[:MAX_DETAIL_CHARS]}…"
    if fault == "authentication" and provider.settings.key_variable:
        said += f"; check {provider.settings.key_variable}"
    return ProviderError(fault, f"{provider.name} {said}", status=status, retry_after_s=after)


def _reason(error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error, ssl.SSLError | aiohttp.ClientSSLError):
        return "its certificate is not trusted"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name is not known"
    # asyncio puts its own sentence, with the address again, in place of the system's.
    number = error.os_error.errno
    return os.strerror(number) if number else str(error.os_error)


def _authorization(provider: Provider) -> dict[str, str]:
    return {hdrs.AUTHORIZATION: f"Bearer {provider.key}"} if provider.key else {}
