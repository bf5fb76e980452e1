"""Streamed answers: what the daemon adds to a provider's, alone and with 200 at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import tomli_w
import uvloop
from rich.progress import Progress

from benchmarks.client import Client, Response, get, post
from benchmarks.daemon import daemon
from benchmarks.inputs import PROMPT
from benchmarks.report import Table, percentile, readable
from benchmarks.upstream import Script, upstream
from tokenflowd.config import default_settings

ALONE = Script(tokens=10, pause_ms=2)
ROUNDS, WARM_UP = 400, 40
CROWD = 200
CROWDED = Script(tokens=100, pause_ms=20)
CROWD_ROUNDS = 5
# Seconds over which the requests of a crowd are spread, at random: an even spread would have them
# all keep step with the pauses.
CROWDS = {f"{CROWD} streams begun within 1 s": 1.0, f"{CROWD} streams begun at once": 0.0}
POLL_S = 0.02
REST_S = 0.3  # after a crowd, for what is still to be closed
NO_SERVER = "http://127.0.0.1:1/v1"

DIRECT = "direct"
GENERATE = "/api/generate"


@dataclass(frozen=True)
class Door:
    """Where a chat can be sent, and how its answer is read: `texts` has the text of each event,
    and nothing at all if the events have no end."""

    port: int
    path: str
    content: Callable[[Script], Mapping[str, Any]]
    texts: Callable[[bytes], list[str]]

    def request(self, script: Script) -> bytes:
        return post(self.port, self.path, self.content(script))


@dataclass
class Outcome:
    """What came of one load at one door. Times are in seconds, of complete answers."""

    asked: int = 0
    to_first_token: list[float] = field(default_factory=list)
    to_end: list[float] = field(default_factory=list)
    text_events: list[int] = field(default_factory=list)
    healthz: list[float] = field(default_factory=list)

    def add(self, door: Door, script: Script, response: Response | None) -> None:
        self.asked += 1
        texts = door.texts(response.body) if response else []
        if response and response.seconds_to_mark and "".join(texts) == "".join(script.texts):
            self.to_first_token.append(response.seconds_to_mark)
            self.to_end.append(response.seconds)
            self.text_events.append(len(texts))


def measure(progress: Progress) -> Table:
    with tempfile.TemporaryDirectory() as home, upstream() as port:
        Path(home, "config.toml").write_text(tomli_w.dumps({"providers": nobody_else()}))
        provider = {"GROQ_API_BASE_URL": f"http://127.0.0.1:{port}/v1", "GROQ_API_KEY": "none"}
        with daemon(Path(home), provider) as running:
            doors = _doors(port, running.port)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                outcomes = {"one stream": runner.run(_alone(doors, progress))}
                for name, spread_s in CROWDS.items():
                    outcomes[name] = runner.run(_crowded(doors, spread_s, name, progress))
    through = [name for name in doors if name != DIRECT]
    return Table(
        "Streamed answers, through the daemon and direct from the provider",
        ("", DIRECT, *(title for name in through for title in (name, "added")), "aim"),
        [row for load, by_door in outcomes.items() for row in _rows(load, by_door)],
        [
            "the provider: a process of its own, whose first token comes at once, so that nothing "
            "hides behind a wait for it; all connections are there before they are timed",
            f"one stream: {ROUNDS} rounds, in each of them one answer of {ALONE.tokens} tokens, "
            f"one every {ALONE.pause_ms} ms, from each door",
            f"{CROWD} streams: {CROWD_ROUNDS} rounds, in each of them {CROWD} answers of "
            f"{CROWDED.tokens} tokens, one every {CROWDED.pause_ms} ms, from each door; client, "
            "daemon and provider share the cores",
            "added: the difference of the two medians or percentiles",
            f"/healthz: asked every {POLL_S * 1000:.0f} ms on a connection of its own meanwhile; "
            "direct: the same question to the provider, for what client and machine add",
        ],
        {
            load: {door: vars(it) for door, it in by_door.items()}
            for load, by_door in outcomes.items()
        },
    )


def nobody_else() -> dict[str, Any]:
    """Providers so that nothing but the scripted one is asked, whatever this machine runs."""
    others = default_settings().providers.keys() - {"groq"}
    return {name: {"base_url": NO_SERVER} for name in sorted(others)}


def _doors(provider: int, daemon: int) -> dict[str, Door]:
    chat = "/v1/chat/completions"
    return {
        DIRECT: Door(provider, chat, lambda it: _chat(it.model), _chat_texts),
        GENERATE: Door(daemon, GENERATE, _generation, _generate_texts),
        chat: Door(daemon, chat, lambda it: _chat(f"groq/{it.model}"), _chat_texts),
    }


def _generation(script: Script) -> Mapping[str, Any]:
    return {"model": f"groq/{script.model}", "prompt": PROMPT}


def _chat(model: str) -> Mapping[str, Any]:
    return {
        "model": model,
        "messages": [{"role": "user", "content": PROMPT}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def _generate_texts(body: bytes) -> list[str]:
    events = body.decode().split("\n\n")
    if not any(event.startswith("event: end_stream\n") for event in events):
        return []
    opening = "event: text_chunk\ndata: "
    return [
        json.loads(event.removeprefix(opening))["data"]
        for event in events
        if event.startswith(opening)
    ]


def _chat_texts(body: bytes) -> list[str]:
    *events, done, _ = body.decode().split("\n\n")
    if done != "data: [DONE]":
        return []
    all_choices = [json.loads(event.removeprefix("data: "))["choices"] for event in events]
    deltas = [choices[0]["delta"] for choices in all_choices if choices]
    return [delta["content"] for delta in deltas if "content" in delta]


async def _alone(doors: Mapping[str, Door], progress: Progress) -> dict[str, Outcome]:
    outcomes = {name: Outcome() for name in doors}
    with contextlib.ExitStack() as stack:
        clients = {name: stack.enter_context(await _client(door)) for name, door in doors.items()}
        for number in progress.track(range(WARM_UP + ROUNDS), description="one stream"):
            for name, door in _shuffled(doors):
                response = await _ask(clients[name], door.request(ALONE))
                if number >= WARM_UP:
                    outcomes[name].add(door, ALONE, response)
    return outcomes


async def _crowded(
    doors: Mapping[str, Door], spread_s: float, load: str, progress: Progress
) -> dict[str, Outcome]:
    """A crowd at each door in turn. The first round warms up."""
    outcomes = {name: Outcome() for name in doors}
    with contextlib.ExitStack() as stack:
        clients = {
            name: [stack.enter_context(await _client(door)) for _ in range(CROWD + 1)]
            for name, door in doors.items()
        }
        for number in progress.track(range(1 + CROWD_ROUNDS), description=load):
            for name, door in _shuffled(doors):
                outcome = outcomes[name] if number else Outcome()
                responses, healthz = await _crowd(clients[name], door, spread_s)
                outcome.healthz += healthz
                for response in responses:
                    outcome.add(door, CROWDED, response)
                await asyncio.sleep(REST_S)
    return outcomes


def _shuffled(doors: Mapping[str, Door]) -> list[tuple[str, Door]]:
    """What ran before has left the processor's caches warm, or cold: it must not always be the
    same."""
    return random.sample(list(doors.items()), len(doors))


async def _client(door: Door) -> contextlib.closing[Client]:
    return contextlib.closing(await Client.connected(door.port))


async def _crowd(
    clients: Sequence[Client], door: Door, spread_s: float
) -> tuple[list[Response | None], list[float]]:
    """The answers that a crowd got, and how long /healthz took meanwhile."""
    *crowd, watcher = clients
    request = door.request(CROWDED)
    healthz: list[float] = []

    async def come(client: Client) -> Response | None:
        await asyncio.sleep(random.uniform(0, spread_s))
        return await _ask(client, request)

    async def watch() -> None:
        while True:
            healthz.append((await watcher.ask(get(door.port, "/healthz"))).seconds)
            await asyncio.sleep(POLL_S)

    watching = asyncio.create_task(watch())
    try:
        responses = await asyncio.gather(*map(come, crowd))
    finally:
        watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    return responses, healthz


async def _ask(client: Client, request: bytes) -> Response | None:
    """None where the answer broke."""
    try:
        return await client.ask(request, CROWDED.texts[0].encode())
    except (OSError, TimeoutError):
        return None


def _rows(load: str, outcomes: Mapping[str, Outcome]) -> Iterator[tuple[str, ...]]:
    def compared(what: str, figures: Callable[[Outcome], float], aim: str = "") -> tuple[str, ...]:
        direct = figures(outcomes[DIRECT])
        row = [readable(direct)]
        for name, outcome in outcomes.items():
            if name != DIRECT:
                seconds = figures(outcome)
                row += readable(seconds), f"{(seconds - direct) * 1000:+.2f} ms"
        return (f"{load}: {what}", *row, aim)

    def told(what: str, facts: Callable[[Outcome], str], aim: str = "") -> tuple[str, ...]:
        direct, *through = [facts(outcome) for outcome in outcomes.values()]
        return (f"{load}: {what}", direct, *(cell for fact in through for cell in (fact, "")), aim)

    is_crowd = load in CROWDS
    yield compared("first token, median", lambda it: median(it.to_first_token), "+2 ms")
    yield compared(
        "first token, p95",
        lambda it: percentile(it.to_first_token, 95),
        "+150 ms" if is_crowd else "",
    )
    yield compared("whole answer, median", lambda it: median(it.to_end))
    yield told("complete", lambda it: f"{len(it.to_end)} of {it.asked}", "all")
    if is_crowd:
        yield told("events with text, median", lambda it: f"{median(it.text_events):.0f}")
        yield compared("/healthz meanwhile, median", lambda it: median(it.healthz))
        yield compared("/healthz meanwhile, p99", lambda it: percentile(it.healthz, 99), "100 ms")
