"""Asks one provider once. Every failure leaves here as a ProviderError without secrets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, dataclass
from functools import partial
from typing import Any, Literal

import aiohttp
import msgspec
from aiohttp import hdrs

from tokenflowd import __version__
from tokenflowd.config import GenerateConfig
from tokenflowd.errors import ProviderDetails, ProviderError, ProviderFault
from tokenflowd.generate.providers import Candidate, Provider
from tokenflowd.generate.refusals import error_of_response, rate_limits
from tokenflowd.generate.sse import EventParser
from tokenflowd.generate.wire import DONE, ChoicePart, Piece, as_event, read_piece

Endpoint = Literal["chat/completions", "completions"]

USER_AGENT = f"tokenflowd/{__version__}"
OWNER = "tokenflow"  # whose models /v1/models lists: another TokenFlow is no provider
PROBE_TIMEOUT_S = 3.0
LOCAL_PROBE_TIMEOUT_S = 1.0
# What may still come after a finish reason that came by itself: the usage, then [DONE].
LAST_WORDS_S = 2.0
# What a finished response may take to end.
DRAIN_S = 0.5
MAX_ERROR_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_DETAIL_CHARS = 1000
# What aiohttp takes for the type of a response that names none.
_UNLABELLED = "application/octet-stream"


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

    async def stream(
        self,
        candidate: Candidate,
        body: Mapping[str, Any],
        endpoint: Endpoint = "chat/completions",
    ) -> ProviderStream:
        """An answer as it is made, begun: its first events are there."""
        provider = candidate.provider
        end = await self._begin_answer(provider)
        try:
            with _boundary(provider):
                async with asyncio.timeout(self._settings.first_token_timeout_s):
                    response = await self._post(candidate, body, endpoint)
                    stream = ProviderStream(
                        provider,
                        response,
                        self._settings.chunk_timeout_s,
                        self._ending,
                        end,
                        choices=_choices_asked_for(body),
                    )
                    try:
                        if await _is_stream(response):
                            await stream.begin()
                        else:
                            stream.begin_with(await _read_at_most(response, MAX_ANSWER_BYTES))
                    except BaseException:
                        response.close()
                        raise
        except BaseException:
            end()
            raise
        return stream

    async def complete(
        self,
        candidate: Candidate,
        body: Mapping[str, Any],
        endpoint: Endpoint = "chat/completions",
    ) -> WholeAnswer:
        """An answer that comes whole."""
        payload, headers = await self.fetch(candidate, body, endpoint)
        with _boundary(candidate.provider):
            return WholeAnswer(_with_choices(read_piece(payload)), headers)

    async def fetch(
        self, candidate: Candidate, body: Mapping[str, Any], endpoint: str
    ) -> tuple[bytes, dict[str, str]]:
        """The JSON that an endpoint answers with, and its rate limits. Raises ProviderError."""
        end = await self._begin_answer(candidate.provider)
        try:
            with _boundary(candidate.provider):
                async with (
                    asyncio.timeout(self._settings.answer_timeout_s),
                    await self._post(candidate, body, endpoint) as response,
                ):
                    await _expect_json(response)
                    payload = await _read_at_most(response, MAX_ANSWER_BYTES)
                    return payload, rate_limits(response.headers)
        finally:
            end()

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
                await _expect_json(response)
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

    async def _post(
        self, candidate: Candidate, body: Mapping[str, Any], endpoint: str
    ) -> aiohttp.ClientResponse:
        provider = candidate.provider
        return await self._session.post(
            f"{provider.base_url}/{endpoint}",
            data=msgspec.json.encode({**body, "model": candidate.model}),
            headers={
                hdrs.CONTENT_TYPE: "application/json",
                hdrs.ACCEPT_ENCODING: "identity",  # a compressed stream would come in lumps
                **_authorization(provider),
            },
            allow_redirects=False,  # the key is for this address only
            proxy=provider.proxy,
        )


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    """An answer that came at once, and the provider's rate limits."""

    piece: Piece
    headers: Mapping[str, str]


class ProviderStream:
    """The events of one answer.

    It is complete when every choice has ended, or when the provider says that the stream has;
    a stream that breaks off before that is an error.
    """

    def __init__(
        self,
        provider: Provider,
        response: aiohttp.ClientResponse,
        chunk_timeout_s: float,
        ending: set[asyncio.Task[None]],
        end: Callable[[], None],
        *,
        choices: int,
    ) -> None:
        self.headers = rate_limits(response.headers)
        self._provider = provider
        self._response = response
        self._chunk_timeout_s = chunk_timeout_s
        self._ending = ending
        self._end = end
        self._parser = EventParser()
        self._progress = _Progress(choices)
        self._first: list[Piece] = []
        self._has_ended = False
        self._failure: ProviderError | None = None

    async def begin(self) -> None:
        """Waits for the first events; its caller holds the clock."""
        while not self._first:
            self._first = await self._receive()

    def begin_with(self, whole: bytes) -> None:
        """Of a provider that sends a whole answer to those who asked for a stream."""
        self._first = [_with_choices(read_piece(as_event(whole)))]
        self._has_ended = True

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
                if not self._progress.is_finished:
                    raise
        return []

    @property
    def _patience_s(self) -> float:
        return LAST_WORDS_S if self._progress.is_surely_finished else self._chunk_timeout_s

    @property
    def _is_complete(self) -> bool:
        """At the end of the stream; or some time after the last choice's, if it goes on."""
        is_idle = self._progress.is_finished and self._progress.idle_s > self._patience_s
        return self._has_ended or is_idle

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
            said_done = False
            for event in self._parser.feed(received) if received else self._parser.finish():
                data = event.strip()
                if not data:
                    continue
                if data == DONE:
                    said_done = True
                    break
                pieces.append(read_piece(event))
                self._progress.note(pieces[-1])
            self._has_ended = said_done or not received
            if self._has_ended and not self._progress.may_end(said_done):
                raise ProviderError("bad_answer", "ended the answer before its end")
        except ProviderError as error:
            if not pieces:
                raise
            self._failure = error
        return pieces


class _Progress:
    """How far the choices of a streamed answer have come.

    Some providers give a finish reason with every chunk. So one that comes with content may not
    be the last, and one after which a choice goes on was none.
    """

    def __init__(self, choices: int) -> None:
        self._expected = choices
        self._open: set[int] = set()
        self._ended: set[int] = set()
        self._reasons_mean_the_end = True
        self._last_content_at = time.monotonic()

    @property
    def is_finished(self) -> bool:
        """Whether every choice that began has a finish reason."""
        return bool(self._ended) and not self._open

    @property
    def is_surely_finished(self) -> bool:
        """Whether nothing more can be expected but the usage and [DONE]."""
        return (
            self._reasons_mean_the_end and self.is_finished and len(self._ended) >= self._expected
        )

    @property
    def idle_s(self) -> float:
        """Seconds since a choice was added to."""
        return time.monotonic() - self._last_content_at

    def may_end(self, said_done: bool) -> bool:
        """Whether a stream that ends now is complete: by a finish reason, or because the provider
        says so after it has begun."""
        return self.is_finished or (said_done and bool(self._open or self._ended))

    def note(self, piece: Piece) -> None:
        for choice in piece.choices:
            self._note(choice)

    def _note(self, choice: ChoicePart) -> None:
        has_gone_on = choice.index in self._ended and choice.has_content
        if has_gone_on:
            self._reasons_mean_the_end = False
        if choice.finish_reason is not None:
            self._open.discard(choice.index)
            if choice.has_content and not choice.is_whole:
                self._reasons_mean_the_end = False
            if choice.index not in self._ended:
                self._last_content_at = time.monotonic()
            self._ended.add(choice.index)
        elif choice.index not in self._ended or has_gone_on:
            self._open.add(choice.index)
            self._ended.discard(choice.index)
        if choice.has_content:
            self._last_content_at = time.monotonic()


def _with_choices(piece: Piece) -> Piece:
    """A whole answer. Raises ProviderError if there is none in it."""
    if not piece.choices:
        raise ProviderError("bad_answer", "sent an answer without a choice")
    return piece


def _choices_asked_for(body: Mapping[str, Any]) -> int:
    n = body.get("n")
    return n if isinstance(n, int) and n > 0 else 1


class _Model(msgspec.Struct):
    id: str
    owned_by: str | None = None


class _Models(msgspec.Struct):
    data: list[_Model]


async def _is_stream(response: aiohttp.ClientResponse) -> bool:
    """Whether events follow, or a whole answer as JSON. Raises what the provider says instead."""
    await _expect_success(response)
    if response.content_type == "application/json":
        return False
    if response.content_type not in ("text/event-stream", _UNLABELLED):
        await _raise_wrong_type(response, "text/event-stream")
    return True


async def _expect_json(response: aiohttp.ClientResponse) -> None:
    """Raises what the provider says instead."""
    await _expect_success(response)
    if response.content_type not in ("application/json", _UNLABELLED):
        await _raise_wrong_type(response, "application/json")


async def _expect_success(response: aiohttp.ClientResponse) -> None:
    if not 200 <= response.status < 300:
        body = await _read_at_most(response, MAX_ERROR_BYTES, cut=True)
        headers = {name.lower(): value for name, value in response.headers.items()}
        raise error_of_response(response.status, body, headers)


async def _raise_wrong_type(response: aiohttp.ClientResponse, expected: str) -> None:
    body = await _read_at_most(response, MAX_ERROR_BYTES, cut=True)
    text = body.decode(errors="replace").strip()
    said = "" if text.startswith("<") else text
    raise ProviderError("bad_answer", f"sent {response.content_type} instead of {expected}: {said}")


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


@contextlib.contextmanager
def _boundary(provider: Provider) -> Iterator[None]:
    """The one place where a failure to talk to a provider becomes a ProviderError.

    Causes are cut off (`from None`): the reprs of aiohttp's errors hold the request's headers.
    """
    try:
        yield
    except ProviderError as error:
        raise _attributed(provider, error) from None
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


def _error(provider: Provider, fault: ProviderFault, said: str) -> ProviderError:
    return _attributed(provider, ProviderError(fault, said))


def _attributed(provider: Provider, error: ProviderError) -> ProviderError:
    """The error as a sentence that begins with who it is about and ends with what to do; without
    the key, wherever the provider may have put it."""
    said = " ".join(_redacted(error.detail, provider.key).split())
    if len(said) > MAX_DETAIL_CHARS:
        said = f"{said[:MAX_DETAIL_CHARS]}…"
    if error.fault == "authentication" and provider.settings.key_variable:
        said += f"; check {provider.settings.key_variable}"
    return ProviderError(
        error.fault,
        f"{provider.name} {said}",
        provider_status=error.provider_status,
        retry_after_s=error.retry_after_s,
        provider_details=ProviderDetails(
            *(
                _redacted(value, provider.key) if isinstance(value, str) else value
                for value in astuple(error.provider_details)
            )
        ),
        provider_headers={
            name: _redacted(value, provider.key) for name, value in error.provider_headers.items()
        },
    )


def _redacted(text: str, key: str) -> str:
    return text.replace(key, "***") if key else text


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
