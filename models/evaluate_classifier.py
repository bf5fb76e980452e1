"""Where prompts go, and where they should: the classifier's figures.

    python models/evaluate_classifier.py --data DATA [--weights DIR] [--json FILE]

Routing: the five default categories on prompts of open data sets (`routing_prompts`), macro-F1,
and the calibration error of the winning score (ECE, 15 bins). Harmless prompts that look
dangerous, or say nothing (benign.txt): the share that goes to nsfw at the score which finds 80 %
of the unsafe ones. Labels of sets that training leaves out: accuracy, and the time for a text.
Of the pair model, of the sentence encoder, and of both together, as the daemon uses
them. Entailment: how often the pair model is right about sentences.
"""

import argparse
import json
import random
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from label_sets import conjunctions, counterfactuals, hazards
from rich.progress import track
from sources import find, is_held_out, lines, sample, split, table, xquad

from tokenflowd.classify import EmbeddingScorer, JointScorer, PairScorer, Scorer
from tokenflowd.config import EngineConfig
from tokenflowd.engine import load_model
from tokenflowd.route import DEFAULT_CATEGORIES

EACH = 120  # prompts of a source
RECALL = 0.8
BINS = 15
# From the sets' own documentation, in words.
SNIPS = {
    "AddToPlaylist": "adding a song to a playlist",
    "BookRestaurant": "booking a restaurant",
    "GetWeather": "the weather",
    "PlayMusic": "playing music",
    "RateBook": "rating a book",
    "SearchCreativeWork": "searching for a film, book or album",
    "SearchScreeningEvent": "cinema showtimes",
}
Example = tuple[str, str]  # a prompt and its category


def main() -> None:
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=here / "weights/tokenflow-classifier")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    every = tomllib.loads((here / "classifier.toml").read_text())["held_out_articles"]
    model = load_model(options.weights, EngineConfig())
    pair = PairScorer(model)
    encoder = EmbeddingScorer(
        load_model(options.weights.parent / "tokenflow-embedder", EngineConfig())
    )
    scorers: dict[str, Scorer] = {
        "pair": pair,
        "encoder": encoder,
        "joint": JointScorer(encoder, pair),
    }
    prompts = routing_prompts(options.data, every)
    benign = (here / "benign.txt").read_text().splitlines()
    unsafe = [prompt for prompt, category in prompts if category == "nsfw"]
    figures: dict[str, Any] = {"prompts": len(prompts)}
    for name, scorer in scorers.items():
        figures[name] = {
            **routing(scorer, prompts),
            "benign_to_nsfw": benign_to_nsfw(scorer, benign, unsafe),
            "unseen": {
                task: accuracy(scorer, *labelled)
                for task, labelled in label_sets(options.data).items()
            },
        }
    figures["entailment"] = {
        "conjnli_dev": entailment(pair, conjunctions(options.data, "conj_dev")),
        "cad_dev": entailment(pair, counterfactuals(options.data, "dev")),
    }
    names = list(DEFAULT_CATEGORIES)
    figures["sample"] = {
        prompt: dict(
            zip(names, pair.scores(prompt, names, multi_label=False).tolist(), strict=True)
        )
        for prompt in benign
    }
    print(
        json.dumps({name: value for name, value in figures.items() if name != "sample"}, indent=2)
    )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


# Data


def routing_prompts(data: Path, held_out_articles: int) -> list[Example]:
    """Prompts whose category their source tells: the same number of each source, chosen the same
    way every time. BIG-Bench Hard is for evaluation only, as its canary asks."""
    sources: dict[str, tuple[str, Iterable[str]]] = {
        "gsm8k": ("reasoning", problems(data)),
        "bbh": ("reasoning", big_bench(data)),
        "bfcl": ("function-calling", function_calls(data)),
        "instructions": ("text-to-text", instructions(data)),
        "summaries": ("text-to-text", summaries(data)),
        "questions": ("multilingual", foreign_questions(data, held_out_articles)),
        "sentences": ("multilingual", foreign_sentences(data)),
        "unsafe": (
            "nsfw",
            (p for p, unsafe in hazards(data, "en_us") if unsafe and is_held_out(p)),
        ),
    }
    rng = random.Random(0)
    found = []
    for category, prompts in sources.values():
        every = sorted(set(prompts))
        found += [(prompt, category) for prompt in sample(every, EACH, rng)]
    return found


def problems(data: Path) -> Iterable[str]:
    questions = (p["question"] for p in lines(find(data / "gsm8k", "train.jsonl")))
    return filter(is_held_out, questions)


def big_bench(data: Path) -> Iterable[str]:
    for file in sorted((data / "bbh/bbh").glob("*.json")):
        yield from (example["input"] for example in json.loads(file.read_text())["examples"][:8])


def function_calls(data: Path) -> Iterable[str]:
    """Of BFCL's live part: what people asked, without the functions."""
    for file in (data / "bfcl_gorilla").rglob("bfcl_eval/data/BFCL_v4_live_simple.json"):
        for row in lines(file):
            yield " ".join(said["content"] for said in row["question"][0] if said["role"] == "user")


def instructions(data: Path) -> Iterable[str]:
    """Self-Instruct's seeds that are about text."""
    other = ("code", "program", "python", "function", "math", "calculate", "translat", "sort")
    for task in lines(data / "self_instruct_seed/seed_tasks.jsonl"):
        prompt = f"{task['instruction']}\n{task['instances'][0]['input']}".strip()
        if not any(word in prompt.lower() for word in other):
            yield prompt


def summaries(data: Path) -> Iterable[str]:
    for paper in lines(find(data / "scitldr", "dev.jsonl")):
        yield f"Summarize this in one sentence: {' '.join(paper['source'])}"


def foreign_questions(data: Path, held_out_articles: int) -> Iterable[str]:
    for language in ("de", "es", "ru", "ar", "zh", "hi"):
        _, passages = split(xquad(data, language), held_out_articles)
        yield from (passage.asked[0][0] for passage in passages)


def foreign_sentences(data: Path) -> Iterable[str]:
    for file in sorted((data / "sib200").glob("*/dev.tsv")):
        if not file.parent.name.startswith("eng"):
            yield from (row["text"] for row in table(file))


def label_sets(data: Path) -> dict[str, tuple[list[Example], list[str]]]:
    """Examples and all labels of sets that are not about routing."""
    clinc = json.loads((data / "clinc150/data_full.json").read_text())["test"]
    snips = [
        ("".join(part["text"] for part in said["data"]), words)
        for intent, words in SNIPS.items()
        for said in json.loads(
            find(data / "snips2017", f"train_{intent}_full.json")
            .read_bytes()
            .decode("utf-8", "ignore")
        )[intent][:100]
    ]
    domain_of = {
        intent: domain.replace("_", " ")
        for domain, intents in json.loads((data / "clinc150/domains.json").read_text()).items()
        for intent in intents
    }
    sets = {
        "clinc150": [(text, label.replace("_", " ")) for text, label in clinc],
        "clinc150 domains": [(text, domain_of[label]) for text, label in clinc],
        "snips": snips,
    }
    rng = random.Random(0)
    return {
        name: (sample(rows, EACH, rng), sorted({label for _, label in rows}))
        for name, rows in sets.items()
    }


# Measures


def routing(scorer: Scorer, prompts: Sequence[Example]) -> dict[str, Any]:
    names = list(DEFAULT_CATEGORIES)
    scores = np.stack(
        [
            scorer.scores(prompt, names, multi_label=False)
            for prompt, _ in track(prompts, "routing", transient=True)
        ]
    )
    wanted = np.array([names.index(category) for _, category in prompts])
    chosen, confidence = scores.argmax(axis=1), scores.max(axis=1)
    right = chosen == wanted
    confused = Counter(
        f"{names[w]} as {names[c]}" for w, c in zip(wanted, chosen, strict=True) if w != c
    )
    return {
        "accuracy": float(right.mean()),
        "macro_f1": float(np.mean([f1(wanted == k, chosen == k) for k in range(len(names))])),
        "ece": ece(confidence, right),
        "confused": dict(confused.most_common(6)),
    }


def f1(wanted: np.ndarray, chosen: np.ndarray) -> float:
    return 2 * float((wanted & chosen).sum()) / float(wanted.sum() + chosen.sum())


def ece(confidence: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error (Guo et al. 2017): by how much confidence misses accuracy."""
    of_bin = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [
        abs(float(confidence[of_bin == b].mean() - right[of_bin == b].mean()))
        * (of_bin == b).mean()
        for b in range(BINS)
        if (of_bin == b).any()
    ]
    return float(sum(gaps))


def benign_to_nsfw(scorer: Scorer, benign: list[str], unsafe: list[str]) -> dict[str, float]:
    """At the score that finds RECALL of the unsafe prompts, and by the highest score."""
    names = list(DEFAULT_CATEGORIES)
    nsfw = names.index("nsfw")
    harmless = np.stack([scorer.scores(text, names, multi_label=False) for text in benign])
    dangerous = np.stack([scorer.scores(text, names, multi_label=False) for text in unsafe])
    threshold = np.quantile(dangerous[:, nsfw], 1 - RECALL)
    return {
        "at_recall": float((harmless[:, nsfw] >= threshold).mean()),
        "as_first": float((harmless.argmax(axis=1) == nsfw).mean()),
    }


def accuracy(scorer: Scorer, examples: list[Example], labels: list[str]) -> dict[str, float]:
    started, right = time.monotonic(), 0
    for text, label in track(examples, f"{len(labels)} labels", transient=True):
        right += labels[int(scorer.scores(text, labels, multi_label=False).argmax())] == label
    spent = time.monotonic() - started
    return {"accuracy": right / len(examples), "ms": 1000 * spent / len(examples)}


def entailment(scorer: PairScorer, pairs: list[tuple[str, str, str]]) -> float:
    """How often it tells what a sentence entails from what it does not."""
    bare = PairScorer(scorer.model, "{}")
    right = sum(
        (bare.scores(premise, [claim], multi_label=True)[0] > 0.5) == (verdict == "entailment")
        for premise, claim, verdict in track(pairs, "entailment", transient=True)
    )
    return float(right) / len(pairs)


if __name__ == "__main__":
    main()
