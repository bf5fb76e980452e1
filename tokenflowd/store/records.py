"""What the services hand to the store: one record for each request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from ulid import ULID

Kind = Literal["compress", "classify", "generate", "select", "chat"]


def new_id() -> str:
    """A ULID: 26 characters that sort by time."""
    return str(ULID())


def iso_time(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds, which SQLite's date functions understand."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc_now() -> str:
    return iso_time(datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class CompressionRecord:
    tokenizer: str
    mode: str
    budget: int
    original_tokens: int
    compressed_tokens: int
    over_budget: bool
    options: Mapping[str, object]
    model_tokens: int
    compress_ms: float


@dataclass(frozen=True, slots=True)
class ClassificationRecord:
    top_category: str
    confidence: float
    scores: Mapping[str, float]
    multi_label: bool
    recommended_model: str
    corrected_by: str | None = None


@dataclass(frozen=True, slots=True)
class CorrectionRecord:
    """What a request's category should have been. `vector` is its prompt's, float32, as the
    sentence encoder `model` made it."""

    request_id: str
    category: str
    model: str
    vector: bytes
    created_at: str = field(default_factory=utc_now)


@dataclass(frozen=True, slots=True)
class Message:
    """As it was sent. Content that is not plain text is JSON."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class GenerationRecord:
    """An answer, or the failure to get one; the schema's comments say what each is."""

    wanted_model: str
    route: str
    parameters: Mapping[str, object]
    attempts: Sequence[Mapping[str, str]] = ()
    provider: str | None = None
    model: str | None = None
    partial: bool = True
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    tokens_counted_by: Literal["provider", "tokenflow"] | None = None
    ttft_ms: float | None = None
    first_word_ms: float | None = None
    latency_ms: float | None = None
    cost_usd: float | None = None
    compress_decision: str | None = None
    saved_usd: float | None = None
    saved_ms: float | None = None


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
    compression: CompressionRecord | None = None
    classification: ClassificationRecord | None = None
    generation: GenerationRecord | None = None
    messages: tuple[Message, ...] = ()
    id: str = field(default_factory=new_id)
    created_at: str = field(default_factory=utc_now)

    @property
    def status(self) -> Literal["ok", "error"]:
        return "ok" if self.error_type is None else "error"
