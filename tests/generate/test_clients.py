"""Clients that leave, come too many, or are left by a daemon that stops."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conftest import EventReader, OpenRelay, Relay, eventually
from tests.upstream import Received, Script, Wire, answer, chunk
from tests.upstream import failure as status

# RELIABILITY.md's promises.
CANCELLED_WITHIN_S = 1.0
STOPPED_WITHIN_S = 5.0
ASKED = json.dumps({"prompt": "Hi", "model": "m1"})


def endless(*sent: bytes, head: bool = True) -> Script:
    """Says this, then nothing until the other side leaves."""

    async def script(wire: Wire, request: Received) -> None:
        if head:
            await wire.head()
        for data in sent:
            await wire.send(data)
        await wire.until_gone()

    return script


class Client:
    """Has asked, and may leave at any time: with a FIN or, as a crash does, with a RST."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self._connection = http.client.HTTPConnection("127.0.0.1", relay.daemon.port, timeout=10)
        head = {"Content-Type": "application/json"}
        self._connection.request("POST", "/api/generate", ASKED, head)
        self._socket = self._connection.sock  # a response takes it away

    def read_until(self, text: str) -> None:
        """Reads on until all of `text` is there."""
        events = iter(EventReader(self._connection))
        read = ""
        while text not in read:
            event = next(events)
            read += event.data if event.name == "text_chunk" else ""

    def leave(self, how: str) -> None:
        if how == "RST":
            linger = struct.pack("ii", 1, 0)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        else:
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._connection.close()


def left(relay: Relay) -> Any:
    """The row of the request whose client left."""
    eventually(relay.rows)
    row = relay.latest()
    assert (row["status"], row["error_type"]) == ("error", "client left")
    assert row["partial"] is True
    return row


@pytest.mark.parametrize("how", ["FIN", "RST"])
@pytest.mark.parametrize(
    "script",
    [
        pytest.param(endless(head=False), id="before the head"),
        pytest.param(endless(), id="before the first event"),
        pytest.param(endless(b": PROCESSING\n\n"), id="after a comment"),
    ],
)
def test_a_client_that_leaves_before_the_first_word_stops_the_provider(
    open_relay: OpenRelay, script: Script, how: str
) -> None:
    client = Client(open_relay(script))
    [request] = eventually(lambda: client.relay.upstream.requests)
    client.leave(how)
    assert request.gone.wait(CANCELLED_WITHIN_S)
    assert left(client.relay).get("output", "") == ""


@pytest.mark.parametrize("how", ["FIN", "RST"])
@pytest.mark.parametrize("words", [[chunk("Once upon")], [chunk("Once"), chunk(" upon")]])
def test_a_client_that_leaves_within_an_answer_stops_the_provider(
    open_relay: OpenRelay, words: list[bytes], how: str
) -> None:
    client = Client(open_relay(endless(chunk(""), *words)))
    client.read_until("Once upon")
    [request] = client.relay.upstream.requests
    client.leave(how)
    assert request.gone.wait(CANCELLED_WITHIN_S)
    assert left(client.relay)["output"] == "Once upon"


def test_a_client_that_leaves_a_talking_provider_stops_it(open_relay: OpenRelay) -> None:
    async def talking(wire: Wire, request: Received) -> None:
        await wire.head()
        while True:
            await wire.send(chunk("blah "))

    client = Client(open_relay(talking))
    client.read_until("blah ")
    [request] = client.relay.upstream.requests
    client.leave("RST")
    assert request.gone.wait(CANCELLED_WITHIN_S)
    assert left(client.relay)["output"].startswith("blah ")


def test_nothing_is_asked_again_for_a_client_that_left(open_relay: OpenRelay) -> None:
    client = Client(open_relay(status(429, Retry_After="1"), answer("Hello")))
    eventually(lambda: client.relay.upstream.requests)
    client.leave("FIN")
    left(client.relay)
    time.sleep(1.5)  # longer than it would have waited
    assert len(client.relay.upstream.requests) == 1


def test_streams_that_were_left_leave_nothing_behind(open_relay: OpenRelay) -> None:
    relay = open_relay(endless(chunk("Once")))
    clients = [Client(relay) for _ in range(20)]
    for client in clients:
        client.read_until("Once")
    assert relay.daemon.get("/healthz").json["streams"] == 20
    for client in clients:
        client.leave("RST")
    eventually(lambda: relay.daemon.get("/healthz").json["streams"] == 0)
    assert all(request.gone.wait(CANCELLED_WITHIN_S) for request in relay.upstream.requests)
    rows = eventually(lambda: rows if len(rows := relay.rows()) == 20 else None)
    assert {row["error_type"] for row in rows} == {"client left"}


@pytest.fixture
def stopping() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_a_daemon_that_stops_ends_its_streams(
    open_relay: OpenRelay, stopping: ThreadPoolExecutor
) -> None:
    relay = open_relay(endless(chunk("Once upon")))
    stream = relay.open()
    events = iter(stream)
    metadata, words = next(events), next(events)
    assert words.data == "Once upon"
    started = time.monotonic()
    stopped = stopping.submit(relay.daemon.close)
    [end] = list(events)
    stopped.result()
    assert time.monotonic() - started < STOPPED_WITHIN_S
    assert end.name == "error"
    assert (end.json["error"], end.json["type"]) == ("stopping", "stopping")
    assert end.json["retryable"] is True
    row = relay.daemon.services.store.history.get(metadata.json["id"])
    assert (row["status"], row["error_type"]) == ("error", "stopping")
    assert (row["output"], row["partial"]) == ("Once upon", True)
    assert relay.upstream.requests[0].gone.wait(CANCELLED_WITHIN_S)


def test_a_daemon_that_stops_before_the_first_word_says_so(
    open_relay: OpenRelay, stopping: ThreadPoolExecutor
) -> None:
    relay = open_relay(endless(head=False))
    asking = stopping.submit(relay.daemon.post, "/api/generate", json.loads(ASKED))
    eventually(lambda: relay.upstream.requests)
    started = time.monotonic()
    relay.daemon.close()
    assert time.monotonic() - started < STOPPED_WITHIN_S
    answered = asking.result()
    assert (answered.status, answered.json["error"]) == (503, "stopping")
    [row] = relay.daemon.services.store.history.export()
    assert row["error_type"] == "stopping"


def test_too_many_streams_are_told_to_come_back(open_relay: OpenRelay) -> None:
    relay = open_relay(endless(chunk("Once")), answer("Hello"), server={"max_streams": 1})
    stream = relay.open()
    next(iter(stream))
    for path in ("/api/generate", "/api/models/select"):
        busy = relay.daemon.post(path, json.loads(ASKED))
        assert (busy.status, busy.json["error"]) == (503, "busy")
        assert int(busy.headers["retry-after"]) > 0
    assert relay.daemon.get("/healthz").status == 200
    assert len(relay.upstream.requests) == 1
    stream.close()
    eventually(lambda: relay.daemon.get("/healthz").json["streams"] == 0)
    assert relay.generate()[-1].name == "end_stream"
