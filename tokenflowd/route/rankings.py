"""Which models are best for a category: the user's rankings over the shipped ones."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources

import msgspec

from tokenflowd.config import Ranking, RouteConfig

DEFAULT_CATEGORIES = ("reasoning", "function-calling", "text-to-text", "multilingual", "nsfw")

# Which variable holds a provider's key; a provider without one needs none.
PROVIDER_KEYS = {"groq": "GROQ_API_KEY", "openrouter": "OPENROUTER_API_KEY"}


class Rankings:
    """Rankings by category, shipped ones first."""

    def __init__(self, settings: RouteConfig, environment: Mapping[str, str]) -> None:
        self._fallback = settings.fallback_model
        self._environment = environment
        self.by_category: dict[str, Ranking] = {**shipped_rankings(), **settings.rankings}

    def recommended_model(self, category: str) -> str:
        """The id of the category's primary model, or of the fallback."""
        ranking = self.by_category.get(category)
        return ranking.models[0].id if ranking else self._fallback

    def is_configured(self, provider: str) -> bool:
        """Whether the key that `provider` needs is set."""
        key = PROVIDER_KEYS.get(provider)
        return key is None or bool(self._environment.get(key))


def shipped_rankings() -> dict[str, Ranking]:
    text = resources.files("tokenflowd.route").joinpath("rankings.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, Ranking])
