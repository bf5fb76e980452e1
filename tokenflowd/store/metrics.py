"""Figures from the history: sums for people, measurements for decisions."""

from __future__ import annotations

import threading
from collections import defaultdict
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

from tokenflowd.store.database import reading

# The latest answers and compressions that measurements are taken from.
SAMPLES = 50
# Short texts measure the overhead, not the speed.
MIN_TOKENS = 200

# All that the sums are made of, read once; whole days, because days are told as such.
_PERIOD = """
    CREATE TEMP TABLE period AS
    SELECT r.created_at, r.kind, r.status, r.duration_ms,
           c.original_tokens, c.original_tokens - c.compressed_tokens AS saved_tokens,
           coalesce(x.category, k.top_category) AS category,
           x.category IS NOT NULL AS corrected,
           g.provider, g.model, g.partial, g.prompt_tokens, g.completion_tokens, g.ttft_ms,
           g.first_word_ms,
           g.latency_ms, g.cost_usd, g.saved_usd
    FROM requests r
    LEFT JOIN compressions c ON c.request_id = r.id
    LEFT JOIN classifications k ON k.request_id = r.id
    LEFT JOIN corrections x ON x.request_id = r.id
    LEFT JOIN generations g ON g.request_id = r.id
    WHERE r.created_at >= date(:since)
"""
_TOTALS = """
    SELECT count(*) AS requests, coalesce(sum(status = 'error'), 0) AS errors,
           coalesce(sum(original_tokens), 0) AS original_tokens,
           coalesce(sum(saved_tokens), 0) AS saved_tokens,
           coalesce(sum(prompt_tokens), 0) AS prompt_tokens,
           coalesce(sum(completion_tokens), 0) AS completion_tokens,
           coalesce(sum(cost_usd), 0) AS cost_usd, coalesce(sum(saved_usd), 0) AS saved_usd
    FROM period WHERE created_at >= :since
"""
_SERIES = """
    SELECT {moment}, kind, count(*) AS requests, sum(status = 'error') AS errors,
           sum(original_tokens) AS original_tokens, sum(saved_tokens) AS saved_tokens,
           round(avg(duration_ms), 1) AS mean_ms, sum(prompt_tokens) AS prompt_tokens,
           sum(completion_tokens) AS completion_tokens, count(ttft_ms) AS answers,
           round(avg(ttft_ms), 1) AS mean_ttft_ms, round(avg(latency_ms), 1) AS mean_latency_ms,
           sum(cost_usd) AS cost_usd, sum(saved_usd) AS saved_usd
    FROM period WHERE created_at >= {since} GROUP BY 1, kind ORDER BY 1, kind
"""
_DAYS = _SERIES.format(moment="date(created_at) AS day", since="date(:since)")
_HOURS = _SERIES.format(
    moment="strftime('%Y-%m-%dT%H:00Z', created_at) AS hour", since="max(:since, :last_day)"
)
_MODELS = """
    SELECT provider, model, count(*) AS answers, sum(partial) AS partial,
           sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens,
           sum(cost_usd) AS cost_usd,
           sum(completion_tokens) * 1000.0
               / nullif(sum(latency_ms - coalesce(first_word_ms, ttft_ms)), 0) AS tokens_per_s
    FROM period WHERE provider IS NOT NULL AND created_at >= :since
    GROUP BY provider, model ORDER BY answers DESC
"""
_CATEGORIES = """
    SELECT category, count(*) AS requests, sum(status = 'error') AS errors,
           sum(corrected) AS corrected, sum(saved_tokens) AS saved_tokens,
           sum(cost_usd) AS cost_usd
    FROM period WHERE category IS NOT NULL AND created_at >= :since
    GROUP BY category ORDER BY requests DESC
"""
_TIMES = """
    SELECT provider, model, category, ttft_ms, latency_ms
    FROM period WHERE provider IS NOT NULL AND created_at >= :since
"""


class Times:
    """How long answers took, as the typical and the slow one."""

    def __init__(self) -> None:
        self._first_tokens: list[float] = []
        self._latencies: list[float] = []

    def add(self, ttft_ms: float | None, latency_ms: float | None) -> None:
        if ttft_ms is not None:
            self._first_tokens.append(ttft_ms)
        if latency_ms is not None:
            self._latencies.append(latency_ms)

    def percentiles(self) -> dict[str, float | None]:
        figures: dict[str, float | None] = {}
        for name, values in (("ttft", self._first_tokens), ("latency", self._latencies)):
            values.sort()
            figures[f"median_{name}_ms"] = median(values) if values else None
            # The nearest rank: a time that an answer did take.
            slow = values[ceil(0.95 * len(values)) - 1] if values else None
            figures[f"p95_{name}_ms"] = slow
        return figures


class Metrics:
    """Reads as `History` does. Raises StoreDegraded."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def summary(
        self, since: str, last_day: str, *, stop: threading.Event | None = None
    ) -> dict[str, Any]:
        """Totals, times, days, models and categories since an ISO 8601 time in UTC; hours since
        `last_day`, another."""
        everything = Times()
        of_model: defaultdict[tuple[str, str], Times] = defaultdict(Times)
        of_category: defaultdict[str | None, Times] = defaultdict(Times)
        with reading(self._path, stop=stop) as connection:
            parameters = {"since": since, "last_day": last_day}
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute(_PERIOD, parameters)
            totals = connection.execute(_TOTALS, parameters).fetchone()
            days, hours, models, categories = (
                [dict(row) for row in connection.execute(query, parameters)]
                for query in (_DAYS, _HOURS, _MODELS, _CATEGORIES)
            )
            for provider, model, category, *times in connection.execute(_TIMES, parameters):
                for group in (everything, of_model[provider, model], of_category[category]):
                    group.add(*times)
        for row in models:
            row |= of_model[row["provider"], row["model"]].percentiles()
        for row in categories:
            row |= of_category[row["category"]].percentiles()
        return {
            "since": since,
            "totals": dict(totals),
            "times": everything.percentiles(),
            "days": days,
            "hours": hours,
            "models": models,
            "categories": categories,
        }

    def seconds_per_prompt_token(self, provider: str, model: str) -> float | None:
        """How much longer the first token takes for each token of the prompt, by the latest
        answers; None if they do not tell.

        The median of the slopes between all pairs (Theil and Sen): one slow start changes little.
        """
        with reading(self._path) as connection:
            samples = connection.execute(
                """
                SELECT prompt_tokens, coalesce(first_word_ms, ttft_ms) FROM generations
                JOIN requests ON requests.id = request_id
                WHERE provider = ? AND generations.model = ?
                AND prompt_tokens IS NOT NULL AND ttft_ms IS NOT NULL
                ORDER BY number DESC LIMIT ?
                """,
                (provider, model, SAMPLES),
            ).fetchall()
        slopes = [
            (ttft - other_ttft) / (tokens - other_tokens) / 1000
            for number, (tokens, ttft) in enumerate(samples)
            for other_tokens, other_ttft in samples[:number]
            if abs(tokens - other_tokens) >= MIN_TOKENS
        ]
        return max(0.0, median(slopes)) if slopes else None

    def compressed_tokens_per_s(self) -> float | None:
        """The compressor's own speed on texts that it did not know, by the latest of them."""
        with reading(self._path) as connection:
            tokens, ms = connection.execute(
                """
                SELECT sum(model_tokens), sum(compress_ms) FROM (
                    SELECT model_tokens, compress_ms FROM compressions
                    WHERE model_tokens >= ? ORDER BY request_id DESC LIMIT ?
                )
                """,
                (MIN_TOKENS, SAMPLES),
            ).fetchone()
        return tokens / ms * 1000 if ms else None
