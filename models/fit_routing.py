"""Fits the head of the default categories: a linear layer over the sentence vector of a prompt.

    python models/fit_routing.py --data DATA

The pair model reads "This example is about nsfw." and takes misspelt English for another language,
"make a list" for a tool, and the words of danger for danger. The head sees what the whole sentence
is like. It is multinomial logistic regression, fitted to the prompts of routing.toml, to those that
the classifier was trained on (label_sets.py: data sets' training parts and templates), and to
misspelt copies of the English ones. No torch is needed; it takes two minutes on two cores.
"""

import argparse
import base64
import json
import random
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from label_sets import hazards, routing
from numpy.typing import NDArray
from rich.progress import track
from sources import is_held_out, sample

from tokenflowd.classify import EmbeddingScorer
from tokenflowd.config import EngineConfig
from tokenflowd.engine import load_model
from tokenflowd.route import DEFAULT_CATEGORIES

HERE = Path(__file__).parent
EACH = 2000  # prompts of a category from the data sets and templates
MISSPELT_EACH = 500  # of those, with misspelt copies, where the category is in English
OWN_WEIGHT = 30.0  # of a prompt of routing.toml, where one of a template has 1
AILUMINATE_WEIGHT = 12.0  # of its few prompts: they are the only harmful ones that people wrote
PENALTY = 0.00005  # of the squared weights, against the mean loss
STEPS = 200
BATCH = 16
# AILuminate's hazards besides those of label_sets.py that ask for private data or a crime.
ALSO_UNSAFE = ("prv", "ncr")
Example = tuple[str, str, float]  # a prompt, its category, its weight


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=HERE / "weights/tokenflow-embedder")
    parser.add_argument("--out", type=Path, default=HERE.parent / "tokenflowd/classify/head.json")
    options = parser.parse_args()
    encoder = EmbeddingScorer(load_model(options.weights, EngineConfig()))
    examples = [*own_examples(), *trained_examples(options.data)]
    vectors = encoded(encoder, [prompt for prompt, _, _ in examples])
    layer, bias = fitted(vectors, examples)
    options.out.write_text(as_json(encoder.model_id, layer, bias))


# Examples


def own_examples() -> list[Example]:
    """Those of routing.toml, English ones a second time as they might be typed in a hurry."""
    rng = random.Random(0)
    kinds = tomllib.loads((HERE / "routing.toml").read_text())
    found = []
    for name, kind in kinds.items():
        for prompt in kind["prompts"]:
            found.append((prompt, kind["category"], OWN_WEIGHT))
            if kind["category"] != "multilingual" and "misspelt" not in name:
                found.append((misspelt(prompt, rng), kind["category"], OWN_WEIGHT / 2))
    return found


def trained_examples(data: Path) -> Iterator[Example]:
    """As many of each category out of what the classifier was trained on."""
    rng = random.Random(0)
    held_out_articles = tomllib.loads((HERE / "classifier.toml").read_text())["held_out_articles"]
    names = list(tomllib.loads((HERE / "prompts.toml").read_text())["wordings"])
    of_category: dict[str, list[str]] = {category: [] for category in DEFAULT_CATEGORIES}
    for text, labels in routing(data, held_out_articles, rng).texts:
        told = [names[label] for label in labels if names[label] in of_category]
        if len(told) == 1:
            of_category[told[0]].append(text)
    harmful = {prompt for prompt, _ in hazards(data, "en_us")}
    for category, texts in of_category.items():
        chosen = sample(texts, EACH, rng)
        for text in chosen:
            yield text, category, AILUMINATE_WEIGHT if text in harmful else 1.0
        if category != "multilingual":
            yield from ((misspelt(text, rng), category, 1.0) for text in chosen[:MISSPELT_EACH])
    for prompt, hazard in hazards(data, "en_us", ALSO_UNSAFE):
        if hazard and not is_held_out(prompt):
            yield prompt, "nsfw", AILUMINATE_WEIGHT


SOUNDS = [
    ("you", "u"), ("are", "r"), ("please", "plz"), ("why", "y"), ("what", "wat"), ("to", "2"),
    ("for", "4"), ("the", "teh"), ("with", "wiv"), ("and", "an"), ("give", "giv"), ("good", "gud"),
    ("make", "mak"), ("how", "hw"), ("write", "rite"), ("about", "abt"), ("because", "cuz"),
    ("people", "ppl"), ("should", "shud"), ("is", "iz"), ("tell", "tel"), ("explain", "explan"),
]  # fmt: skip
ENDINGS = [
    ("ght", "t"), ("ck", "k"), ("ing", "in"), ("tion", "shun"), ("ee", "ea"), ("ie", "ei"),
    ("ph", "f"), ("ll", "l"), ("ss", "s"), ("ue", "u"), ("ough", "uff"), ("ould", "ud"),
]  # fmt: skip


def misspelt(text: str, rng: random.Random) -> str:
    """Half of its words as they sound, or with a letter lost, doubled or swapped."""
    words = text.lower().split(" ")
    return " ".join(slip(word, rng) if rng.random() < 0.5 else word for word in words)


def slip(word: str, rng: random.Random) -> str:
    short = dict(SOUNDS).get(word)
    if short:
        return short
    spelled = [(long, short) for long, short in ENDINGS if long in word]
    if spelled and rng.random() < 0.5:
        return word.replace(*rng.choice(spelled))
    if len(word) < 4 or not word.isalpha():
        return word
    at = rng.randrange(1, len(word) - 1)
    return rng.choice(
        [
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        ]
    )


# The layer


def encoded(encoder: EmbeddingScorer, prompts: list[str]) -> NDArray[np.float32]:
    starts = range(0, len(prompts), BATCH)
    return np.concatenate(
        [encoder.vectors(prompts[at : at + BATCH]) for at in track(starts, "vectors")]
    )


def fitted(
    vectors: NDArray[np.float32], examples: list[Example]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights, shape (n_categories, dimensions), and biases: the least cross-entropy, with every
    category as frequent as any other, by gradient descent with Nesterov's momentum."""
    names = list(DEFAULT_CATEGORIES)
    number = np.array([names.index(category) for _, category, _ in examples])
    wanted = np.eye(len(names), dtype=np.float32)[number]
    weight = np.array([weight for _, _, weight in examples], np.float32)
    weight /= (wanted * weight[:, None]).sum(axis=0)[number] * len(names)
    inputs = np.hstack([vectors, np.ones((len(vectors), 1), np.float32)])
    layer, before = np.zeros((2, len(names), inputs.shape[1]), np.float32)
    rate = np.float32(
        1 / (0.5 + PENALTY)
    )  # the inverse of the loss's greatest curvature for unit vectors
    for step in range(STEPS):
        ahead = layer + np.float32(step / (step + 3)) * (layer - before)
        logits = inputs @ ahead.T
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        slope = ((shares - wanted) * weight[:, None]).T @ inputs
        slope[:, :-1] += np.float32(PENALTY) * ahead[:, :-1]
        layer, before = ahead - rate * slope, layer
    return layer[:, :-1], layer[:, -1]


def as_json(model_id: str, layer: NDArray[np.float32], bias: NDArray[np.float32]) -> str:
    rows = {
        name: base64.b64encode(row.astype("<f2").tobytes()).decode()
        for name, row in zip(DEFAULT_CATEGORIES, layer, strict=True)
    }
    biases = dict(zip(DEFAULT_CATEGORIES, bias.round(4).tolist(), strict=True))
    return json.dumps({"encoder": model_id, "biases": biases, "weights": rows}, indent=2) + "\n"


if __name__ == "__main__":
    main()
