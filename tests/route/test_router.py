from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import KEY, config_in
from tokenflowd.classify import Classification
from tokenflowd.errors import InvalidField, NotFound
from tokenflowd.generate import Candidate, Providers
from tokenflowd.route import Needs, Rankings, Route, Router

GROQ = {"GROQ_API_KEY": KEY}
BOTH = {**GROQ, "OPENROUTER_API_KEY": KEY}


class World:
    """A router with the shipped settings, `route` over them, and the providers it knows."""

    def __init__(self, home: Path, environment: dict[str, str], **route: Any) -> None:
        config = config_in(home, environment=environment, route=route)
        self.providers = Providers(config.providers, config.environment.get)
        rankings = Rankings(config.route, self.providers)
        self.router = Router(config.route, rankings, self.providers)

    def local(self, *models: str) -> list[Candidate]:
        return [Candidate(self.providers["ollama"], model) for model in models]


def asked(route: Route) -> list[tuple[str, str]]:
    return [(candidate.provider.name, candidate.model) for candidate in route.candidates]


def found(category: str, confidence: float = 0.9) -> Classification:
    return Classification({category: confidence, "other": 1 - confidence}, "classifier")


def test_a_category_is_answered_along_its_ranking(tmp_path: Path) -> None:
    route = World(tmp_path, GROQ).router.for_category(found("reasoning"), [], Needs())
    assert asked(route) == [
        ("groq", "openai/gpt-oss-120b"),
        ("groq", "qwen/qwen3.8-27b"),
        ("groq", "openai/gpt-oss-20b"),
    ]
    assert route.reason == "category reasoning, 0.90"


def test_an_unsure_classification_is_answered_by_the_fallback(tmp_path: Path) -> None:
    world = World(tmp_path, GROQ, min_confidence=0.5, fallback_model="qwen/qwen3.8-27b")
    route = world.router.for_category(found("reasoning", 0.49), [], Needs())
    assert asked(route) == [("groq", "qwen/qwen3.8-27b")]
    assert route.reason == "category reasoning, 0.49: below 0.50"


def test_the_default_fallback_is_asked_for_by_the_name_it_has_today(tmp_path: Path) -> None:
    route = World(tmp_path, GROQ).router.for_category(found("poetry"), [], Needs())
    assert route.wanted == "llama-3.1-8b-instant"
    assert asked(route) == [("groq", "openai/gpt-oss-20b")]


@pytest.mark.parametrize(
    ("environment", "model", "expected"),
    [
        (GROQ, "openai/gpt-oss-20b", [("groq", "openai/gpt-oss-20b")]),
        (GROQ, "llama-3.3-70b-versatile", [("groq", "openai/gpt-oss-120b")]),
        (GROQ, "groq/openai/gpt-oss-20b", [("groq", "openai/gpt-oss-20b")]),
        # Nobody is known to serve it: the first provider with a key may know it.
        (GROQ, "brand/new-model", [("groq", "brand/new-model")]),
        (
            BOTH,
            "openrouter/anthropic/claude-sonnet",
            [("openrouter", "anthropic/claude-sonnet")],
        ),
    ],
)
def test_a_named_model_is_asked_for_where_it_is_served(
    tmp_path: Path, environment: dict[str, str], model: str, expected: Sequence[tuple[str, str]]
) -> None:
    assert asked(World(tmp_path, environment).router.for_model(model, [])) == expected


def test_a_model_of_this_machine_is_found_by_its_name(tmp_path: Path) -> None:
    world = World(tmp_path, GROQ)
    route = world.router.for_model("qwen3:8b", world.local("gemma3", "qwen3:8b"))
    assert asked(route)[0] == ("ollama", "qwen3:8b")


def test_a_server_of_this_machine_stands_in_last(tmp_path: Path) -> None:
    world = World(tmp_path, GROQ)
    local = world.local("nomic-embed-text", "gemma3")
    assert asked(world.router.for_category(found("nsfw"), local, Needs()))[-1] == (
        "ollama",
        "gemma3",
    )
    assert asked(world.router.for_model("openai/gpt-oss-20b", local))[-1] == ("ollama", "gemma3")


def test_the_stand_in_can_be_chosen_and_forbidden(tmp_path: Path) -> None:
    chosen = World(tmp_path, {}, local_model="qwen3:8b")
    local = chosen.local("gemma3", "qwen3:8b")
    assert asked(chosen.router.for_category(found("nsfw"), local, Needs())) == [
        ("ollama", "qwen3:8b")
    ]
    without = World(tmp_path, {}, stand_in=False)
    route = without.router.for_category(found("nsfw"), without.local("gemma3"), Needs())
    assert not route.candidates


def test_nobody_stands_in_for_a_provider_that_was_named(tmp_path: Path) -> None:
    world = World(tmp_path, {})
    route = world.router.at_provider("groq", "openai/gpt-oss-20b")
    assert not route.candidates
    assert route.problem
    assert "GROQ_API_KEY is not set" in route.problem.detail


def test_without_anybody_the_problem_says_what_to_do(tmp_path: Path) -> None:
    route = World(tmp_path, {}).router.for_category(found("reasoning"), [], Needs())
    assert route.problem
    for hint in ("set GROQ_API_KEY", ".env", "ollama serve", "http://127.0.0.1"):
        assert hint in route.problem.detail


def test_an_unknown_model_that_nobody_can_be_asked_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="'gpt-99'"):
        World(tmp_path, {}).router.for_model("gpt-99", [])


def test_an_unknown_provider_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidField, match="there is no provider 'nope'"):
        World(tmp_path, {}).router.at_provider("nope", "m")


@pytest.mark.parametrize(
    "model",
    [
        *("gpt-oss:120b-cloud", "qwen3-coder:480b-Cloud", "minimax-m2:cloud"),
        *("nomic-embed-text", "bge-m3:latest", "all-minilm:l6-v2", "hf.co/x/gte-large"),
        *("text-embedding-bge-small", "intfloat/e5-small", "paraphrase-multilingual:278m"),
    ],
)
def test_neither_the_cloud_nor_an_encoder_stands_in(tmp_path: Path, model: str) -> None:
    world = World(tmp_path, {})
    route = world.router.for_category(found("nsfw"), world.local(model, "gemma3"), Needs())
    assert asked(route) == [("ollama", "gemma3")]
    assert world.router.for_category(found("nsfw"), world.local(model), Needs()).problem


@pytest.mark.parametrize("model", ["cloudy-7b", "storm-cloud-3b", "e5xl-chat", "gtebot:7b"])
def test_a_name_that_only_sounds_like_it_stands_in(tmp_path: Path, model: str) -> None:
    world = World(tmp_path, {})
    route = world.router.for_category(found("nsfw"), world.local(model), Needs())
    assert asked(route) == [("ollama", model)]
