from __future__ import annotations

import pytest

from tokenflowd.config import RankedModel, Ranking, RouteConfig
from tokenflowd.route import DEFAULT_CATEGORIES, Rankings
from tokenflowd.route.rankings import shipped_rankings


def test_every_default_category_has_a_shipped_ranking() -> None:
    assert tuple(shipped_rankings()) == DEFAULT_CATEGORIES


@pytest.mark.parametrize(
    ("category", "title", "description"),
    [
        ("reasoning", "Reasoning", "Logic, problem-solving, and analysis"),
        ("function-calling", "Function Calling", "API interactions and tool usage"),
        ("text-to-text", "Text to Text", "General text generation and transformation"),
        ("multilingual", "Multilingual", "Cross-language generation and translation"),
        ("nsfw", "NSFW Detection", "Content moderation and safety evaluation"),
    ],
)
def test_titles_are_those_of_the_contract(category: str, title: str, description: str) -> None:
    ranking = shipped_rankings()[category]
    assert (ranking.title, ranking.description) == (title, description)


def test_the_users_ranking_replaces_the_shipped_one() -> None:
    own = Ranking("Mine", "My models", (RankedModel("qwen3:8b", "Qwen 3 8B", "ollama"),))
    rankings = Rankings(RouteConfig(rankings={"reasoning": own}), {})
    assert rankings.recommended_model("reasoning") == "qwen3:8b"
    assert rankings.by_category["multilingual"] == shipped_rankings()["multilingual"]


def test_a_category_without_a_ranking_falls_back() -> None:
    assert Rankings(RouteConfig(), {}).recommended_model("poetry") == "llama-3.1-8b-instant"


def test_a_provider_is_configured_when_its_key_is_set() -> None:
    rankings = Rankings(RouteConfig(), {"GROQ_API_KEY": "x"})
    assert rankings.is_configured("groq")
    assert not rankings.is_configured("openrouter")
