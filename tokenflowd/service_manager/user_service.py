"""The daemon as a service of its user: a file for the service manager, and its commands."""

from __future__ import annotations

import shlex
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenflowd.errors import ServiceManagerError

Command = tuple[str, ...]


@dataclass(frozen=True)
class DaemonCommand:
    """What is to run: the program, its data directory, and where else it writes."""

    program: Path
    home: Path
    also_writes: tuple[Path, ...] = ()


class UserService(ABC):
    """Starts at login and again after a crash, until it is uninstalled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    @abstractmethod
    def content(self, daemon: DaemonCommand) -> bytes:
        """Of the file."""

    @abstractmethod
    def starting(self) -> Sequence[Command]:
        """The commands once the file is there; it may run already, from an older file."""

    @abstractmethod
    def stopping(self) -> Sequence[Command]:
        """Before the file goes."""

    @abstractmethod
    def forgetting(self) -> Sequence[Command]:
        """Once the file is gone."""

    @abstractmethod
    def is_running(self) -> bool: ...

    def install(self, daemon: DaemonCommand) -> None:
        """Raises ServiceManagerError, which says what was done and what is left to do."""
        try:
            for folder in (daemon.home, *daemon.also_writes):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_bytes(self.content(daemon))
        except OSError as error:
            raise ServiceManagerError(f"{error.filename}: {error.strerror}") from error
        if failure := _first_failure(self.starting()):
            raise ServiceManagerError(f"{self.file} was written, but {failure}")

    def uninstall(self) -> None:
        """The file goes even if the service manager cannot be told. Raises ServiceManagerError."""
        if not self.file.exists():
            raise ServiceManagerError(f"no service is installed: there is no {self.file}")
        failure = _first_failure(self.stopping())
        try:
            self.file.unlink()
        except OSError as error:
            raise ServiceManagerError(f"{self.file}: {error.strerror}") from error
        if failure := failure or _first_failure(self.forgetting()):
            raise ServiceManagerError(f"{self.file} was removed, but {failure}")


def output_of(command: Command) -> str | None:
    """None if it fails or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def _first_failure(commands: Sequence[Command]) -> str | None:
    """Why they could not all be run, and from which one on to run them by hand."""
    for number, command in enumerate(commands):
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        except OSError as error:
            problem = f"{command[0]} cannot be run ({error.strerror})"
        else:
            if done.returncode == 0:
                continue
            said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
            problem = f"`{shlex.join(command)}` failed ({said})"
        left = " && ".join(shlex.join(command) for command in commands[number:])
        return f"{problem}; when that is mended, run: {left}"
    return None
