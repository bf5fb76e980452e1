"""How the archives of open data are laid out, unpacked side by side into one folder."""

import csv
import json
import random
import unicodedata
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenflowd.compress.words import split_words


@dataclass(frozen=True)
class Passage:
    text: str
    asked: list[tuple[str, str]]  # questions with their answers


def lines(file: Path) -> list[dict[str, Any]]:
    """A file of one JSON object for each line."""
    return [json.loads(line) for line in file.read_text("utf-8").splitlines() if line.strip()]


def table(file: Path) -> list[dict[str, str]]:
    """A file of columns separated by tabs, with their names in the first line."""
    with file.open(encoding="utf-8") as rows:
        return list(csv.DictReader(rows, delimiter="\t", quoting=csv.QUOTE_NONE))


def find(folder: Path, name: str) -> Path:
    return next(iter(sorted(folder.rglob(name))))


def xquad(data: Path, language: str = "en") -> list[list[Passage]]:
    """The passages of each article of the first half."""
    file = data / f"xquad_dev/xquad.{language}.dev.json"
    return [
        [
            Passage(
                paragraph["context"],
                [(q["question"], q["answers"][0]["text"]) for q in paragraph["qas"]],
            )
            for paragraph in article["paragraphs"]
        ]
        for article in json.loads(file.read_text("utf-8"))["data"]
    ]


def split(
    articles: list[list[Passage]], held_out_articles: int
) -> tuple[list[Passage], list[Passage]]:
    """To train on, and to develop with: every so many articles are left out, in any language."""
    parts: tuple[list[Passage], list[Passage]] = [], []
    for number, article in enumerate(articles):
        parts[number % held_out_articles == 0].extend(article)
    return parts


def is_held_out(text: str) -> bool:
    """Of a set that comes in one piece, a fourth is for developing, whatever its order."""
    return zlib.crc32(text.encode()) % 4 == 0


def meetings(data: Path, part: str) -> list[dict[str, Any]]:
    """QMSum's: `part` is train or val."""
    files = sorted((data / "qmsum/ALL" / part).glob("*.json"))
    return [json.loads(file.read_text("utf-8")) for file in files]


def sample(items: list[Any], count: int, rng: random.Random) -> list[Any]:
    """`count` of them, or all if there are fewer."""
    return rng.sample(items, min(count, len(items)))


def bare(word: str) -> str:
    """In lower case, without the marks around it, of any script."""
    kept = [at for at, sign in enumerate(word) if unicodedata.category(sign)[0] not in "PS"]
    return word[kept[0] : kept[-1] + 1].lower() if kept else ""


def words_of(text: str) -> list[str]:
    """As the daemon splits them."""
    words = split_words(text)
    return [words[index] for index in range(len(words))]
