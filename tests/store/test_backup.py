from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.store.rows import compression, large, write
from tokenflowd.errors import BackupError, StoreDegraded
from tokenflowd.store import History, Store, back_up


def no_progress(copied: int, total: int) -> None:
    pass


def test_a_backup_is_the_history_as_it_was_when_it_began(store: Store, tmp_path: Path) -> None:
    write(store, large())
    steps = []

    def writing(copied: int, total: int) -> None:
        steps.append((copied, total))
        write(store, compression(f"written meanwhile, {len(steps)}"))

    copy = tmp_path / "copy.db"
    back_up(store.path, copy, writing)
    assert len(steps) > 1
    assert steps[-1][0] == steps[-1][1]
    assert History(copy).count() == 1
    assert store.history.count() == 1 + len(steps)
    assert Store(copy).history.count() == 1  # and can be carried on


def test_a_backup_is_one_file_for_its_owner_only(store: Store, tmp_path: Path) -> None:
    write(store, compression())
    folder = tmp_path / "backups"
    folder.mkdir()
    before = os.umask(0)
    try:
        back_up(store.path, folder / "copy.db", no_progress)
    finally:
        os.umask(before)
    (copy,) = folder.iterdir()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with contextlib.closing(sqlite3.connect(copy)) as reader:
        assert reader.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert reader.execute("SELECT input FROM history").fetchone() == ("some long text",)


def test_a_backup_overwrites_nothing(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "mine.txt"
    target.write_text("precious")
    with pytest.raises(BackupError, match=r"mine\.txt exists already"):
        back_up(store.path, target, no_progress)
    assert target.read_text() == "precious"


def test_a_backup_that_cannot_be_written_is_said(store: Store, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="No such file or directory"):
        back_up(store.path, tmp_path / "nowhere" / "copy.db", no_progress)
    with pytest.raises(BackupError, match="no history to back up"):
        back_up(tmp_path / "nothing.db", tmp_path / "copy.db", no_progress)
    assert not (tmp_path / "copy.db").exists()


def test_a_damaged_history_is_not_backed_up(tmp_path: Path) -> None:
    path = tmp_path / "home" / "tokenflow.db"
    store = Store(path)
    write(store, *(compression(f"text {index} " * 50) for index in range(200)))
    store.close()
    content = bytearray(path.read_bytes())
    content[4096 * 30 : 4096 * 40] = b"\xff" * 40960
    path.write_bytes(content)
    with pytest.raises(StoreDegraded, match="is damaged"):
        back_up(path, tmp_path / "copy.db", no_progress)
    assert [file.name for file in tmp_path.iterdir()] == ["home"]


def test_an_interrupt_leaves_no_half_backup(store: Store, tmp_path: Path) -> None:
    program = """
import signal, sys
from pathlib import Path
from tokenflowd.store import back_up
signal.signal(signal.SIGINT, signal.default_int_handler)  # which jobs in the background ignore
def progress(copied, total):
    print("copying", flush=True)
    sys.stdin.read()
back_up(Path(sys.argv[1]), Path(sys.argv[2]), progress)
"""
    write(store, large())
    folder = tmp_path / "backups"
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(store.path), str(folder / "copy.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "copying\n"
    assert (folder / "copy.db").exists()
    process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate()[1]
    assert list(folder.iterdir()) == []
    assert store.history.count() == 1
