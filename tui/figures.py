"""What /api/metrics tells, as the series and sums that a screen shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tokenflow_tui.numbers import counted, dollars, milliseconds, tokens

SUMS = ("requests", "errors", "saved_tokens", "cost_usd", "saved_usd")
MEANS = ("mean_ttft_ms", "mean_latency_ms")
WEEKS_FROM_DAYS = 180


@dataclass(frozen=True)
class Period:
    key: str
    title: str
    days: int
    unit: str  # what its bars are


PERIODS = (
    Period("1", "24 hours", 1, "hour"),
    Period("7", "7 days", 7, "day"),
    Period("3", "30 days", 30, "day"),
    Period("9", "90 days", 90, "day"),
    Period("y", "year", 364, "week"),
)


@dataclass(frozen=True)
class Bucket:
    """An hour, a day or a week: its sums, and its means where there were answers."""

    start: datetime
    sums: dict[str, float]
    means: dict[str, float]


@dataclass(frozen=True)
class Figure:
    """One card: its value over the whole period, and what is worth knowing beside it."""

    name: str
    title: str
    of_bucket: Callable[[Bucket], float | None]
    value: Callable[[dict[str, Any]], str]
    detail: Callable[[dict[str, Any]], str]
    written: Callable[[float], str]
    is_sum: bool = True  # else a mean


def _time(summary: dict[str, Any], name: str) -> str:
    ms = summary["times"][name]
    return "–" if ms is None else milliseconds(ms)


def _errors(summary: dict[str, Any]) -> str:
    errors = summary["totals"]["errors"]
    return counted(errors, "error") if errors else "no errors"


def _share_saved(summary: dict[str, Any]) -> str:
    saved, original = (summary["totals"][name] for name in ("saved_tokens", "original_tokens"))
    return f"−{saved / original:.0%} of {short(original)}" if original else "nothing compressed"


def _sent_and_received(summary: dict[str, Any]) -> str:
    totals = summary["totals"]
    return f"{short(totals['prompt_tokens'])} in {short(totals['completion_tokens'])} out"


def _share_not_paid(summary: dict[str, Any]) -> str:
    saved = summary["totals"]["saved_usd"]
    bill = summary["totals"]["cost_usd"] + saved
    return f"−{saved / bill:.0%} of {dollars(bill)}" if bill else "no bill"


FIGURES = (
    Figure(
        "requests",
        "Requests",
        lambda bucket: bucket.sums["requests"],
        lambda summary: tokens(summary["totals"]["requests"]),
        _errors,
        tokens,
    ),
    Figure(
        "saved-tokens",
        "Tokens saved",
        lambda bucket: bucket.sums["saved_tokens"],
        lambda summary: tokens(summary["totals"]["saved_tokens"]),
        _share_saved,
        tokens,
    ),
    Figure(
        "cost",
        "Cost",
        lambda bucket: bucket.sums["cost_usd"],
        lambda summary: dollars(summary["totals"]["cost_usd"]),
        _sent_and_received,
        dollars,
    ),
    Figure(
        "saved-cost",
        "Money saved",
        lambda bucket: bucket.sums["saved_usd"],
        lambda summary: dollars(summary["totals"]["saved_usd"]),
        _share_not_paid,
        dollars,
    ),
    Figure(
        "first-token",
        "First token",
        lambda bucket: bucket.means.get("mean_ttft_ms"),
        lambda summary: _time(summary, "median_ttft_ms"),
        lambda summary: f"p95 {_time(summary, 'p95_ttft_ms')}",
        milliseconds,
        is_sum=False,
    ),
    Figure(
        "answer",
        "Whole answer",
        lambda bucket: bucket.means.get("mean_latency_ms"),
        lambda summary: _time(summary, "median_latency_ms"),
        lambda summary: f"p95 {_time(summary, 'p95_latency_ms')}",
        milliseconds,
        is_sum=False,
    ),
)


def short(count: float) -> str:
    """950, 12k, 1.2M."""
    return f"{count / 1000:.0f}k" if 10_000 <= count < 1e6 else tokens(count)


def buckets(summary: dict[str, Any], days: int) -> list[Bucket]:
    """The period from its first hour or day to its last; what is missing is empty."""
    since = datetime.fromisoformat(summary["since"]).astimezone(UTC)
    if days == 1:
        first = since.replace(minute=0, second=0, microsecond=0)
        hours = [first + timedelta(hours=number) for number in range(1, 25)]
        return _filled(hours, summary["hours"], "hour", "%Y-%m-%dT%H:00Z")
    # The day that the period begins in is only half in it.
    first = since.replace(hour=0, minute=0, second=0, microsecond=0)
    dates = [first + timedelta(days=number) for number in range(1, days + 1)]
    filled = _filled(dates, summary["days"], "day", "%Y-%m-%d")
    if days < WEEKS_FROM_DAYS:
        return filled
    return [_together(filled[number : number + 7]) for number in range(0, days, 7)]


def _filled(
    starts: Sequence[datetime], rows: Sequence[dict[str, Any]], name: str, form: str
) -> list[Bucket]:
    by_start: dict[str, list[dict[str, Any]]] = {}
    for row in rows:  # one for each kind of request
        by_start.setdefault(row[name], []).append(row)
    return [_bucket(start, by_start.get(f"{start:{form}}", [])) for start in starts]


def _bucket(start: datetime, rows: Sequence[dict[str, Any]]) -> Bucket:
    sums = {name: sum(row[name] or 0 for row in rows) for name in (*SUMS, "answers")}
    means = {}
    for name in MEANS:
        told = [row for row in rows if row[name] is not None and row["answers"]]
        if told:
            answers = sum(row["answers"] for row in told)
            means[name] = sum(row[name] * row["answers"] for row in told) / answers
    return Bucket(start, sums, means)


def _together(parts: Sequence[Bucket]) -> Bucket:
    return _bucket(
        parts[0].start, [dict.fromkeys(MEANS) | part.sums | part.means for part in parts]
    )
