from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import config_in
from tokenflowd.config import default_settings
from tokenflowd.errors import ConfigError
from tokenflowd.generate import Providers
from tokenflowd.route import DEFAULT_CATEGORIES, Rankings


def rankings(home: Path, environment: dict[str, str] | None = None, **route: Any) -> Rankings:
    config = config_in(home, route=route)
    return Rankings(config.route, Providers(config.providers, (environment or {}).get))


def test_every_default_category_has_a_shipped_ranking() -> None:
    assert tuple(default_settings().route.rankings) == DEFAULT_CATEGORIES


def test_every_ranked_model_is_one_that_groq_serves() -> None:
    settings = default_settings()
    groq = settings.providers["groq"]
    for ranking in settings.route.rankings.values():
        for model in ranking.models:
            assert model.provider == "groq"
            assert model.id in groq.models
    # What was taken away is neither ranked nor named as a replacement.
    assert not groq.retired.keys() & groq.models.keys()
    assert set(groq.retired.values()) <= groq.models.keys()


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
    ranking = default_settings().route.rankings[category]
    assert (ranking.title, ranking.description) == (title, description)


def test_the_users_ranking_replaces_the_shipped_one(tmp_path: Path) -> None:
    models = [{"id": "qwen3:8b", "name": "Qwen 3 8B", "provider": "ollama"}]
    own = {"title": "Mine", "description": "My models", "models": models}
    ranked = rankings(tmp_path, rankings={"reasoning": own})
    assert ranked.recommended_model("reasoning") == "qwen3:8b"
    shipped = default_settings().route.rankings
    assert ranked.by_category["multilingual"] == shipped["multilingual"]


def test_a_ranking_may_change_its_models_only(tmp_path: Path) -> None:
    models = [{"id": "qwen3:8b", "name": "Qwen 3 8B", "provider": "ollama"}]
    ranked = rankings(tmp_path, rankings={"reasoning": {"models": models}})
    assert ranked.by_category["reasoning"].title == "Reasoning"
    assert ranked.recommended_model("reasoning") == "qwen3:8b"


def test_a_category_without_a_ranking_falls_back(tmp_path: Path) -> None:
    assert rankings(tmp_path).recommended_model("poetry") == "llama-3.1-8b-instant"


def test_an_unsure_classification_falls_back(tmp_path: Path) -> None:
    ranked = rankings(tmp_path, min_confidence=0.4, fallback_model="small")
    assert ranked.recommended_model("reasoning", 0.39) == "small"
    assert ranked.recommended_model("reasoning", 0.41) == "openai/gpt-oss-120b"


def test_a_provider_is_configured_when_its_key_is_set(tmp_path: Path) -> None:
    ranked = rankings(tmp_path, {"GROQ_API_KEY": "x"})
    assert ranked.is_configured("groq")
    assert not ranked.is_configured("openrouter")
    assert ranked.is_configured("ollama")


def test_a_ranking_that_names_no_provider_is_refused(tmp_path: Path) -> None:
    models = [{"id": "a", "name": "A", "provider": "grok"}]
    own = {"title": "T", "description": "D", "models": models}
    with pytest.raises(ConfigError, match="there is no provider 'grok'"):
        rankings(tmp_path, rankings={"mine": own})
