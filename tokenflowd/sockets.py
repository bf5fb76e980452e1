"""Socket files: a door to the daemon that only its user can open."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from tokenflowd.errors import ConfigError

UNIX = "unix:"  # before the path, where a host or a URL may stand as well

# A daemon that lives takes a connection at once, busy as it may be: the kernel does it.
_ANSWER_S = 2.0


def socket_file_in(host: str) -> Path | None:
    """The path, if it is one that stands in the host's place."""
    if not host.startswith(UNIX):
        return None
    return Path(host.removeprefix(UNIX)).expanduser().absolute()


@contextlib.contextmanager
def socket_file(path: Path) -> Iterator[socket.socket]:
    """A listening socket at `path`, mode 0600, in a directory of the user's own; the file is
    gone after the block. One that a dead daemon left behind is replaced. Raises ConfigError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with listener:
        try:
            _claim_folder(path.parent)
            _remove_stale(path)
            _bind(listener, path)
            listener.listen()
            inode = path.stat().st_ino
        except OSError as error:
            # What Python itself finds wrong with a path has no errno.
            raise ConfigError(f"cannot listen on {path}: {error.strerror or error}") from error
        try:
            yield listener
        finally:
            _remove(path, inode)


def _claim_folder(folder: Path) -> None:
    """Who can write into it could put a socket of theirs in our place."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    about = folder.stat()
    if about.st_uid != os.geteuid() or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(
            f"others can write into {folder}; put the socket into a directory of your own, "
            "such as $XDG_RUNTIME_DIR"
        )


def _remove_stale(path: Path) -> None:
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise ConfigError(f"{path} is no socket; it was left as it is")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_ANSWER_S)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        except TimeoutError:
            raise _in_use(path) from None
        else:
            raise _in_use(path)


def _in_use(path: Path) -> ConfigError:
    return ConfigError(f"another program listens on {path}; stop it, or name another --listen")


def _bind(listener: socket.socket, path: Path) -> None:
    # The file's mode from its first moment: a chmod afterwards would come too late.
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)


def _remove(path: Path, inode: int) -> None:
    """Unless another daemon's socket is there by now."""
    with contextlib.suppress(FileNotFoundError):
        if path.lstat().st_ino == inode:
            path.unlink()
