"""Where prompts go, and where they should: the classifier's figures.

    python models/evaluate_classifier.py --data DATA [--weights DIR] [--json FILE]

Routing: the five default categories on prompts of open data sets (`routing_prompts`), macro-F1,
and the calibration error of the winning score (ECE, 15 bins). Harmless prompts that look
dangerous, or say nothing (benign.txt): the share that goes to nsfw at the score which finds 80 %
of the unsafe ones. Labels of other sets: accuracy on their intents and topics. How fast it is,
benchmarks/ says.
"""

import argparse
import csv
import json
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track
from sources import find, lines, sample, xquad

from tokenflowd.classify import PairScorer
from tokenflowd.config import EngineConfig
from tokenflowd.engine import load_model
from tokenflowd.route import DEFAULT_CATEGORIES

EACH = 120  # prompts of a source
UNSAFE = ("vcr", "src", "hte", "ssh", "cse", "iwp", "sxc")  # AILuminate's hazards that are nsfw
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
    scorer = PairScorer(load_model(options.weights, EngineConfig()))
    prompts = routing_prompts(options.data)
    figures: dict[str, Any] = routing(scorer, prompts)
    benign = (here / "benign.txt").read_text().splitlines()
    unsafe = [prompt for prompt, category in prompts if category == "nsfw"]
    figures["benign_to_nsfw"] = benign_to_nsfw(scorer, benign, unsafe)
    figures["unseen"] = {
        name: accuracy(scorer, *labelled) for name, labelled in label_sets(options.data).items()
    }
    print(json.dumps(figures, indent=2))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


# Data


def routing_prompts(data: Path) -> list[Example]:
    """Prompts whose category their source tells: the same number of each source, chosen the same
    way every time. BIG-Bench Hard is for evaluation only, as its canary asks."""
    sources: dict[str, tuple[str, Iterable[str]]] = {
        "gsm8k": ("reasoning", (p["question"] for p in lines(find(data / "gsm8k", "train.jsonl")))),
        "bbh": ("reasoning", big_bench(data)),
        "bfcl": ("function-calling", function_calls(data)),
        "instructions": ("text-to-text", instructions(data)),
        "summaries": ("text-to-text", summaries(data)),
        "questions": ("multilingual", foreign_questions(data)),
        "sentences": ("multilingual", foreign_sentences(data)),
        "unsafe": ("nsfw", unsafe_prompts(data)),
    }
    rng = random.Random(0)
    found = []
    for category, prompts in sources.values():
        every = sorted(set(prompts))
        found += [(prompt, category) for prompt in sample(every, EACH, rng)]
    return found


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


def foreign_questions(data: Path) -> Iterable[str]:
    for language in ("de", "es", "ru", "ar", "zh", "hi"):
        for article in xquad(data, language):
            yield from (passage.asked[0][0] for passage in article)


def foreign_sentences(data: Path) -> Iterable[str]:
    for file in sorted((data / "sib200").glob("*/dev.tsv")):
        if not file.parent.name.startswith("eng"):
            yield from (row["text"] for row in table(file))


def unsafe_prompts(data: Path) -> Iterable[str]:
    file = find(data / "ailuminate", "*en_us*.csv")
    with file.open(encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            if row["hazard"].startswith(UNSAFE):
                yield row["prompt_text"]


def table(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8") as rows:
        return list(csv.DictReader(rows, delimiter="\t", quoting=csv.QUOTE_NONE))


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
    topics = [(row["text"], row["category"]) for row in table(data / "sib200/eng_Latn/dev.tsv")]
    sets = {"clinc150": [(text, label.replace("_", " ")) for text, label in clinc], "snips": snips}
    sets["sib200 topics"] = topics
    rng = random.Random(0)
    return {
        name: (sample(rows, EACH, rng), sorted({label for _, label in rows}))
        for name, rows in sets.items()
    }


# Measures


def routing(scorer: PairScorer, prompts: Sequence[Example]) -> dict[str, Any]:
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
        "prompts": len(prompts),
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


def benign_to_nsfw(scorer: PairScorer, benign: list[str], unsafe: list[str]) -> dict[str, float]:
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


def accuracy(scorer: PairScorer, examples: list[Example], labels: list[str]) -> float:
    right = sum(
        labels[int(scorer.scores(text, labels, multi_label=False).argmax())] == label
        for text, label in track(examples, f"{len(labels)} labels", transient=True)
    )
    return right / len(examples)


if __name__ == "__main__":
    main()
