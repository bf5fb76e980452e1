"""SIGTERM while everything is busy: an end within RELIABILITY's five seconds, and said to all."""

from __future__ import annotations

import contextlib
import signal
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Answer, Event, EventReader, eventually, text_of
from tests.program import Program
from tests.soak import Soak
from tests.upstream import Received, Upstream, Wire, chunk

STOPPED_WITHIN_S = 5.0
STREAMS = 20
LONG = "\n".join(
    f"{number} The disk is full again, and nobody knows why." for number in range(9_000)
)


async def endless(wire: Wire, request: Received) -> None:
    await wire.head()
    await wire.send(chunk("Once upon"))
    await wire.until_gone()


def listen(program: Program) -> list[Event]:
    with contextlib.closing(program.connection()) as connection:
        body = b'{"prompt": "Hi", "model": "m1"}'
        connection.request("POST", "/api/generate", body, {"Content-Type": "application/json"})
        return list(EventReader(connection))


def stop_while_busy(home: Path) -> tuple[float, list[list[Event]], Future[Answer]]:
    """How long the end took, what the streams were told, and what became of the long text."""
    with (
        Upstream(endless) as upstream,
        contextlib.closing(Program(home, upstream)) as program,
        ThreadPoolExecutor(STREAMS + 1) as pool,
    ):
        process = program.start()
        streams = [pool.submit(listen, program) for _ in range(STREAMS)]
        long = pool.submit(program.request, "POST", "/api/compress", {"text": LONG})
        eventually(lambda: program.health()["streams"] == STREAMS)
        eventually(lambda: len(upstream.requests) == STREAMS)
        time.sleep(0.5)  # the engine is at it
        assert not long.done()
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        took = time.monotonic() - started
        told = [stream.result() for stream in streams]
        long.exception()
        assert program.integrity() == "ok"
        program.start()
        for events in told:
            row = program.recorded(events[0].json["id"])
            assert (row["output"], row["error_type"]) == (text_of(events), "stopping")
            assert row["partial"] is True
    return took, told, long


def test_a_busy_daemon_ends_in_time_and_tells_its_streams(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    took, told, long = stop_while_busy(tmp_path)
    assert took < STOPPED_WITHIN_S
    assert {events[-1].json["type"] for events in told} == {"stopping"}
    assert isinstance(long.exception(), OSError) or long.result().status >= 500


@pytest.mark.soak
def test_how_long_a_busy_daemon_takes_to_end(tmp_path: Path, soak: Soak) -> None:
    took = []
    for number in range(soak.size(20, 2)):
        home = tmp_path / str(number)
        home.mkdir(mode=0o700)
        took.append(stop_while_busy(home)[0])
    soak.figure(f"SIGTERM to exit, busy, worst of {len(took)}", max(took), "s", STOPPED_WITHIN_S)
