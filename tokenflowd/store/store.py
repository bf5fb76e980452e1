"""The writer: one thread, one connection, one commit for all that waits."""

from __future__ import annotations

import hashlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from tokenflowd.errors import Busy, StoreDegraded
from tokenflowd.store.database import is_damage, open_for_writing, start_anew
from tokenflowd.store.history import History
from tokenflowd.store.lock import DirectoryLock
from tokenflowd.store.metrics import Metrics
from tokenflowd.store.records import (
    ClassificationRecord,
    CompressionRecord,
    CorrectionRecord,
    GenerationRecord,
    RequestRecord,
)

log = logging.getLogger(__name__)

# Records in one commit. A commit waits for the disk (about 4 ms), so under load many share it.
BATCH = 256
# Old requests that go in one commit: no more than these, nor for longer (a long text's words take
# their time to leave the index), so that an answer's record waits no longer than for a few others.
EXPIRED_AT_ONCE = 100
EXPIRY_S = 0.02
# Instructions of SQLite's machine between two looks at whether the store closes: hundreds of rows.
_STEPS = 1000
_JSON = (dict, list, tuple)
# Characters of JSON from which a parameter of a request is stored as a text: tools, which an agent
# sends with every request, once.
LARGE_PARAMETER = 500


@dataclass(frozen=True, slots=True)
class _Delete:
    request_id: str


@dataclass(frozen=True, slots=True)
class _DeleteSome:
    before: str


@dataclass(frozen=True, slots=True)
class _Uncorrect:
    request_id: str


@dataclass(frozen=True, slots=True)
class Vacuumed:
    """Bytes of the database, before and after."""

    before: int
    after: int


_Work = RequestRecord | CorrectionRecord | _Delete | _DeleteSome | _Uncorrect
_Task = tuple[_Work, "Future[bool]"]


class Store:
    """Owns the data directory of one process. Readers are in `history` and `metrics`."""

    def __init__(self, path: Path) -> None:
        """Raises AlreadyRunning when another process has the directory, StoreDegraded."""
        self.path = path
        self.lock = DirectoryLock(path.parent)
        try:
            self._db = open_for_writing(path)
        except BaseException:
            self.lock.close()
            raise
        self.history = History(path)
        self.metrics = Metrics(path)
        self.problem: str | None = None
        self.corrections_version = 0  # another one whenever the corrections may be others
        self._tasks: queue.SimpleQueue[_Task | Future[Vacuumed] | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    def write(self, record: RequestRecord) -> Future[bool]:
        """Resolves to True once the record is committed, to False when it could not be: the
        history is then degraded, `problem` says why, and answers go on without it."""
        return self._submit(record)

    def delete(self, request_id: str) -> Future[bool]:
        """Resolves to whether there was such a request. Texts that nothing else uses go, too."""
        return self._submit(_Delete(request_id))

    def delete_some(self, before: str) -> Future[bool]:
        """Deletes the oldest of the requests that were made before that ISO 8601 time. Resolves
        to whether there were any; there may be more."""
        return self._submit(_DeleteSome(before))

    def correct(self, correction: CorrectionRecord) -> Future[bool]:
        """Resolves to whether there was such a request. A correction before it is replaced."""
        return self._submit(correction)

    def uncorrect(self, request_id: str) -> Future[bool]:
        """Resolves to whether there was such a correction."""
        return self._submit(_Uncorrect(request_id))

    def vacuum(self) -> Future[Vacuumed]:
        """Gives the space of what was deleted back to the file system; what else is written waits
        meanwhile. Resolves to the sizes. Raises Busy while somebody reads for long, and
        StoreDegraded."""
        future: Future[Vacuumed] = Future()
        self._tasks.put(future)
        return future

    def close(self) -> None:
        """Writes what waits, then gives the directory back."""
        self._closing.set()
        self._tasks.put(None)
        self._thread.join()
        self._db.conn.close()
        self.lock.close()

    def _submit(self, task: _Work) -> Future[bool]:
        future: Future[bool] = Future()
        self._tasks.put((task, future))
        return future

    def _work(self) -> None:
        closing = False
        while not closing:
            batch = [self._tasks.get()]
            while len(batch) < BATCH and not self._tasks.empty():
                batch.append(self._tasks.get())
            closing = None in batch
            if tasks := [task for task in batch if isinstance(task, tuple)]:
                self._commit(tasks)
            for future in batch:
                # One whose caller was cancelled is not begun.
                if isinstance(future, Future) and future.set_running_or_notify_cancel():
                    self._vacuum(future)

    def _commit(self, tasks: list[_Task]) -> None:
        connection = self._db.conn
        try:
            connection.execute("BEGIN IMMEDIATE")
            outcomes = [_do(connection, task) for task, _ in tasks]
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            _roll_back(connection)
            if self.problem is None:
                log.error("the history cannot be written: %s", error)
            self.problem = str(error)
            outcomes = [False] * len(tasks)
            if is_damage(error):
                self._start_anew(error)
        except Exception:
            # A record that SQLite cannot hold is a bug elsewhere; it takes no other with it.
            _roll_back(connection)
            if len(tasks) > 1:
                for task in tasks:
                    self._commit([task])
                return
            log.exception("a record cannot be written")
            outcomes = [False]
        else:
            if self.problem is not None:
                log.info("the history is written again")
            self.problem = None
            if not all(isinstance(task, RequestRecord) for task, _ in tasks):
                self.corrections_version += 1
        for (_, future), outcome in zip(tasks, outcomes, strict=True):
            # A caller that was cancelled has cancelled its future; its row stays.
            if future.set_running_or_notify_cancel():
                future.set_result(outcome)

    def _vacuum(self, future: Future[Vacuumed]) -> None:
        connection = self._db.conn
        # A vacuum may take minutes, but the process has to end within seconds.
        connection.set_progress_handler(self._closing.is_set, _STEPS)
        try:
            future.set_result(_vacuum(connection))
        except Busy as error:
            future.set_exception(error)
        except sqlite3.Error as error:
            future.set_exception(StoreDegraded(f"the history cannot be vacuumed: {error}"))
        finally:
            connection.set_progress_handler(None, 0)

    def _start_anew(self, damage: sqlite3.Error) -> None:
        """Damage deep in a file shows only when something is written there."""
        self._db.conn.close()
        try:
            self._db = start_anew(self.path, damage)
        except (sqlite3.Error, OSError) as error:
            log.error("no new history can be begun: %s", error)
        self.corrections_version += 1


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _do(connection: sqlite3.Connection, task: _Work) -> bool:
    match task:
        case RequestRecord():
            return _insert(connection, task)
        case CorrectionRecord():
            return _correct(connection, task)
        case _Delete():
            return _delete(connection, task.request_id)
        case _DeleteSome():
            return _delete_some(connection, task.before)
        case _Uncorrect():
            return _uncorrect(connection, task.request_id)


def _insert(connection: sqlite3.Connection, record: RequestRecord) -> bool:
    _insert_row(
        connection,
        "requests",
        {
            "id": record.id,
            "created_at": record.created_at,
            "kind": record.kind,
            "status": record.status,
            "error_type": record.error_type,
            "error_detail": record.error_detail,
            "duration_ms": round(record.duration_ms, 3),
            "client": record.client,
            "model": record.model,
            "input_text_id": _text_id(connection, record.input),
            "output_text_id": _text_id(connection, record.output),
        },
    )
    for table, details in (
        ("compressions", record.compression),
        ("classifications", record.classification),
    ):
        if details is not None:
            _insert_row(connection, table, {"request_id": record.id, **_row(details)})
    if record.generation is not None:
        _insert_generation(connection, record.id, record.generation)
    connection.executemany(
        "INSERT INTO messages (request_id, position, role, text_id) VALUES (?, ?, ?, ?)",
        [
            (record.id, position, message.role, _text_id(connection, message.text))
            for position, message in enumerate(record.messages)
        ],
    )
    return True


def _insert_generation(
    connection: sqlite3.Connection, request_id: str, generation: GenerationRecord
) -> None:
    encoded = {
        name: msgspec.json.encode(value).decode() for name, value in generation.parameters.items()
    }
    large = {name: text for name, text in encoded.items() if len(text) > LARGE_PARAMETER}
    small = {
        name: None if name in large else value for name, value in generation.parameters.items()
    }
    row = {"request_id": request_id, **_row(replace(generation, parameters=small))}
    _insert_row(connection, "generations", row)
    connection.executemany(
        "INSERT INTO generation_parameters (request_id, name, text_id) VALUES (?, ?, ?)",
        [(request_id, name, _text_id(connection, text)) for name, text in large.items()],
    )


def _insert_row(connection: sqlite3.Connection, table: str, row: Mapping[str, object]) -> None:
    # sqlite-utils' own insert looks at the schema first, which takes longer than the insert.
    columns, marks = ", ".join(row), ", ".join("?" * len(row))
    connection.execute(
        f"INSERT INTO {table} ({columns}) VALUES ({marks})",  # noqa: S608 - names of our own
        tuple(row.values()),
    )


def _row(details: CompressionRecord | ClassificationRecord | GenerationRecord) -> dict[str, object]:
    """Its fields as columns; mappings and lists as JSON."""
    row = {name: getattr(details, name) for name in details.__slots__}
    return {
        name: msgspec.json.encode(value).decode() if isinstance(value, _JSON) else value
        for name, value in row.items()
    }


def _text_id(connection: sqlite3.Connection, text: str | None) -> int | None:
    if text is None:
        return None
    digest = hashlib.sha256(text.encode()).hexdigest()
    connection.execute(
        "INSERT INTO texts (sha256, text) VALUES (?, ?) ON CONFLICT (sha256) DO NOTHING",
        (digest, text),
    )
    row = connection.execute("SELECT id FROM texts WHERE sha256 = ?", (digest,)).fetchone()
    return int(row[0])


def _delete(connection: sqlite3.Connection, request_id: str) -> bool:
    used = connection.execute(
        """
        SELECT input_text_id FROM requests WHERE id = ?1
        UNION SELECT output_text_id FROM requests WHERE id = ?1
        UNION SELECT text_id FROM messages WHERE request_id = ?1
        UNION SELECT text_id FROM generation_parameters WHERE request_id = ?1
        """,
        (request_id,),
    ).fetchall()
    deleted = connection.execute("DELETE FROM requests WHERE id = ?", (request_id,)).rowcount
    connection.executemany(
        """
        DELETE FROM texts WHERE id = ?1
        AND NOT EXISTS (SELECT 1 FROM requests WHERE input_text_id = ?1)
        AND NOT EXISTS (SELECT 1 FROM requests WHERE output_text_id = ?1)
        AND NOT EXISTS (SELECT 1 FROM messages WHERE text_id = ?1)
        AND NOT EXISTS (SELECT 1 FROM generation_parameters WHERE text_id = ?1)
        """,
        used,
    )
    return bool(deleted)


def _delete_some(connection: sqlite3.Connection, before: str) -> bool:
    old = connection.execute(
        "SELECT id FROM requests WHERE created_at < ? ORDER BY created_at LIMIT ?",
        (before, EXPIRED_AT_ONCE),
    ).fetchall()
    deadline = time.monotonic() + EXPIRY_S
    for (request_id,) in old:
        _delete(connection, request_id)
        if time.monotonic() > deadline:
            break
    return bool(old)


def _correct(connection: sqlite3.Connection, correction: CorrectionRecord) -> bool:
    # From the request itself: it may have been deleted since it was read.
    cursor = connection.execute(
        """
        INSERT OR REPLACE INTO corrections (request_id, category, created_at, model, vector)
        SELECT id, ?, ?, ?, ? FROM requests WHERE id = ?
        """,
        (
            correction.category,
            correction.created_at,
            correction.model,
            correction.vector,
            correction.request_id,
        ),
    )
    return bool(cursor.rowcount)


def _uncorrect(connection: sqlite3.Connection, request_id: str) -> bool:
    cursor = connection.execute("DELETE FROM corrections WHERE request_id = ?", (request_id,))
    return bool(cursor.rowcount)


def _vacuum(connection: sqlite3.Connection) -> Vacuumed:
    # The vacuumed database goes through the log; only when nobody reads the file before it can
    # that be emptied again, and the file become smaller.
    if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        raise Busy("the history is being read (an export? a backup?): try again when that is done")
    before = _size(connection)
    # Words of deleted texts are only marked as such in an index until its parts are merged.
    connection.execute("INSERT INTO requests_fts (requests_fts) VALUES ('optimize')")
    connection.execute("INSERT INTO requests_trigrams (requests_trigrams) VALUES ('optimize')")
    connection.execute("VACUUM")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return Vacuumed(before, _size(connection))


def _size(connection: sqlite3.Connection) -> int:
    pages, page_size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
    )
    return int(pages * page_size)
