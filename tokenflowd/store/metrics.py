"""Figures from the history: sums for people, measurements for decisions."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from tokenflowd.store.database import reading

# The latest answers and compressions that measurements are taken from.
SAMPLES = 50
# Short texts measure the overhead, not the speed.
MIN_TOKENS = 200

_TOTALS = """
    SELECT count(*) AS requests, coalesce(sum(status = 'error'), 0) AS errors,
           coalesce(sum(saved_tokens), 0) AS saved_tokens,
           coalesce(sum(prompt_tokens), 0) AS prompt_tokens,
           coalesce(sum(completion_tokens), 0) AS completion_tokens,
           coalesce(sum(cost_usd), 0) AS cost_usd, coalesce(sum(saved_usd), 0) AS saved_usd
    FROM history WHERE created_at >= :since
"""
_DAYS = "SELECT * FROM daily_metrics WHERE day >= date(:since) ORDER BY day, kind"
_MODELS = """
    SELECT g.provider, g.model, count(*) AS answers, sum(g.partial) AS partial,
           sum(g.prompt_tokens) AS prompt_tokens, sum(g.completion_tokens) AS completion_tokens,
           sum(g.cost_usd) AS cost_usd, json_group_array(g.ttft_ms) AS ttfts,
           sum(g.completion_tokens) * 1000.0 / nullif(sum(g.latency_ms - g.ttft_ms), 0)
               AS tokens_per_s
    FROM generations g JOIN requests r ON r.id = g.request_id
    WHERE g.provider IS NOT NULL AND r.created_at >= :since
    GROUP BY g.provider, g.model ORDER BY answers DESC
"""


class Metrics:
    """Reads as `History` does. Raises StoreDegraded."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def summary(self, since: str) -> dict[str, Any]:
        """Totals, days and models since an ISO 8601 time in UTC."""
        with reading(self._path) as connection:
            parameters = {"since": since}
            totals = connection.execute(_TOTALS, parameters).fetchone()
            models = [_with_median(row) for row in connection.execute(_MODELS, parameters)]
            days = [dict(row) for row in connection.execute(_DAYS, parameters)]
        return {"since": since, "totals": dict(totals), "days": days, "models": models}

    def seconds_per_prompt_token(self, provider: str, model: str) -> float | None:
        """How much longer the first token takes for each token of the prompt, by the latest
        answers; None if they do not tell.

        The median of the slopes between all pairs (Theil and Sen): one slow start changes little.
        """
        with reading(self._path) as connection:
            samples = connection.execute(
                """
                SELECT prompt_tokens, ttft_ms FROM generations
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


def _with_median(row: sqlite3.Row) -> dict[str, Any]:
    values = dict(row)
    ttfts = [ttft for ttft in msgspec.json.decode(values.pop("ttfts")) if ttft is not None]
    return values | {"median_ttft_ms": median(ttfts) if ttfts else None}
