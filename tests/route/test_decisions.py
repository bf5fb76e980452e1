"""What `auto` decided about a text when it was new holds in later turns."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tokenflowd.route import Decision, Decisions


def decided(compress: bool) -> Callable[[int], Decision]:
    return lambda tokens: Decision(compress, f"{tokens} tokens")


@pytest.mark.parametrize("first", [True, False])
def test_a_text_is_treated_as_when_it_was_new(first: bool) -> None:
    decisions = Decisions()
    decisions.decide([("a", 300)], "m", decided(first))
    decision, left_alone = decisions.decide([("a", 300)], "m", decided(not first))
    assert decision == Decision(first, "as when it was first sent")
    assert left_alone == (frozenset() if first else {"a"})


def test_only_new_texts_are_decided_about() -> None:
    decisions = Decisions()
    decisions.decide([("a", 300)], "m", decided(False))
    decision, left_alone = decisions.decide([("a", 300), ("b", 500)], "m", decided(True))
    assert (decision, left_alone) == (Decision(True, "500 tokens"), {"a"})


def test_what_was_compressed_stays_so_beside_a_new_text_that_is_not() -> None:
    decisions = Decisions()
    decisions.decide([("a", 300)], "m", decided(True))
    decision, left_alone = decisions.decide([("a", 300), ("b", 500)], "m", decided(False))
    assert (decision.compress, left_alone) == (True, {"b"})


def test_another_model_is_another_decision() -> None:
    decisions = Decisions()
    decisions.decide([("a", 300)], "m", decided(True))
    assert decisions.decide([("a", 300)], "n", decided(False))[1] == {"a"}


def test_without_a_text_the_reason_is_the_policys() -> None:
    assert Decisions().decide([], "m", decided(False)) == (Decision(False, "0 tokens"), frozenset())


def test_the_texts_that_were_sent_longest_ago_are_forgotten() -> None:
    decisions = Decisions(max_texts=2)
    for text in ("a", "b", "a", "c"):
        decisions.decide([(text, 300)], "m", decided(True))
    assert decisions.decide([("a", 300)], "m", decided(False))[0].compress
    assert not decisions.decide([("b", 300)], "m", decided(False))[0].compress
