"""What commands share: the configuration, a daemon to talk to, and errors as one sentence."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import click

from tokenflowd import __version__
from tokenflowd.access import known_token
from tokenflowd.config import Config, load_config
from tokenflowd.errors import AlreadyRunning, TokenFlowError
from tokenflowd.sockets import UNIX
from tokenflowd.store.lock import owner_of
from tokenflowd.terminal import visible

# How long to wait for a process that has the data directory but does not answer yet.
PATIENCE_S = 5.0


@contextlib.contextmanager
def errors_for_people() -> Iterator[None]:
    """TokenFlow's own errors as one sentence and exit code 1, without a traceback."""
    try:
        yield
    except TokenFlowError as error:
        raise click.ClickException(visible(error.detail)) from None


def configuration(data_dir: str | None, **flags: Any) -> Config:
    """The Config in force, and files from now on readable by their owner only."""
    os.umask(0o077)
    # Both programs take it before any command.
    env_file: Path | None = click.get_current_context().find_root().params["env_file"]
    home = Path(data_dir) if data_dir else None
    return load_config(home=home, env_file=env_file, flags=flags)


class DaemonClient:
    """Speaks the HTTP API, at a URL or unix:PATH. Raises click.ClickException with the daemon's
    own sentence."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._authorization = {"Authorization": f"Bearer {token}"} if token else {}
        # No proxy, whatever the environment says: this never leaves the machine.
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if url.startswith(UNIX):
            handlers.append(_SocketFileHandler(url.removeprefix(UNIX)))
        self._opener = urllib.request.build_opener(*handlers)
        self._base = "http://localhost" if url.startswith(UNIX) else url

    def get(self, path: str, **query: str | int) -> Any:
        wanted = {name: value for name, value in query.items() if value != ""}
        return self._json(f"{path}?{urllib.parse.urlencode(wanted)}" if wanted else path)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self._json(path, data=self.encode(body))

    def put(self, path: str, body: dict[str, Any]) -> Any:
        return self._json(path, method="PUT", data=self.encode(body))

    @staticmethod
    def encode(body: dict[str, Any]) -> bytes:
        return json.dumps(body, ensure_ascii=False).encode()

    def delete(self, path: str) -> None:
        with self.open(path, method="DELETE"):
            pass

    @contextlib.contextmanager
    def open(
        self, path: str, *, method: str | None = None, data: bytes | None = None
    ) -> Iterator[IO[bytes]]:
        """The answer as a file, for those that come in pieces."""
        request = urllib.request.Request(  # noqa: S310 - always the daemon's own http URL
            self._base + path,
            method=method,
            data=data,
            headers={
                "Content-Type": "application/json",
                "User-Agent": f"tokenflow-cli/{__version__}",
                **self._authorization,
            },
        )
        try:
            response = self._opener.open(request)
        except urllib.error.HTTPError as error:
            raise click.ClickException(_detail(error)) from None
        except (urllib.error.URLError, OSError) as error:
            raise click.ClickException(
                f"the daemon at {self.url} does not answer: {error}"
            ) from None
        with response:
            yield response

    def _json(self, path: str, *, method: str | None = None, data: bytes | None = None) -> Any:
        with self.open(path, method=method, data=data) as response:
            return json.load(response)


class _SocketFileConnection(http.client.HTTPConnection):
    def __init__(self, host: str, *, path: str, timeout: float | None = None) -> None:
        super().__init__(host, timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self._path)


class _SocketFileHandler(urllib.request.HTTPHandler):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_SocketFileConnection, path=self._path), request)


def quoted(name: str) -> str:
    """A name as one segment of a path."""
    return urllib.parse.quote(name, safe="")


def events(response: IO[bytes]) -> Iterator[tuple[str, Any]]:
    """The name and data of each server-sent event, as they come: its one `data:` line is JSON
    that holds both."""
    for line in response:
        if line.startswith(b"data: "):
            event = json.loads(line.removeprefix(b"data: "))
            yield event["event"], event["data"]


@contextlib.contextmanager
def daemon(config: Config) -> Iterator[DaemonClient]:
    """The daemon that has the data directory; without one, one of our own for as long as this
    command runs, on a free port of the loopback interface."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        owner = owner_of(config.home)
        if owner is not None and owner.url:
            yield DaemonClient(owner.url, known_token(config.home))
            return
        if owner is None:
            try:
                with _own_daemon(config) as url:
                    yield DaemonClient(url, known_token(config.home))
            except AlreadyRunning:
                if time.monotonic() < deadline:
                    continue
                raise
            return
        if time.monotonic() > deadline:
            raise click.ClickException(
                f"process {owner.pid} has {config.home} but does not answer; is it stuck?"
            )
        time.sleep(0.05)


@contextlib.contextmanager
def _own_daemon(config: Config) -> Iterator[str]:
    from tokenflowd.logs import log_warnings
    from tokenflowd.offline import refuse_other_machines
    from tokenflowd.server import serve
    from tokenflowd.services import Services

    log_warnings(config)
    if config.server.offline:
        refuse_other_machines()
    services = Services(config)
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    ready: list[str] = []
    listening = threading.Event()

    def on_ready(url: str) -> None:
        services.store.lock.publish(url)
        ready.append(url)
        listening.set()

    def run() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(
                serve(services, host="127.0.0.1", port=0, stop=stop, on_ready=on_ready)
            )
        finally:
            listening.set()

    thread = threading.Thread(target=run, name="own-daemon", daemon=True)
    thread.start()
    listening.wait()
    if not ready:
        raise click.ClickException("no loopback port can be opened on this machine")
    try:
        yield ready[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE_S)


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"the daemon answered {error.code} {error.reason}"
