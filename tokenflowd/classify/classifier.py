"""The classify service: a prompt and category names in, ranked scores out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tokenflowd.classify.scoring import Scorer
from tokenflowd.config import ClassifyConfig


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
    """Chooses the scorer for a set of categories and names the scores.

    `embedding` is called when the sentence encoder is first needed, so that those who never
    classify into many labels never load it.
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
        scorer = self._scorer_for(len(unique))
        scores = scorer.scores(
            prompt,
            [descriptions.get(category, category) for category in unique],
            multi_label=multi_label,
            stop=stop,
        )
        ranked = sorted(zip(unique, scores.tolist(), strict=True), key=lambda pair: -pair[1])
        return Classification(dict(ranked), scorer.model_id)

    def _scorer_for(self, n_categories: int) -> Scorer:
        strategy = self._settings.strategy
        if strategy == "auto":
            strategy = "pair" if n_categories <= self._settings.pair_labels else "embedding"
        return self._pair if strategy == "pair" else self._embedding()
