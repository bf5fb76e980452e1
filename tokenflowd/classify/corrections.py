"""What corrected prompts say about a new one. Arithmetic only."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# Cosines of our sentence encoder: paraphrases are at .73 to .97, requests for another task in the
# same words mostly below .7, others below .5.
SIMILARITY_FLOOR = 0.65
# Many that are barely alike would outweigh the classifier together.
MAX_NEIGHBOURS = 5


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A corrected prompt like the one at hand; `weight` in (0, 1] is its say."""

    request_id: str
    category: str
    weight: float


@dataclass(frozen=True, slots=True)
class CorrectedPrompts:
    """Ids, categories and unit vectors (float32, shape (n_prompts, dimensions)), in one order."""

    request_ids: Sequence[str]
    categories: Sequence[str]
    vectors: Floats

    @classmethod
    def of(cls, corrections: Sequence[tuple[str, str, bytes]]) -> Self:
        """From at least one id, category and float32 vector of the same model."""
        ids, categories, vectors = zip(*corrections, strict=True)
        matrix = np.frombuffer(b"".join(vectors), np.float32).reshape(len(ids), -1)
        return cls(ids, categories, matrix)

    def near(self, vector: Floats, categories: Collection[str]) -> list[Neighbour]:
        """Those of `categories` that are like `vector`, nearest first."""
        weights = weight(self.vectors @ vector)
        nearest = np.argsort(-weights, kind="stable")
        found = [
            Neighbour(self.request_ids[index], self.categories[index], float(weights[index]))
            for index in nearest[: np.count_nonzero(weights)].tolist()
            if self.categories[index] in categories
        ]
        return found[:MAX_NEIGHBOURS]


def weight(similarity: Floats) -> Floats:
    """0 up to the floor, then ever more slowly up to 1 for the same prompt; a paraphrase (.75)
    has about one half."""
    distance = np.clip((1 - similarity) / (1 - SIMILARITY_FLOOR), 0, 1)
    shares: Floats = 1 - distance**2
    return shares


def blended(
    scores: Mapping[str, float], neighbours: Sequence[Neighbour], *, multi_label: bool
) -> dict[str, float]:
    """`scores` with each neighbour's weight moved to its category. They come nearest first, and
    the nearest's is moved last, so that its say is the greatest. With `multi_label` nothing is
    taken from the other categories."""
    result = dict(scores)
    for neighbour in reversed(neighbours):
        for category in result:
            if category == neighbour.category:
                result[category] += neighbour.weight * (1 - result[category])
            elif not multi_label:
                result[category] *= 1 - neighbour.weight
    return result
