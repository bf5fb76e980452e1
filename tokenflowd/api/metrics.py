"""GET /api/metrics for people and the TUI, GET /metrics for Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from tokenflowd.api.bodies import read_query
from tokenflowd.api.guards import json_response
from tokenflowd.api.offload import Offload
from tokenflowd.api.schemas import MetricsQuery
from tokenflowd.store import RequestRecord, Store, iso_time

# Seconds: from a cached compression to a long answer.
_BUCKETS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """What Prometheus reads: counted since the start of the process, in a registry of its own."""

    def __init__(self, streams: Callable[[], int], store: Store) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "tokenflow_requests", "Requests", ["kind", "outcome"], registry=self.registry
        )
        self._seconds = Histogram(
            "tokenflow_request_seconds",
            "Duration of requests",
            ["kind"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._saved = Counter(
            "tokenflow_saved_tokens", "Tokens left out by compression", registry=self.registry
        )
        self._tokens = Counter(
            "tokenflow_tokens",
            "Tokens of prompts and answers",
            ["provider", "direction"],
            registry=self.registry,
        )
        self._cost = Counter(
            "tokenflow_cost_usd", "Cost of answers", ["provider"], registry=self.registry
        )
        self._first_token = Histogram(
            "tokenflow_first_token_seconds",
            "Time to the first token",
            ["provider"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        Gauge("tokenflow_streams", "Answers under way", registry=self.registry).set_function(
            streams
        )
        Gauge(
            "tokenflow_history_degraded",
            "1 while the history cannot be written",
            registry=self.registry,
        ).set_function(lambda: store.problem is not None)

    def observe(self, record: RequestRecord) -> None:
        outcome = (record.error_type or "ok").replace(" ", "_")
        self._requests.labels(record.kind, outcome).inc()
        self._seconds.labels(record.kind).observe(record.duration_ms / 1000)
        if compression := record.compression:
            self._saved.inc(compression.original_tokens - compression.compressed_tokens)
        generation = record.generation
        if generation and generation.provider:
            provider = generation.provider
            self._tokens.labels(provider, "in").inc(generation.prompt_tokens or 0)
            self._tokens.labels(provider, "out").inc(generation.completion_tokens or 0)
            self._cost.labels(provider).inc(generation.cost_usd or 0)
            if generation.ttft_ms is not None:
                self._first_token.labels(provider).observe(generation.ttft_ms / 1000)


class MetricsResource:
    def __init__(self, metrics: Metrics, store: Store, reads: Offload) -> None:
        self._metrics = metrics
        self._store = store
        self._reads = reads

    async def summary(self, request: web.Request) -> web.Response:
        days = read_query(request.query, MetricsQuery).days
        now = datetime.now(UTC)
        hour = now.replace(minute=0, second=0, microsecond=0)
        summary = await self._reads.run_stoppable(
            self._store.metrics.summary,
            iso_time(now - timedelta(days=days)),
            iso_time(hour - timedelta(hours=23)),
        )
        return json_response(summary)

    async def prometheus(self, request: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self._metrics.registry),
            headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4},
        )
