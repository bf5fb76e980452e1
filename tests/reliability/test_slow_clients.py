"""Clients that send slowly, read nothing, or only sit there: the others do not notice."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import Daemon, config_in, eventually
from tests.program import Program
from tests.store.rows import compression, write
from tests.upstream import Upstream
from tokenflowd.api.streams import STALLED_S
from tokenflowd.services import Services
from tokenflowd.store import Store

IDLE = 300
SOON_S = 5.0
EXPORT = "/api/history/export"
LONG = "many words " * 4_000


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(Services(config_in(tmp_path, server={"body_timeout_s": 0.5})))
    yield daemon
    daemon.close()


def connect(daemon: Daemon, request: str, *, receive_bytes: int | None = None) -> socket.socket:
    connection = socket.socket()
    if receive_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.settimeout(STALLED_S + SOON_S)
    connection.connect(("127.0.0.1", daemon.port))
    connection.sendall(request.format(port=daemon.port).encode())
    return connection


def test_a_body_that_comes_byte_by_byte_is_timed_out(daemon: Daemon) -> None:
    head = (
        "POST /api/classify HTTP/1.1\r\nHost: localhost:{port}\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    )
    refused = threading.Event()
    with connect(daemon, head) as connection:

        def trickle() -> None:
            with contextlib.suppress(OSError):
                while not refused.wait(0.05):  # never still for as long as the limit
                    connection.send(b" ")

        with ThreadPoolExecutor(1) as pool:
            pool.submit(trickle)
            try:
                assert connection.recv(4096).split(b" ")[1] == b"408"
            finally:
                refused.set()


def test_hundreds_of_idle_connections_hold_nobody_up(daemon: Daemon) -> None:
    said = [
        "",
        "GET /healthz HTTP/1.1\r\nHost: local",
        "GET /healthz HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n",
    ]
    descriptors = Path("/dev/fd")
    before = len(list(descriptors.iterdir()))
    with contextlib.ExitStack() as idle:
        for number in range(IDLE):
            idle.enter_context(connect(daemon, said[number % len(said)]))
        assert daemon.get("/healthz").status == 200
        assert daemon.post("/api/classify", {"prompt": "Is anybody there?"}).status == 200
    eventually(lambda: len(list(descriptors.iterdir())) <= before + 3)  # what the answers opened


def test_a_client_that_takes_no_answer_is_dropped(daemon: Daemon) -> None:
    """Whether it is a stream or not. The export also keeps SQLite from tidying up behind it."""
    store = daemon.services.store
    whole = compression("x y " * 1_500_000)
    write(store, whole, *(compression(f"{number} {LONG}") for number in range(400)))
    answers = {path: len(daemon.get(path).body) for path in (f"/api/history/{whole.id}", EXPORT)}
    head = "HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"
    deaf = {path: connect(daemon, f"GET {path} {head}", receive_bytes=4096) for path in answers}
    eventually(lambda: is_being_read(store))
    eventually(lambda: not is_being_read(store), within_s=STALLED_S + SOON_S)
    for path, connection in deaf.items():
        with connection:
            assert 0 < received(connection) < answers[path]


def is_being_read(store: Store) -> bool:
    """Whether somebody still reads what was there before the latest write."""
    write(store, compression())
    with contextlib.closing(sqlite3.connect(store.path, timeout=0)) as connection:
        busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return bool(busy)


def received(connection: socket.socket) -> int:
    count = 0
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(1 << 20):
            count += len(data)
    return count


def test_what_is_slow_to_come_is_answered_all_the_same(daemon: Daemon) -> None:
    body = json.dumps({"prompt": "A goal in the last minute."})
    head = (
        "POST /api/classify HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with connect(daemon, head) as connection:
        for character in body:
            connection.sendall(character.encode())
        assert connection.recv(4096).split(b" ")[1] == b"200"


def test_hundreds_may_connect_while_the_daemon_is_busy_with_something_else(tmp_path: Path) -> None:
    """Their kernel would try again after a second, were there no room for them."""
    home = tmp_path / "program"
    home.mkdir(mode=0o700)
    with (
        Upstream() as upstream,
        contextlib.closing(Program(home, upstream)) as program,
        contextlib.ExitStack() as waiting,
    ):
        process = program.start()
        process.send_signal(signal.SIGSTOP)
        address = ("127.0.0.1", urlsplit(program.url).port)
        for _ in range(IDLE):
            waiting.enter_context(socket.create_connection(address, timeout=1))
        process.send_signal(signal.SIGCONT)
        assert program.health()["status"] == "ok"
