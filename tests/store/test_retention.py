from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.conftest import eventually
from tests.store.rows import classification, compression, generation, large, write
from tokenflowd.errors import Busy, StoreDegraded
from tokenflowd.store import CorrectionRecord, Filter, Store, forget_old, iso_time


def days_ago(days: float) -> str:
    return iso_time(datetime.now(UTC) - timedelta(days=days))


def test_what_is_old_goes_with_all_that_belongs_to_it(store: Store) -> None:
    old = [
        replace(generation("an old question"), created_at=days_ago(31)),
        replace(classification("an old prompt"), created_at=days_ago(31)),
        compression("shared", created_at=days_ago(31)),
    ]
    young = [compression("shared", created_at=days_ago(29)), generation("a new question")]
    write(store, *old, *young)
    for record in (old[1], young[1]):
        store.correct(CorrectionRecord(record.id, "code", "encoder", b"vector")).result(5)
    before = store.corrections_version

    while store.delete_some(days_ago(30)).result(5):
        pass

    assert [row["id"] for row in store.history.export()] == [record.id for record in young]
    assert store.history.corrections() == {"encoder": [(young[1].id, "code", b"vector")]}
    assert store.corrections_version != before  # so that nobody goes on using the other
    assert store.history.page(Filter(query="old")) == []
    with contextlib.closing(sqlite3.connect(store.path)) as reader:
        texts = {text for (text,) in reader.execute("SELECT text FROM texts")}
        for table in ("compressions", "classifications", "generations", "messages"):
            left = {row[0] for row in reader.execute(f"SELECT request_id FROM {table}")}
            assert left <= {record.id for record in young}
        reader.execute(
            "INSERT INTO requests_fts (requests_fts, rank) VALUES ('integrity-check', 1)"
        )
    assert texts == {"shared", "long text", "a new question", "because", "Be brief."}


def test_old_requests_go_a_few_at_a_time_and_others_write_in_between(store: Store) -> None:
    write(store, *(compression(f"text {index}", created_at=days_ago(2)) for index in range(500)))
    left = []
    while store.delete_some(days_ago(1)).result(5):
        write(store, compression(f"in between {len(left)}"))
        left.append(sum(row["created_at"] < days_ago(1) for row in store.history.export()))
    assert len(left) >= 5
    assert left == sorted(left, reverse=True)
    assert left[-1] == 0
    assert store.history.count() == len(left)


def test_nothing_is_forgotten_unless_asked_for(store: Store) -> None:
    write(store, compression(created_at=days_ago(10_000)))
    asyncio.run(forget_old(store, 0))
    assert store.history.count() == 1


def test_what_has_become_old_goes_with_the_next_round(store: Store) -> None:
    first, second = (compression(created_at=days_ago(31)) for _ in range(2))
    loop = asyncio.new_event_loop()
    write(store, first)
    forgetting = loop.create_task(forget_old(store, 30, every_s=0.01))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    eventually(lambda: store.history.count() == 0)
    write(store, second)
    eventually(lambda: store.history.count() == 0)
    loop.call_soon_threadsafe(forgetting.cancel)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


def test_a_vacuum_gives_the_space_of_deleted_texts_back(store: Store) -> None:
    gone, kept = large(), compression("zebra")
    write(store, gone, kept)
    store.delete(gone.id).result(5)
    done = store.vacuum().result(30)
    assert done.before - done.after > 8_000_000
    assert store.path.stat().st_size == done.after
    assert store.path.with_name("tokenflow.db-wal").stat().st_size == 0
    write(store, classification())
    assert [row["id"] for row in store.history.page(Filter(query="zebra"))] == [kept.id]
    assert store.problem is None


def test_words_that_were_deleted_are_in_no_file_after_a_vacuum(store: Store) -> None:
    gone = compression("the password is xylophone")
    write(store, gone, compression("other words"))
    store.delete(gone.id).result(5)
    store.vacuum().result(30)
    files = [file.read_bytes() for file in store.path.parent.iterdir()]
    assert not any(b"xylophone" in content for content in files)
    assert any(b"other words" in content for content in files)


def test_a_vacuum_waits_for_no_long_reader(store: Store) -> None:
    write(store, compression("one"), compression("two"))
    export = store.history.export()
    next(export)
    with pytest.raises(Busy, match="is being read"):
        store.vacuum().result(30)
    list(export)
    write(store, compression("three"))
    assert store.vacuum().result(30).after > 0


def test_a_store_that_closes_waits_for_no_vacuum(store: Store) -> None:
    write(store, *(compression(f"text {index}") for index in range(2000)))
    held = threading.Event()
    blocked = store.write(compression("before"))
    blocked.add_done_callback(lambda _: held.wait(10))  # runs in the writer's thread
    vacuum = store.vacuum()
    after = store.write(compression("after"))
    store._closing.set()  # as close() does first
    held.set()
    with pytest.raises(StoreDegraded, match="interrupted"):
        vacuum.result(30)
    assert after.result(5)
    assert store.history.is_whole()
    assert store.history.count() == 2002
