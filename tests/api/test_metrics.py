"""Figures that add up: /api/metrics for people, /metrics for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import Daemon, answered_by, text
from tests.upstream import DONE, Received, Upstream, Wire, chunk, events, failure, usage
from tokenflowd.services import Services

MODEL = "openai/gpt-oss-20b"
PRICE_IN, PRICE_OUT = 0.075e-6, 0.30e-6
LONG = text("meeting.txt")
PROMPT_TOKENS, COMPLETION_TOKENS = 1000, 200
ANSWERED = events(
    chunk("Hello"),
    chunk(" world"),
    chunk(finish_reason="stop"),
    usage(PROMPT_TOKENS, COMPLETION_TOKENS),
    DONE,
)
ANSWER_USD = PROMPT_TOKENS * PRICE_IN + COMPLETION_TOKENS * PRICE_OUT
Labels = dict[str, str]


@dataclass
class Metered:
    """A daemon that did some work, and what the clients were told of it."""

    daemon: Daemon
    upstream: Upstream
    saved_tokens: int
    saved_usd: float

    def prometheus(self) -> Prometheus:
        answer = self.daemon.get("/metrics")
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        return Prometheus(answer.body.decode())


class Prometheus:
    """What Prometheus makes of the text."""

    def __init__(self, exposition: str) -> None:
        self._samples = [
            sample
            for family in text_string_to_metric_families(exposition)
            for sample in family.samples
        ]

    def value(self, name: str, **labels: str) -> float:
        """Of the one sample with this name and these labels."""
        [value] = [s.value for s in self._samples if (s.name, s.labels) == (name, labels)]
        return value

    def values(self, name: str) -> list[tuple[Labels, float]]:
        return [(s.labels, s.value) for s in self._samples if s.name == name]


def usage_of(daemon: Daemon, path: str, **body: Any) -> Any:
    """What the usage event of a complete answer says."""
    by_name = {event.name: event for event in daemon.stream(path, body)}
    assert "end_stream" in by_name
    return by_name["usage"].json


@pytest.fixture(scope="module")
def metered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metered]:
    """Two answers of /api/generate (one to a compressed prompt), one chosen by category, one of
    the OpenAI door, one that broke off, two failures, a compression and a classification."""

    breaking_off = events(chunk("Hel"))
    upstream = Upstream(*[ANSWERED] * 4, breaking_off, failure(401), models=())
    config = answered_by(upstream, tmp_path_factory.mktemp("home"))
    daemon = Daemon(Services(config))
    generate = {"prompt": "Hello?", "model": MODEL}

    usage_of(daemon, "/api/generate", **generate)
    shorter = {"prompt": LONG, "model": MODEL, "compress": 0.5}
    compressed_prompt = usage_of(daemon, "/api/generate", **shorter)
    # No ranking knows the category, so that the model is the fallback, that is gpt-oss-20b.
    usage_of(daemon, "/api/models/select", prompt="Simmer.", possible_categories=["cooking"])
    chat = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    assert daemon.stream("/v1/chat/completions", chat)[-1].data == "[DONE]"
    for _ in range(2):  # the one that breaks off, and the wrong key
        assert daemon.stream("/api/generate", generate)[-1].name == "error"
    invalid = daemon.post("/api/generate", {"prompt": "Hello?"})
    assert invalid.status == 422
    compressed = daemon.post("/api/compress", {"text": LONG, "ratio": 0.5}).json
    assert daemon.post("/api/classify", {"prompt": "Simmer."}).status == 200

    left_out = compressed["original_tokens"] - compressed["compressed_tokens"]
    yield Metered(
        daemon,
        upstream,
        left_out + compressed_prompt["saved_tokens"],
        compressed_prompt["saved_usd"],
    )
    daemon.close()
    upstream.close()


def test_totals_are_the_sums_of_all_answers(metered: Metered) -> None:
    totals = metered.daemon.get("/api/metrics").json["totals"]
    assert totals["requests"] == 9
    assert totals["errors"] == 3
    assert totals["prompt_tokens"] == 4 * PROMPT_TOKENS
    assert totals["completion_tokens"] == 4 * COMPLETION_TOKENS
    assert totals["cost_usd"] == pytest.approx(4 * ANSWER_USD)
    assert totals["saved_tokens"] == metered.saved_tokens > 0
    assert totals["saved_usd"] == pytest.approx(metered.saved_usd)
    assert metered.saved_usd > 0


def test_days_tell_the_kinds_apart_and_add_up_to_the_totals(metered: Metered) -> None:
    summary = metered.daemon.get("/api/metrics?days=2").json
    by_kind = {day["kind"]: day for day in summary["days"]}
    requests = {kind: day["requests"] for kind, day in by_kind.items()}
    assert requests == {"generate": 5, "select": 1, "chat": 1, "compress": 1, "classify": 1}
    errors = {kind: day["errors"] for kind, day in by_kind.items()}
    assert errors == {"generate": 3, "select": 0, "chat": 0, "compress": 0, "classify": 0}
    for name in ("prompt_tokens", "completion_tokens", "cost_usd", "saved_tokens", "saved_usd"):
        total = sum(day[name] or 0 for day in summary["days"])
        assert total == pytest.approx(summary["totals"][name]), name
    assert by_kind["chat"]["mean_ttft_ms"] > 0
    assert by_kind["compress"]["mean_ttft_ms"] is None
    today = datetime.now(UTC).date()
    days = {datetime.fromisoformat(day["day"]).date() for day in by_kind.values()}
    assert days <= {today, today - timedelta(days=1)}  # midnight may have come


def test_models_are_counted_with_what_broke_off(metered: Metered) -> None:
    [model] = metered.daemon.get("/api/metrics").json["models"]
    assert (model["provider"], model["model"]) == ("groq", MODEL)
    assert (model["answers"], model["partial"]) == (5, 1)
    assert model["prompt_tokens"] == 4 * PROMPT_TOKENS
    assert model["completion_tokens"] == 4 * COMPLETION_TOKENS
    assert model["cost_usd"] == pytest.approx(4 * ANSWER_USD)
    assert 0 < model["median_ttft_ms"] <= model["p95_ttft_ms"]
    assert 0 < model["median_latency_ms"] <= model["p95_latency_ms"]
    assert model["tokens_per_s"] > 0


def test_categories_are_counted_where_there_was_one(metered: Metered) -> None:
    categories = metered.daemon.get("/api/metrics").json["categories"]
    assert sum(category["requests"] for category in categories) == 2  # select and classify
    [cooking] = [category for category in categories if category["category"] == "cooking"]
    assert cooking["cost_usd"] == pytest.approx(ANSWER_USD)
    assert cooking["median_latency_ms"] > 0


@pytest.mark.parametrize("days", ["0", "-1", "3651", "many", ""])
def test_days_that_make_no_sense_are_refused(metered: Metered, days: str) -> None:
    answer = metered.daemon.get(f"/api/metrics?days={days}")
    assert answer.status == 422
    assert "days" in answer.json["detail"]


def test_an_empty_history_has_figures_too(tmp_path: Path) -> None:
    with Upstream(ANSWERED) as upstream:
        fresh = Daemon(Services(answered_by(upstream, tmp_path)))
        summary = fresh.get("/api/metrics").json
        fresh.close()
    for name in ("days", "hours", "models", "categories"):
        assert summary[name] == []
    assert set(summary["totals"].values()) == {0}


def test_prometheus_counts_requests_by_kind_and_outcome(metered: Metered) -> None:
    counted = {
        (labels["kind"], labels["outcome"]): value
        for labels, value in metered.prometheus().values("tokenflow_requests_total")
    }
    assert counted == {
        ("generate", "ok"): 2,
        ("generate", "bad_answer"): 1,
        ("generate", "authentication"): 1,
        ("generate", "invalid_field"): 1,
        ("select", "ok"): 1,
        ("chat", "ok"): 1,
        ("compress", "ok"): 1,
        ("classify", "ok"): 1,
    }


def test_prometheus_counts_tokens_and_their_cost(metered: Metered) -> None:
    prometheus = metered.prometheus()
    tokens = "tokenflow_tokens_total"
    assert prometheus.value(tokens, provider="groq", direction="in") == 4 * PROMPT_TOKENS
    assert prometheus.value(tokens, provider="groq", direction="out") == 4 * COMPLETION_TOKENS
    cost = prometheus.value("tokenflow_cost_usd_total", provider="groq")
    assert cost == pytest.approx(4 * ANSWER_USD)
    assert prometheus.value("tokenflow_saved_tokens_total") == metered.saved_tokens


def test_prometheus_measures_every_answer_that_began(metered: Metered) -> None:
    prometheus = metered.prometheus()
    first_token = "tokenflow_first_token_seconds"
    assert prometheus.value(f"{first_token}_count", provider="groq") == 5  # one broke off later
    assert prometheus.value(f"{first_token}_sum", provider="groq") > 0
    buckets = [value for _, value in prometheus.values(f"{first_token}_bucket")]
    assert buckets == sorted(buckets)
    assert buckets[-1] == 5  # +Inf
    assert prometheus.value("tokenflow_request_seconds_count", kind="generate") == 5


def test_prometheus_sees_the_streams_under_way(tmp_path: Path) -> None:
    async def endless(wire: Wire, request: Received) -> None:
        await wire.head()
        await wire.send(chunk("Once"))
        await wire.until_gone()

    with Upstream(endless) as upstream:
        daemon = Daemon(Services(answered_by(upstream, tmp_path)))
        metered = Metered(daemon, upstream, 0, 0)
        readers = [
            daemon.open_stream("/api/generate", {"prompt": "Tell", "model": MODEL})
            for _ in range(3)
        ]
        assert all(next(iter(reader)).name == "metadata" for reader in readers)
        assert metered.prometheus().value("tokenflow_streams") == 3
        assert metered.prometheus().value("tokenflow_history_degraded") == 0
        for reader in readers:
            reader.close()
        deadline = time.monotonic() + 10
        while metered.prometheus().value("tokenflow_streams"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        left = metered.prometheus().value(
            "tokenflow_requests_total", kind="generate", outcome="client_left"
        )
        assert left == 3
        daemon.close()
