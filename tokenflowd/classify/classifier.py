"""The classify service: a prompt and category names in, ranked scores out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tokenflowd.classify.scoring import JointScorer, Scorer
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
    that cannot be had.
    """

    def __init__(
        self, pair: Scorer, embedding: Callable[[], Scorer], settings: ClassifyConfig
    ) -> None:
        self._pair = pair
        self._embedding = embedding
        self._settings = settings

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
        scorer = self._scorer()
        scores = scorer.scores(
            prompt,
            [descriptions.get(category, category) for category in unique],
            multi_label=multi_label,
            stop=stop,
        )
        ranked = sorted(zip(unique, scores.tolist(), strict=True), key=lambda pair: -pair[1])
        return Classification(dict(ranked), scorer.model_id)

    def _scorer(self) -> Scorer:
        match self._settings.strategy:
            case "pair":
                return self._pair
            case "embedding":
                return self._embedding()
            case "both":
                try:
                    return JointScorer(self._embedding(), self._pair)
                except ModelUnavailable as error:
                    log.error("%s", error.detail)
                    return self._pair
