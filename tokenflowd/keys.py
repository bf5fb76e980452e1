"""Providers' keys: from the environment, from a .env file, or from the system's keyring."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from types import ModuleType

from tokenflowd.config import Config
from tokenflowd.errors import KeyringUnavailable

log = logging.getLogger(__name__)

SERVICE = "tokenflow"
# A locked keyring asks its user first, who may be away; nobody waits for that longer.
PATIENCE_S = 3.0

KEYRING = "the keyring"


class Keys:
    """The keys of one process, by the variable that a provider's settings name.

    The keyring is asked once, when a key is first needed that neither the environment nor a
    .env file sets. One that fails is as good as empty: `problem` says what is wrong with it.
    """

    def __init__(self, config: Config) -> None:
        self.problem: str | None = None
        self._environment = config.environment
        self._env_files = config.env_files
        self._wanted = {
            provider.key_variable
            for provider in config.providers.values()
            if provider.key_variable and not self._set(provider.key_variable)
        }
        self._asked: Future[dict[str, str]] | None = None
        self._lock = threading.Lock()

    def get(self, variable: str) -> str:
        """The key; empty if there is none."""
        return self._set(variable) or self._from_keyring().get(variable, "")

    def source(self, variable: str) -> str | None:
        """Where the key comes from: "the environment", a .env file by its path, or KEYRING. None if
        there is none."""
        if self._set(variable):
            return self._env_files.get(variable, "the environment")
        return KEYRING if self._from_keyring().get(variable) else None

    def of_keyring(self) -> frozenset[str]:
        """The keys that the keyring has for us. It is asked now, if it was not yet: for those who
        cannot wait when a key is needed."""
        return frozenset(self._from_keyring().values())

    def _set(self, variable: str) -> str:
        return self._environment.get(variable, "").strip()

    def _from_keyring(self) -> dict[str, str]:
        if not self._wanted or not is_installed():
            return {}
        with self._lock:
            patience = 0.0
            if self._asked is None:
                self._asked, patience = self._ask(), PATIENCE_S
            try:
                found = self._asked.result(patience)
            except KeyringUnavailable as error:
                self._fail(error.detail)
            except TimeoutError:
                self._fail("the keyring does not answer (is it locked?), so its keys are not used")
            else:
                self.problem = None
                return found
        return {}

    def _fail(self, problem: str) -> None:
        if self.problem is None:
            log.warning("%s", problem)
        self.problem = problem

    def _ask(self) -> Future[dict[str, str]]:
        answer: Future[dict[str, str]] = Future()

        def ask() -> None:
            try:
                found = {variable: read_key(variable) for variable in self._wanted}
            except KeyringUnavailable as error:
                answer.set_exception(error)
            else:
                answer.set_result({variable: key for variable, key in found.items() if key})

        # Not of a pool: the process does not wait for such a thread when it ends.
        threading.Thread(target=ask, name="keyring", daemon=True).start()
        return answer


def is_installed() -> bool:
    return importlib.util.find_spec("keyring") is not None


def read_key(variable: str) -> str | None:
    """What the keyring has under that name. Raises KeyringUnavailable."""
    with _keyring() as keyring:
        key: str | None = keyring.get_password(SERVICE, variable)
    return key


def store_key(variable: str, key: str) -> None:
    """Puts it into the keyring, in the place of the one before. Raises KeyringUnavailable."""
    with _keyring(key) as keyring:
        keyring.set_password(SERVICE, variable, key)
    if read_key(variable) != key:  # such as Python's "null" keyring
        raise KeyringUnavailable("the keyring took the key, but does not have it")


def delete_key(variable: str) -> bool:
    """Whether the keyring had one. Raises KeyringUnavailable."""
    if read_key(variable) is None:
        return False
    with _keyring() as keyring:
        keyring.delete_password(SERVICE, variable)
    return True


@contextlib.contextmanager
def _keyring(secret: str = "") -> Iterator[ModuleType]:
    """The keyring's module; whatever goes wrong with it is told as KeyringUnavailable, without
    `secret`."""
    if not is_installed():
        raise KeyringUnavailable(
            "the keyring is an extra: install it with `pip install 'tokenflow[keyring]'`, or set "
            "keys in the environment or in .env of the data directory"
        )
    try:
        import keyring

        yield keyring
    except Exception as error:  # backends are plugins, already at the import, and raise anything
        said = str(error).partition(". ")[0] or type(error).__name__
        if secret:
            said = said.replace(secret, "***")
        raise KeyringUnavailable(f"the keyring cannot be used: {said}") from None
