"""What the sentence vector of a prompt says of the categories that ship."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# The say of the sentence vector; the rest is the scorer's. At .5 the scorer, which is very sure of
# itself, still outvotes it on requests for private data; at .7 BIG-Bench and GSM8K lose too much.
SHARE = 0.6


@dataclass(frozen=True, slots=True)
class DefaultCategories:
    """Multinomial logistic regression over the vectors of one sentence encoder.

    A label's name tells a zero-shot model little of "text-to-text" or "nsfw"; this layer was fitted
    to examples of them (models/fit_routing.py). `weights` is float32, shape (n_categories,
    dimensions), `biases` has shape (n_categories,), both in the order of `names`.
    """

    encoder_id: str
    names: tuple[str, ...]
    weights: Floats
    biases: Floats

    @classmethod
    def shipped(cls) -> Self:
        """From the file beside this module."""
        file = resources.files("tokenflowd.classify") / "head.json"
        told = json.loads(file.read_text("utf-8"))
        rows = [np.frombuffer(base64.b64decode(row), "<f2") for row in told["weights"].values()]
        return cls(
            encoder_id=told["encoder"],
            names=tuple(told["weights"]),
            weights=np.stack(rows).astype(np.float32),
            biases=np.array([told["biases"][name] for name in told["weights"]], np.float32),
        )

    def pooled(self, scores: Floats, categories: Sequence[str], vector: Floats) -> Floats:
        """The weighted geometric mean of `scores` and of what `vector`, a prompt's unit vector,
        says of the `categories`, which are among `names`; their sum stays what it was. float32,
        shape (n_categories,)."""
        rows = [self.names.index(category) for category in categories]
        logits = self.weights[rows] @ vector + self.biases[rows]
        means = scores ** (1 - SHARE) * np.exp(SHARE * (logits - logits.max()))
        if not means.sum():
            return scores
        pooled: Floats = means * (scores.sum() / means.sum())
        return pooled
