"""A wrong category is corrected, and from then on prompts like it go where they belong."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.test_models import install, use
from tests.conftest import Answer, Daemon, OpenRelay, config_in
from tests.upstream import answer
from tokenflowd.services import Services

PROMPT = "Write a SQL query that lists customers without orders."
PARAPHRASE = "I need SQL that finds all customers who have never ordered anything"
UNRELATED = "Why do leaves turn red in autumn?"
TOPICS = ["data", "small talk", "gardening"]
WRONG = "gardening"  # nothing here would ever say so but a correction


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(Services(config_in(tmp_path)))
    yield daemon
    daemon.close()


def classified(daemon: Daemon, prompt: str, topics: list[str] = TOPICS, **more: Any) -> Any:
    answer = daemon.post("/api/classify", {"prompt": prompt, "possible_categories": topics} | more)
    assert answer.status == 200
    return answer.json


def relabel(daemon: Daemon, request_id: str, category: Any = WRONG) -> Answer:
    return daemon.request("PUT", f"/api/history/{request_id}/category", {"category": category})


def undo(daemon: Daemon, request_id: str) -> Answer:
    return daemon.request("DELETE", f"/api/history/{request_id}/category")


def corrected(daemon: Daemon, prompt: str = PROMPT, category: str = WRONG) -> str:
    """The id of a request whose category was corrected."""
    request_id = str(classified(daemon, prompt)["id"])
    assert relabel(daemon, request_id, category).status == 200
    return request_id


@pytest.mark.parametrize("prompt", [PROMPT, PARAPHRASE])
def test_a_corrected_prompt_and_its_paraphrase_get_the_new_category(
    own: Daemon, prompt: str
) -> None:
    assert classified(own, prompt)["top_category"] == "data"
    request_id = corrected(own)
    result = classified(own, prompt)
    assert result["top_category"] == WRONG
    assert sum(result["all_categories"].values()) == pytest.approx(1)
    assert own.get(f"/api/history/{result['id']}").json["corrected_by"] == request_id


def test_the_same_prompt_is_almost_certain(own: Daemon) -> None:
    corrected(own)
    assert classified(own, PROMPT)["confidence_score"] > 0.99


def test_an_unrelated_prompt_keeps_its_scores(own: Daemon) -> None:
    before = classified(own, UNRELATED)
    corrected(own)
    after = classified(own, UNRELATED)
    assert after["all_categories"] == before["all_categories"]
    assert "corrected_by" not in own.get(f"/api/history/{after['id']}").json


def test_categories_that_were_not_asked_for_do_not_appear(own: Daemon) -> None:
    topics = ["data", "small talk"]
    before = classified(own, PROMPT, topics)
    corrected(own)
    assert classified(own, PROMPT, topics)["all_categories"] == before["all_categories"]


def test_several_labels_may_hold_besides_the_corrected_one(own: Daemon) -> None:
    before = classified(own, PROMPT, multi_label=True)["all_categories"]
    corrected(own)
    after = classified(own, PROMPT, multi_label=True)["all_categories"]
    assert after[WRONG] > 0.99 > before[WRONG]
    assert after["data"] == before["data"]


def test_the_answer_is_routed_by_the_corrected_category(open_relay: OpenRelay) -> None:
    relay = open_relay(answer("Because."))
    asked = {"prompt": PARAPHRASE}
    first = relay.daemon.stream("/api/models/select", asked)[0].json
    assert first["prompt_category"] != "nsfw"
    made = relay.daemon.post("/api/classify", {"prompt": PROMPT}).json
    assert relabel(relay.daemon, made["id"], "nsfw").status == 200
    then = relay.daemon.stream("/api/models/select", asked)[0].json
    assert then["prompt_category"] == "nsfw"
    assert then["route"].startswith("category nsfw")
    assert relay.latest()["corrected_by"] == made["id"]
    chat = {"model": "auto", "messages": [{"role": "user", "content": PROMPT}]}
    headers = relay.daemon.post("/v1/chat/completions", chat).headers
    assert headers["x-tokenflow-route"] == "category nsfw, 1.00"


def test_a_routed_request_can_be_corrected(open_relay: OpenRelay) -> None:
    relay = open_relay(answer("Because."))
    relay.daemon.stream("/api/models/select", {"prompt": PROMPT})
    assert relabel(relay.daemon, relay.latest()["id"], "nsfw").status == 200
    result = relay.daemon.post("/api/classify", {"prompt": PROMPT}).json
    assert result["top_category"] == "nsfw"


def test_the_history_shows_the_correction(own: Daemon) -> None:
    request_id = str(classified(own, PROMPT)["id"])
    assert "corrected_category" not in own.get(f"/api/history/{request_id}").json
    assert relabel(own, request_id).json == {"id": request_id, "corrected_category": WRONG}
    detail = own.get(f"/api/history/{request_id}").json
    assert (detail["category"], detail["corrected_category"]) == ("data", WRONG)
    for category in ("data", WRONG):
        (row,) = own.get(f"/api/history?category={category}").json["requests"]
        assert (row["id"], row["corrected_category"]) == (request_id, WRONG)
    assert own.get("/api/history?category=small%20talk").json["requests"] == []


def test_what_was_taken_back_counts_no_more(own: Daemon) -> None:
    before = classified(own, PROMPT)["all_categories"]
    request_id = corrected(own)
    assert classified(own, PROMPT)["all_categories"] != before
    assert undo(own, request_id).status == 204
    assert classified(own, PROMPT)["all_categories"] == before
    assert "corrected_category" not in own.get(f"/api/history/{request_id}").json
    assert undo(own, request_id).status == 404


def test_a_request_that_is_deleted_takes_its_correction_along(own: Daemon) -> None:
    before = classified(own, PROMPT)["all_categories"]
    request_id = corrected(own)
    assert own.request("DELETE", f"/api/history/{request_id}").status == 204
    assert classified(own, PROMPT)["all_categories"] == before
    with sqlite3.connect(own.services.store.path) as reader:
        assert reader.execute("SELECT count(*) FROM corrections").fetchone() == (0,)


def test_a_correction_can_be_corrected(own: Daemon) -> None:
    request_id = corrected(own)
    assert relabel(own, request_id, "small talk").status == 200
    assert classified(own, PROMPT)["top_category"] == "small talk"


def test_the_latest_correction_of_a_prompt_counts(own: Daemon) -> None:
    first, second = (classified(own, PROMPT)["id"] for _ in range(2))
    relabel(own, second, "small talk")
    relabel(own, first, WRONG)
    assert classified(own, PROMPT)["top_category"] == WRONG
    undo(own, first)
    assert classified(own, PROMPT)["top_category"] == "small talk"


def test_a_correction_survives_a_restart(tmp_path: Path) -> None:
    first = Daemon(Services(config_in(tmp_path)))
    corrected(first)
    first.close()
    second = Daemon(Services(config_in(tmp_path)))
    assert classified(second, PARAPHRASE)["top_category"] == WRONG
    second.close()


def test_corrections_can_be_switched_off(tmp_path: Path) -> None:
    first = Daemon(Services(config_in(tmp_path)))
    before = classified(first, PROMPT)["all_categories"]
    corrected(first)
    first.close()
    second = Daemon(Services(config_in(tmp_path, route={"corrections": False})))
    assert classified(second, PROMPT)["all_categories"] == before
    second.close()


def test_vectors_of_another_encoder_are_ignored(tmp_path: Path) -> None:
    install(tmp_path, "my-encoder", of="tokenflow-embedder")
    daemon = Daemon(Services(config_in(tmp_path)))
    before = classified(daemon, PROMPT)["all_categories"]
    corrected(daemon)
    assert use(daemon, "my-encoder").status == 200
    assert classified(daemon, PROMPT)["all_categories"] == before
    assert use(daemon, "tokenflow-embedder").status == 200
    assert classified(daemon, PROMPT)["top_category"] == WRONG
    daemon.close()


PAIR = {"strategy": "pair"}  # which the encoder has no part in


def test_without_the_encoder_prompts_are_classified_all_the_same(tmp_path: Path) -> None:
    first = Daemon(Services(config_in(tmp_path, classify=PAIR)))
    before = classified(first, PROMPT)["all_categories"]
    request_id = corrected(first)
    first.close()
    second = Daemon(Services(config_in(tmp_path, models={"embedder": "gone"})))
    assert classified(second, PROMPT)["all_categories"] == before
    assert relabel(second, request_id).status == 503
    second.close()


@pytest.mark.parametrize("category", ["", " ", "a" * 201, None, 7, ["code"]])
def test_a_category_that_could_not_be_asked_for_is_refused(own: Daemon, category: Any) -> None:
    request_id = classified(own, PROMPT)["id"]
    refused = relabel(own, request_id, category)
    assert refused.status == 422
    assert "$.category" in refused.json["detail"]
    assert "corrected_category" not in own.get(f"/api/history/{request_id}").json


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/api/compress", {"text": PROMPT}, "was not classified"),
        ("/api/classify", {"prompt": " \n"}, "has no prompt"),
        ("/api/classify", {"prompt": 7}, "was not classified"),
    ],
)
def test_a_request_without_a_category_or_a_prompt_cannot_be_corrected(
    own: Daemon, path: str, body: Any, says: str
) -> None:
    own.post(path, body)
    (row,) = own.get("/api/history").json["requests"]
    refused = relabel(own, row["id"])
    assert refused.status == 422
    assert says in refused.json["detail"]


def test_an_unknown_request_is_404(own: Daemon) -> None:
    for refused in (relabel(own, "nothing"), undo(own, "nothing")):
        assert refused.status == 404
        assert "'nothing'" in refused.json["detail"]


def test_a_correction_that_cannot_be_written_is_said(own: Daemon) -> None:
    request_id = classified(own, PROMPT)["id"]
    own.services.store._db.execute("PRAGMA query_only = ON")  # as a full or read-only disk would
    assert relabel(own, request_id).status == 503
    own.services.store._db.execute("PRAGMA query_only = OFF")
    assert classified(own, PROMPT)["top_category"] == "data"
