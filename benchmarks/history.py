"""Full-text search in a history of 100,000 requests: the time it takes, the size of its indexes."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from pathlib import Path

from rich.progress import Progress

from benchmarks.history_rows import fill
from benchmarks.report import Table, interleave, p50, p95
from tokenflowd.store import Filter, History

ROWS = 100_000
ROUNDS = 20
PAGE = 100  # as the terminal client asks
INDEXES = {"words": "requests_fts", "trigrams": "requests_trigrams"}
QUERIES = {
    "no query": "",
    "one letter": "t",
    "a word in almost every text": "the",
    "two words": "operator exception",
    "signs": "f(x)",
    "signs that no text has": "C++",
    "Chinese that no text has": "错误 日志",
    "a sentence": "the operator and the names of the class are the same",
    "part of many words, at the beginning of none": "port",
}


def measure(progress: Progress) -> Table:
    with tempfile.TemporaryDirectory() as home:
        fill(Path(home), ROWS)
        path = Path(home) / "tokenflow.db"
        history = History(path)
        searches = {
            name: lambda query=query: history.page(Filter(query=query, limit=PAGE))
            for name, query in QUERIES.items()
        }
        seconds = interleave(searches, progress, "searching", rounds=ROUNDS, warm_up=False)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            megabytes = {name: _size(connection, table) for name, table in INDEXES.items()}
    rows = [(name, p50(taken), p95(taken)) for name, taken in seconds.items()]
    sizes = ", ".join(f"{name} {size:.0f} MB" for name, size in megabytes.items())
    return Table(
        f"A page of {PAGE} out of {ROWS:,} requests",
        ("query", "median", "p95"),
        rows,
        [f"Indexes: {sizes}."],
        {"seconds": seconds, "megabytes": megabytes},
    )


def _size(connection: sqlite3.Connection, index: str) -> float:
    """In MB: FTS5 keeps an index in the blocks of a table."""
    (size,) = connection.execute(f"SELECT sum(length(block)) FROM {index}_data").fetchone()  # noqa: S608
    return float(size) / 1e6
