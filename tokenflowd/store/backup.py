"""Copies the history while others read and write it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tokenflowd.errors import BackupError, StoreDegraded
from tokenflowd.store.database import open_for_reading

# Pages between two reports, which are also when Ctrl-C is heard: 4 MiB.
PAGES_AT_ONCE = 1024

Progress = Callable[[int, int], None]


def back_up(source: Path, target: Path, progress: Progress) -> None:
    """Makes `target` a copy of the history as it is now, one file, readable by its owner only.

    `progress` gets the pages copied and the pages in all. Raises BackupError, StoreDegraded.
    Whatever happens before the copy is checked, nothing is left of it.
    """
    if not source.exists():
        raise BackupError(f"there is no history to back up: {source} is not there yet")
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        raise BackupError(f"{target} exists already; it was left as it is") from None
    except OSError as error:
        raise BackupError(f"{target} cannot be written: {error.strerror}") from error
    try:
        with (
            contextlib.closing(open_for_reading(source)) as history,
            contextlib.closing(sqlite3.connect(target, check_same_thread=False)) as copy,
        ):
            _copy(history, copy, progress)
            _check(copy, source)
    except BaseException as error:
        for suffix in ("", "-journal", "-wal", "-shm"):
            target.with_name(target.name + suffix).unlink(missing_ok=True)
        if isinstance(error, sqlite3.Error):
            raise BackupError(f"{target} was not made: {error}") from error
        raise


def _copy(history: sqlite3.Connection, copy: sqlite3.Connection, progress: Progress) -> None:
    # One read transaction around all steps: without it, SQLite would begin again whenever the
    # daemon has committed, and be done only when that is idle.
    history.execute("BEGIN")
    history.execute("SELECT 1 FROM sqlite_master").fetchone()
    history.backup(
        copy,
        pages=PAGES_AT_ONCE,
        progress=lambda status, left, total: progress(total - left, total),
    )
    # The copy of a WAL database is one, too; this makes it a single file.
    copy.execute("PRAGMA journal_mode = DELETE")


def _check(copy: sqlite3.Connection, source: Path) -> None:
    # In a thread of its own, so that Ctrl-C is heard meanwhile.
    with ThreadPoolExecutor(1) as pool:
        checking = pool.submit(lambda: copy.execute("PRAGMA integrity_check(1)").fetchone()[0])
        try:
            found = checking.result()
        except BaseException:
            copy.interrupt()
            raise
    if found != "ok":
        raise StoreDegraded(f"{source} is damaged ({found}): no backup was made of it")
