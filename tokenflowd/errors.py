"""The one tree of errors that TokenFlow raises on purpose.

Each knows its HTTP status, its short name for machines and its sentence for the user.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

ProviderFault = Literal[
    "unavailable",  # none can be used: no key, nothing running, offline
    "unreachable",  # no connection, or it broke
    "timeout",
    "authentication",
    "model_not_found",
    "rate_limited",
    "refused",  # it understood the request and will not do it: no credit, bad field
    "context_length",  # the request is longer than what the model reads
    "tool_use_failed",  # the model could not write a tool call that holds
    "server_error",  # it failed at this request
    "overloaded",  # it has no capacity, or what stands before it says that it is down
    "bad_answer",  # what came is not the protocol, or it ended before its end
]
_FAULT_STATUS: dict[ProviderFault, int] = {
    "unavailable": 503,
    "unreachable": 502,
    "timeout": 504,
    "authentication": 401,
    "model_not_found": 404,
    "rate_limited": 429,
    "refused": 400,
    "context_length": 400,
    "tool_use_failed": 400,
    "server_error": 502,
    "overloaded": 503,
    "bad_answer": 502,
}
_RETRYABLE: frozenset[ProviderFault] = frozenset(
    {
        "unavailable",
        "unreachable",
        "timeout",
        "rate_limited",
        "server_error",
        "overloaded",
        "bad_answer",
    }
)


class TokenFlowError(Exception):
    """Base of all; `detail` says to the user what is wrong, where, and what to do next."""

    status = 500
    error = "internal error"
    retryable = False
    retry_after_s: float | None = None

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class BadRequest(TokenFlowError):
    """The request cannot be read as what it claims to be."""

    status = 400
    error = "bad request"


class Unauthorized(TokenFlowError):
    """The daemon asks for its token, and this request has not got it."""

    status = 401
    error = "unauthorized"


class Forbidden(TokenFlowError):
    """The request comes from a page or under a name that is not let in."""

    status = 403
    error = "forbidden"


class NotFound(TokenFlowError):
    """Nothing is known under that id or path."""

    status = 404
    error = "not found"


class ModelNotFound(NotFound):
    """No model of that id can be asked here."""

    error = "model not found"


class RequestTimeout(TokenFlowError):
    """The client took too long to send its request."""

    status = 408
    error = "request timeout"


class TooLarge(TokenFlowError):
    """The body is above the configured size."""

    status = 413
    error = "too large"


class UnsupportedMediaType(TokenFlowError):
    """The body is not JSON, or not in UTF-8."""

    status = 415
    error = "unsupported media type"


class InvalidField(TokenFlowError):
    """The request was read, but a field's value is not allowed."""

    status = 422
    error = "invalid field"


class Busy(TokenFlowError):
    """The engine's queue is full: the client should come back later."""

    status = 503
    error = "busy"
    retryable = True
    retry_after_s = 2


class Cancelled(TokenFlowError):
    """The work was given up because its client left or the daemon stops."""

    status = 503
    error = "cancelled"


class Stopping(TokenFlowError):
    """The daemon ends while an answer is under way."""

    status = 503
    error = "stopping"
    retryable = True


class ClientLeft(TokenFlowError):
    """The client closed the connection before its answer was complete."""

    status = 499  # nginx's; nobody is there to see it but the log
    error = "client left"


class ClientStalled(TokenFlowError):
    """The client does not read what it asked for; it was disconnected."""

    error = "client stalled"


@dataclass(frozen=True, slots=True)
class ProviderDetails:
    """What a provider's error object says besides its sentence, in OpenAI's names;
    `failed_generation` is Groq's."""

    code: str | int | None = None
    type: str | None = None
    param: str | None = None
    failed_generation: str | None = None


class ProviderError(TokenFlowError):
    """A provider could not answer. `fault` is its kind; nothing in it ever holds a key.

    `retryable` says that the same request may succeed later, `retry_after_s` when.
    `provider_status` is the HTTP status that the provider answered with, if it did;
    `provider_headers` are its rate limits, by lower-case names.
    """

    def __init__(
        self,
        fault: ProviderFault,
        detail: str,
        *,
        provider_status: int | None = None,
        retry_after_s: float | None = None,
        provider_details: ProviderDetails = ProviderDetails(),
        provider_headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(detail)
        self.fault = fault
        self.error = fault.replace("_", " ")
        refused = fault == "refused" and provider_status and 400 <= provider_status < 500
        self.status = provider_status if refused and provider_status else _FAULT_STATUS[fault]
        self.retryable = fault in _RETRYABLE
        self.retry_after_s = retry_after_s
        self.provider_status = provider_status
        self.provider_details = provider_details
        self.provider_headers = provider_headers


class ModelUnavailable(TokenFlowError):
    """A model is missing, damaged or of another task than asked for."""

    status = 503
    error = "model unavailable"


class StoreDegraded(TokenFlowError):
    """The history cannot be read or written at the moment."""

    status = 503
    error = "history unavailable"


class ReadTimeout(TokenFlowError):
    """A query of the history takes too long."""

    status = 503
    error = "history timeout"


class BackupError(TokenFlowError):
    """A copy of the history cannot be made."""

    error = "backup"


class ExportError(TokenFlowError):
    """A checkpoint cannot be turned into a model."""

    error = "export"


class ConfigError(TokenFlowError):
    """The configuration cannot be used as it stands."""

    error = "configuration"


class UnsafePath(ConfigError):
    """What is at a path of the data directory may be somebody else's, or lead elsewhere."""


class ServiceManagerError(TokenFlowError):
    """systemd or launchd is not there, or refuses."""

    error = "service manager"


class KeyringUnavailable(TokenFlowError):
    """The system's keyring is missing, locked or fails."""

    error = "keyring"


class AlreadyRunning(TokenFlowError):
    """Another process owns the data directory."""

    error = "already running"
