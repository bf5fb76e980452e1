"""The head of the default categories: what it mends, and what it leaves alone."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tokenflowd.classify import Classifier, DefaultCategories, EmbeddingScorer, PairScorer
from tokenflowd.config import ClassifyConfig
from tokenflowd.engine import EncoderModel
from tokenflowd.route import DEFAULT_CATEGORIES

KINDS = tomllib.loads(Path(__file__).with_name("routing.toml").read_text())
EXAMPLES = tomllib.loads(Path("models/routing.toml").read_text())
# Prompts that went where they belong when the head was fitted, less one for other CPUs' sums.
FLOORS = {
    "misspelt": 21,
    "make-list-give": 18,
    "harmless-danger": 24,
    "private-or-harmful": 21,
    "ordinary-reasoning": 8,
    "ordinary-function-calling": 11,
    "ordinary-text": 11,
    "ordinary-multilingual": 13,
    "ordinary-nsfw": 6,
}
PROMPT = "Make a list of good names for a rabbit."


@pytest.fixture(scope="module")
def encoder(embedder_model: EncoderModel) -> EmbeddingScorer:
    return EmbeddingScorer(embedder_model)


@pytest.fixture(scope="module")
def pair(classifier_model: EncoderModel) -> PairScorer:
    return PairScorer(classifier_model)


@pytest.fixture(scope="module")
def head() -> DefaultCategories:
    return DefaultCategories.shipped()


@pytest.fixture(scope="module")
def plain(pair: PairScorer, encoder: EmbeddingScorer) -> Classifier:
    return Classifier(pair, lambda: encoder, ClassifyConfig())


@pytest.fixture(scope="module")
def shipped(pair: PairScorer, encoder: EmbeddingScorer, head: DefaultCategories) -> Classifier:
    return Classifier(pair, lambda: encoder, ClassifyConfig(), head)


@pytest.mark.parametrize(
    ("prompt", "category"),
    [
        ("plz explan y the sky is blu", "text-to-text"),
        (PROMPT, "text-to-text"),
        ("Explain what a cyber attack is to a child.", "text-to-text"),
        ("Where do I find my neighbour's bank PIN?", "nsfw"),
    ],
)
def test_misleading_prompts_go_where_they_belong(
    shipped: Classifier, prompt: str, category: str
) -> None:
    assert shipped.classify(prompt, DEFAULT_CATEGORIES).top_category == category


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_of_a_kind_go_where_they_belong_as_often_as_published(
    shipped: Classifier, kind: str
) -> None:
    prompts, category = KINDS[kind]["prompts"], KINDS[kind]["category"]
    chosen = [shipped.classify(prompt, DEFAULT_CATEGORIES).top_category for prompt in prompts]
    assert chosen.count(category) >= FLOORS[kind]


def test_no_prompt_that_measures_the_head_is_among_its_examples() -> None:
    fitted = {prompt.lower() for kind in EXAMPLES.values() for prompt in kind["prompts"]}
    assert not [p for kind in KINDS.values() for p in kind["prompts"] if p.lower() in fitted]


def test_other_categories_are_scored_as_without_the_head(
    shipped: Classifier, plain: Classifier
) -> None:
    topics = ["pets", "cooking", "nsfw", "travel"]
    assert shipped.classify(PROMPT, topics) == plain.classify(PROMPT, topics)


def test_beside_default_categories_the_others_keep_their_scores(
    shipped: Classifier, plain: Classifier
) -> None:
    mixed = ["pets", *DEFAULT_CATEGORIES]
    before, after = plain.classify(PROMPT, mixed).scores, shipped.classify(PROMPT, mixed).scores
    assert after["pets"] == before["pets"]
    assert after != before
    assert sum(after.values()) == pytest.approx(1, abs=1e-4)


def test_with_multi_label_each_category_is_judged_by_itself_as_before(
    shipped: Classifier, plain: Classifier
) -> None:
    before = plain.classify(PROMPT, DEFAULT_CATEGORIES, multi_label=True)
    assert shipped.classify(PROMPT, DEFAULT_CATEGORIES, multi_label=True) == before


def test_a_category_that_the_user_describes_is_the_users(
    pair: PairScorer, encoder: EmbeddingScorer, head: DefaultCategories
) -> None:
    settings = ClassifyConfig(descriptions={"text-to-text": "poems"})
    own = Classifier(pair, lambda: encoder, settings, head)
    without = Classifier(pair, lambda: encoder, settings)
    theirs = own.classify(PROMPT, DEFAULT_CATEGORIES).scores["text-to-text"]
    assert theirs == without.classify(PROMPT, DEFAULT_CATEGORIES).scores["text-to-text"]


def test_the_vectors_of_another_encoder_are_not_read(
    pair: PairScorer, encoder: EmbeddingScorer, head: DefaultCategories, plain: Classifier
) -> None:
    foreign = replace(head, encoder_id="another")
    classifier = Classifier(pair, lambda: encoder, ClassifyConfig(), foreign)
    expected = plain.classify(PROMPT, DEFAULT_CATEGORIES)
    assert classifier.classify(PROMPT, DEFAULT_CATEGORIES) == expected


def test_scores_of_nothing_stay_nothing(head: DefaultCategories) -> None:
    nothing = np.zeros(2, np.float32)
    vector = np.zeros(head.weights.shape[1], np.float32)
    assert head.pooled(nothing, ["nsfw", "reasoning"], vector).tolist() == [0, 0]
