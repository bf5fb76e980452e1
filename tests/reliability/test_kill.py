"""What a client was told is in the history, however the daemon ends."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import json
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import Event, EventReader, text_of
from tests.program import Program
from tests.soak import Soak
from tests.upstream import DONE, Received, Upstream, Wire, chunk, usage

STREAMS = 20
ROUNDS = 8
PATIENCE_S = 30.0
STOPPED_WITHIN_S = 5.0  # RELIABILITY.md's promise
PIECES = 6


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return home


def answer_to(prompt: str) -> str:
    return "".join(pieces_for(prompt))


def pieces_for(prompt: str) -> list[str]:
    """An answer like no other, with what is easily damaged: lines, blanks, other scripts."""
    return [f"{prompt}:", *(f" part {n}\n  汉字 🙂" for n in range(PIECES)), " end."]


async def quick(wire: Wire, request: Received) -> None:
    """Answers of some tens of milliseconds each, so that some end whenever the daemon dies."""
    await wire.head()
    for piece in pieces_for(request.body["messages"][-1]["content"]):
        await asyncio.sleep(random.uniform(0, 0.02))
        await wire.send(chunk(piece))
    await wire.send(chunk(finish_reason="stop"))
    await wire.send(usage())
    await wire.send(DONE)
    await wire.end()


def ask(program: Program, prompt: str, events: list[Event]) -> None:
    """Adds each event of the answer when it comes, whether or not the last ever does."""
    # What was cut off in the middle is no event, and how it was cut does not matter.
    with (
        contextlib.closing(program.connection()) as connection,
        contextlib.suppress(OSError, http.client.HTTPException),
    ):
        body = json.dumps({"prompt": prompt, "model": "m1"})
        connection.request("POST", "/api/generate", body, {"Content-Type": "application/json"})
        for event in EventReader(connection):
            events.append(event)


@dataclass
class Clients:
    """Some who ask again and again, until the daemon is gone."""

    program: Program
    name: str
    promised: dict[str, str] = field(default_factory=dict)  # prompts by the ids that were told
    broken_off: int = 0
    errors: list[Event] = field(default_factory=list)
    answers_come: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Clients:
        self._threads = [
            threading.Thread(target=self._ask_until_gone, args=(client,))
            for client in range(STREAMS)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join()

    def _ask_until_gone(self, client: int) -> None:
        for number in itertools.count():
            prompt = f"{self.name}, client {client}, question {number}"
            events: list[Event] = []
            ask(self.program, prompt, events)
            if not events or events[-1].name != "end_stream":
                self.broken_off += bool(events)
                self.errors += [event for event in events if event.name == "error"]
                return
            usage_event = next(event for event in events if event.name == "usage")
            self.promised[usage_event.json["id"]] = prompt
            self.answers_come.set()


def kill_again_and_again(home: Path, rounds: int) -> int:
    """How many answers were acknowledged. All of them are there, whole, after every kill."""
    promised: dict[str, str] = {}
    broken_off = 0
    with Upstream(quick) as upstream, contextlib.closing(Program(home, upstream)) as program:
        process = program.start()
        for number in range(rounds):
            with Clients(program, f"round {number}") as clients:
                assert clients.answers_come.wait(PATIENCE_S), program.log()
                time.sleep(random.uniform(0, 0.5))
                process.kill()
            process.wait()
            assert clients.errors == []
            promised |= clients.promised
            broken_off += clients.broken_off

            process = program.start()
            assert program.integrity() == "ok"
            assert program.health()["status"] == "ok"
            for request_id, prompt in clients.promised.items():
                row = program.recorded(request_id)
                assert row["input"] == prompt
                assert row["output"] == answer_to(prompt)
                assert (row["status"], row["partial"]) == ("ok", False)
                assert row["completion_tokens"] == 3
        # Later kills took nothing of what was there before.
        assert [request_id for request_id in promised if not program.recorded(request_id)] == []
        assert not any(home.glob("*damaged*"))
    assert len(promised) >= rounds
    assert broken_off >= rounds  # the kills did hit answers under way
    return len(promised)


def test_whatever_was_acknowledged_survives_a_kill(home: Path) -> None:
    kill_again_and_again(home, ROUNDS)


@pytest.mark.soak
def test_a_hundred_kills_lose_nothing(home: Path, soak: Soak) -> None:
    kills = soak.size(100, 3)
    acknowledged = kill_again_and_again(home, kills)
    soak.figure(f"answers acknowledged before {kills} kills, all of them there", acknowledged, "")


def test_a_stopping_daemon_ends_its_streams_and_keeps_what_was_said(home: Path) -> None:
    async def endless(wire: Wire, request: Received) -> None:
        await wire.head()
        for piece in pieces_for(request.body["messages"][-1]["content"]):
            await wire.send(chunk(piece))
        await wire.until_gone()

    with Upstream(endless) as upstream, contextlib.closing(Program(home, upstream)) as program:
        process = program.start()
        told: dict[str, list[Event]] = {f"client {client}": [] for client in range(STREAMS)}
        with ThreadPoolExecutor(STREAMS) as pool:
            for prompt, events in told.items():
                pool.submit(ask, program, prompt, events)
            deadline = time.monotonic() + PATIENCE_S
            while any(text_of(events) != answer_to(prompt) for prompt, events in told.items()):
                assert time.monotonic() < deadline, program.log()
                time.sleep(0.02)
            process.send_signal(signal.SIGTERM)
            assert process.wait(STOPPED_WITHIN_S) == 0
        assert all(request.gone.wait(PATIENCE_S) for request in upstream.requests)

        program.start()
        for prompt, events in told.items():
            assert events[0].name == "metadata"
            assert text_of(events) == answer_to(prompt)
            assert events[-1].name == "error"
            assert events[-1].json["type"] == "stopping"
            assert events[-1].json["retryable"] is True
            row = program.recorded(events[0].json["id"])
            assert row["input"] == prompt
            assert row["output"] == answer_to(prompt)
            assert (row["error_type"], row["partial"]) == ("stopping", True)
