"""Opens the database: permissions, WAL, migrations, and what to do with a damaged file."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from sqlite_utils import Database

from tokenflowd.errors import Cancelled, ReadTimeout, StoreDegraded, UnsafePath
from tokenflowd.files import check_file, make_directory
from tokenflowd.store.migrations import migrations

log = logging.getLogger(__name__)

# SQLite's own errors for a file that is no database, or one with broken pages.
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
BUSY_TIMEOUT_S = 5.0
# What one answer may take of a reader, of which there are few.
READ_TIMEOUT_S = 30.0
# Instructions of SQLite's machine between two looks at the clock: less than a millisecond.
_STEPS = 10_000
# The database, and the files that SQLite opens beside it.
_SUFFIXES = ("", "-wal", "-shm", "-journal")


def open_for_writing(path: Path) -> Database:
    """The one connection that writes. Creates and migrates; a damaged file is moved aside.

    Raises StoreDegraded when the schema is newer than this program, or nothing can be opened, and
    UnsafePath when what is there is no file of our own.
    """
    try:
        return _open(path)
    except OSError as error:
        raise StoreDegraded(f"{path} cannot be opened: {error.strerror}") from error
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise StoreDegraded(f"{path} cannot be opened: {error}") from error
        return start_anew(path, error)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file is damaged, rather than out of reach or the disk full."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _CORRUPT


def start_anew(path: Path, damage: sqlite3.Error) -> Database:
    """Moves the damaged file aside, which nobody may have open for writing."""
    aside = _move_aside(path)
    log.error("%s is damaged (%s): moved to %s, starting anew", path, damage, aside)
    return _open(path)


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. Raises StoreDegraded."""
    try:
        _check_files(path)
        # An export is read by whichever threads are free, one after the other.
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            check_same_thread=False,
        )
    except UnsafePath as error:
        raise StoreDegraded(error.detail) from error
    except sqlite3.Error as error:
        raise StoreDegraded(f"{path} cannot be read: {error}") from error
    connection.row_factory = sqlite3.Row
    return connection


@contextlib.contextmanager
def reading(
    path: Path, *, stop: threading.Event | None = None, timeout_s: float = READ_TIMEOUT_S
) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write, for the length of the block. Raises StoreDegraded; when
    `stop` is set, Cancelled; and ReadTimeout when a query takes longer than `timeout_s`."""
    with contextlib.closing(open_for_reading(path)) as connection:
        deadline = time.monotonic() + timeout_s

        def is_over() -> bool:
            return (stop is not None and stop.is_set()) or time.monotonic() > deadline

        connection.set_progress_handler(is_over, _STEPS)
        try:
            yield connection
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise StoreDegraded(f"the history cannot be read: {error}") from error
            if stop is not None and stop.is_set():
                raise Cancelled("the client left") from None
            raise ReadTimeout(
                f"the history was read for {timeout_s:g} s without an end; ask for less of it"
            ) from None
        except sqlite3.Error as error:
            raise StoreDegraded(f"the history cannot be read: {error}") from error


def _open(path: Path) -> Database:
    make_directory(path.parent)
    _check_files(path)
    # Created here with its mode: SQLite would follow the umask, -wal and -shm follow the file.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        db = Database(connection)
        _migrate(db, path)
    except BaseException:
        connection.close()
        raise
    return db


def _check_files(path: Path) -> None:
    """SQLite opens by path and follows links (no parameter of a URI is SQLITE_OPEN_NOFOLLOW).
    Nobody else can put one there after this check: the directory is ours. Raises UnsafePath."""
    for suffix in _SUFFIXES:
        check_file(path.with_name(path.name + suffix), for_writing=True)


def _migrate(db: Database, path: Path) -> None:
    ours = {migration.name for migration in migrations.pending(Database(memory=True))}
    if newer := {migration.name for migration in migrations.applied(db)} - ours:
        raise StoreDegraded(
            f"{path} was written by a newer TokenFlow (it has {', '.join(sorted(newer))}); "
            "update this one, or name another --data-dir"
        )
    pending = migrations.pending(db)
    if not pending or not migrations.applied(db):
        migrations.apply(db)
        return
    # An index of a large history takes its time, and nothing is answered before.
    log.info("%s is from an older TokenFlow: backing it up and migrating it", path)
    began = time.monotonic()
    _back_up(db, path.with_name(f"{path.name}.before-{pending[0].name}"))
    migrations.apply(db)
    log.info("%s was migrated in %.1f s", path, time.monotonic() - began)


def _back_up(db: Database, target: Path) -> None:
    for suffix in _SUFFIXES:  # of a migration that was killed
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with contextlib.closing(sqlite3.connect(target)) as copy:
        db.conn.backup(copy)


def _move_aside(path: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    for suffix in _SUFFIXES:
        file = path.with_name(path.name + suffix)
        if file.exists():
            file.rename(path.with_name(f"{path.name}.damaged-{stamp}{suffix}"))
    return path.with_name(f"{path.name}.damaged-{stamp}")
