"""The one tree of errors that TokenFlow raises on purpose.

Each knows its HTTP status, its short name for machines and its sentence for the user.
"""

from __future__ import annotations


class TokenFlowError(Exception):
    """Base of all; `detail` says to the user what is wrong, where, and what to do next."""

    status = 500
    error = "internal error"

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
    retry_after_s = 2


class Cancelled(TokenFlowError):
    """The work was given up because its client left or the daemon stops."""

    status = 503
    error = "cancelled"


class ModelUnavailable(TokenFlowError):
    """A model is missing, damaged or of another task than asked for."""

    status = 503
    error = "model unavailable"


class StoreDegraded(TokenFlowError):
    """The history cannot be read or written at the moment."""

    status = 503
    error = "history unavailable"


class ConfigError(TokenFlowError):
    """The configuration cannot be used as it stands."""

    error = "configuration"


class AlreadyRunning(TokenFlowError):
    """Another process owns the data directory."""

    error = "already running"
