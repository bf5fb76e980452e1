"""What the services hand to the store: one record for each request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from ulid import ULID

Kind = Literal["compress", "classify"]


def new_id() -> str:
    """A ULID: 26 characters that sort by time."""
    return str(ULID())


def utc_now() -> str:
    """ISO 8601 in UTC with milliseconds, which SQLite's date functions understand."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class CompressionRecord:
    tokenizer: str
    mode: str
    budget: int
    original_tokens: int
    compressed_tokens: int
    over_budget: bool
    options: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ClassificationRecord:
    top_category: str
    confidence: float
    scores: Mapping[str, float]
    multi_label: bool
    recommended_model: str


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request, whatever became of it. `duration_ms` is from a monotonic clock."""

    kind: Kind
    client: str
    input: str | None = None
    output: str | None = None
    model: str | None = None
    duration_ms: float = 0.0
    error_type: str | None = None
    error_detail: str | None = None
    details: CompressionRecord | ClassificationRecord | None = None
    id: str = field(default_factory=new_id)
    created_at: str = field(default_factory=utc_now)

    @property
    def status(self) -> Literal["ok", "error"]:
        return "ok" if self.error_type is None else "error"
