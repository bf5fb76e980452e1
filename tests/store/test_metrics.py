from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.store.rows import classification, compression, generation, write
from tokenflowd.store import (
    ClassificationRecord,
    CompressionRecord,
    CorrectionRecord,
    RequestRecord,
    Store,
)

LONG_AGO = "2020-01-01"


def answer_after(store: Store, *samples: tuple[int, float]) -> None:
    """Answers of one model whose prompts had so many tokens and whose first came after so long."""
    records = [generation(prompt_tokens=tokens, ttft_ms=ms) for tokens, ms in samples]
    write(store, *records)


def test_totals_are_those_of_all_requests(store: Store) -> None:
    write(store, compression(), generation(), generation(cost_usd=None, saved_usd=0.5))
    totals = store.metrics.summary(LONG_AGO, LONG_AGO)["totals"]
    assert totals["requests"] == 3
    assert totals["saved_tokens"] == 1
    assert (totals["prompt_tokens"], totals["completion_tokens"]) == (200, 40)
    assert totals["cost_usd"] == pytest.approx(0.001)
    assert totals["saved_usd"] == pytest.approx(0.5)


def test_models_have_their_speed_and_typical_first_token(store: Store) -> None:
    write(store, *(generation(ttft_ms=ms) for ms in (100.0, 200.0, 9000.0)))
    (model,) = store.metrics.summary(LONG_AGO, LONG_AGO)["models"]
    assert (model["provider"], model["model"], model["answers"]) == ("b", "small", 3)
    assert model["median_ttft_ms"] == 200.0


def test_an_empty_history_has_metrics_too(store: Store) -> None:
    summary = store.metrics.summary(LONG_AGO, LONG_AGO)
    assert summary["totals"]["requests"] == 0
    for name in ("days", "hours", "models", "categories"):
        assert summary[name] == []
    assert set(summary["times"].values()) == {None}


def test_times_are_the_typical_and_the_slow_one(store: Store) -> None:
    write(store, *(generation(ttft_ms=n * 10.0, latency_ms=n * 100.0) for n in range(1, 21)))
    wanted = {
        "median_ttft_ms": 105.0,
        "p95_ttft_ms": 190.0,
        "median_latency_ms": 1050.0,
        "p95_latency_ms": 1900.0,
    }
    summary = store.metrics.summary(LONG_AGO, LONG_AGO)
    assert summary["times"] == wanted
    (model,) = summary["models"]
    assert wanted.items() <= model.items()


def test_one_answer_is_its_own_slow_one(store: Store) -> None:
    write(store, generation(ttft_ms=30.0))
    times = store.metrics.summary(LONG_AGO, LONG_AGO)["times"]
    assert times["median_ttft_ms"] == times["p95_ttft_ms"] == 30.0


def test_categories_have_their_figures(store: Store) -> None:
    reasoning = ClassificationRecord("reasoning", 0.9, {"reasoning": 0.9}, False, "big")
    write(
        store,
        replace(generation(ttft_ms=300.0), kind="select", classification=reasoning),
        classification(category="reasoning"),
        classification(category="other"),
    )
    first, second = store.metrics.summary(LONG_AGO, LONG_AGO)["categories"]
    assert (first["category"], first["requests"], first["errors"]) == ("reasoning", 2, 0)
    assert (first["cost_usd"], first["median_ttft_ms"]) == (0.001, 300.0)
    assert (second["category"], second["requests"]) == ("other", 1)
    assert second["median_ttft_ms"] is None


def test_a_corrected_request_counts_as_what_it_should_have_been(store: Store) -> None:
    wrong = classification(category="other")
    write(store, wrong)
    correction = CorrectionRecord(wrong.id, "reasoning", "encoder", bytes(8))
    assert store.correct(correction).result(5)
    (category,) = store.metrics.summary(LONG_AGO, LONG_AGO)["categories"]
    assert (category["category"], category["corrected"]) == ("reasoning", 1)


def test_hours_are_those_of_the_last_day(store: Store) -> None:
    moments = ("2026-03-11T06:59:59.000Z", "2026-03-12T05:10:00.000Z", "2026-03-12T05:50:00.000Z")
    write(store, *(replace(generation(), created_at=moment) for moment in moments))
    (hour,) = store.metrics.summary(LONG_AGO, "2026-03-11T07:00:00.000Z")["hours"]
    assert (hour["hour"], hour["kind"]) == ("2026-03-12T05:00Z", "generate")
    assert (hour["requests"], hour["answers"], hour["cost_usd"]) == (2, 2, 0.002)


def test_only_what_came_since_counts(store: Store) -> None:
    write(store, generation())
    assert store.metrics.summary("2999-01-01", LONG_AGO)["totals"]["requests"] == 0


def test_the_time_for_a_prompt_token_is_the_slope(store: Store) -> None:
    answer_after(store, (100, 300.0), (1100, 1300.0), (2100, 2300.0))
    assert store.metrics.seconds_per_prompt_token("b", "small") == pytest.approx(0.001)


def test_one_slow_start_does_not_change_the_slope(store: Store) -> None:
    steady = [(n * 500, 200.0 + n * 500) for n in range(1, 10)]
    answer_after(store, (100, 60_000.0), *steady)
    assert store.metrics.seconds_per_prompt_token("b", "small") == pytest.approx(0.001, rel=0.05)


def test_prompts_of_one_length_tell_nothing(store: Store) -> None:
    answer_after(store, (1000, 300.0), (1010, 500.0), (990, 100.0))
    assert store.metrics.seconds_per_prompt_token("b", "small") is None
    assert store.metrics.seconds_per_prompt_token("b", "unknown") is None


def test_a_slope_is_never_negative(store: Store) -> None:
    answer_after(store, (100, 900.0), (5000, 300.0))
    assert store.metrics.seconds_per_prompt_token("b", "small") == 0.0


def test_the_compressors_speed_is_that_on_texts_it_did_not_know(tmp_path: Path) -> None:
    def compressed(model_tokens: int, ms: float) -> RequestRecord:
        details = CompressionRecord(
            "o200k_base", "budget", 1, 1000, 500, False, {}, model_tokens, ms
        )
        return RequestRecord("compress", "test", compression=details)

    store = Store(tmp_path / "tokenflow.db")
    assert store.metrics.compressed_tokens_per_s() is None
    write(store, compressed(1000, 100.0), compressed(3000, 300.0), compressed(0, 0.1))
    assert store.metrics.compressed_tokens_per_s() == pytest.approx(10_000)
    store.close()
