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

from tests.conftest import KEY, LOCAL_PROVIDERS, NO_KEYRING, NOWHERE, Answer
from tests.upstream import Upstream
from tokenflowd.store.lock import owner_of

PATIENCE_S = 30.0


class Program:
    """tokenflowd as a process, always with the same home; a provider behind it."""

    def __init__(self, home: Path, upstream: Upstream, *flags: str, umask: int = -1) -> None:
        self.home = home
        self.upstream = upstream
        self._flags = flags
        self._umask = umask
        nowhere = [f'[providers.{name}]\nbase_url = "{NOWHERE}"\n' for name in LOCAL_PROVIDERS]
        (home / "config.toml").write_text("\n".join(nowhere))
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
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

    def launch(self, log: Path, port: int = 0) -> subprocess.Popen[bytes]:
        """Returns at once: it may never answer."""
        program = str(Path(sysconfig.get_path("scripts"), "tokenflowd"))
        with log.open("ab") as errors:
            process = subprocess.Popen(
                [program, "--port", str(port), *self._flags],
                cwd=self.home,
                env=self._environment,
                stderr=errors,
                umask=self._umask,
            )
        self._processes.append(process)
        return process

    def _start(self, port: int) -> subprocess.Popen[bytes]:
        process = self.launch(self.home / "daemon.log", port)
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

    @property
    def pid(self) -> int:
        """Of the latest one."""
        return self._processes[-1].pid

    def connection(self) -> http.client.HTTPConnection:
        assert self._port
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Names of headers have underscores for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = None if body is None else json.dumps(body)
        if content is not None:
            named = {"Content-Type": "application/json"} | named
        with contextlib.closing(self.connection()) as connection:
            connection.request(method, path, content, named)
            response = connection.getresponse()
            told = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, told, response.read())

    def recorded(self, request_id: str) -> dict[str, Any]:
        """The row as the running daemon tells it; {} if there is none."""
        answer = self.request("GET", f"/api/history/{request_id}")
        row: dict[str, Any] = answer.json
        return row if answer.status == 200 else {}

    def integrity(self) -> str:
        database = f"file:{self.home / 'tokenflow.db'}?mode=ro"
        with contextlib.closing(sqlite3.connect(database, uri=True)) as connection:
            return str(connection.execute("PRAGMA integrity_check").fetchone()[0])

    def health(self) -> Any:
        return self.request("GET", "/healthz").json

    def log(self) -> str:
        return (self.home / "daemon.log").read_text()

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
