"""Which requests of the history are wanted, besides those that a search finds."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta

KINDS = ("compress", "classify", "generate", "select", "chat")
SPANS = {"today": 0, "7 days": 7, "30 days": 30}


@dataclass(frozen=True)
class Filters:
    """All must hold; an empty one always does. `since` is one of SPANS or a date."""

    kind: str = ""
    category: str = ""
    model: str = ""
    since: str = ""

    def parameters(self) -> dict[str, str]:
        """As GET /api/history takes them."""
        return {
            "kind": self.kind,
            "category": self.category,
            "model": self.model,
            "since": since(self.since),
        }

    def __str__(self) -> str:
        return " · ".join(filter(None, (getattr(self, field.name) for field in fields(self))))


def since(value: str) -> str:
    """The moment in UTC at which a span or a date of this time zone begins; "" for "". Raises
    ValueError."""
    if not value:
        return ""
    if value in SPANS:
        day = datetime.now().date() - timedelta(days=SPANS[value])
    else:
        day = datetime.strptime(value, "%Y-%m-%d").date()
    midnight = datetime(day.year, day.month, day.day).astimezone()
    return midnight.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def is_since(value: str) -> bool:
    try:
        since(value)
    except (ValueError, OverflowError, OSError):
        return False
    return True
