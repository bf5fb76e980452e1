"""Two hundred answers at once: all of them come to their end, and none is another's."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.load import Stream, streams
from tests.program import Program
from tests.soak import Soak, percentile
from tests.upstream import DONE, Received, Upstream, Wire, chunk

STREAMS = 200
TOKENS = 100
ROUNDS = 5
TOKEN_EVERY_S = 0.02


async def speaking(wire: Wire, request: Received) -> None:
    """A hundred tokens that are this prompt's only."""
    prompt = request.body["messages"][-1]["content"]
    await wire.head()
    for number in range(TOKENS):
        await wire.send(chunk(f"{prompt}.{number} "))
        await asyncio.sleep(TOKEN_EVERY_S)
    await wire.send(chunk(finish_reason="stop"))
    await wire.send(DONE)
    await wire.end()


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    tmp_path.chmod(0o700)
    with Upstream(speaking) as upstream, contextlib.closing(Program(tmp_path, upstream)) as program:
        program.start()
        yield program


def through(program: Program, count: int) -> list[Stream]:
    def body(number: int) -> dict[str, str]:
        return {"prompt": f"p{number}", "model": "m1"}

    return streams(f"{program.url}/api/generate", count, body, b"event: text_chunk")


def without(program: Program, count: int) -> list[Stream]:
    """The same of the provider itself."""

    def body(number: int) -> dict[str, object]:
        said = {"role": "user", "content": f"p{number}"}
        return {"messages": [said], "model": "m1", "stream": True}

    return streams(f"{program.upstream.url}/chat/completions", count, body, b'"content"')


def assert_whole(answers: list[Stream]) -> None:
    for number, stream in enumerate(answers):
        assert stream.status == 200
        tokens = [f"p{number}.{token} " for token in range(TOKENS)]
        text = "".join(
            json.loads(event.partition("\ndata: ")[2])["data"]
            for event in stream.body.decode().split("\n\n")
            if event.startswith("event: text_chunk")
        )
        assert text == "".join(tokens)
        end = b'event: end_stream\ndata: {"event":"end_stream","data":"Stream finished"}\n\n'
        assert stream.body.endswith(end)


def test_two_hundred_streams_of_a_hundred_tokens_all_complete(program: Program) -> None:
    assert_whole(through(program, STREAMS))
    assert program.health()["streams"] == 0
    listed = program.request("GET", f"/api/history?limit={STREAMS}").json["requests"]
    assert {row["preview"] for row in listed} == {f"p{number}" for number in range(STREAMS)}


@pytest.mark.soak
def test_two_hundred_streams_begin_in_time(program: Program, soak: Soak) -> None:
    through(program, 10)  # connections, caches
    added, waited = [], []
    for _ in range(soak.size(ROUNDS)):
        direct = without(program, STREAMS)
        with asking_for_health(program) as times:
            answers = through(program, STREAMS)
        assert_whole(answers)
        waited += times
        first, own = (
            percentile([stream.first_ms or 0 for stream in streams], 95)
            for streams in (answers, direct)
        )
        added.append(first - own)
    soak.figure(
        "time to first token added, p95 of 200 streams, median", percentile(added, 50), "ms", 150
    )
    soak.figure("time to first token added, p95 of 200 streams, worst", max(added), "ms", 150)
    soak.figure("/healthz p99 beside 200 streams", percentile(waited, 99), "ms", 100)


@contextlib.contextmanager
def asking_for_health(program: Program) -> Iterator[list[float]]:
    """How long each answer took, in ms."""
    done = threading.Event()
    times: list[float] = []

    def ask() -> None:
        with contextlib.closing(program.connection()) as connection:
            while not done.wait(0.02):
                started = time.monotonic()
                connection.request("GET", "/healthz")
                assert connection.getresponse().read()
                times.append((time.monotonic() - started) * 1000)

    asking = threading.Thread(target=ask)
    asking.start()
    yield times
    done.set()
    asking.join()
