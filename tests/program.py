"""tokenflowd as a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import sqlite3
import subprocess
import sysconfig
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.conftest import KEY, LOCAL_PROVIDERS, NO_KEYRING, NOWHERE
from tests.upstream import Upstream
from tokenflowd.store.lock import owner_of

PATIENCE_S = 30.0


class Program:
    """tokenflowd as a process, always with the same home; a provider behind it."""

    def __init__(self, home: Path, upstream: Upstream) -> None:
        self.home = home
        nowhere = [f'[providers.{name}]\nbase_url = "{NOWHERE}"\n' for name in LOCAL_PROVIDERS]
        (home / "config.toml").write_text("\n".join(nowhere))
        self._environment = {
            "PATH": os.environ["PATH"],
            "TOKENFLOW_HOME": str(home),
            "GROQ_API_KEY": KEY,
            "GROQ_API_BASE_URL": upstream.url,
            **NO_KEYRING,
        }
        self._processes: list[subprocess.Popen[bytes]] = []
        self._port: int | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Returns when it answers."""
        return self._start(0)

    def restart_at(self, url: str) -> subprocess.Popen[bytes]:
        """The same once more, where it was before."""
        return self._start(urlsplit(url).port or 0)

    def _start(self, port: int) -> subprocess.Popen[bytes]:
        program = str(Path(sysconfig.get_path("scripts"), "tokenflowd"))
        with (self.home / "daemon.log").open("ab") as log:
            process = subprocess.Popen(
                [program, "--port", str(port)], cwd=self.home, env=self._environment, stderr=log
            )
        self._processes.append(process)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            owner = owner_of(self.home)
            if owner and owner.pid == str(process.pid) and owner.url:
                self._port = urlsplit(owner.url).port
                return process
            assert process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def connection(self) -> http.client.HTTPConnection:
        assert self._port
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)

    def recorded(self, request_id: str) -> dict[str, Any]:
        """The row as the running daemon tells it; {} if there is none."""
        with contextlib.closing(self.connection()) as connection:
            connection.request("GET", f"/api/history/{request_id}")
            response = connection.getresponse()
            row: dict[str, Any] = json.load(response)
            return row if response.status == 200 else {}

    def integrity(self) -> str:
        database = f"file:{self.home / 'tokenflow.db'}?mode=ro"
        with contextlib.closing(sqlite3.connect(database, uri=True)) as connection:
            return str(connection.execute("PRAGMA integrity_check").fetchone()[0])

    def health(self) -> Any:
        with contextlib.closing(self.connection()) as connection:
            connection.request("GET", "/healthz")
            return json.load(connection.getresponse())

    def log(self) -> str:
        return (self.home / "daemon.log").read_text()

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
