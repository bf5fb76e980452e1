"""What the classifier learns from: texts with the labels that fit them, out of open data.

A label set is a task: short texts, and labels of which some fit. Intents, emotions, topics and
subjects come from data sets; where prompts go, from data sets and from templates (prompts.toml).
CLINC150, Snips, BIG-Bench Hard, BFCL's live part and Self-Instruct's seeds are never read here:
evaluate_classifier.py asks about them. Of sets that both read, it has what `is_held_out` says.
"""

import csv
import gzip
import json
import random
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sources import find, is_held_out, lines, sample, split, table, xquad

UNSAFE = ("vcr", "src", "hte", "ssh", "cse", "iwp", "sxc")  # AILuminate's hazards that are nsfw
TEXT_CHARS = 1_000
PASSAGE_CHARS = 500
# MMLU's subjects that are answered by reasoning.
REASONING = ("math", "algebra", "logic", "physics", "statistics", "computer")


@dataclass(frozen=True)
class LabelSet:
    name: str
    wordings: list[list[str]]  # of each label; the first is used most
    texts: list[tuple[str, list[int]]]  # with the labels that fit
    phrases: list[str]  # how a hypothesis may speak of a label, beside the usual ones
    kin: dict[int, list[int]] = field(default_factory=dict)  # labels that may fit as well


def plain(name: str) -> str:
    """A data set's identifier in words: "FindRestaurants", "alarm_set"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[_/]", " ", name).lower().strip()


def label_sets(data: Path) -> list[LabelSet]:
    intents = ["The user wants: {}.", "The intent is {}.", "This request is about {}."]
    topics = ["The topic is {}.", "The subject is {}.", "This text is about {}."]
    feelings = ["This text expresses {}.", "The author feels {}.", "The emotion is {}."]
    verdicts = ["The sentiment is {}.", "The review is {}."]
    hwu = list(home_assistant(data))
    return [
        labelled(
            "hwu intents", ((text, f"{scene} {intent}") for text, scene, intent in hwu), intents
        ),
        labelled("hwu scenarios", ((text, scene) for text, scene, _ in hwu), intents),
        labelled("services", services(data), intents),
        labelled("emotions", emotions(data), feelings),
        labelled("subjects", subjects(data), topics),
        labelled("topics", topics_of_sentences(data), topics),
        labelled("sentiment", reviews(data), verdicts),
    ]


def labelled(name: str, rows: Iterable[tuple[str, str]], phrases: list[str]) -> LabelSet:
    """Of texts that have one label each, which may give several wordings, split by "|"."""
    listed = list(rows)
    labels = sorted({label for _, label in listed})
    number = {label: index for index, label in enumerate(labels)}
    texts = [(text[:TEXT_CHARS], [number[label]]) for text, label in listed]
    wordings = [[plain(words) for words in label.split("|")] for label in labels]
    return LabelSet(name, wordings, texts, phrases)


# Data sets


def home_assistant(data: Path) -> Iterator[tuple[str, str, str]]:
    """HWU64: what people say to an assistant, scenario and intent."""
    for file in sorted((data / "nlu_evaluation_hwu").rglob("KFold_1/*/**/*.csv")):
        with file.open(encoding="utf-8", errors="ignore") as rows:
            for row in csv.DictReader(rows, delimiter=";"):
                text = row.get("answer_from_anno") or row.get("answer")
                if text and row.get("intent"):
                    yield text.strip('"'), row["scenario"], row["intent"]


def services(data: Path) -> Iterator[tuple[str, str]]:
    """Schema-Guided Dialogue: what begins a new intent, with its name and description."""
    described = {}
    for part in ("train", "dev"):
        for service in json.loads((data / f"sgd_dialogues/{part}/schema.json").read_text()):
            for intent in service["intents"]:
                key = service["service_name"].split("_")[0], intent["name"]
                described.setdefault(key, f"{intent['name']}|{intent['description'].strip('. ')}")
    for file in sorted((data / "sgd_dialogues").rglob("*.json.gz")):
        for dialogue in json.loads(gzip.decompress(file.read_bytes())):
            before = None
            for turn in dialogue["turns"]:
                for frame in turn["frames"] if turn["speaker"] == "USER" else []:
                    intent = frame["state"]["active_intent"]
                    label = described.get((frame["service"].split("_")[0], intent))
                    if label and intent != before:
                        yield turn["utterance"], label
                    before = intent


def emotions(data: Path) -> Iterator[tuple[str, str]]:
    folder = data / "goemotions/original"
    names = (folder / "labels.txt").read_text().split()
    for line in (folder / "train.tsv").read_text().splitlines():
        text, numbers, _ = line.split("\t")
        if numbers.isdigit() and names[int(numbers)] != "neutral":
            yield text, names[int(numbers)]


def subjects(data: Path) -> Iterator[tuple[str, str]]:
    """MMLU's questions, half of them without the choices."""
    for number, (file, question) in enumerate(exam_questions(data)):
        name = file.removeprefix("mmlu_")
        short = re.sub(r"(high_school|college|professional)_", "", name)
        text = question if number % 2 else question.partition("\nA. ")[0]
        yield text, name if short == name else f"{name}|{short}"


def exam_questions(data: Path) -> Iterator[tuple[str, str]]:
    for file in sorted((data / "routellm/mmlu/responses").glob("*.csv")):
        with file.open(encoding="utf-8") as rows:
            for row in csv.DictReader(rows):
                yield file.stem, row["prompt"]


def topics_of_sentences(data: Path) -> Iterator[tuple[str, str]]:
    for row in table(data / "sib200/eng_Latn/train.tsv"):
        yield row["text"], row["category"]


def reviews(data: Path) -> Iterator[tuple[str, str]]:
    file = data / "cad_nli_sentiment/sentiment/combined/train.tsv"
    for row in table(file):
        verdict = row["Sentiment"].lower()
        yield row["Text"][:PASSAGE_CHARS], f"{verdict}|{verdict} sentiment|a {verdict} review"


def entailment_pairs(data: Path) -> list[tuple[str, str, bool]]:
    """Premise, hypothesis, and whether the one entails the other. ConjNLI's and CAD's dev sets
    are left to the evaluation."""
    snli = data / "nli_snli_dev"
    columns = [(snli / name).read_text().split("\n") for name in ("s1.dev", "s2.dev", "labels.dev")]
    pairs = list(zip(*columns, strict=True))
    pairs += conjunctions(data, "adversarial_train_15k")
    pairs += counterfactuals(data, "train")
    for part in ("or", "and"):
        rows = table(data / f"nli_help/leskexppmb_{part}.tsv")
        pairs += [(r["ori_sentence"], r["new_sentence"], r["gold_label"]) for r in rows]
    return [(premise, claim, verdict == "entailment") for premise, claim, verdict in pairs if claim]


Pairs = list[tuple[str, str, str]]


def conjunctions(data: Path, part: str) -> Pairs:
    rows = (data / f"nli_conjnli/{part}.tsv").read_text("utf-8-sig").splitlines()[1:]
    return [(p, h, label.strip()) for p, h, label in (r.split("\t")[-3:] for r in rows)]


def counterfactuals(data: Path, part: str) -> Pairs:
    rows = table(data / f"cad_nli_sentiment/NLI/all_combined/{part}.tsv")
    return [(row["sentence1"], row["sentence2"], row["gold_label"]) for row in rows]


# Where prompts go


def routing(data: Path, held_out_articles: int, rng: random.Random) -> LabelSet:
    """The five default categories and what people call finer ones, by prompts of data sets and
    of templates."""
    told: dict[str, Any] = tomllib.loads((Path(__file__).parent / "prompts.toml").read_text())
    names = list(told["wordings"])
    number = {name: index for index, name in enumerate(names)}
    fill = Filler(data, told["slots"], held_out_articles, rng)
    rows: list[tuple[str, str]] = [*prompts_of_sets(data, held_out_articles, rng)]
    for label, template in told["templates"].items():
        labels = OF_TEMPLATES.get(label, label)
        rows += [(fill(rng.choice(template["prompts"])), labels) for _ in range(template["each"])]
    texts = {
        text.strip()[:TEXT_CHARS]: [number[label] for label in labels.split()]
        for text, labels in rows
        if len(text.strip()) > 1
    }
    kin = {
        number[label]: [number[name] for name in others] for label, others in told["kin"].items()
    }
    phrases = [
        "This prompt is about {}.",
        "This prompt is a request for {}.",
        "The task is {}.",
        "This prompt needs {}.",
        "The kind of this prompt is {}.",
    ]
    return LabelSet("routing", list(told["wordings"].values()), list(texts.items()), phrases, kin)


# Labels of the prompts that a table of prompts.toml gives, where it is not their name alone.
OF_TEMPLATES = {
    "harmless": "text-to-text",
    "code": "code reasoning",
    "translation": "translation multilingual",
    **{
        name: f"{name} text-to-text"
        for name in (
            "summary rewriting extraction explanation creative letter advice fact chat".split()
        )
    },
}


class Filler:
    """Replaces the slots of a template."""

    def __init__(
        self, data: Path, slots: dict[str, list[str]], held_out_articles: int, rng: random.Random
    ) -> None:
        trained, _ = split(xquad(data), held_out_articles)
        self._rng = rng
        self._slots = {
            **slots,
            "passage": english_passages(data),
            "foreign": list(foreign_sentences(data)),
            "question": [question for passage in trained for question, _ in passage.asked],
        }

    def __call__(self, template: str) -> str:
        return re.sub(r"\{([a-z_]+)\}", self._filling, template)

    def _filling(self, slot: re.Match[str]) -> str:
        if slot[1] == "number":
            return str(self._rng.choice((self._rng.randint(2, 12), self._rng.randint(13, 400))))
        return self(self._rng.choice(self._slots[slot[1]]))


def english_passages(data: Path) -> list[str]:
    """With no braces, which templates would take for slots."""
    texts = [row["text"] for row in table(data / "sib200/eng_Latn/train.tsv")]
    papers = lines(find(data / "scitldr", "train.jsonl"))
    texts += [" ".join(paper["source"]) for paper in papers]
    for file in sorted((data / "docs_code").rglob("*.md")):
        paragraphs = file.read_text("utf-8", "ignore").split("\n\n")
        texts += [text for text in paragraphs if 100 < len(text) < 900][:8]
    return [text[:PASSAGE_CHARS] for text in texts if not re.search(r"\{[a-z_]+\}", text)]


def foreign_sentences(data: Path) -> Iterator[str]:
    for file in sorted((data / "sib200").glob("*/train.tsv")):
        if not file.parent.name.startswith("eng"):
            yield from (row["text"] for row in table(file) if "{" not in row["text"])


def prompts_of_sets(
    data: Path, held_out_articles: int, rng: random.Random
) -> Iterator[tuple[str, str]]:
    """Prompts with their labels, separated by spaces."""
    for problem in lines(find(data / "gsm8k", "train.jsonl")):
        if not is_held_out(problem["question"]):
            yield problem["question"], "reasoning"
    for file, question in exam_questions(data):
        text = question if rng.random() < 0.5 else question.partition("\nA. ")[0]
        reasons = any(word in file for word in REASONING)
        yield text, "reasoning" if reasons else "fact text-to-text"
    trained, _ = split(xquad(data), held_out_articles)
    for passage in trained:
        yield from ((question, "fact text-to-text") for question, _ in passage.asked)
    for text in function_calls(data):
        yield text, "function-calling"
    for text, _ in sample(list(services(data)), 4_000, rng):
        if len(text.split()) > 4:
            yield text, "function-calling"
    for text, scene, _ in home_assistant(data):
        if scene not in ("general", "qa", "cooking", "recommendation") and " " in text:
            yield text, "function-calling"
    for text, _ in sample(list(emotions(data)), 2_500, rng):
        yield text, "chat text-to-text"
    yield from foreign_prompts(data, held_out_articles, rng)
    for language in ("en_us", "fr_fr"):
        for text, is_unsafe in hazards(data, language):
            if is_unsafe and not is_held_out(text):
                yield text, "nsfw" if language == "en_us" else "multilingual nsfw"


def function_calls(data: Path) -> Iterator[str]:
    """Of BFCL's written part, with and without the functions, and APIBench's instructions."""
    for kind in ("simple_python", "multiple", "parallel", "parallel_multiple", "multi_turn_base"):
        for row in lines(find(data / "bfcl_gorilla", f"BFCL_v4_{kind}.json")):
            for number, turn in enumerate(row["question"][:3]):
                said = " ".join(m["content"] for m in turn if m["role"] == "user")
                yield said
                if number == 0 and row.get("function"):
                    yield f"{said}\nTools: {json.dumps(row['function'])}"
    for file in sorted((data / "bfcl_gorilla/data/apibench").glob("*_train.json")):
        for row in lines(file)[:400]:
            said = row.get("code") or row.get("instruction") or ""
            yield said.partition("###Output")[0].replace("###Instruction:", "").strip()


def foreign_prompts(
    data: Path, held_out_articles: int, rng: random.Random
) -> Iterator[tuple[str, str]]:
    """Sentences in nineteen languages, half of them cut to a few words, the prompt book's
    paragraphs in sixteen, and questions in six."""
    for sentence in sample(list(foreign_sentences(data)), 6_000, rng):
        words = sentence.split()
        few = " ".join(words[: rng.randint(2, 9)]) if len(words) > 4 else sentence[:12]
        yield rng.choice((sentence, few)), "multilingual"
    for file in sorted((data / "prompts_chat_book/src/content/book").glob("*/*.mdx")):
        paragraphs = file.read_text("utf-8").split("\n\n")
        good = [p for p in paragraphs if 60 < len(p) < 500 and "<" not in p and "import" not in p]
        yield from ((paragraph, "multilingual") for paragraph in good[:8])
    for language in ("de", "es", "ru", "ar", "zh", "hi"):
        trained, _ = split(xquad(data, language), held_out_articles)
        for passage in trained:
            yield from ((question, "multilingual") for question, _ in passage.asked[:3])


def hazards(
    data: Path, language: str, unsafe: tuple[str, ...] = UNSAFE
) -> Iterator[tuple[str, bool]]:
    """AILuminate's prompts, and whether their hazard is one of `unsafe`."""
    with find(data / "ailuminate", f"*{language}*.csv").open(encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            yield row["prompt_text"], row["hazard"].startswith(unsafe)


def by_label(texts: Iterable[tuple[str, list[int]]]) -> dict[int, list[tuple[str, list[int]]]]:
    """Texts by the first of their labels."""
    found: dict[int, list[tuple[str, list[int]]]] = defaultdict(list)
    for text, labels in texts:
        found[labels[0]].append((text, labels))
    return found
