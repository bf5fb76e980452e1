from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import text
from tokenflowd.classify import (
    Classification,
    Classifier,
    EmbeddingScorer,
    JointScorer,
    PairScorer,
)
from tokenflowd.classify.scoring import SHORTLIST, Floats
from tokenflowd.config import ClassifyConfig
from tokenflowd.engine import EncoderModel
from tokenflowd.errors import ModelUnavailable
from tokenflowd.route import DEFAULT_CATEGORIES

TOPICS = ["sports", "cooking", "finance", "astronomy", "medicine"]


@pytest.fixture
def pair(classifier_model: EncoderModel) -> PairScorer:
    return PairScorer(classifier_model)


@pytest.fixture
def embedding(embedder_model: EncoderModel) -> EmbeddingScorer:
    return EmbeddingScorer(embedder_model)


@pytest.fixture
def classifier(pair: PairScorer, embedding: EmbeddingScorer) -> Classifier:
    return Classifier(pair, lambda: embedding, ClassifyConfig())


@pytest.fixture(params=["both", "pair", "embedding"])
def each(
    request: pytest.FixtureRequest, pair: PairScorer, embedding: EmbeddingScorer
) -> Classifier:
    return Classifier(pair, lambda: embedding, ClassifyConfig(strategy=request.param))


@pytest.mark.parametrize(
    ("prompt", "category"),
    [
        ("If a train leaves at 3 pm at 80 km/h, how far is it at 5:30 pm? Think.", "reasoning"),
        ("Use the weather API to get the forecast for Paris tomorrow.", "function-calling"),
        ("Write a short thank-you note to my colleagues.", "text-to-text"),
        ("¿Puedes explicarme cómo funciona la fotosíntesis?", "multilingual"),
    ],
)
def test_plain_prompts_go_where_they_belong(
    classifier: Classifier, prompt: str, category: str
) -> None:
    assert classifier.classify(prompt, DEFAULT_CATEGORIES).top_category == category


@pytest.mark.parametrize(
    ("prompt", "topic"),
    [
        ("The striker scored twice in the second half.", "sports"),
        ("Simmer the onions in butter until they are soft.", "cooking"),
        ("The central bank raised its interest rate again.", "finance"),
        ("The telescope found a planet around a distant star.", "astronomy"),
    ],
)
def test_each_strategy_knows_plain_topics(each: Classifier, prompt: str, topic: str) -> None:
    assert each.classify(prompt, TOPICS).top_category == topic


def test_scores_are_ranked_and_sum_to_one(each: Classifier) -> None:
    result = each.classify(text("chat.txt"), TOPICS)
    scores = list(result.scores.values())
    assert sum(scores) == pytest.approx(1, abs=1e-4)
    assert scores == sorted(scores, reverse=True)
    assert set(result.scores) == set(TOPICS)
    assert (result.top_category, result.confidence) == next(iter(result.scores.items()))


def test_multi_label_scores_each_label_by_itself(each: Classifier) -> None:
    prompt = "The doctor cooks soup for the football team."
    few = each.classify(prompt, ["cooking", "sports"], multi_label=True).scores
    many = each.classify(prompt, ["cooking", "sports", *TOPICS], multi_label=True).scores
    assert few["cooking"] == pytest.approx(many["cooking"], abs=0.15)
    assert all(0 <= score <= 1 for score in many.values())


def test_one_label_gets_everything(each: Classifier) -> None:
    assert each.classify("anything", ["sports"]).scores == {"sports": 1.0}


def test_repeated_labels_count_once(classifier: Classifier) -> None:
    once = classifier.classify("a goal", ["sports", "cooking"])
    twice = classifier.classify("a goal", ["sports", "cooking", "sports"])
    assert once == twice


MANY = [f"topic number {index}" for index in range(255)] + ["astronomy"]
STARS = "A telescope looks at distant stars and planets."


def test_256_labels_are_ranked(each: Classifier) -> None:
    result = each.classify(STARS, MANY)
    assert result.top_category == "astronomy"
    assert len(result.scores) == 256
    assert sum(result.scores.values()) == pytest.approx(1, abs=1e-4)


def by_rank(rough: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The labels that the pair model judges, and the others."""
    ranked = np.argsort(-rough, kind="stable")
    return ranked[:SHORTLIST], ranked[SHORTLIST:]


def test_a_short_list_keeps_what_the_encoder_gave_it(
    embedding: EmbeddingScorer, pair: PairScorer
) -> None:
    rough = embedding.scores(STARS, MANY, multi_label=False)
    fine = JointScorer(embedding, pair).scores(STARS, MANY, multi_label=False)
    few, others = by_rank(rough)
    assert fine[few].sum() == pytest.approx(rough[few].sum(), abs=1e-5)
    assert fine[others] == pytest.approx(rough[others])


def test_with_several_labels_those_that_were_not_judged_come_last(
    embedding: EmbeddingScorer, pair: PairScorer
) -> None:
    rough = embedding.scores(STARS, MANY, multi_label=True)
    fine = JointScorer(embedding, pair).scores(STARS, MANY, multi_label=True)
    few, others = by_rank(rough)
    assert fine[others].max() <= fine[few].min()


@pytest.mark.parametrize("multi_label", [True, False])
def test_a_short_list_of_all_labels_judges_each(
    embedding: EmbeddingScorer, pair: PairScorer, multi_label: bool
) -> None:
    scores = [
        scorer.scores(STARS, TOPICS, multi_label=multi_label)
        for scorer in (embedding, pair, JointScorer(embedding, pair))
    ]
    product = scores[1] * np.sqrt(scores[0])
    wanted = scores[1] if multi_label else product / product.sum()
    assert scores[2] == pytest.approx(wanted, abs=0.02)  # a batch's rows share their scale


def test_256_labels_work_with_the_pair_model(pair: PairScorer) -> None:
    scores = pair.scores("A telescope.", [f"topic {i}" for i in range(256)], multi_label=False)
    assert scores.shape == (256,)
    assert scores.sum() == pytest.approx(1, abs=1e-4)


def test_without_the_encoder_the_pair_model_answers(pair: PairScorer) -> None:
    def missing() -> EmbeddingScorer:
        raise ModelUnavailable("the encoder is damaged")

    alone = Classifier(pair, missing, ClassifyConfig(strategy="pair")).classify(STARS, TOPICS)
    assert Classifier(pair, missing, ClassifyConfig()).classify(STARS, TOPICS) == alone


@pytest.mark.parametrize("prompt", ["", " \n ", "\u200b", "😀"])
def test_prompts_without_words_get_scores_all_the_same(each: Classifier, prompt: str) -> None:
    assert sum(each.classify(prompt, TOPICS).scores.values()) == pytest.approx(1, abs=1e-4)


def test_what_is_wanted_at_the_end_of_a_very_long_prompt_counts(classifier: Classifier) -> None:
    labels = ["translation into another language", "a meeting", "small talk"]
    source = text("meeting.txt") * 100
    asked = classifier.classify(f"{source}\n\nTranslate the text above into Spanish.", labels)
    unasked = classifier.classify(source, labels)
    assert asked.scores[labels[0]] > 2 * unasked.scores[labels[0]]


def test_descriptions_replace_names_for_the_model_only(pair: PairScorer) -> None:
    settings = ClassifyConfig(descriptions={"A": "sports", "B": "cooking"})
    classifier = Classifier(pair, lambda: pair, settings)
    result = classifier.classify("The striker scored twice in the second half.", ["A", "B"])
    assert result.top_category == "A"
    assert set(result.scores) == {"A", "B"}


def test_braces_in_labels_are_just_characters(pair: PairScorer) -> None:
    scores = pair.scores("hello", ["{}", "{0}", "{name!r}"], multi_label=False)
    assert np.isfinite(scores).all()


def test_a_template_can_be_replaced(classifier_model: EncoderModel) -> None:
    usual = PairScorer(classifier_model).scores("a goal", TOPICS, multi_label=False)
    other = PairScorer(classifier_model, "It is {}.").scores("a goal", TOPICS, multi_label=False)
    assert not np.allclose(usual, other)


def test_label_vectors_are_computed_once(embedder_model: EncoderModel) -> None:
    scorer = EmbeddingScorer(embedder_model)
    scorer.scores("a goal", TOPICS, multi_label=False)
    known = dict(scorer._vectors)
    scorer.scores("another one", TOPICS, multi_label=False)
    assert all(scorer._vectors[label] is vector for label, vector in known.items())


def test_a_classification_names_its_best() -> None:
    result = Classification({"a": 0.9, "b": 0.1}, "m")
    assert (result.top_category, result.confidence) == ("a", 0.9)
