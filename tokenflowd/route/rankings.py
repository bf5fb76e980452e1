"""Which models are best for a category, as the config ranks them."""

from __future__ import annotations

from tokenflowd.config import Ranking, RouteConfig
from tokenflowd.errors import ConfigError
from tokenflowd.generate import Candidate, Providers

DEFAULT_CATEGORIES = ("reasoning", "function-calling", "text-to-text", "multilingual", "nsfw")


class Rankings:
    """Rankings by category. Raises ConfigError for a provider that nobody configured."""

    def __init__(self, settings: RouteConfig, providers: Providers) -> None:
        self.by_category: dict[str, Ranking] = settings.rankings
        self._settings = settings
        self._providers = providers
        for category, ranking in self.by_category.items():
            for model in ranking.models:
                if model.provider not in providers:
                    raise ConfigError(
                        f"route.rankings.{category}: there is no provider {model.provider!r}; "
                        f"add [providers.{model.provider}] or name one of {', '.join(providers)}"
                    )

    def recommended_model(self, category: str, confidence: float = 1.0) -> str:
        """The id of the category's primary model; of the fallback if there is no ranking, or if
        the classifier is not sure."""
        ranking = self.trusted(category, confidence)
        return ranking.models[0].id if ranking else self._settings.fallback_model

    def trusted(self, category: str, confidence: float) -> Ranking | None:
        """The category's ranking, if there is one and the classifier is sure enough."""
        if confidence < self._settings.min_confidence:
            return None
        return self.by_category.get(category)

    def is_configured(self, provider: str) -> bool:
        """Whether requests can be sent to `provider`: its key is set, if it needs one."""
        return self._providers[provider].obstacle is None

    def ranked_at(self, model: str) -> list[Candidate]:
        """The providers at which `model` is ranked, each once."""
        names = {
            ranked.provider: None
            for ranking in self.by_category.values()
            for ranked in ranking.models
            if ranked.id == model
        }
        return [Candidate(self._providers[name], model) for name in names]
