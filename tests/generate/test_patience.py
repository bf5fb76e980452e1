"""Silence, for as long as it takes until the daemon does something about it.

That is 15 s (KEEP_ALIVE_S and STALLED_S are no settings), so all silences are kept at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.conftest import Daemon, Event, Relay, answered_by, eventually, text_of
from tests.upstream import Received, Upstream, Wire, answer, chunk
from tests.upstream import failure as status
from tokenflowd.api.streams import KEEP_ALIVE_S, STALLED_S
from tokenflowd.services import Services

SOON_S = 5.0
LAST_CHUNK = b"0\r\n\r\n"
BODY = {"prompt": "Hi", "model": "m1"}


async def thinking(wire: Wire, request: Received) -> None:
    """Says nothing at all until its client must have heard from the daemon; then answers `well`,
    and everybody else with an error."""
    await asyncio.sleep(KEEP_ALIVE_S + 1)
    script = answer("Hello") if request.body["model"] == "well" else status(401)
    await script(wire, request)


async def talking(wire: Wire, request: Received) -> None:
    await wire.head()
    while True:
        await wire.send(chunk("blah " * 2000))


@dataclass
class Heard:
    comments: list[str]
    events: list[Event]


@dataclass
class Silences:
    deaf: Relay
    deaf_ear: socket.socket
    well: Future[Heard]
    ill: Future[Heard]


def listen(daemon: Daemon, model: str) -> Heard:
    stream = daemon.open_stream("/api/generate", BODY | {"model": model})
    events = list(stream)
    stream.close()
    return Heard(stream.comments, events)


def ask_without_reading(daemon: Daemon) -> socket.socket:
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.connect(("127.0.0.1", daemon.port))
    body = json.dumps(BODY)
    head = f"POST /api/generate HTTP/1.1\r\nHost: localhost:{daemon.port}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    deaf.sendall(f"{head}{body}".encode())
    return deaf


@pytest.fixture(scope="module")
def silences(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Silences]:
    with Upstream(thinking) as slow, Upstream(talking) as chatty, ThreadPoolExecutor(2) as pool:
        relays = [
            Relay(
                Daemon(Services(answered_by(upstream, tmp_path_factory.mktemp("home")))), upstream
            )
            for upstream in (slow, chatty)
        ]
        waiting, deaf = relays
        with ask_without_reading(deaf.daemon) as deaf_ear:
            yield Silences(
                deaf,
                deaf_ear,
                pool.submit(listen, waiting.daemon, "well"),
                pool.submit(listen, waiting.daemon, "ill"),
            )
        for relay in relays:
            relay.daemon.close()


def test_a_client_that_waits_is_kept_alive(silences: Silences) -> None:
    heard = silences.well.result()
    assert heard.comments == ["keep-alive"]
    names = [event.name for event in heard.events]
    assert names == ["metadata", "text_chunk", "usage", "end_stream"]
    assert text_of(heard.events) == "Hello"


def test_a_failure_after_a_comment_is_an_event(silences: Silences) -> None:
    heard = silences.ill.result()
    assert heard.comments == ["keep-alive"]
    assert [event.name for event in heard.events] == ["metadata", "error"]
    assert heard.events[-1].json["error"] == "authentication"


def test_a_client_that_never_reads_is_dropped(silences: Silences) -> None:
    deaf = silences.deaf
    [request] = eventually(lambda: deaf.upstream.requests)
    assert request.gone.wait(STALLED_S + SOON_S)
    eventually(deaf.rows)
    row = deaf.latest()
    assert (row["status"], row["error_type"]) == ("error", "client stalled")
    assert row["partial"] is True
    assert row["output"].startswith("blah blah")
    eventually(lambda: deaf.daemon.get("/healthz").json["streams"] == 0)
    assert not read_to_the_end(silences.deaf_ear).endswith(LAST_CHUNK)  # it was cut off


def read_to_the_end(connection: socket.socket) -> bytes:
    """What was on its way, until the connection ends."""
    connection.settimeout(SOON_S)
    received = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65536):
            received += data
    return bytes(received)
