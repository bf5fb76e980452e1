"""Which provider answers: by name, in place of another, or nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import KEY, NOWHERE, Daemon, Event, OpenRelay, config_in, eventually, text_of
from tests.upstream import Upstream, answer
from tests.upstream import failure as status
from tokenflowd.services import Services

RANKED = "openai/gpt-oss-120b"


@pytest.fixture
def local() -> Iterator[Upstream]:
    """A server of this machine, as llama.cpp runs one."""
    with Upstream(answer("Local hello"), models=["nomic-embed-text", "gemma"]) as upstream:
        yield upstream


Opening = Callable[..., Daemon]


@pytest.fixture
def open_daemon(tmp_path: Path) -> Iterator[Opening]:
    opened: list[Daemon] = []

    def opening(environment: dict[str, str], **sections: dict[str, Any]) -> Daemon:
        config = config_in(tmp_path, environment=environment, **sections)
        opened.append(Daemon(Services(config)))
        return opened[-1]

    yield opening
    for daemon in opened:
        daemon.close()


def generate(daemon: Daemon, **more: Any) -> list[Event]:
    return daemon.stream("/api/generate", {"prompt": "Hi", "model": RANKED} | more, timeout_s=10)


def is_up(daemon: Daemon, name: str) -> bool:
    states = daemon.get("/api/providers").json
    return any(state["name"] == name and state["up"] for state in states)


def test_without_a_key_a_local_server_stands_in(open_daemon: Opening, local: Upstream) -> None:
    daemon = open_daemon({}, providers={"llamacpp": {"base_url": local.url}})
    received = generate(daemon)
    metadata = received[0].json
    assert text_of(received) == "Local hello"
    assert metadata["provider"] == "llamacpp"
    assert metadata["selected_model"] == metadata["served_model"] == "gemma"
    assert metadata["wanted_model"] == RANKED
    [request] = local.requests
    assert request.body["model"] == "gemma"  # nobody can chat with an embedding model
    assert "authorization" not in request.headers
    assert received[-2].json["cost_usd"] == 0


@pytest.mark.parametrize("models", [[], ["nomic-embed-text"]])
def test_a_local_server_that_has_no_model_to_chat_with_does_not(
    open_daemon: Opening, models: list[str]
) -> None:
    with Upstream(models=models) as idle:
        daemon = open_daemon({}, providers={"llamacpp": {"base_url": idle.url}})
        assert generate(daemon)[-1].json["error"] == "unavailable"
        assert idle.requests == []


def test_a_local_server_stands_in_for_a_provider_that_cannot_be_reached(
    open_daemon: Opening, local: Upstream
) -> None:
    servers = {"groq": {"base_url": NOWHERE}, "llamacpp": {"base_url": local.url}}
    daemon = open_daemon({"GROQ_API_KEY": KEY}, providers=servers)
    eventually(lambda: is_up(daemon, "llamacpp"))
    received = generate(daemon)
    metadata = received[0].json
    assert text_of(received) == "Local hello"
    assert metadata["provider"] == "llamacpp"
    [attempt] = metadata["attempts"]
    assert (attempt["provider"], attempt["error"]) == ("groq", "unreachable")
    [request] = local.requests
    assert "authorization" not in request.headers  # the key is Groq's alone


def test_a_local_server_does_not_stand_in_where_that_is_forbidden(
    open_daemon: Opening, local: Upstream
) -> None:
    servers = {"groq": {"base_url": NOWHERE}, "llamacpp": {"base_url": local.url}}
    daemon = open_daemon(
        {"GROQ_API_KEY": KEY}, providers=servers, route={"stand_in": False}, generate={"retries": 0}
    )
    eventually(lambda: is_up(daemon, "llamacpp"))
    assert generate(daemon)[-1].json["error"] == "unreachable"
    assert local.requests == []


def test_without_anybody_the_error_says_what_to_do(daemon: Daemon) -> None:
    received = generate(daemon)
    assert [event.name for event in received] == ["metadata", "error"]
    assert received[0].json["selected_model"] == RANKED
    assert "served_model" not in received[0].json
    problem = received[-1].json
    assert (problem["error"], problem["type"]) == ("unavailable", "unavailable")
    assert "set GROQ_API_KEY" in problem["detail"]
    for server in ("ollama", "lmstudio", "llamacpp", "vllm"):
        assert f"{server} at http://127.0.0.1:9/v1" in problem["detail"]


def test_a_named_provider_without_its_key_is_an_error(daemon: Daemon) -> None:
    received = generate(daemon, provider="openrouter", model="any/model")
    assert [event.name for event in received] == ["metadata", "error"]
    problem = received[-1].json
    assert problem["error"] == "unavailable"
    assert problem["detail"] == "openrouter: OPENROUTER_API_KEY is not set"


def test_a_provider_that_is_not_configured_is_422(daemon: Daemon) -> None:
    body = {"prompt": "Hi", "model": "m1", "provider": "acme"}
    answered = daemon.post("/api/generate", body)
    assert (answered.status, answered.json["error"]) == (422, "invalid field")
    assert "acme" in answered.json["detail"]
    assert "openrouter" in answered.json["detail"]  # which there are


def test_a_named_provider_is_the_only_one_that_is_asked(
    open_daemon: Opening, local: Upstream
) -> None:
    with Upstream(status(500)) as groq:
        servers = {"groq": {"base_url": groq.url}, "llamacpp": {"base_url": local.url}}
        keys = {"GROQ_API_KEY": KEY}
        daemon = open_daemon(keys, providers=servers, generate={"retries": 0})
        eventually(lambda: is_up(daemon, "llamacpp"))
        received = generate(daemon, provider="groq")
        assert received[-1].json["error"] == "server error"
        assert len(groq.requests) == 1
        assert local.requests == []


@pytest.mark.parametrize(
    ("retired", "today"),
    [
        ("llama-3.3-70b-versatile", "openai/gpt-oss-120b"),
        ("llama-3.1-8b-instant", "openai/gpt-oss-20b"),
        ("gemma2-9b-it", "openai/gpt-oss-20b"),
    ],
)
def test_a_model_that_was_retired_is_asked_for_by_its_successors_name(
    open_relay: OpenRelay, retired: str, today: str
) -> None:
    relay = open_relay()
    received = relay.generate(model=retired)
    assert relay.upstream.bodies[0]["model"] == today
    metadata = received[0].json
    assert (metadata["selected_model"], metadata["served_model"]) == (retired, today)
    assert metadata["wanted_model"] == retired
    row = relay.latest()
    assert (row["wanted_model"], row["model"]) == (retired, today)
