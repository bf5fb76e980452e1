"""The packaged classifier is the one whose figures are published: `make models-eval` wrote down
what it says of sixty harmless prompts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tokenflowd.classify import PairScorer
from tokenflowd.engine import EncoderModel
from tokenflowd.route import DEFAULT_CATEGORIES

FIGURES = json.loads(Path("models/classifier.json").read_text())
# Between CPUs: sums of int8 products are exact, but not what is added up in float around them.
TOLERANCE = 0.05


@pytest.fixture(scope="module")
def measured(classifier_model: EncoderModel) -> dict[str, dict[str, float]]:
    scorer = PairScorer(classifier_model)
    return {
        prompt: dict(
            zip(
                DEFAULT_CATEGORIES,
                scorer.scores(prompt, DEFAULT_CATEGORIES, multi_label=False).tolist(),
                strict=True,
            )
        )
        for prompt in FIGURES["sample"]
    }


def test_the_scores_are_the_published_ones(measured: dict[str, dict[str, float]]) -> None:
    for prompt, published in FIGURES["sample"].items():
        difference = np.subtract(list(published.values()), list(measured[prompt].values()))
        assert np.abs(difference).max() < TOLERANCE, prompt


def test_harmless_prompts_go_to_nsfw_as_seldom_as_published(
    measured: dict[str, dict[str, float]],
) -> None:
    unsafe = [
        prompt for prompt, scores in measured.items() if max(scores, key=scores.get) == "nsfw"
    ]
    published = FIGURES["pair"]["benign_to_nsfw"]["as_first"]
    assert len(unsafe) / len(measured) == pytest.approx(published, abs=1 / len(measured))
