"""Keyrings that are of no use, as PYTHON_KEYRING_BACKEND names them."""

from __future__ import annotations

import time
from pathlib import Path

from keyring.backend import KeyringBackend

from tests.conftest import KEY


class Failing(KeyringBackend):
    """As those whose service has gone: with an error of its own, which even names the key."""

    priority = 1

    def get_password(self, service: str, username: str) -> str | None:
        raise RuntimeError("the service went away")

    def set_password(self, service: str, username: str, password: str) -> None:
        raise RuntimeError(f"{password} was not taken")

    def delete_password(self, service: str, username: str) -> None:
        raise RuntimeError("the service went away")


class Locked(Failing):
    """Waits for its user, who unlocks it with a file."""

    def get_password(self, service: str, username: str) -> str | None:
        while not Path("unlocked").exists():
            time.sleep(0.01)
        return KEY
