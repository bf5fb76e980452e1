"""What a provider's error says, whichever of the usual shapes it has, and what kind it is."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from tokenflowd.errors import ProviderDetails, ProviderError, ProviderFault

DAY_S = 86_400.0
RETRY_AFTER = "retry-after"

# Where the sentence of an error may be.
_SENTENCES = ("message", "error", "detail")
_FAULTS: dict[int, ProviderFault] = {
    401: "authentication",
    404: "model_not_found",
    408: "timeout",
    429: "rate_limited",
    498: "rate_limited",  # Groq: no capacity for flex processing
    529: "overloaded",  # Anthropic
}
# Said by what stands before a server that is down or full. A 500 is an answer of the server's own
# program, and often about the request: llama-cpp-python says it of a schema that it cannot read.
_GATEWAY_STATUSES = frozenset({502, 503, 504, *range(520, 528), 530})
_CODES: dict[str, ProviderFault] = {
    # Groq answers 400 for these.
    "model_decommissioned": "model_not_found",
    "model_not_found": "model_not_found",
    "tool_use_failed": "tool_use_failed",
    "context_length_exceeded": "context_length",
    "context_window_exceeded": "context_length",
    "exceed_context_size_error": "context_length",  # llama.cpp
    "overloaded_error": "overloaded",
}
# As OpenAI, OpenRouter, vLLM, llama.cpp, LM Studio and Anthropic put it where they give no code.
_TOO_LONG = re.compile(
    r"(?:maximum|max|exceed\w*|larger than|longer than|over) (?:the |this |model'?s? )*"
    r"context (?:length|window|size)|context (?:length|window|size) (?:of|is|was|has been) "
    r"(?:only |exceeded|\d)|exceeds? the available context|prompt is too long|"
    r"input is too long|reduce the length of the (?:messages|prompt|input)",
    re.IGNORECASE,
)


def error_of_response(status: int, body: bytes, headers: Mapping[str, str]) -> ProviderError:
    """What a response that is no answer says. `headers` have lower-case names."""
    problem = _decoded(body)
    return ProviderError(
        _fault(status, problem, "bad_answer" if status < 400 else "server_error"),
        f"answered {status} {error_message(problem)}".rstrip(),
        provider_status=status,
        retry_after_s=_retry_after(headers.get(RETRY_AFTER)),
        provider_details=_details(problem),
        provider_headers=rate_limits(headers),
    )


def error_in_answer(problem: Any) -> ProviderError:
    """What an error object within an answer says."""
    details = _details(problem)
    code = details.code
    status = code if isinstance(code, int) and 400 <= code < 600 else None
    return ProviderError(
        _fault(status, problem, "server_error"),
        f"broke off: {error_message(problem)}",
        provider_details=details,
    )


def error_message(problem: Any) -> str:
    """The sentence in a provider's error object; the whole of it as JSON if there is none."""
    if isinstance(problem, dict):
        for name in _SENTENCES:
            if problem.get(name):
                return error_message(problem[name])
    if failed := _validation_error(problem):
        return f"{'.'.join(map(str, failed['loc']))}: {failed.get('msg')}"
    return problem if isinstance(problem, str) else msgspec.json.encode(problem).decode()


def rate_limits(headers: Mapping[str, str]) -> dict[str, str]:
    """Those of a response's headers that say what is left of a quota."""
    return {
        name: value
        for name, value in ((name.lower(), value) for name, value in headers.items())
        if name.startswith("x-ratelimit-")
    }


def _decoded(body: bytes) -> Any:
    """The JSON of an error, or its words. A proxy's page says nothing."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        text = body.decode(errors="replace").strip()
        return "" if text.startswith("<") else text


def _details(problem: Any) -> ProviderDetails:
    """Of an error object with or without the envelope `error`, or of FastAPI's list."""
    found = problem
    for name in ("error", "detail"):
        if isinstance(found, dict) and isinstance(found.get(name), dict | list):
            found = found[name]
    if failed := _validation_error(found):
        names = [part for part in failed["loc"] if isinstance(part, str)]
        return ProviderDetails(type=_text(failed.get("type")), param=names[-1] if names else None)
    if not isinstance(found, dict):
        return ProviderDetails()
    code = found.get("code")
    return ProviderDetails(
        code if isinstance(code, int) else _text(code),
        _text(found.get("type")),
        _text(found.get("param")),
        _text(found.get("failed_generation")),
    )


def _validation_error(problem: Any) -> dict[str, Any] | None:
    """The first of what FastAPI found wrong. It quotes its input, too, which is not repeated."""
    first = problem[0] if isinstance(problem, list) and problem else None
    has_place = isinstance(first, dict) and isinstance(first.get("loc"), list)
    return first if has_place else None


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _fault(status: int | None, problem: Any, otherwise: ProviderFault) -> ProviderFault:
    details = _details(problem)
    for name in (details.code, details.type):
        if isinstance(name, str) and name in _CODES:
            return _CODES[name]
    if status in _FAULTS:
        return _FAULTS[status]
    if status in _GATEWAY_STATUSES:
        return "overloaded"
    # llama.cpp's older servers say it with a 500.
    if (status is None or status in (400, 413, 422, 500)) and _TOO_LONG.search(
        error_message(problem)
    ):
        return "context_length"
    return "refused" if status is not None and 400 <= status < 500 else otherwise


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
