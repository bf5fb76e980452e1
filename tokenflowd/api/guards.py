"""Middlewares before every handler: errors as JSON, Host, Origin with CORS, content type."""

from __future__ import annotations

import asyncio
import hmac
import logging
import math
import re
import time
from collections.abc import Mapping

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from msgspec import UNSET

from tokenflowd.api.schemas import Error, OpenAIError, OpenAIErrorDetail
from tokenflowd.config import ServerConfig
from tokenflowd.errors import (
    BadRequest,
    ClientLeft,
    Forbidden,
    InvalidField,
    NotFound,
    ProviderDetails,
    ProviderError,
    TokenFlowError,
    Unauthorized,
    UnsupportedMediaType,
)
from tokenflowd.store import new_id

log = logging.getLogger("tokenflowd.requests")

OWN_FAULT = "this is a fault of TokenFlow; its log has the details"
_LOCAL_HOST = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(?::(?P<port>[0-9]{1,5}))?")
_HTTP_PORT = 80
_METHODS = "GET, HEAD, POST, PUT, DELETE"
# What a page sends whose preflight names no headers; else those that it names.
_HEADERS = "Authorization, Content-Type"
_HEADER_LIST = re.compile(r"[A-Za-z0-9-]+(?:[ \t]*,[ \t]*[A-Za-z0-9-]+)*")
_EXPOSED_HEADERS = (
    "X-Request-Id, Retry-After, X-TokenFlow-Id, X-TokenFlow-Model, X-TokenFlow-Provider, "
    "X-TokenFlow-Route, X-TokenFlow-Compression, X-TokenFlow-Saved-Tokens, X-TokenFlow-Left-Out"
)
# Private Network Access (wicg.github.io/private-network-access): a page of another address space
# asks before it may speak to this machine.
_ASKS_FOR_PRIVATE_NETWORK = "Access-Control-Request-Private-Network"
_ALLOW_PRIVATE_NETWORK = "Access-Control-Allow-Private-Network"
_PREFLIGHT_MAX_AGE_S = "600"
# What OpenAI clients append to their base URL, and Anthropic's (`messages`). Before it stands /v1,
# or the base URL that they were given is wrong.
_OPENAI_PATH = re.compile(
    r"\A(?!/api/(?!v1/))(?P<base>(?:/.*?)?)/(?:chat/completions|completions|embeddings|models|"
    r"responses|messages|images|audio|files|moderations)(?:/.*)?",
    re.DOTALL,
)
REQUEST_ID = web.RequestKey("request_id", str)
_ALLOWED_ORIGIN = web.RequestKey("allowed_origin", str)


def json_response(content: object, *, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(content), status=status, content_type="application/json"
    )


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every failure becomes `{"error", "detail"}`; every request becomes one log line."""
    started = time.monotonic()
    try:
        response = await handler(request)
    except asyncio.CancelledError:
        _log(request, ClientLeft.status, time.monotonic() - started)
        raise
    except TokenFlowError as error:
        response = _failure(request, error)
    except web.HTTPException as error:
        response = _failure(request, _as_ours(request, error))
        if hdrs.ALLOW in error.headers:
            response.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
    except RecursionError:  # it could be read, but is too deep to be passed on or recorded
        response = _failure(request, BadRequest("the body is nested too deeply"))
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        response = _failure(request, TokenFlowError(OWN_FAULT))
    _log(request, response.status, time.monotonic() - started)
    return response


def openai_error(error: TokenFlowError) -> OpenAIError:
    """OpenAI's shape, for /v1. What the provider said of its error stays as it said it."""
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    said = error.provider_details if isinstance(error, ProviderError) else ProviderDetails()
    return OpenAIError(
        OpenAIErrorDetail(
            error.detail,
            said.type or kind,
            error.error.replace(" ", "_") if said.code is None else said.code,
            said.param,
            UNSET if said.failed_generation is None else said.failed_generation,
        )
    )


def printable(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers whose values are a category or a provider's words, and so may hold anything; a
    header may not."""
    return {name: re.sub(r"[^\x20-\x7e]", "?", value) for name, value in headers.items()}


def openai_status(error: TokenFlowError) -> int:
    """The provider's own, where it answered with one; 400 for all that is wrong with a request, as
    OpenAI has no 422."""
    if isinstance(error, InvalidField):
        return BadRequest.status
    provider_status = error.provider_status if isinstance(error, ProviderError) else None
    return provider_status if provider_status and provider_status >= 400 else error.status


def _as_ours(request: web.Request, error: web.HTTPException) -> TokenFlowError:
    """What aiohttp itself refuses: unknown paths and methods."""
    hint = _hint(request) if error.status == NotFound.status else ""
    ours = TokenFlowError(f"{request.method} {request.path}: {error.reason}{hint}")
    ours.status, ours.error = error.status, error.reason.lower()
    return ours


def _hint(request: web.Request) -> str:
    """For clients whose base URL lacks /v1, or has it twice, and for those that ask for more than
    there is."""
    asked = _OPENAI_PATH.fullmatch(request.path)
    if asked is None:
        return ""
    if asked["base"] == "/v1":
        return "; under /v1 there are chat/completions, completions, embeddings and models"
    return f"; the base URL of an OpenAI client ends with /v1: {request.scheme}://{request.host}/v1"


def _is_openai(request: web.Request) -> bool:
    is_of_v1 = request.path == "/v1" or request.path.startswith("/v1/")
    return is_of_v1 or _OPENAI_PATH.fullmatch(request.path) is not None


def _failure(request: web.Request, error: TokenFlowError) -> web.Response:
    is_openai = _is_openai(request)
    shape = openai_error(error) if is_openai else Error(error.error, error.detail)
    status = openai_status(error) if is_openai else error.status
    response = json_response(shape, status=status)
    if is_openai and isinstance(error, ProviderError):
        response.headers.update(printable(error.provider_headers))
    if error.retry_after_s is not None:
        response.headers[hdrs.RETRY_AFTER] = str(math.ceil(error.retry_after_s))
    return response


def guard_host(settings: ServerConfig) -> Middleware:
    """Refuses names that a page could have rebound to this machine by DNS."""
    allowed = frozenset(settings.allowed_hosts)

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        # The header itself, and what aiohttp makes of it: an absolute-form request target,
        # which only proxies are sent, overrides the header in `request.host`.
        named = [*request.headers.getall(hdrs.HOST, []), request.host]
        port = _port(request)
        if len(named) != 2 or not all(name in allowed or _is_local(name, port) for name in named):
            raise Forbidden(
                f"this daemon does not answer as {named[0]!r}; add the name to "
                "server.allowed_hosts if it should"
            )
        return await handler(request)

    return guard


def guard_origin(settings: ServerConfig) -> Middleware:
    """Lets in pages of the allowed origins only.

    Clients that are no pages (curl, scripts, the TUI) send no Origin and pass.
    """
    allowed = frozenset(settings.allowed_origins)

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        origins = request.headers.getall(hdrs.ORIGIN, [])
        if not origins:
            _refuse_foreign_pages(request)
            return await handler(request)
        if len(origins) != 1 or origins[0] not in allowed:
            raise Forbidden(
                f"pages of {origins[0]!r} may not call this daemon; add the origin to "
                "server.allowed_origins if they should"
            )
        request[_ALLOWED_ORIGIN] = origins[0]
        if request.method == hdrs.METH_OPTIONS:
            return web.Response(status=204, headers=_preflight(request))
        return await handler(request)

    return guard


def _refuse_foreign_pages(request: web.Request) -> None:
    """Images, scripts and links of other sites come without an Origin; a page could still tell by
    the time that they take what is in the history. Browsers say where they come from (Fetch
    Metadata, w3.org/TR/fetch-metadata)."""
    site = request.headers.get("Sec-Fetch-Site")
    is_link = request.headers.get("Sec-Fetch-Mode") == "navigate"
    if site == "cross-site" or (site == "same-site" and not is_link):
        raise Forbidden("other pages may not ask this daemon; open its address yourself")


async def protect_response(request: web.Request, response: web.StreamResponse) -> None:
    """Nothing of ours is shown within, or taken for something else by, another page."""
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    response.headers.setdefault("Content-Security-Policy", "default-src 'none'")
    response.headers["Content-Security-Policy"] += "; frame-ancestors 'none'"


def guard_token(token: str) -> Middleware:
    """Lets in who has the token: as an API key, or as the cookie that a page gets for it."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        scheme, _, key = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        cookie = f"tokenflow-{_port(request)}"  # cookies know no ports
        has_it = scheme.lower() == "bearer" and _is_same(key.strip(), token)
        if has_it or _is_same(request.cookies.get(cookie, ""), token):
            return await handler(request)
        if request.path == "/healthz":
            return await handler(request)
        if request.path == "/" and _is_same(request.query.get("token", ""), token):
            # Elsewhere at once, so that neither a bookmark nor a picture has the token.
            response = web.Response(status=303, headers={hdrs.LOCATION: "/"})
            response.set_cookie(cookie, token, httponly=True, samesite="Strict")
            return response
        raise Unauthorized(
            "this daemon asks for its token, which is in the file `token` of its data directory: "
            "send it as `Authorization: Bearer TOKEN` (the API key of an OpenAI client)"
        )

    return guard


def _is_same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


async def allow_origin(request: web.Request, response: web.StreamResponse) -> None:
    """Tells the browser that the page may read the answer: errors and streams as well, so this
    is done when a response is prepared, not after its handler."""
    response.headers[hdrs.VARY] = hdrs.ORIGIN
    if _ALLOWED_ORIGIN in request:
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = request[_ALLOWED_ORIGIN]
        limits = (name for name in response.headers if name.lower().startswith("x-ratelimit-"))
        response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = ", ".join(
            [_EXPOSED_HEADERS, *limits]
        )


async def name_request(request: web.Request, response: web.StreamResponse) -> None:
    """Under the id that the request has in the history, if it is kept there."""
    response.headers["X-Request-Id"] = request.get(REQUEST_ID) or new_id()


@web.middleware
async def guard_content_type(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A form or text/plain body needs no preflight, so a foreign page could send one."""
    if request.method in (hdrs.METH_POST, hdrs.METH_PUT, hdrs.METH_PATCH):
        if request.content_type != "application/json":
            raise UnsupportedMediaType("send the body with Content-Type: application/json")
        if (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
            raise UnsupportedMediaType(f"the body must be in UTF-8, not {request.charset}")
        # A megabyte of gzip may hold a gigabyte, and unpacking it would keep everybody waiting.
        if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
            raise UnsupportedMediaType("send the body without Content-Encoding")
    return await handler(request)


def _port(request: web.Request) -> int | None:
    """The port that the request came in by; None if that was a socket file."""
    name = request.transport.get_extra_info("sockname") if request.transport else None
    return name[1] if isinstance(name, tuple) else None


def _is_local(host: str, port: int | None) -> bool:
    """Whether it is a name of this machine, with the port that the request came in by.

    No browser opens a socket file, but a proxy before it passes on what a browser asked for, so
    the name counts there, too. The port is then the proxy's, or one that a client made up.
    """
    local = _LOCAL_HOST.fullmatch(host)
    if local is None:
        return False
    return port is None or port == int(local["port"] or _HTTP_PORT)


def _preflight(request: web.Request) -> dict[str, str]:
    """What a page of an allowed origin may do: all that the routes can."""
    asked_for = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "")
    headers: dict[str, str] = {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: _METHODS,
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: (
            asked_for if _HEADER_LIST.fullmatch(asked_for) else _HEADERS
        ),
        hdrs.ACCESS_CONTROL_MAX_AGE: _PREFLIGHT_MAX_AGE_S,
    }
    if request.headers.get(_ASKS_FOR_PRIVATE_NETWORK) == "true":
        headers[_ALLOW_PRIVATE_NETWORK] = "true"
    return headers


def _log(request: web.Request, status: int, seconds: float) -> None:
    # A path may hold anything: control characters would forge lines.
    path = re.sub(r"[^\x21-\x7e]", "?", request.path)[:200]
    log.info("%s %s %d %.1f ms", request.method, path, status, seconds * 1000)
