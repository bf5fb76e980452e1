"""One process owns a data directory, and says in the lock file where it can be reached."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tokenflowd.errors import AlreadyRunning, StoreDegraded
from tokenflowd.files import make_directory, open_file

LOCK_FILE = "tokenflow.lock"


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that has the directory; `url` is empty until its daemon listens."""

    pid: str
    url: str


class DirectoryLock:
    """Held until closed; the kernel lets go of it if the process dies."""

    def __init__(self, directory: Path) -> None:
        """Raises AlreadyRunning, naming the process that has it, UnsafePath and StoreDegraded."""
        with _writing(directory):
            make_directory(directory)
            self._file = open_file(directory / LOCK_FILE, os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = _read(self._file)
            os.close(self._file)
            raise AlreadyRunning(
                f"another TokenFlow (process {owner.pid or 'unknown'}) uses {directory}; stop "
                "it, or name another --data-dir"
            ) from None
        self._directory = directory
        self.publish("")

    def publish(self, url: str) -> None:
        """Tells others where this process answers."""
        with _writing(self._directory):
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n{url}\n".encode(), 0)

    def close(self) -> None:
        os.ftruncate(self._file, 0)
        os.close(self._file)


def owner_of(directory: Path) -> Owner | None:
    """Who has `directory` now; None when nobody has. Raises UnsafePath."""
    try:
        file = open_file(directory / LOCK_FILE, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(file)
    else:
        return None
    finally:
        os.close(file)


@contextlib.contextmanager
def _writing(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreDegraded(f"{directory} cannot be written: {error.strerror}") from error


def _read(file: int) -> Owner:
    pid, _, url = os.pread(file, 4096, 0).decode(errors="replace").partition("\n")
    return Owner(pid.strip(), url.strip())
