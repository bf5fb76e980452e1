"""Which words of a text do people use again when they need it? Labels for a compressor.

Sources are archives of openly licensed data (sources.py). A word is
worth keeping if it comes back in a question or an answer about its text, in a summary of it, in
what it entails, in a solution, as a value that somebody asked for. That is cheaper than asking a
large model to compress (LLMLingua-2, section 3) and needs no model that forbids training on its
answers.
"""

import gzip
import json
import random
import re
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sources import Passage, find, lines, meetings, split, xquad

STOP_WORDS = frozenset(
    "a an the of to in on at by for with from as is are was were be been being am and or but "
    "that this these those it its he she they him them we us our i me my you your his her "
    "their who whom which what when where why how there then than so such do does did have "
    "has had having will would can could may might must shall should also into onto over "
    "under between during about after before up down out off again further once here all any "
    "both each few more most other some own same too very just only if because while until "
    "against through".split()
)
FILLERS = frozenset(
    "let get got go going like really okay ok yeah yep well um uh uhm hmm mm mhm kind sort "
    "mean know think right actually basically things thing something lot bit please thanks "
    "thank hello hi hey sorry guess alright anyway obviously literally simply".split()
)
NEGATIONS = frozenset(
    "not no never none nothing nobody without cannot neither nor except unless can't don't "
    "doesn't didn't won't isn't aren't wasn't weren't shouldn't couldn't wouldn't hasn't "
    "haven't hadn't".split()
)
# What a word is worth that does not come back.
NEGATION, NUMBER, NAME, CONTENT, BETWEEN = 0.9, 0.75, 0.6, 0.15, 0.35
WINDOW_WORDS = 110
_I = re.compile(r"i(['’]\w+)?")
_MARKS = string.punctuation + "“”‘’—–…"
_ENDINGS = ("'s", "ing", "ies", "ed", "es", "s", "ly")
_STEM_CHARS = 7


@dataclass(frozen=True)
class Window:
    """Words of one text, each with the probability that it should be kept."""

    source: str
    words: list[str]
    labels: list[float]


def bare(word: str) -> str:
    return word.lower().strip(_MARKS)


def stem(word: str) -> str:
    word = bare(word)
    ending = next((e for e in _ENDINGS if word.endswith(e) and len(word) - len(e) >= 4), "")
    return word[: len(word) - len(ending)][:_STEM_CHARS]


def stems(texts: Iterable[str]) -> set[str]:
    """Of the content words."""
    words = (word for text in texts for word in text.split())
    return {stem(word) for word in words if bare(word) not in STOP_WORDS | FILLERS | {""}}


def label(words: list[str], used_again: set[str]) -> list[float]:
    labels = []
    for index, word in enumerate(words):
        core = bare(word)
        begins = index == 0 or words[index - 1][-1] in '.!?:"”'
        if core.replace("’", "'") in NEGATIONS:
            labels.append(NEGATION)
        elif core in STOP_WORDS or core in FILLERS or not core:
            labels.append(0.0)
        elif stem(word) in used_again:
            labels.append(1.0)
        elif re.search(r"\d", word):
            labels.append(NUMBER)
        elif word.strip(_MARKS)[:1].isupper() and not begins and not _I.fullmatch(core):
            labels.append(NAME)
        else:
            labels.append(CONTENT)
    # "University of Chicago": what joins two words worth keeping is worth more than a stop-word.
    for index in range(1, len(words) - 1):
        if labels[index] == 0 and min(labels[index - 1], labels[index + 1]) >= NAME:
            labels[index] = BETWEEN
    return labels


def windows(data: Path, times: dict[str, int], held_out_articles: int) -> list[Window]:
    """All windows of all sources, shuffled the same way every time. `times` repeats a small source
    that is worth more; every `held_out_articles`th article of XQuAD is left out."""
    trained, _ = split(xquad(data), held_out_articles)
    found = []
    for source, read in {"xquad": lambda _: read_passages(trained), **SOURCES}.items():
        for text, used_again in read(data):
            words = text.split()
            labels = label(words, stems(used_again))
            for start in range(0, len(words), WINDOW_WORDS):
                part = slice(start, start + WINDOW_WORDS)
                if len(words[part]) >= 5 and max(labels[part]) > CONTENT:
                    window = Window(source, words[part], labels[part])
                    found += [window] * times.get(source, 1)
    random.Random(0).shuffle(found)
    return found


Text = tuple[str, list[str]]  # and what was said of it


def read_passages(passages: list[Passage]) -> Iterator[Text]:
    for passage in passages:
        yield passage.text, [text for pair in passage.asked for text in pair]


def read_qmsum(data: Path) -> Iterator[Text]:
    for meeting in meetings(data, "train"):
        turns = [turn["content"] for turn in meeting["meeting_transcripts"]]
        for query in meeting["specific_query_list"]:
            spans = query["relevant_text_span"]
            said = " ".join(t for a, b in spans for t in turns[int(a) : int(b) + 1])
            said = re.sub(r"\{\w+\}", "", said)
            yield " ".join(said.split()[:900]), [query["query"], query["answer"]]


def read_scitldr(data: Path) -> Iterator[Text]:
    for file in sorted((data / "scitldr").rglob("train.jsonl")):
        for paper in lines(file):
            target = paper["target"]
            summaries = target if isinstance(target, list) else [target]
            yield " ".join(paper["source"]), [*summaries, paper.get("title", "")]


def read_snli(data: Path) -> Iterator[Text]:
    columns = [
        (data / "nli_snli_dev" / name).read_text().split("\n")
        for name in ("s1.dev", "s2.dev", "labels.dev")
    ]
    entailed: dict[str, list[str]] = {}
    for premise, hypothesis, verdict in zip(*columns, strict=True):
        if verdict == "entailment":
            entailed.setdefault(premise, []).append(hypothesis)
    yield from entailed.items()


def read_gsm8k(data: Path) -> Iterator[Text]:
    for problem in lines(find(data / "gsm8k", "train.jsonl")):
        yield problem["question"], [problem["answer"], problem["question"].split(".")[-1]]


def read_sgd(data: Path) -> Iterator[Text]:
    # dev's nine files and the first three of test
    for file in sorted((data / "sgd_dialogues").rglob("*.gz"))[:12]:
        for dialogue in json.loads(gzip.decompress(file.read_bytes())):
            for turn in dialogue.get("turns", []):
                values = [
                    turn["utterance"][slot["start"] : slot["exclusive_end"]]
                    for frame in turn["frames"]
                    for slot in frame.get("slots", [])
                    if "start" in slot
                ]
                if values:
                    yield turn["utterance"], values


SOURCES = {
    "qmsum": read_qmsum,
    "scitldr": read_scitldr,
    "snli": read_snli,
    "gsm8k": read_gsm8k,
    "sgd": read_sgd,
}
