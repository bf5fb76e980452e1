"""How the archives of open data are laid out, unpacked side by side into one folder."""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Passage:
    text: str
    asked: list[tuple[str, str]]  # questions with their answers


def lines(file: Path) -> list[dict[str, Any]]:
    """A file of one JSON object for each line."""
    return [json.loads(line) for line in file.read_text("utf-8").splitlines() if line.strip()]


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


def meetings(data: Path, part: str) -> list[dict[str, Any]]:
    """QMSum's: `part` is train or val."""
    files = sorted((data / "qmsum/ALL" / part).glob("*.json"))
    return [json.loads(file.read_text("utf-8")) for file in files]


def sample(items: list[Any], count: int, rng: random.Random) -> list[Any]:
    """`count` of them, or all if there are fewer."""
    return rng.sample(items, min(count, len(items)))
