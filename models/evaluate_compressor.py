"""What is left of a text after compressing: for readers, for answers, for facts.

    python models/evaluate_compressor.py --data DATA [--reader GGUF] [--weights DIR] [--json FILE]

Compresses with the daemon's own selector. Beside it, at the same share of o200k tokens: random
words, stop-words dropped first, rare words kept (IDF), and the leading text. On the articles of
XQuAD that training leaves out (compressor.toml): the share of answers whose words all survive in
order, and with a reader (any causal GGUF model; needs llama-cpp-python) what it still knows of
the answers: the mean log-likelihood of their tokens, scaled so that 0 is no passage and 1 the
whole one; in any language of XQuAD. In English also: on QMSum's validation meetings, the share of
the reference answers' content words that survive; on documentation, the share of numbers,
identifiers, negations and names.
"""

import argparse
import json
import math
import random
import re
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import reuse
from rich.progress import track
from sources import Passage, bare, meetings, sample, split, words_of, xquad

from tokenflowd.compress import CompressionOptions, Compressor, count_tokens
from tokenflowd.compress.protect import find_spans
from tokenflowd.compress.words import split_words
from tokenflowd.config import CompressConfig, EngineConfig
from tokenflowd.engine import load_model

RATES = (0.33, 0.5, 0.7)
QUESTIONS = 4  # of each passage
MEETING_CHARS = 20_000
DOCUMENT_CHARS = 6_000
DOCUMENTS = 40
Method = Callable[[str, float], str]

ARTICLES = ("a", "an", "the")
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
    parser.add_argument("--languages", nargs="+", default=["en"])
    parser.add_argument("--reader", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    config = tomllib.loads((here / "compressor.toml").read_text())
    compressor = Compressor(load_model(options.weights, EngineConfig()), CompressConfig())

    def ours(text: str, rate: float) -> str:
        return compressor.compress(text, CompressionOptions(ratio=rate)).compressed_text

    reader = Reader(options.reader) if options.reader else None
    figures: dict[str, Any] = {}
    for language in options.languages:
        passages = held_out(options.data, language, config["held_out_articles"])
        methods = {**baselines([passage.text for passage in passages], language), "tokenflow": ours}
        figures[language] = {"passages": len(passages), **answers(passages, methods, reader)}
        show(language, figures[language])
        if language == "en":
            figures["meetings"] = {
                name: {rate: of_answers(options.data, methods[name], rate) for rate in RATES}
                for name in ("tokenflow", "stop-words")
            }
            figures["facts"] = {rate: facts(options.data, ours, rate) for rate in RATES}
            others = {"meetings": figures["meetings"], "facts": figures["facts"]}
            print(json.dumps(others, indent=2))
    sample_texts = json.loads((here / "sample.json").read_text())
    figures["sample"] = {
        language: {rate: ours(sample_texts[language], rate) for rate in RATES}
        for language in compressor.model.manifest.languages
    }
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def answers(
    passages: list[Passage], methods: dict[str, Method], reader: "Reader | None"
) -> dict[str, dict[str, float]]:
    """What each method leaves of the answers, at each rate."""
    corpus = [passage.text for passage in passages]
    none, full = 0.0, 1.0
    if reader:
        none, full = (reader.knows(passages, texts) for texts in ([""] * len(passages), corpus))
    rows = {}
    for name, method in methods.items():
        for rate in RATES:
            texts = [method(text, rate) for text in corpus]
            row = {"survival": survival(passages, texts)}
            if reader:
                row["retained"] = (reader.knows(passages, texts) - none) / (full - none)
            rows[f"{name} {rate}"] = row
    return rows


def show(language: str, figures: dict[str, Any]) -> None:
    columns = list(figures[f"tokenflow {RATES[0]}"])
    print(f"| {language} | rate |", " | ".join(columns), "|")
    print("|---|---:|" + "---:|" * len(columns))
    for name, row in figures.items():
        if isinstance(row, dict):
            method, _, rate = name.rpartition(" ")
            print(f"| {method} | {rate} |", *(f"{value:.3f} |" for value in row.values()))


def held_out(data: Path, language: str, every: int) -> list[Passage]:
    """Those of the articles that training leaves out, each with a few questions."""
    rng = random.Random(0)
    _, passages = split(xquad(data, language), every)
    return [Passage(passage.text, sample(passage.asked, QUESTIONS, rng)) for passage in passages]


# Baselines


def baselines(corpus: list[str], language: str) -> dict[str, Method]:
    frequency = Counter(word for text in corpus for word in set(spoken_words(text)))
    stop_words = stop_words_of(language)
    rng = random.Random(0)
    return {
        "random": lambda text, rate: best(text, rate, lambda at, word: rng.random()),
        "stop-words": lambda text, rate: best(
            text, rate, lambda at, word: (bare(word) not in stop_words) + rng.random() / 2
        ),
        "idf": lambda text, rate: best(text, rate, lambda at, word: -frequency[bare(word)]),
        "leading text": lambda text, rate: best(text, rate, lambda at, word: -at),
    }


def stop_words_of(language: str) -> frozenset[str]:
    """The most frequent words; of languages that are not English, as wordfreq counts them."""
    if language == "en":
        return reuse.STOP_WORDS
    import languages

    return languages.language(language).stop_words


def best(text: str, rate: float, score: Callable[[int, str], float]) -> str:
    """The best-scored words that fit into the budget, in their order."""
    words = split_words(text)
    budget, kept = rate * count_tokens(text), []
    for at in sorted(range(len(words)), key=lambda at: -score(at, words[at])):
        cost = count_tokens(words.gap_before(at) + words[at])
        if cost <= budget:
            budget -= cost
            kept.append(at)
    return words.join(sorted(kept))


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
    """As SQuAD's evaluation compares: in lower case, without punctuation and articles."""
    return [word for word in spoken_words(text) if word not in ARTICLES]


def spoken_words(text: str) -> list[str]:
    """As the daemon splits them, in lower case, without the marks around them."""
    return [word for word in map(bare, words_of(text)) if word]


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
