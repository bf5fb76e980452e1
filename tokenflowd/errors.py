"""The one tree of errors that TokenFlow raises on purpose.

Each knows its HTTP status, its short name for machines and its sentence for the user.
"""

from __future__ import annotations

from typing import Literal

ProviderFault = Literal[
    "unavailable",  # none can be used: no key, nothing running, offline
    "unreachable",  # no connection, or it broke
    "timeout",
    "authentication",
    "model_not_found",
    "rate_limited",
    "refused",  # it understood the request and will not do it: too long, no credit, bad field
    "server_error",
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
    "server_error": 502,
    "bad_answer": 502,
}


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


class Forbidden(TokenFlowError):
    """The request comes from a page or under a name that is not let in."""

    status = 403
    error = "forbidden"


class NotFound(TokenFlowError):
    """Nothing is known under that id or path."""

    status = 404
    error = "not found"


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


class ProviderError(TokenFlowError):
    """A provider could not answer. `fault` is its kind; `detail` never holds a key.

    `retryable` says that the same request may succeed later, `retry_after_s` when.
    """

    def __init__(
        self,
        fault: ProviderFault,
        detail: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.fault = fault
        self.error = fault.replace("_", " ")
        self.status = status or _FAULT_STATUS[fault]
        self.retryable = fault in (
            "unavailable",
            "unreachable",
            "timeout",
            "rate_limited",
            "server_error",
            "bad_answer",
        )
        self.retry_after_s = retry_after_s


class ModelUnavailable(TokenFlowError):
    """A model is missing, damaged or of another task than asked for."""

    status = 503
    error = "model unavailable"


class StoreDegraded(TokenFlowError):
    """The history cannot be read or written at the moment."""

    status = 503
    error = "history unavailable"


class BackupError(TokenFlowError):
    """A copy of the history cannot be made."""

    error = "backup"


class ExportError(TokenFlowError):
    """A checkpoint cannot be turned into a model."""

    error = "export"


class ConfigError(TokenFlowError):
    """The configuration cannot be used as it stands."""

    error = "configuration"


class ServiceManagerError(TokenFlowError):
    """systemd or launchd is not there, or refuses."""

    error = "service manager"


class KeyringUnavailable(TokenFlowError):
    """The system's keyring is missing, locked or fails."""

    error = "keyring"


class AlreadyRunning(TokenFlowError):
    """Another process owns the data directory."""

    error = "already running"
