"""Holds an exported graph against the checkpoint it came from, on real texts."""

from __future__ import annotations

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
Run = Callable[[EncodedSequence], Floats]

# LLMLingua-2's usual rates: the share of the words to keep.
KEPT_SHARES = (0.33, 0.5, 0.7)
WINDOW_TOKENS = 256
LABELS = ("software", "translation", "law", "cooking")
# One other decision among them is what the bar allows.
PREMISES = 50
PREMISE_CHARS = 150


@dataclass(frozen=True, slots=True)
class Agreement:
    """`difference` is the largest between two logits, whose largest is `scale`; `decisions` the
    share that is the same, of `count`: words kept or dropped, or the label that ranks first."""

    difference: float
    scale: float
    decisions: float
    count: int


def torch_runner(checkpoint: Checkpoint) -> Run:
    """The checkpoint as transformers runs it, in fp32."""
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

    def run(sequence: EncodedSequence) -> Floats:
        ids = torch.from_numpy(sequence.ids.astype(np.int64))[None]
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if model.config.model_type == "bert":
            inputs["token_type_ids"] = torch.from_numpy(sequence.type_ids.astype(np.int64))[None]
        with torch.no_grad():
            logits: Floats = model(**inputs).logits[0].float().numpy()
        return logits

    return run


def onnx_runner(graph: Path, inputs: tuple[str, ...], threads: int) -> Run:
    """The graph as the daemon runs it."""
    session = OnnxSession(graph, name=graph.name, inputs=inputs, threads=threads)
    return lambda sequence: session.run([sequence])[0]


def compare(
    checkpoint: Checkpoint, tokenizer: SubwordTokenizer, reference: Run, candidate: Run
) -> Agreement:
    room = min(WINDOW_TOKENS, checkpoint.max_tokens)
    if checkpoint.task == "token-classification":
        return _compare_words(tokenizer, reference, candidate, room)
    entailment = [label.lower() for label in checkpoint.labels].index("entailment")
    return _compare_labels(tokenizer, reference, candidate, entailment, room)


@cache
def texts() -> tuple[str, ...]:
    """A meeting, a chat, a manual, a log, German and Chinese: our own, shipped for this."""
    folder = resources.files("tokenflowd.export").joinpath("texts")
    return tuple(file.read_text("utf-8") for file in sorted(folder.iterdir(), key=str))


def _compare_words(
    tokenizer: SubwordTokenizer, reference: Run, candidate: Run, room: int
) -> Agreement:
    difference, scale, same, count = 0.0, 0.0, 0, 0
    room -= tokenizer.special_tokens
    for text in texts():
        subwords = tokenizer.subwords(text)
        words = _word_numbers(text, subwords.starts)
        for first in range(0, len(subwords), room):
            window = slice(first, first + room)
            sequence = tokenizer.sequence(subwords.ids[window])
            outputs = [tokenizer.unwrap(run(sequence)) for run in (reference, candidate)]
            difference = max(difference, float(np.abs(outputs[0] - outputs[1]).max()))
            scale = max(scale, float(np.abs(outputs[0]).max()))
            kept = [_kept_words(output, words[window]) for output in outputs]
            same += int((kept[0] == kept[1]).sum())
            count += kept[0].size
    return Agreement(difference, scale, same / count, count)


def _compare_labels(
    tokenizer: SubwordTokenizer, reference: Run, candidate: Run, entailment: int, room: int
) -> Agreement:
    hypotheses = [f"This example is about {label}." for label in LABELS]
    room -= tokenizer.pair_special_tokens + max(map(tokenizer.length, hypotheses))
    difference, scale, same = 0.0, 0.0, 0
    premises = _premises()
    for premise in premises:
        pairs = tokenizer.pairs(tokenizer.shorten(premise, room), hypotheses)
        outputs = [np.stack([run(pair) for pair in pairs]) for run in (reference, candidate)]
        difference = max(difference, float(np.abs(outputs[0] - outputs[1]).max()))
        scale = max(scale, float(np.abs(outputs[0]).max()))
        first = [output[:, entailment].argmax() for output in outputs]
        same += int(first[0] == first[1])
    return Agreement(difference, scale, same / len(premises), len(premises))


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


def _kept_words(logits: Floats, words: NDArray[np.int64]) -> NDArray[np.bool_]:
    """For each share, which words are kept: shape (n_shares, n_words)."""
    margin = (logits[:, 1] - logits[:, 0]).astype(np.float64)
    probabilities = 1 / (1 + np.exp(-margin))
    numbers, index = np.unique(words, return_inverse=True)
    sums = np.bincount(index, probabilities, len(numbers))
    means = sums / np.bincount(index, minlength=len(numbers))
    return np.stack([means > np.quantile(means, 1 - share) for share in KEPT_SHARES])
