"""The token that keeps other users of the machine out, where its owner wants one.

A port of the loopback interface is open to everybody who can use the machine; a file that only its
owner can read is not. A socket file (`--listen unix:PATH`) needs no token.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from tokenflowd.errors import ConfigError
from tokenflowd.files import make_directory, open_file, read_file

TOKEN_FILE = "token"  # noqa: S105


def access_token(home: Path) -> str:
    """The token of the daemon whose data directory is `home`; made when there is none. Raises
    ConfigError."""
    file = home / TOKEN_FILE
    try:
        make_directory(home)
        if known := known_token(home):
            return known
        token = secrets.token_urlsafe(32)
        with os.fdopen(open_file(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY), "w") as made:
            made.write(token)
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}") from error
    return token


def known_token(home: Path) -> str:
    """What is in the token's file; empty if there is none. Raises ConfigError."""
    file = home / TOKEN_FILE
    try:
        token = read_file(file).strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    if not token:
        raise ConfigError(f"{file} is empty; remove it, and the next start makes another")
    return token
