"""Holds an exported graph against the checkpoint it came from, on real texts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokenflowd.engine.session import OnnxSession
from tokenflowd.engine.tokenizer import EncodedSequence, SubwordTokenizer
from tokenflowd.export.checkpoint import Checkpoint

Floats = NDArray[np.float32]
Batch = list[EncodedSequence]
Run = Callable[[Batch], list[Floats]]
# For each batch the logits of its sequences.
Answers = list[list[Floats]]

# LLMLingua-2's usual rates: the share of the words to keep.
KEPT_SHARES = (0.33, 0.5, 0.7)
WINDOW_TOKENS = 256
LABELS = ("software", "translation", "law", "cooking")
# One other decision among them is what the bar allows.
PREMISES = 50
PREMISE_CHARS = 150
TIMED_RUNS = 3


@dataclass(frozen=True, slots=True)
class Probe:
    """What every form of a model is asked, and what follows from its answers: which words are
    kept, or the label that ranks first, as integers."""

    batches: list[Batch]
    decide: Callable[[Answers], NDArray[np.int64]]
    timed: Batch  # one sequence of `WINDOW_TOKENS`, or as many as the model takes


@dataclass(frozen=True, slots=True)
class Agreement:
    """`difference` is the largest between two logits, whose largest is `scale`; `decisions` the
    share that is the same, of `count`."""

    difference: float
    scale: float
    decisions: float
    count: int


def make_probe(checkpoint: Checkpoint, tokenizer: SubwordTokenizer) -> Probe:
    room = min(WINDOW_TOKENS, checkpoint.max_tokens)
    timed = [sample(tokenizer, room)]
    if checkpoint.task == "token-classification":
        return _word_probe(tokenizer, room, timed)
    entailment = [label.lower() for label in checkpoint.labels].index("entailment")
    return _label_probe(tokenizer, room, timed, entailment)


def agreement(probe: Probe, reference: Answers, answers: Answers) -> Agreement:
    pairs = [
        pair for batch in zip(reference, answers, strict=True) for pair in zip(*batch, strict=True)
    ]
    same = probe.decide(reference) == probe.decide(answers)
    return Agreement(
        difference=max(float(np.abs(one - other).max()) for one, other in pairs),
        scale=max(float(np.abs(one).max()) for one, _ in pairs),
        decisions=float(same.mean()),
        count=same.size,
    )


def torch_answers(
    checkpoint: Checkpoint, batches: list[Batch], timed: Batch
) -> tuple[Answers, float]:
    """The logits as transformers computes them in fp32, and the ms that `timed` takes."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    auto = (
        AutoModelForTokenClassification
        if checkpoint.task == "token-classification"
        else AutoModelForSequenceClassification
    )
    model = auto.from_pretrained(
        checkpoint.folder, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
    ).eval()

    def run(batch: Batch) -> list[Floats]:
        shape = (len(batch), max(map(len, batch)))
        names = ("input_ids", "attention_mask", "token_type_ids")
        inputs = {name: torch.zeros(shape, dtype=torch.int64) for name in names}
        for row, sequence in enumerate(batch):
            columns = slice(0, len(sequence))
            inputs["input_ids"][row, columns] = torch.from_numpy(sequence.ids)
            inputs["attention_mask"][row, columns] = 1
            inputs["token_type_ids"][row, columns] = torch.from_numpy(sequence.type_ids)
        if getattr(model.config, "type_vocab_size", 0) < 2:
            del inputs["token_type_ids"]
        with torch.no_grad():
            logits = model(**inputs).logits.float().numpy()
        if logits.ndim == 2:
            return list(logits)
        return [logits[row, : len(sequence)] for row, sequence in enumerate(batch)]

    return [run(batch) for batch in batches], median_ms(run, timed)


def onnx_runner(graph: Path, inputs: tuple[str, ...], threads: int) -> Run:
    """The graph as the daemon runs it."""
    return OnnxSession(graph, name=graph.name, inputs=inputs, threads=threads).run


def median_ms(run: Run, batch: Batch) -> float:
    taken = []
    for _ in range(TIMED_RUNS + 1):
        started = time.perf_counter()
        run(batch)
        taken.append((time.perf_counter() - started) * 1000)
    return float(np.median(taken[1:]))  # the first run warms up


@cache
def texts() -> tuple[str, ...]:
    """A meeting, a chat, a manual, a log, German and Chinese: our own, shipped for this."""
    folder = resources.files("tokenflowd.export").joinpath("texts")
    return tuple(file.read_text("utf-8") for file in sorted(folder.iterdir(), key=str))


def sample(tokenizer: SubwordTokenizer, length: int) -> EncodedSequence:
    """A real text of `length` tokens, special ones included."""
    ids = tokenizer.subwords(" ".join(texts())).ids
    return tokenizer.sequence(np.resize(ids, length - tokenizer.special_tokens))


def _word_probe(tokenizer: SubwordTokenizer, room: int, timed: Batch) -> Probe:
    room -= tokenizer.special_tokens
    batches: list[Batch] = []
    words: list[NDArray[np.int64]] = []  # of each window's subwords
    for text in texts():
        subwords = tokenizer.subwords(text)
        numbers = _word_numbers(text, subwords.starts)
        for first in range(0, len(subwords), room):
            window = slice(first, first + room)
            batches.append([tokenizer.sequence(subwords.ids[window])])
            words.append(numbers[window])

    def decide(answers: Answers) -> NDArray[np.int64]:
        logits = (tokenizer.unwrap(window) for (window,) in answers)
        return np.concatenate(list(map(_kept_words, logits, words)))

    return Probe(batches, decide, timed)


def _label_probe(tokenizer: SubwordTokenizer, room: int, timed: Batch, entailment: int) -> Probe:
    hypotheses = [f"This example is about {label}." for label in LABELS]
    room -= tokenizer.pair_special_tokens + max(map(tokenizer.length, hypotheses))
    batches = [
        tokenizer.pairs(tokenizer.shorten(premise, room), hypotheses) for premise in _premises()
    ]

    def decide(answers: Answers) -> NDArray[np.int64]:
        return np.array([np.stack(logits)[:, entailment].argmax() for logits in answers])

    return Probe(batches, decide, timed)


def _premises() -> Sequence[str]:
    parts = [
        text[start : start + PREMISE_CHARS]
        for text in texts()
        for start in range(0, len(text), PREMISE_CHARS)
    ]
    return parts[:PREMISES]


def _word_numbers(text: str, starts: NDArray[np.int32]) -> NDArray[np.int64]:
    """For each subword, which run without white space it belongs to."""
    characters = np.array([character.isspace() for character in text])
    return np.cumsum(characters)[starts] if len(starts) else np.zeros(0, np.int64)


def _kept_words(logits: Floats, words: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each share and word 1 if it is kept: shape (n_shares * n_words,)."""
    margin = (logits[:, 1] - logits[:, 0]).astype(np.float64)
    probabilities = 1 / (1 + np.exp(-margin))
    numbers, index = np.unique(words, return_inverse=True)
    sums = np.bincount(index, probabilities, len(numbers))
    means = sums / np.bincount(index, minlength=len(numbers))
    kept = [means > np.quantile(means, 1 - share) for share in KEPT_SHARES]
    return np.concatenate(kept).astype(np.int64)
