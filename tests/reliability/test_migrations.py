"""A history of any release is carried on, and whatever moment the process dies at, is not lost."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlite_utils import Database

from tests.store.rows import compression, generation, write
from tokenflowd.store import Filter, Store
from tokenflowd.store.migrations import migrations

NAMES = [migration.name for migration in migrations.pending(Database(memory=True))]
ROWS = {
    "m001_requests": """
        INSERT INTO texts (id, sha256, text) VALUES (1, 'a', 'old words, 错误'), (2, 'b', 'words');
        INSERT INTO requests VALUES (1, '01OLD', '2026-11-01T00:00:00.000Z', 'compress', 'ok',
            NULL, NULL, 12.5, 'curl', 'tokenflow-compressor', 1, 2);
        INSERT INTO compressions (request_id, tokenizer, mode, budget, original_tokens,
            compressed_tokens, over_budget, options)
            VALUES ('01OLD', 'o200k_base', 'budget', 1, 2, 1, 0, '{}');
    """,
    "m002_generations": """
        INSERT INTO messages VALUES ('01OLD', 0, 'user', 1);
        INSERT INTO generations (request_id, wanted_model, route, attempts, parameters, partial,
            finish_reason, ttft_ms)
            VALUES ('01OLD', 'm', 'ranks first', '[]', '{"n":1}', 0, 'stop', 250.0);
    """,
}
# Opens the history as the daemon does, and kills itself before the statement whose number it is
# given: SQLite tells of each, in a process of its own, whose connections are made to be told.
PROGRAM = """
import functools, os, signal, sqlite3, sys
from pathlib import Path
from tokenflowd.store import Store

left = int(sys.argv[2])

def before_a_statement(statement):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

class Told(sqlite3.Connection):
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.set_trace_callback(before_a_statement)

sqlite3.connect = functools.partial(sqlite3.connect, factory=Told)
Store(Path(sys.argv[1])).close()
"""
STEP = 11  # not every statement: each costs a process


def released(path: Path, last: str) -> None:
    """A history as the release with this schema left it, with rows."""
    db = Database(path)
    following = NAMES[NAMES.index(last) + 1 :]
    migrations.apply(db, stop_before=following[0] if following else None)
    for name in NAMES[: NAMES.index(last) + 1]:
        db.conn.executescript(ROWS.get(name, ""))
    db.conn.close()


def assert_carried_on(path: Path) -> None:
    store = Store(path)
    write(store, compression("new words"), generation())
    assert [row["kind"] for row in store.history.export()] == ["compress", "compress", "generate"]
    for query in ("old", "错误", "误"):
        assert [row["id"] for row in store.history.page(Filter(query=query))] == ["01OLD"]
    assert store.history.get("01OLD")["input"] == "old words, 错误"
    assert store.history.is_whole()
    store.close()
    assert [migration.name for migration in migrations.applied(Database(path))] == NAMES
    assert not list(path.parent.glob("*damaged*"))


@pytest.mark.parametrize("last", NAMES)
def test_a_history_of_every_schema_is_carried_on(tmp_path: Path, last: str) -> None:
    path = tmp_path / "tokenflow.db"
    released(path, last)
    assert_carried_on(path)
    backups = list(tmp_path.glob("*.before-*"))
    assert len(backups) == (last != NAMES[-1])
    for backup in backups:
        with sqlite3.connect(backup) as copy:
            assert copy.execute("SELECT id FROM requests").fetchall() == [("01OLD",)]


@pytest.mark.parametrize(
    ("finish_reason", "first_word_ms"), [("stop", 250.0), ("tool_calls", None)]
)
def test_times_to_the_first_word_are_carried_on_as_such(
    tmp_path: Path, finish_reason: str, first_word_ms: float | None
) -> None:
    path = tmp_path / "tokenflow.db"
    released(path, "m003_corrections")
    with sqlite3.connect(path) as old:
        old.execute("UPDATE generations SET finish_reason = ?", (finish_reason,))
    store = Store(path)
    row = store.history.get("01OLD")
    assert (row["ttft_ms"], row.get("first_word_ms")) == (250.0, first_word_ms)
    assert row["parameters"] == {"n": 1}
    store.close()


def test_a_migration_is_told_of_before_it_begins(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path = tmp_path / "tokenflow.db"
    Store(path).close()
    assert not caplog.messages
    path.unlink()
    released(path, "m003_corrections")
    Store(path).close()
    assert re.search(
        r"backing it up and migrating it\n.* was migrated in", "\n".join(caplog.messages)
    )


@pytest.mark.parametrize("last", [None, *NAMES[:-1]], ids=["no history", *NAMES[:-1]])
def test_a_migration_that_is_killed_is_made_up_for(tmp_path: Path, last: str | None) -> None:
    """Before each statement of it: none of them half, none of them twice."""
    middles = 0
    for number in range(1000):
        path = tmp_path / str(number) / "tokenflow.db"
        path.parent.mkdir()
        if last:
            released(path, last)
        program = [sys.executable, "-c", PROGRAM, str(path), str(number * STEP)]
        done = subprocess.run(program, capture_output=True, text=True)
        if done.returncode == 0:  # it had fewer statements than that
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        with sqlite3.connect(path) as found:
            names = {name for (name,) in found.execute("SELECT name FROM sqlite_master")}
        middles += "_sqlite_migrations" in names and "requests_trigrams" not in names
        if last:
            assert_carried_on(path)
        else:
            Store(path).close()
            assert [m.name for m in migrations.applied(Database(path))] == NAMES
    assert middles
