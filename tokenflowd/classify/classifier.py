"""The classify service: a prompt and category names in, ranked scores out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tokenflowd.classify.defaults import DefaultCategories
from tokenflowd.classify.scoring import EmbeddingScorer, Floats, JointScorer, Scorer
from tokenflowd.config import ClassifyConfig
from tokenflowd.errors import ModelUnavailable

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Classification:
    """Scores by category, highest first; the first is `top_category`. `corrected_by` is the
    corrected request that had the greatest say in them besides the model."""

    scores: dict[str, float]
    model_id: str
    corrected_by: str | None = None

    @property
    def top_category(self) -> str:
        return next(iter(self.scores))

    @property
    def confidence(self) -> float:
        return next(iter(self.scores.values()))


class Classifier:
    """Asks the scorer that the settings name, and names the scores.

    `embedding` is called when the sentence encoder is needed. The pair model alone answers where
    that cannot be had. `defaults` has its say where the encoder is the one that it was fitted to,
    about categories that the settings do not describe in other words.
    """

    def __init__(
        self,
        pair: Scorer,
        embedding: Callable[[], EmbeddingScorer],
        settings: ClassifyConfig,
        defaults: DefaultCategories | None = None,
    ) -> None:
        self._pair = pair
        self._embedding = embedding
        self._settings = settings
        self._defaults = defaults

    def classify(
        self,
        prompt: str,
        categories: Sequence[str],
        *,
        multi_label: bool = False,
        stop: threading.Event | None = None,
    ) -> Classification:
        """Scores of `categories` (at least one; repeated ones count once).

        They sum to 1, so that a single category gets 1, unless `multi_label`. Raises Busy,
        Cancelled, ModelUnavailable.
        """
        unique = list(dict.fromkeys(categories))
        descriptions = self._settings.descriptions
        scorer, encoder = self._scorers()
        scores = scorer.scores(
            prompt,
            [descriptions.get(category, category) for category in unique],
            multi_label=multi_label,
            stop=stop,
        )
        if encoder and not multi_label:
            scores = self._with_defaults(scores, prompt, unique, encoder, stop)
        ranked = sorted(zip(unique, scores.tolist(), strict=True), key=lambda pair: -pair[1])
        return Classification(dict(ranked), scorer.model_id)

    def _with_defaults(
        self,
        scores: Floats,
        prompt: str,
        categories: Sequence[str],
        encoder: EmbeddingScorer,
        stop: threading.Event | None,
    ) -> Floats:
        defaults = self._defaults
        if defaults is None or defaults.encoder_id != encoder.model_id:
            return scores
        known = [
            at
            for at, category in enumerate(categories)
            if category in defaults.names and category not in self._settings.descriptions
        ]
        if len(known) < 2:  # nothing to choose among, so the vector is not needed
            return scores
        (vector,) = encoder.vectors([prompt], stop)
        result = scores.copy()
        result[known] = defaults.pooled(scores[known], [categories[at] for at in known], vector)
        return result

    def _scorers(self) -> tuple[Scorer, EmbeddingScorer | None]:
        """The scorer, and the sentence encoder if that is part of it."""
        match self._settings.strategy:
            case "pair":
                return self._pair, None
            case "embedding":
                encoder = self._embedding()
                return encoder, encoder
            case "both":
                try:
                    encoder = self._embedding()
                except ModelUnavailable as error:
                    log.error("%s", error.detail)
                    return self._pair, None
                return JointScorer(encoder, self._pair), encoder
