"""Train the shipped classifier: all-MiniLM-L6-v2 as a model of entailment, text against label.

    python models/train_classifier.py models/classifier.toml --data DATA --base BASE --out OUT

DATA is a folder with the unpacked sources (label_sets.py), BASE a BERT checkpoint. Each step asks
which of a few labels fits a text, by a softmax over their entailment logits as the daemon takes
it, whether each fits by itself, and whether premises entail hypotheses. Writes a Hugging Face
checkpoint for quantise.py. Needs torch and transformers (the `export` extra).
"""

import json
import random
import shutil
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from label_sets import LabelSet, by_label, entailment_pairs, label_sets, routing
from tokenizers import Encoding, Tokenizer
from torch.nn.functional import cross_entropy
from training import DEVICE, asked_for, fit, padded
from transformers import BertForSequenceClassification

from tokenflowd.route import DEFAULT_CATEGORIES

LABELS = {0: "not_entailment", 1: "entailment"}
# The manifest's template first: the daemon asks with it.
TEMPLATES = ["This example is about {}."] * 4 + [
    "This example is {}.",
    "This text is about {}.",
    "This is {}.",
    "The category is {}.",
    "{}.",
    "{}",
]
READ_TOGETHER = 32
# A wrong "entailed" is cheaper than a missed one: four labels of five are wrong.
WEIGHTS = torch.tensor([1.0, 2.0], device=DEVICE)


class Step(NamedTuple):
    """`groups` texts times `choices` labels, the right one first, then pairs with verdicts."""

    pairs: list[Encoding]
    choices: int
    verdicts: torch.Tensor


def main() -> None:
    options, config = asked_for(__doc__)
    rng = random.Random(config["seed"])
    prompts = routing(options.data, config["held_out_articles"], rng)
    asked = [*label_sets(options.data), prompts]
    pairs = entailment_pairs(options.data)
    model = BertForSequenceClassification.from_pretrained(
        options.base, num_labels=2, id2label=LABELS, label2id={v: k for k, v in LABELS.items()}
    )
    tokenizer = Tokenizer.from_file(str(options.base / "tokenizer.json"))
    started = time.monotonic()
    loss = fit(
        model,
        steps(asked, pairs, tokenizer, config, rng),
        lambda step: loss_of(model, step),
        steps=config["steps"],
        learning_rate=config["learning_rate"],
    )
    model.save_pretrained(options.out)
    shutil.copy(options.base / "tokenizer.json", options.out)
    facts = {
        "texts": {task.name: len(task.texts) for task in asked},
        "pairs": len(pairs),
        "seconds": round(time.monotonic() - started),
        "loss": loss,
    }
    (options.out / "training.json").write_text(json.dumps(config | facts, indent=2))


def steps(
    asked: list[LabelSet],
    pairs: list[tuple[str, str, bool]],
    tokenizer: Tokenizer,
    config: dict[str, Any],
    rng: random.Random,
) -> Iterator[Step]:
    tokenizer.no_padding()
    tokenizer.enable_truncation(config["text_tokens"])
    choosers = [Chooser(task, config["choices"], rng) for task in asked]
    shares = [config["shares"][task.name] for task in asked]
    for _ in range(config["steps"]):
        questions: list[tuple[str, str]] = []
        for chooser in rng.choices(choosers, shares, k=config["groups"]):
            questions += chooser.question()
        judged = rng.sample(pairs, config["pairs"])
        questions += [(premise, claim) for premise, claim, _ in judged]
        verdicts = torch.tensor([int(entailed) for *_, entailed in judged], device=DEVICE)
        yield Step(tokenizer.encode_batch(questions), config["choices"], verdicts)


class Chooser:
    """Asks about the texts of a label set, with labels that are wrong beside the right one."""

    def __init__(self, task: LabelSet, choices: int, rng: random.Random) -> None:
        self._task = task
        self._choices = choices
        self._rng = rng
        texts = by_label(task.texts)
        self._texts = list(texts.values())
        # The default categories are asked for most, and the finer ones are many.
        self._weights = [
            3 if task.name == "routing" and label < len(DEFAULT_CATEGORIES) else 1
            for label in texts
        ]
        words = [set(" ".join(names).split()) for names in task.wordings]
        # Labels that share a word are the hardest to tell apart.
        self._alike = [
            [other for other in range(len(words)) if other != label and words[label] & words[other]]
            for label in range(len(words))
        ]

    def question(self) -> list[tuple[str, str]]:
        """A text with each of its choices, the right one first."""
        rng, task = self._rng, self._task
        text, right = rng.choice(rng.choices(self._texts, self._weights)[0])
        label = rng.choice(right)
        excluded = {*right, *task.kin.get(right[0], [])}
        if task.name == "routing" and rng.random() < 0.6:
            label, excluded = self._category(right, label, excluded)
            names = [n for n in range(len(DEFAULT_CATEGORIES)) if n not in excluded | {label}]
        else:
            names = [n for n in range(len(task.wordings)) if n not in excluded | {label}]
            rng.shuffle(names)
            alike = [n for n in self._alike[label] if n not in excluded]
            if rng.random() < 0.5:
                names = rng.sample(alike, min(2, len(alike))) + names
        chosen = list(dict.fromkeys(names))[: self._choices - 1]
        phrase = rng.choice(TEMPLATES if rng.random() < 0.7 else task.phrases)
        claims = [phrase.replace("{}", self._wording(n)) for n in (label, *chosen)]
        # Too few labels: what nobody spoke of is wrong as well.
        while len(claims) < self._choices:
            claims.append(phrase.replace("{}", rng.choice(ELSEWHERE)))
        return [(self._varied(text), claim) for claim in claims]

    def _category(self, right: list[int], label: int, excluded: set[int]) -> tuple[int, set[int]]:
        """One of the default categories, against all others that are wrong."""
        own = [n for n in right if n < len(DEFAULT_CATEGORIES)]
        return (self._rng.choice(own), set(right)) if own else (label, excluded)

    def _wording(self, label: int) -> str:
        wordings = self._task.wordings[label]
        return wordings[0] if self._rng.random() < 0.5 else self._rng.choice(wordings)

    def _varied(self, text: str) -> str:
        return text.rstrip("?.! ") or text if self._rng.random() < 0.1 else text


ELSEWHERE = ["the weather", "finance", "cooking", "astronomy", "the law", "gardening", "traffic"]


def logits_of(model: BertForSequenceClassification, pairs: list[Encoding]) -> torch.Tensor:
    """Shape (n_pairs, 2). Pairs of about equal length are read together: little is padding."""
    order = sorted(range(len(pairs)), key=lambda at: len(pairs[at].ids))
    read = []
    for start in range(0, len(order), READ_TOGETHER):
        together = [pairs[at] for at in order[start : start + READ_TOGETHER]]
        ids = padded([pair.ids for pair in together])
        types = padded([pair.type_ids for pair in together])
        mask = (ids != 0).long()
        read.append(model(input_ids=ids, attention_mask=mask, token_type_ids=types).logits)
    return torch.cat(read).float()[torch.tensor(order, device=DEVICE).argsort()]


def loss_of(model: BertForSequenceClassification, step: Step) -> torch.Tensor:
    logits = logits_of(model, step.pairs)
    choices, judged = logits[: -len(step.verdicts)], logits[-len(step.verdicts) :]
    entailed = choices[:, 1].view(-1, step.choices)
    first = torch.zeros(len(entailed), dtype=torch.long, device=DEVICE)
    each = torch.zeros(len(entailed), step.choices, dtype=torch.long, device=DEVICE)
    each[:, 0] = 1
    return (
        cross_entropy(entailed, first)
        + 0.5 * cross_entropy(choices, each.view(-1), WEIGHTS)
        + 0.5 * cross_entropy(judged, step.verdicts)
    )


if __name__ == "__main__":
    main()
