"""The arithmetic of corrections, without a model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenflowd.classify.corrections import (
    MAX_NEIGHBOURS,
    SIMILARITY_FLOOR,
    CorrectedPrompts,
    Floats,
    Neighbour,
    blended,
    weight,
)

CATEGORIES = ["code", "poetry", "cooking"]

neighbours = st.lists(
    st.builds(
        Neighbour,
        st.just("id"),
        st.sampled_from(CATEGORIES),
        st.floats(0.01, 1),
    ),
    max_size=MAX_NEIGHBOURS,
)
distributions = st.lists(st.floats(0.01, 1), min_size=3, max_size=3).map(
    lambda parts: dict(zip(CATEGORIES, (part / sum(parts) for part in parts), strict=True))
)


def at(*similarities: float) -> Floats:
    """Unit vectors with these cosines to `ORIGIN`."""
    return np.array([[s, (1 - s * s) ** 0.5] for s in similarities], np.float32)


ORIGIN = np.array([1, 0], np.float32)


@pytest.mark.parametrize(
    ("similarity", "expected"),
    [(-1, 0), (0.5, 0), (SIMILARITY_FLOOR, 0), (0.75, 0.49), (0.9, 0.918), (1, 1), (1.001, 1)],
)
def test_the_weight_grows_from_nothing_at_the_floor_to_one(
    similarity: float, expected: float
) -> None:
    assert weight(np.array([similarity], np.float32))[0] == pytest.approx(expected, abs=2e-3)


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_who_is_nearer_has_no_less_weight(one: float, other: float) -> None:
    near, far = weight(np.array([max(one, other), min(one, other)], np.float32))
    assert 1 >= near >= far >= 0


@given(distributions, neighbours)
def test_scores_stay_a_distribution(scores: dict[str, float], near: list[Neighbour]) -> None:
    result = blended(scores, near, multi_label=False)
    assert list(result) == list(scores)
    assert sum(result.values()) == pytest.approx(1)
    assert all(0 <= score <= 1 for score in result.values())


@given(distributions, neighbours)
def test_with_several_labels_corrections_only_raise(
    scores: dict[str, float], near: list[Neighbour]
) -> None:
    result = blended(scores, near, multi_label=True)
    corrected = {neighbour.category for neighbour in near}
    for category, score in result.items():
        assert scores[category] <= score <= 1
        assert category in corrected or score == scores[category]


@pytest.mark.parametrize(
    ("near", "expected"),
    [
        ([], {"code": 0.9, "poetry": 0.1}),
        ([("poetry", 1.0)], {"code": 0.0, "poetry": 1.0}),
        ([("poetry", 0.5)], {"code": 0.45, "poetry": 0.55}),
        ([("poetry", 0.5), ("poetry", 0.5)], {"code": 0.225, "poetry": 0.775}),
        # The same prompt outweighs many that are alike.
        ([("code", 1.0), *[("poetry", 0.9)] * 4], {"code": 1.0, "poetry": 0.0}),
        ([("poetry", 0.6), ("code", 0.6)], {"code": 0.384, "poetry": 0.616}),
    ],
)
def test_the_nearest_has_the_greatest_say(
    near: list[tuple[str, float]], expected: dict[str, float]
) -> None:
    scores = {"code": 0.9, "poetry": 0.1}
    found = [Neighbour("id", category, share) for category, share in near]
    assert blended(scores, found, multi_label=False) == pytest.approx(expected)


def test_the_nearest_come_first_and_the_distant_not_at_all() -> None:
    prompts = CorrectedPrompts(["a", "b", "c", "d"], ["code"] * 4, at(0.8, 0.95, 0.3, 0.7))
    assert [n.request_id for n in prompts.near(ORIGIN, CATEGORIES)] == ["b", "a", "d"]


def test_categories_that_nobody_asked_for_take_no_place() -> None:
    many = MAX_NEIGHBOURS + 3
    prompts = CorrectedPrompts(
        [f"other {n}" for n in range(many)] + ["mine"],
        ["tax"] * many + ["code"],
        at(*[0.99] * many, 0.8),
    )
    assert [n.request_id for n in prompts.near(ORIGIN, ["code", "poetry"])] == ["mine"]
    assert len(prompts.near(ORIGIN, ["tax"])) == MAX_NEIGHBOURS


def test_vectors_come_back_from_their_bytes() -> None:
    vectors = at(0.9, 0.2)
    stored = [("a", "code", vectors[0].tobytes()), ("b", "tax", vectors[1].tobytes())]
    prompts = CorrectedPrompts.of(stored)
    np.testing.assert_array_equal(prompts.vectors, vectors)
    assert (prompts.request_ids, prompts.categories) == (("a", "b"), ("code", "tax"))
