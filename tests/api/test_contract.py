"""The contract's fields and rules, over real HTTP, on the real models."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest

from tests.conftest import Daemon, text
from tokenflowd.route import DEFAULT_CATEGORIES

SENTENCE = "Please do keep in mind that the server at 10.0.0.7 must never be restarted at noon."


def test_compress_answers_as_the_contract_says(daemon: Daemon) -> None:
    answer = daemon.post("/api/compress", {"text": SENTENCE, "ratio": 0.6})
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    result = answer.json
    assert result["original_text"] == SENTENCE
    assert result["compressed_tokens"] <= 0.6 * result["original_tokens"]
    assert result["compression_ratio"] == pytest.approx(
        result["compressed_tokens"] / result["original_tokens"], abs=1e-3
    )
    assert "10.0.0.7" in result["compressed_text"]
    assert "never" in result["compressed_text"]
    assert (result["tokenizer"], result["model"]) == ("o200k_base", "tokenflow-compressor")
    assert result["latency_ms"] > 0
    assert result["over_budget"] is False
    assert "words" not in result


def test_older_clients_send_a_target(daemon: Daemon) -> None:
    result = daemon.post("/api/compress", {"text": text("meeting.txt"), "target_token": 80}).json
    assert 79 <= result["compressed_tokens"] <= 80


def test_without_a_ratio_the_configured_one_holds(daemon: Daemon) -> None:
    result = daemon.post("/api/compress", {"text": text("meeting.txt")}).json
    assert result["compressed_tokens"] == result["original_tokens"] // 2


def test_words_come_when_asked_for(daemon: Daemon) -> None:
    body = {"text": SENTENCE, "ratio": 0.5, "returnWords": True}
    words = daemon.post("/api/compress", body).json["words"]
    assert "".join(word["text"] for word in words) == SENTENCE
    assert {tuple(word) for word in words} == {("text", "keep", "probability")}


def test_what_must_be_kept_is_said_to_exceed_the_budget(daemon: Daemon) -> None:
    body = {"text": "one two three four", "ratio": 0.25, "force_tokens": ["two", "four"]}
    result = daemon.post("/api/compress", body).json
    assert result["over_budget"] is True
    assert result["compressed_text"] == "two four"


@pytest.mark.parametrize("source", ["", " ", "\n\n", "a", "😀", "图", "\u200b", "x" * 5000])
def test_odd_texts_are_answered(daemon: Daemon, source: str) -> None:
    answer = daemon.post("/api/compress", {"text": source, "ratio": 1})
    assert answer.status == 200
    assert answer.json["compressed_text"] == source
    assert answer.json["compression_ratio"] == 1.0


@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.8, 1.0])
def test_the_ratio_is_the_share_that_was_kept(daemon: Daemon, ratio: float) -> None:
    result = daemon.post("/api/compress", {"text": text("meeting.txt"), "ratio": ratio}).json
    kept = result["compressed_tokens"] / result["original_tokens"]
    assert result["compression_ratio"] == pytest.approx(kept, abs=1e-4)
    assert 0 < result["compression_ratio"] <= ratio


NULLS = dict.fromkeys(
    (
        *("ratio", "target_token", "force_tokens", "forceReserveDigit", "drop_consecutive"),
        *("question", "preserve", "mode", "returnWords", "possible_categories", "multiLabel"),
    )
)


@pytest.mark.parametrize(
    ("path", "body"),
    [("/api/compress", {"text": SENTENCE}), ("/api/classify", {"prompt": SENTENCE})],
)
def test_null_stands_for_the_default_of_a_field(
    daemon: Daemon, path: str, body: dict[str, Any]
) -> None:
    plain, with_nulls = daemon.post(path, body).json, daemon.post(path, body | NULLS).json
    own = dict.fromkeys(["id", "latency_ms"])
    assert plain | own == with_nulls | own


@pytest.mark.parametrize("field", ["possible_categories", "possibleCategories"])
def test_no_categories_are_the_default_ones(daemon: Daemon, field: str) -> None:
    result = daemon.post("/api/classify", {"prompt": "a goal", field: []}).json
    assert set(result["all_categories"]) == set(DEFAULT_CATEGORIES)


def test_classify_answers_as_the_contract_says(daemon: Daemon) -> None:
    answer = daemon.post("/api/classify", {"prompt": "Write a short poem about the sea."})
    result = answer.json
    assert answer.status == 200
    assert set(result["all_categories"]) == set(DEFAULT_CATEGORIES)
    assert sum(result["all_categories"].values()) == pytest.approx(1, abs=1e-4)
    assert result["top_category"] == max(
        result["all_categories"], key=result["all_categories"].__getitem__
    )
    assert result["confidence_score"] == result["all_categories"][result["top_category"]]
    assert result["recommended_model"]
    assert result["model"] == "tokenflow-classifier"


@pytest.mark.parametrize("field", ["possible_categories", "possibleCategories"])
def test_fields_are_taken_in_both_spellings(daemon: Daemon, field: str) -> None:
    result = daemon.post("/api/classify", {"prompt": "a goal", field: ["sports", "food"]}).json
    assert set(result["all_categories"]) == {"sports", "food"}


def test_unknown_fields_are_ignored(daemon: Daemon) -> None:
    body = {"prompt": "hi", "temperature": 0.7, "somethingElse": {"deep": [1]}}
    assert daemon.post("/api/classify", body).status == 200


def test_multi_label_scores_need_not_sum_to_one(daemon: Daemon) -> None:
    body = {"prompt": "A goal!", "possible_categories": ["sports", "football"], "multiLabel": True}
    assert sum(daemon.post("/api/classify", body).json["all_categories"].values()) > 1


def test_an_own_category_recommends_the_fallback(daemon: Daemon) -> None:
    result = daemon.post("/api/classify", {"prompt": "hi", "possible_categories": ["poetry"]}).json
    assert result["recommended_model"] == "llama-3.1-8b-instant"
    assert result["confidence_score"] == 1


def test_rankings_are_those_of_the_contract(daemon: Daemon) -> None:
    rankings = daemon.get("/api/model-rankings").json
    assert tuple(rankings) == DEFAULT_CATEGORIES
    for ranking in rankings.values():
        assert [model["primary"] for model in ranking["models"]].count(True) == 1
        assert ranking["models"][0]["primary"]
        assert {"id", "name", "primary"} <= set(ranking["models"][0])
        assert ranking["models"][0]["configured"] is False


WRONG: list[tuple[str, Any, str]] = [
    ("/api/compress", {}, "text"),
    ("/api/compress", {"text": 7}, "$.text"),
    ("/api/compress", {"text": None}, "$.text"),
    ("/api/compress", {"text": "a", "ratio": 0}, "$.ratio"),
    ("/api/compress", {"text": "a", "ratio": 1.01}, "$.ratio"),
    ("/api/compress", {"text": "a", "ratio": "0.5"}, "$.ratio"),
    ("/api/compress", {"text": "a", "ratio": True}, "$.ratio"),
    ("/api/compress", {"text": "a", "target_token": 0}, "$.target_token"),
    ("/api/compress", {"text": "a", "target_token": 1.5}, "$.target_token"),
    ("/api/compress", {"text": "a", "preserve": ["poems"]}, "$.preserve"),
    ("/api/compress", {"text": "a", "force_tokens": [""]}, "$.force_tokens"),
    ("/api/compress", {"text": "a", "force_tokens": ["a"] * 101}, "$.force_tokens"),
    ("/api/compress", {"text": "a", "mode": "best"}, "$.mode"),
    ("/api/classify", {}, "prompt"),
    ("/api/classify", {"prompt": ["a"]}, "$.prompt"),
    ("/api/classify", {"prompt": None}, "$.prompt"),
    ("/api/classify", {"prompt": "a", "possible_categories": [""]}, "possible_categories"),
    ("/api/classify", {"prompt": "a", "possible_categories": [" "]}, "possible_categories"),
    ("/api/classify", {"prompt": "a", "possible_categories": ["a" * 201]}, "possible_categories"),
    ("/api/classify", {"prompt": "a", "possible_categories": ["a"] * 257}, "possible_categories"),
    ("/api/classify", {"prompt": "a", "possible_categories": "a"}, "possible_categories"),
    ("/api/classify", {"prompt": "a", "multi_label": "yes"}, "$.multi_label"),
]


@pytest.mark.parametrize(("path", "body", "where"), WRONG)
def test_a_wrong_field_is_422_and_named(
    daemon: Daemon, path: str, body: dict[str, Any], where: str
) -> None:
    answer = daemon.post(path, body)
    assert answer.status == 422
    assert answer.json["error"] == "invalid field"
    assert where in answer.json["detail"]


BAD_BODIES: list[tuple[str, bytes]] = [
    ("empty", b""),
    ("not JSON", b"{"),
    ("two values", b"{} {}"),
    ("not an object", b"[1]"),
    ("bad UTF-8", b'{"text": "\xff\xfe"}'),
    ("a lone surrogate", b'{"text": "\\ud800"}'),
    ("NaN", b'{"text": "a", "ratio": NaN}'),
    ("deep nesting", b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    ("a control character", b'{"text": "a\x00b"}'),
]


@pytest.mark.parametrize("body", [body for _, body in BAD_BODIES], ids=[n for n, _ in BAD_BODIES])
def test_a_body_that_is_no_json_object_is_400(daemon: Daemon, body: bytes) -> None:
    answer = daemon.request("POST", "/api/compress", raw=body or b" ")
    assert answer.status == 400
    assert answer.json["error"] == "bad request"


def test_huge_numbers_are_refused(daemon: Daemon) -> None:
    digits = b"9" * 5000
    answer = daemon.request("POST", "/api/compress", raw=b'{"text":"a","target_token":%s}' % digits)
    assert answer.status in (400, 422)


def test_a_body_above_the_limit_is_413_and_others_are_answered(daemon: Daemon) -> None:
    answer = daemon.post("/api/compress", {"text": "x" * (8 * 2**20)})
    assert answer.status == 413
    assert "max_body_bytes" in answer.json["detail"]
    assert daemon.get("/healthz").status == 200


def test_a_hundred_thousand_labels_are_refused(daemon: Daemon) -> None:
    body = {"prompt": "a", "possible_categories": [f"label {index}" for index in range(100_000)]}
    assert daemon.post("/api/classify", body).status == 422


def test_unknown_paths_and_methods_answer_as_json(daemon: Daemon) -> None:
    missing = daemon.get("/api/nothing")
    assert (missing.status, missing.json["error"]) == (404, "not found")
    wrong = daemon.request("DELETE", "/healthz")
    assert (wrong.status, wrong.json["error"]) == (405, "method not allowed")
    assert "GET" in wrong.headers["allow"]


def test_an_answers_id_is_a_committed_row(daemon: Daemon) -> None:
    answer = daemon.post("/api/compress", {"text": SENTENCE, "ratio": 0.5}).json
    with sqlite3.connect(daemon.services.store.path) as reader:
        row = reader.execute(
            "SELECT kind, input, output, original_tokens FROM history WHERE id = ?", (answer["id"],)
        ).fetchone()
    assert row == ("compress", SENTENCE, answer["compressed_text"], answer["original_tokens"])


def test_history_finds_shows_and_forgets_a_request(daemon: Daemon) -> None:
    made = daemon.post("/api/classify", {"prompt": "a prompt about zebras and yaks"}).json
    found = daemon.get("/api/history?q=zebras").json["requests"]
    assert [row["id"] for row in found] == [made["id"]]
    shown = daemon.get(f"/api/history/{made['id']}").json
    assert shown["scores"] == made["all_categories"]
    assert shown["input"] == "a prompt about zebras and yaks"
    assert daemon.request("DELETE", f"/api/history/{made['id']}").status == 204
    assert daemon.get(f"/api/history/{made['id']}").status == 404
    assert daemon.request("DELETE", f"/api/history/{made['id']}").status == 404


def test_what_failed_is_in_the_history_too(daemon: Daemon) -> None:
    daemon.post("/api/compress", {"text": "a", "ratio": 7})
    latest = daemon.get("/api/history?kind=compress&limit=1").json["requests"][0]
    assert (latest["status"], latest["error_type"]) == ("error", "invalid field")


def test_history_pages_by_cursor(daemon: Daemon) -> None:
    made = [daemon.post("/api/compress", {"text": f"page {n}"}).json["id"] for n in range(5)]
    first = daemon.get("/api/history?limit=2").json
    second = daemon.get(f"/api/history?limit=2&before={first['next_before']}").json
    ids = [row["id"] for row in first["requests"] + second["requests"]]
    assert ids == sorted(made, reverse=True)[:4]


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=501", "kind=poem", "since=today"])
def test_a_wrong_history_query_is_422(daemon: Daemon, query: str) -> None:
    assert daemon.get(f"/api/history?{query}").status == 422


def test_the_export_is_json_lines(daemon: Daemon) -> None:
    daemon.post("/api/compress", {"text": "to be exported"})
    answer = daemon.get("/api/history/export")
    assert answer.headers["content-type"] == "application/x-ndjson"
    rows = [json.loads(line) for line in answer.body.splitlines()]
    assert any(row.get("input") == "to be exported" for row in rows)
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)


def test_health_says_what_is_loaded(daemon: Daemon) -> None:
    daemon.post("/api/compress", {"text": "hi there"})
    health = daemon.get("/healthz").json
    assert health["status"] == "ok"
    assert health["models"]["compressor"] == {"id": "tokenflow-compressor", "ready": True}


def test_there_is_a_page_for_people(daemon: Daemon) -> None:
    page = daemon.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert b"TokenFlow" in page.body
    assert b"/api/openapi.json" in page.body
