"""mode="llmlingua" keeps the words that LLMLingua-2's own code keeps, one by one.

Where we differ on purpose is told by test_llmlingua_differences.py.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import replace
from pydoc_data.topics import topics
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tokenflowd.compress import CompressionOptions
from tokenflowd.compress.llmlingua import WINDOW_CAPACITY
from tokenflowd.compress.tokens import count_tokens
from tokenflowd.engine import EncoderModel

if TYPE_CHECKING:
    from conftest import Judgement, Ours, Reference

# The first test waits until torch has read every text.
pytestmark = [pytest.mark.export, pytest.mark.timeout(600)]

# Chapters of the Python reference, which every installation carries; long ones in part.
TEXTS = {name: text[:3000] for name, text in sorted(topics.items())}
RATES = (0.33, 0.5, 0.7)
FORCED = ("?", ".", ",", "!", "python")  # each one subword of this vocabulary
OPTIONS = [
    CompressionOptions(force_tokens=forced, force_reserve_digit=digit, drop_consecutive=drop)
    for forced, digit, drop in itertools.product(((), FORCED), (False, True), (False, True))
]
# Far more tokens in cl100k_base, by which llmlingua counts, than in o200k_base.
GERMAN = (
    "Die Geschwindigkeitsbegrenzung auf Autobahnen wird seit Jahrzehnten diskutiert. Befürworter "
    "verweisen auf Unfallzahlen und Lärmschutz, Gegner auf Eigenverantwortung und Wirtschaft. "
    "Eine Mehrheit der Bevölkerung wünscht sich inzwischen Höchstgeschwindigkeiten von "
    "hundertdreißig Kilometern in der Stunde, mit Ausnahmen für wenig befahrene Strecken."
)
# Keep probabilities of onnxruntime and torch differ by some 2e-6, so two words this close to
# each other may come in either order. One word in this many may be such a tie at the threshold.
NOISE = 1e-5
WORDS_PER_TIE = 10_000


def in_llmlinguas_terms(options: CompressionOptions) -> dict[str, Any]:
    return {
        "force_tokens": list(options.force_tokens),
        "force_reserve_digit": options.force_reserve_digit,
        "drop_consecutive": options.drop_consecutive,
    }


def switched_on(options: CompressionOptions) -> str:
    names = [name for name, value in in_llmlinguas_terms(options).items() if value]
    return "-".join(names) or "plain"


@functools.cache
def like_windows(ours: Ours, reference: Reference, text: str) -> int:
    """How many windows, from the first on, are alike until llmlingua reads an overlong one."""
    pairs = itertools.zip_longest(ours.chunks(text), reference.chunks(text), fillvalue=[])
    for index, (mine, theirs) in enumerate(pairs):
        if mine != theirs:
            assert len(theirs) == WINDOW_CAPACITY + 1, "windows differ for no reason we know"
            return index
    return len(ours.chunks(text))


def is_tie(
    mine: Judgement, labels: Sequence[bool], index: int, options: CompressionOptions
) -> bool:
    """Whether the threshold lies within NOISE of the word at `index`: then another word of its
    window with nearly its probability has the other label. `labels` are one side's.

    Forced words, and those with digits if these are reserved, have no part in ties.
    """

    def free(at: int) -> bool:
        word = mine.labelled[at][0]
        digit = options.force_reserve_digit and any(map(str.isdigit, word))
        return word not in options.force_tokens and not digit

    return free(index) and any(
        labels[other] != labels[index]
        and mine.window_of[other] == mine.window_of[index]
        and abs(mine.words[other].probability - mine.words[index].probability) < NOISE
        and free(other)
        for other in range(len(labels))
    )


def test_fifty_real_texts_and_ten_of_several_windows_are_compared_to_the_end(
    ours: Ours, reference: Reference
) -> None:
    windows = {name: len(reference.chunks(text)) for name, text in TEXTS.items()}
    whole = [name for name in TEXTS if like_windows(ours, reference, TEXTS[name]) == windows[name]]
    assert len(whole) >= 50
    assert sum(windows[name] > 1 for name in whole) >= 10


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("options", OPTIONS, ids=switched_on)
def test_every_word_is_kept_or_dropped_as_in_llmlingua(
    rate: float,
    options: CompressionOptions,
    ours: Ours,
    reference: Reference,
) -> None:
    compared = ties = 0
    for name, text in TEXTS.items():
        mine = ours.judge(text, replace(options, ratio=rate))
        theirs = reference.label(text, rate=rate, **in_llmlinguas_terms(options))
        last_window = like_windows(ours, reference, text)
        count = sum(window < last_window for window in mine.window_of)
        assert [word for word, _ in mine.labelled[:count]] == [word for word, _ in theirs[:count]]

        my_labels = [keep for _, keep in mine.labelled[:count]]
        their_labels = [keep for _, keep in theirs[:count]]
        for index in range(count):
            if my_labels[index] != their_labels[index]:
                assert is_tie(mine, my_labels, index, options) or is_tie(
                    mine, their_labels, index, options
                ), f"{name}: {mine.words[index]}, word {index}"
                ties += 1
        compared += count
    assert ties <= compared / WORDS_PER_TIE


@pytest.mark.parametrize("target", [30, 60])
def test_a_target_becomes_a_rate_by_llmlinguas_count_of_tokens(
    target: int, ours: Ours, reference: Reference
) -> None:
    assert count_tokens(GERMAN, "cl100k_base") > 1.2 * count_tokens(GERMAN)
    mine = ours.label(GERMAN, CompressionOptions(target_tokens=target))
    assert mine == reference.label(GERMAN, target_token=target)


def test_a_low_rate_of_a_short_text_is_not_rounded_to_nothing(
    ours: Ours, reference: Reference
) -> None:
    text = "Keep the rate."
    assert ours.label(text, CompressionOptions(ratio=0.2)) == reference.label(text, rate=0.2)


def test_padding_to_512_tokens_does_not_change_what_the_model_reads(
    model: EncoderModel, reference: Reference
) -> None:
    import torch

    sequence = model.tokenizer.sequence(model.tokenizer.subwords(TEXTS["comparisons"][:800]).ids)
    padded = torch.zeros((1, 512), dtype=torch.long)
    padded[0, : len(sequence)] = torch.from_numpy(sequence.ids.astype(np.int64))
    with torch.no_grad():
        answer = reference.prompt_compressor.model(input_ids=padded, attention_mask=padded != 0)
    (logits,) = model.run([sequence])
    mine = torch.softmax(torch.from_numpy(logits.copy()), -1)
    theirs = torch.softmax(answer.logits[0, : len(sequence)], -1)
    assert len(sequence) < 400
    assert float((mine - theirs).abs().max()) < NOISE
