from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest
from sqlite_utils import Database

from tests.store.rows import classification, compression, generation, write
from tokenflowd.errors import AlreadyRunning, NotFound, StoreDegraded
from tokenflowd.store import CorrectionRecord, Filter, RequestRecord, Store
from tokenflowd.store.database import reading
from tokenflowd.store.lock import DirectoryLock, owner_of
from tokenflowd.store.migrations import migrations

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": f"tool_{number}",
            "description": "Reads what is there. " * 20,
            "parameters": {"type": "object", "properties": {"path": {"type": "string"}}},
        },
    }
    for number in range(100)
]


def test_a_record_comes_back_whole(store: Store) -> None:
    record = compression()
    write(store, record)
    row = store.history.get(record.id)
    assert row["input"] == "some long text"
    assert row["output"] == "long text"
    assert row["options"] == {"ratio": 0.5}
    assert row["over_budget"] is False
    assert (row["kind"], row["status"], row["created_at"]) == ("compress", "ok", record.created_at)


def test_a_classification_comes_back_with_its_scores(store: Store) -> None:
    record = classification()
    write(store, record)
    row = store.history.get(record.id)
    assert (row["category"], row["scores"]) == ("reasoning", {"reasoning": 0.9, "other": 0.1})


def test_an_answer_comes_back_with_what_was_sent(store: Store) -> None:
    record = generation()
    write(store, record)
    row = store.history.get(record.id)
    assert row["messages"] == [
        {"role": "system", "text": "Be brief."},
        {"role": "user", "text": "why?"},
    ]
    assert row["attempts"][0]["error"] == "timeout"
    assert row["parameters"] == {"max_tokens": 5}
    assert (row["provider"], row["model"], row["partial"]) == ("b", "small", False)
    assert (row["prompt_tokens"], row["ttft_ms"], row["cost_usd"]) == (100, 250.0, 0.001)


def test_the_first_byte_and_the_first_word_are_two_times(store: Store) -> None:
    reasoned, silent = generation(first_word_ms=900.0), generation(first_word_ms=None)
    write(store, reasoned, silent)
    row = store.history.get(reasoned.id)
    assert (row["ttft_ms"], row["first_word_ms"]) == (250.0, 900.0)
    assert "first_word_ms" not in store.history.get(silent.id)
    with sqlite3.connect(store.path) as reader:
        times = reader.execute("SELECT ttft_ms, first_word_ms FROM history ORDER BY number")
        assert times.fetchall() == [(250.0, 900.0), (250.0, None)]
        means = reader.execute("SELECT mean_ttft_ms, mean_first_word_ms FROM daily_metrics")
        assert means.fetchall() == [(250.0, 900.0)]


def test_parameters_come_back_as_they_were(store: Store) -> None:
    parameters = {
        "temperature": 0.1,
        "tools": TOOLS,
        "stop": None,
        "response_format": {"type": "json_schema", "schema": {"enum": ["é" * 700, None, 1e300]}},
        "user": "u" * 600,
        "seed": 12345678901234567890,
    }
    record = generation(parameters=parameters)
    write(store, record)
    found = store.history.get(record.id)["parameters"]
    assert found == parameters
    assert list(found) == list(parameters)
    assert [row["parameters"] for row in store.history.export()] == [parameters]


def test_tools_that_come_with_every_request_are_stored_once(store: Store) -> None:
    def size_after(**parameters: object) -> int:
        write(store, *(generation(f"{number}?", parameters=parameters) for number in range(100)))
        return store.vacuum().result(30).after

    sizes = [size_after(), size_after(), size_after(tools=TOOLS)]
    tools = len(msgspec.json.encode(TOOLS))
    assert tools > 50_000
    without, with_tools = sizes[1] - sizes[0], sizes[2] - sizes[1]
    assert with_tools - without < 2 * tools


def test_tools_go_with_the_last_request_that_had_them(store: Store) -> None:
    first, second = (generation(parameters={"tools": TOOLS, "n": 1}) for _ in range(2))
    asked_for = classification(msgspec.json.encode(TOOLS[:50]).decode())
    third = generation(parameters={"tools": TOOLS[:50]})
    write(store, first, second, asked_for, third)
    assert store.delete(first.id).result(5)
    assert store.history.get(second.id)["parameters"] == {"tools": TOOLS, "n": 1}
    assert store.delete(third.id).result(5)
    assert store.history.get(asked_for.id)["input"]  # the same text
    for record in (second, asked_for):
        assert store.delete(record.id).result(5)
    with sqlite3.connect(store.path) as reader:
        assert reader.execute("SELECT count(*) FROM texts").fetchone() == (0,)
        assert reader.execute("SELECT count(*) FROM generation_parameters").fetchone() == (0,)


def test_deleting_an_answer_takes_its_messages_and_leaves_shared_texts(store: Store) -> None:
    first, second = generation("one?"), generation("two?")
    write(store, first, second)
    assert store.delete(first.id).result(5)
    with sqlite3.connect(store.path) as reader:
        texts = {text for (text,) in reader.execute("SELECT text FROM texts")}
        messages = reader.execute("SELECT count(*) FROM messages").fetchone()
    assert texts == {"Be brief.", "two?", "because"}
    assert messages == (2,)


def test_a_failed_request_is_a_row_too(store: Store) -> None:
    record = RequestRecord("compress", "test", error_type="busy", error_detail="come back later")
    write(store, record)
    assert store.history.get(record.id)["error_detail"] == "come back later"
    assert store.history.page(Filter())[0]["status"] == "error"


def test_a_text_is_stored_once(store: Store) -> None:
    write(store, compression("same"), compression("same"), classification("same"))
    with sqlite3.connect(store.path) as reader:
        assert reader.execute("SELECT count(*) FROM texts WHERE text = 'same'").fetchone() == (1,)


@pytest.mark.parametrize(
    "query", ['"', "*", "a AND", "NEAR(", "x:y", "-", "(", "'; DROP", "^a", "%"]
)
def test_no_query_is_a_syntax_error(store: Store, query: str) -> None:
    write(store, compression())
    store.history.page(Filter(query=query))


def test_filters_narrow_and_the_cursor_goes_back(store: Store) -> None:
    records = [compression(f"text {index}") for index in range(5)] + [classification()]
    write(store, *records)
    page = store.history.page(Filter(kind="compress", limit=2))
    assert [row["preview"] for row in page] == ["text 4", "text 3"]
    page = store.history.page(Filter(kind="compress", limit=9, before=page[-1]["id"]))
    assert [row["preview"] for row in page] == ["text 2", "text 1", "text 0"]
    assert len(store.history.page(Filter(category="reasoning"))) == 1
    assert len(store.history.page(Filter(model="m"))) == 6
    assert store.history.page(Filter(since="2999-01-01")) == []


def test_the_cursor_survives_the_deletion_of_its_request(store: Store) -> None:
    records = [compression(f"text {index}") for index in range(4)]
    write(store, *records)
    assert store.delete(records[2].id).result(5)
    page = store.history.page(Filter(before=records[2].id))
    assert [row["id"] for row in page] == [records[1].id, records[0].id]


def test_what_was_deleted_is_not_found_any_more(store: Store) -> None:
    kept, gone = compression("zebra one"), compression("zebra two")
    write(store, kept, gone)
    assert store.delete(gone.id).result(5)
    assert [row["id"] for row in store.history.page(Filter(query="zebra"))] == [kept.id]
    with sqlite3.connect(store.path) as reader:
        check = "INSERT INTO requests_fts (requests_fts, rank) VALUES ('integrity-check', 1)"
        reader.execute(check)


def test_deleting_takes_texts_that_nothing_else_uses(store: Store) -> None:
    kept, gone = compression("shared"), compression("shared")
    alone = classification("only here")
    write(store, kept, gone, alone)
    assert store.delete(gone.id).result(5)
    assert store.delete(alone.id).result(5)
    assert not store.delete(alone.id).result(5)
    with pytest.raises(NotFound):
        store.history.get(gone.id)
    with sqlite3.connect(store.path) as reader:
        texts = {text for (text,) in reader.execute("SELECT text FROM texts")}
        details = reader.execute("SELECT count(*) FROM compressions").fetchone()
    assert texts == {"shared", "long text"}
    assert details == (1,)
    assert store.history.page(Filter(query="only")) == []


def test_a_correction_of_what_was_deleted_meanwhile_does_no_harm(store: Store) -> None:
    gone = classification()
    write(store, gone)
    futures = [
        store.delete(gone.id),
        store.correct(CorrectionRecord(gone.id, "code", "encoder", b"")),
        store.write(classification("another")),
    ]
    assert [future.result(5) for future in futures] == [True, False, True]
    assert store.problem is None
    assert store.history.corrections() == {}


def test_the_latest_correction_of_a_text_counts_for_each_encoder(store: Store) -> None:
    same, again, other = classification("same"), classification("same"), classification("other")
    write(store, same, again, other)
    for request_id, model, day in (
        (same.id, "a", "2026-01-02"),
        (again.id, "a", "2026-01-01"),
        (other.id, "b", "2026-01-01"),
    ):
        store.correct(CorrectionRecord(request_id, "code", model, b"vector", day)).result(5)
    assert store.history.corrections() == {
        "a": [(same.id, "code", b"vector")],
        "b": [(other.id, "code", b"vector")],
    }


def test_the_export_is_everything_oldest_first(store: Store) -> None:
    records = [compression("one"), classification("two")]
    write(store, *records)
    assert [row["id"] for row in store.history.export()] == [record.id for record in records]


def test_the_views_are_for_people(store: Store) -> None:
    write(store, compression(), classification())
    rows = list(Database(sqlite3.connect(store.path)).query("SELECT * FROM history ORDER BY id"))
    assert rows[0]["saved_tokens"] == 1
    days = list(Database(sqlite3.connect(store.path)).query("SELECT * FROM daily_metrics"))
    assert {(day["kind"], day["requests"]) for day in days} == {("compress", 1), ("classify", 1)}


def test_files_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = Store(tmp_path / "open" / "tokenflow.db")
        write(store, compression())
        modes = {
            path.name: stat.S_IMODE(path.stat().st_mode) for path in store.path.parent.iterdir()
        }
        assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700
        store.close()
    finally:
        os.umask(before)
    assert len(modes) >= 3
    assert set(modes.values()) == {0o600}


def test_two_stores_cannot_have_one_directory(store: Store) -> None:
    with pytest.raises(AlreadyRunning, match=str(os.getpid())):
        Store(store.path)


def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(StoreDegraded, match="cannot be written: Not a directory"):
        Store(tmp_path / "file" / "home" / "tokenflow.db")


def test_the_owner_is_known_while_it_lives(tmp_path: Path) -> None:
    assert owner_of(tmp_path) is None
    lock = DirectoryLock(tmp_path)
    lock.publish("http://localhost:1234")
    owner = owner_of(tmp_path)
    assert owner is not None
    assert (owner.pid, owner.url) == (str(os.getpid()), "http://localhost:1234")
    lock.close()
    assert owner_of(tmp_path) is None


def test_many_writers_lose_nothing(store: Store) -> None:
    def write_some() -> None:
        write(store, *(compression(f"{threading.get_ident()} {i}") for i in range(50)))

    threads = [threading.Thread(target=write_some) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.history.count() == 400


def test_a_closed_store_has_written_everything(tmp_path: Path) -> None:
    store = Store(tmp_path / "tokenflow.db")
    for index in range(100):
        store.write(compression(str(index)))
    store.close()
    again = Store(tmp_path / "tokenflow.db")
    assert again.history.count() == 100
    again.close()


def test_what_cannot_be_written_degrades_and_recovers(store: Store) -> None:
    store._db.execute("PRAGMA query_only = ON")  # as a full or read-only disk would
    assert store.write(compression()).result(5) is False
    assert store.problem is not None
    store._db.execute("PRAGMA query_only = OFF")
    assert store.write(compression()).result(5) is True
    assert store.problem is None


def test_a_record_that_cannot_be_stored_takes_no_other_with_it(store: Store) -> None:
    unstorable = compression("lone surrogate: \udcff")
    futures = [store.write(record) for record in (compression("a"), unstorable, compression("b"))]
    assert [future.result(5) for future in futures] == [True, False, True]
    assert store.write(compression("c")).result(5) is True
    assert store.problem is None


@pytest.mark.parametrize("damage", ["header", "pages"])
def test_a_damaged_database_is_moved_aside_not_deleted(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "tokenflow.db"
    store = Store(path)
    write(store, *(compression(f"text {index} " * 50) for index in range(50)))
    store.close()
    content = bytearray(path.read_bytes())
    at = 0 if damage == "header" else 100
    content[at : at + 4096] = b"\xa5" * 4096
    path.write_bytes(content)
    fresh = Store(path)
    write(fresh, compression("after"))
    assert fresh.history.count() == 1
    fresh.close()
    aside = [p for p in tmp_path.iterdir() if ".damaged-" in p.name]
    assert any(p.read_bytes() == content for p in aside)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenflow.db"
    Store(path).close()
    db = Database(path)
    db["_sqlite_migrations"].insert(
        {"migration_set": "tokenflow", "name": "m999_future", "applied_at": "2099-01-01"}
    )
    db.conn.close()
    with pytest.raises(StoreDegraded, match="newer TokenFlow"):
        Store(path)
    assert owner_of(tmp_path) is None


def test_migrations_run_once(tmp_path: Path) -> None:
    path = tmp_path / "tokenflow.db"
    Store(path).close()
    Store(path).close()
    applied = [m.name for m in migrations.applied(Database(path))]
    assert applied == ["m001_requests", "m002_generations", "m003_corrections", "m004_search"]


def test_a_history_of_the_first_schema_is_carried_on(tmp_path: Path) -> None:
    path = tmp_path / "tokenflow.db"
    old = Database(path)
    migrations.apply(old, stop_before="m002_generations")
    old.conn.executescript(
        """
        INSERT INTO texts (id, sha256, text) VALUES (1, 'a', 'old words'), (2, 'b', 'words');
        INSERT INTO requests VALUES (1, '01OLD', '2026-11-01T00:00:00.000Z', 'compress', 'ok',
            NULL, NULL, 12.5, 'curl', 'tokenflow-compressor', 1, 2);
        INSERT INTO compressions VALUES ('01OLD', 'o200k_base', 'budget', 1, 2, 1, 0, '{}');
        """
    )
    old.conn.close()
    store = Store(path)
    write(store, compression("new words"), generation())
    assert [row["kind"] for row in store.history.export()] == ["compress", "compress", "generate"]
    assert [row["id"] for row in store.history.page(Filter(query="old"))] == ["01OLD"]
    assert store.history.get("01OLD")["compressed_tokens"] == 1
    store.close()
    backup = Database(path.with_name("tokenflow.db.before-m002_generations"))
    assert "generations" not in backup.table_names()
    assert backup.table("requests").count == 1


def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from tokenflowd.store import RequestRecord, Store
store = Store(Path(sys.argv[1]))
index = 0
while True:
    record = RequestRecord("compress", "kill", input=f"text {index}")
    assert store.write(record).result()
    print(record.id, flush=True)
    index += 1
"""
    path = tmp_path / "tokenflow.db"
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        acknowledged = [process.stdout.readline().strip() for _ in range(30)]
        process.send_signal(signal.SIGKILL)
        acknowledged += [line.strip() for line in process.stdout if len(line.strip()) == 26]
        process.wait()
        store = Store(path)
        for request_id in acknowledged:
            store.history.get(request_id)
        assert Database(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)
        store.close()


def test_a_reader_can_neither_write_nor_tidy_up(store: Store) -> None:
    """Corruption that SQLite had until 3.51.2 took two connections that write or checkpoint."""
    write(store, compression())
    with reading(store.path) as connection, pytest.raises(sqlite3.OperationalError):
        connection.execute("DELETE FROM requests")
    with reading(store.path) as connection, pytest.raises(sqlite3.OperationalError):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
