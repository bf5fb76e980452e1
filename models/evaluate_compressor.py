"""What is left of a text after compressing: for readers, for answers, for facts.

    python models/evaluate_compressor.py --data DATA [--reader GGUF] [--weights DIR] [--json FILE]

Compresses with the daemon's own selector. Beside it, at the same share of o200k tokens: random
words, stop-words dropped first, rare words kept (IDF), and the leading text. On the articles of
XQuAD that training leaves out (compressor.toml): the share of answers whose words all survive in
order, and with a reader (any causal GGUF model; needs llama-cpp-python) what it still knows of
the answers: the mean log-likelihood of their tokens, scaled so that 0 is no passage and 1 the
whole one. On QMSum's validation meetings: the share of the reference answers' content words that
survive. On documentation: the share of numbers, identifiers, negations and names.
"""

import argparse
import json
import math
import random
import re
import string
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import reuse
from rich.progress import track
from sources import Passage, meetings, sample, split, xquad

from tokenflowd.compress import CompressionOptions, Compressor, count_tokens
from tokenflowd.compress.protect import find_spans
from tokenflowd.config import CompressConfig, EngineConfig
from tokenflowd.engine import load_model

RATES = (0.33, 0.5, 0.7)
QUESTIONS = 4  # of each passage
MEETING_CHARS = 20_000
DOCUMENT_CHARS = 6_000
DOCUMENTS = 40
Method = Callable[[str, float], str]

_MARKS = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
EXAMPLES = (
    "Passage: Lake Baikal in Siberia is the deepest lake on Earth.\n"
    "Question: Where is Lake Baikal?\nAnswer: Siberia\n\n"
    "Passage: The bridge was opened in 1932 after eight years of work by 1,400 men.\n"
    "Question: When was the bridge opened?\nAnswer: 1932\n\n"
)


def main() -> None:
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=here / "weights/tokenflow-compressor")
    parser.add_argument("--language", default="en")
    parser.add_argument("--reader", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    config = tomllib.loads((here / "compressor.toml").read_text())
    passages = held_out(options.data, options.language, config["held_out_articles"])
    corpus = [passage.text for passage in passages]
    compressor = Compressor(load_model(options.weights, EngineConfig()), CompressConfig())

    def ours(text: str, rate: float) -> str:
        return compressor.compress(text, CompressionOptions(ratio=rate)).compressed_text

    methods: dict[str, Method] = {**baselines(corpus), "tokenflow": ours}
    reader = Reader(options.reader) if options.reader else None
    figures: dict[str, Any] = {"passages": len(passages), "language": options.language}
    none, full = 0.0, 1.0
    if reader:
        none, full = (reader.knows(passages, texts) for texts in ([""] * len(passages), corpus))
    columns = ["survival", "retained"] if reader else ["survival"]
    print("| method | rate |", " | ".join(columns), "|")
    print("|---|---:|" + "---:|" * len(columns))
    for name, method in methods.items():
        for rate in RATES:
            texts = [method(text, rate) for text in corpus]
            row = {"survival": survival(passages, texts)}
            if reader:
                row["retained"] = (reader.knows(passages, texts) - none) / (full - none)
            figures[f"{name} {rate}"] = row
            print(f"| {name} | {rate} |", *(f"{value:.3f} |" for value in row.values()), flush=True)
    if options.language == "en":
        figures["meetings"] = {
            name: {rate: of_answers(options.data, method, rate) for rate in RATES}
            for name, method in methods.items()
            if name in ("tokenflow", "stop-words")
        }
        figures["facts"] = {rate: facts(options.data, ours, rate) for rate in RATES}
        print(json.dumps({"meetings": figures["meetings"], "facts": figures["facts"]}, indent=2))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def held_out(data: Path, language: str, every: int) -> list[Passage]:
    """Those of the articles that training leaves out, each with a few questions."""
    rng = random.Random(0)
    _, passages = split(xquad(data, language), every)
    return [Passage(passage.text, sample(passage.asked, QUESTIONS, rng)) for passage in passages]


# Baselines


def baselines(corpus: list[str]) -> dict[str, Method]:
    frequency = Counter(word for text in corpus for word in set(map(reuse.bare, text.split())))
    rng = random.Random(0)
    return {
        "random": lambda text, rate: best(text, rate, lambda at, word: rng.random()),
        "stop-words": lambda text, rate: best(
            text,
            rate,
            lambda at, word: (reuse.bare(word) not in reuse.STOP_WORDS) + rng.random() / 2,
        ),
        "idf": lambda text, rate: best(text, rate, lambda at, word: -frequency[reuse.bare(word)]),
        "leading text": lambda text, rate: best(text, rate, lambda at, word: -at),
    }


def best(text: str, rate: float, score: Callable[[int, str], float]) -> str:
    """The best-scored words that fit into the budget, in their order."""
    words = text.split()
    budget, kept = rate * count_tokens(text), []
    for at in sorted(range(len(words)), key=lambda at: -score(at, words[at])):
        cost = count_tokens(f" {words[at]}")
        if cost <= budget:
            budget -= cost
            kept.append(at)
    return " ".join(words[at] for at in sorted(kept))


# Measures


def survival(passages: list[Passage], texts: list[str]) -> float:
    survived = [
        is_in_order(answer, text)
        for passage, text in zip(passages, texts, strict=True)
        for _, answer in passage.asked
    ]
    return sum(survived) / len(survived)


def is_in_order(answer: str, text: str) -> bool:
    words = iter(normal(text))
    return all(word in words for word in normal(answer))


def normal(text: str) -> list[str]:
    """As SQuAD's evaluation compares: lower case, without punctuation and articles."""
    return _ARTICLES.sub(" ", text.lower().translate(_MARKS)).split()


def of_answers(data: Path, method: Method, rate: float) -> float:
    """The share of the reference answers' content words that a meeting keeps."""
    kept = wanted = 0
    for meeting in track(meetings(data, "val"), f"meetings at {rate}", transient=True):
        turns = [f"{turn['speaker']}: {turn['content']}" for turn in meeting["meeting_transcripts"]]
        text = "\n".join(turns)[:MEETING_CHARS]
        said, left = reuse.stems([text]), reuse.stems([method(text, rate)])
        for query in meeting["specific_query_list"]:
            needed = reuse.stems([query["answer"]]) & said
            wanted += len(needed)
            kept += len(needed & left)
    return kept / wanted


def facts(data: Path, method: Method, rate: float) -> dict[str, float]:
    """The shares of each document's different numbers, identifiers, negations and names that are
    kept."""
    kept: Counter[str] = Counter()
    wanted: Counter[str] = Counter()
    files = [
        file
        for file in sorted((data / "docs_code").rglob("*.[mr][ds]*"))
        if file.stat().st_size > 2_000
    ]
    for file in track(
        random.Random(0).sample(files, DOCUMENTS), f"facts at {rate}", transient=True
    ):
        text = file.read_text("utf-8", "replace")[:DOCUMENT_CHARS]
        left = set(re.findall(r"\w+", method(text, rate)))
        for kind, words in facts_of(text).items():
            wanted[kind] += len(words)
            kept[kind] += len(words & left)
    return {kind: kept[kind] / wanted[kind] for kind in wanted}


def facts_of(text: str) -> dict[str, set[str]]:
    found: dict[str, list[str]] = {
        "numbers": re.findall(r"(?<![\w.])\d+\b", text),
        "names": re.findall(r"(?<=[a-z,] )[A-Z][a-z]{2,}\b", text),
        "negations": re.findall(r"\b(?:not|never|no|without|cannot|unless)\b", text),
    }
    identifiers = [s for s in find_spans(text) if s.kind == "identifiers"]
    found["identifiers"] = [
        word for span in identifiers for word in re.findall(r"\w+", text[span.start : span.end])
    ]
    return {kind: set(words) for kind, words in found.items()}


class Reader:
    """A causal language model, asked for the likelihood of answers."""

    def __init__(self, file: Path) -> None:
        import llama_cpp

        self._api = llama_cpp
        self._model = llama_cpp.Llama(str(file), n_ctx=2048, verbose=False)
        self._context = self._model._ctx
        self._read: list[int] = []

    def knows(self, passages: list[Passage], texts: list[str]) -> float:
        """Mean log-likelihood of an answer's tokens, given the texts instead of the passages."""
        values = [
            value
            for passage, text in track(
                list(zip(passages, texts, strict=True)), "reading", transient=True
            )
            for value in self._likelihoods(text, passage.asked)
        ]
        return sum(values) / len(values)

    def _likelihoods(self, text: str, asked: list[tuple[str, str]]) -> list[float]:
        start = self._tokens(f"{EXAMPLES}Passage: {text}", begins=True)
        # What two prompts have in common is read once.
        same = 0
        while same < min(len(self._read), len(start) - 1) and self._read[same] == start[same]:
            same += 1
        self._context.kv_cache_seq_rm(-1, same, -1)
        self._model.n_tokens = same
        self._model.eval(start[same:])
        self._read = start
        values = []
        for question, answer in asked:
            self._context.kv_cache_seq_rm(-1, len(start), -1)
            values.append(self._likelihood(len(start), question, answer))
        self._model.n_tokens = len(start)
        return values

    def _likelihood(self, at: int, question: str, answer: str) -> float:
        prompt, wanted = (
            self._tokens(f"\nQuestion: {question}\nAnswer:"),
            self._tokens(f" {answer}"),
        )
        tokens = prompt + wanted[:-1]
        batch = self._api.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for number, token in enumerate(tokens):
            batch.token[number], batch.pos[number] = token, at + number
            batch.n_seq_id[number], batch.seq_id[number][0] = 1, 0
            batch.logits[number] = number >= len(prompt) - 1
        if self._api.llama_decode(self._context.ctx, batch):
            raise RuntimeError("the reader cannot read this")
        total = 0.0
        for number, token in enumerate(wanted):
            row = self._api.llama_get_logits_ith(self._context.ctx, len(prompt) - 1 + number)
            logits = np.ctypeslib.as_array(row, (self._model.n_vocab(),)).astype(np.float64)
            highest = logits.max()
            total += logits[token] - highest - math.log(np.exp(logits - highest).sum())
        self._api.llama_batch_free(batch)
        return total / len(wanted)

    def _tokens(self, text: str, begins: bool = False) -> list[int]:
        return list(self._model.tokenize(text.encode(), add_bos=begins))


if __name__ == "__main__":
    main()
