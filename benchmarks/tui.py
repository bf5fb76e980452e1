"""The terminal client: from a key to what is painted, alone and beside a stream.

The app runs headless in this process; daemon and provider in processes of their own. A key is
posted as the terminal's driver would, and timed until a frame is drawn that shows what it did.
"""

from __future__ import annotations

import asyncio
import os
import pty
import select
import subprocess
import sysconfig
import tempfile
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w
from rich.progress import Progress

from benchmarks.daemon import Daemon, daemon
from benchmarks.headless import PATIENCE_S, SIZE, Measured, headless, until
from benchmarks.history_rows import fill
from benchmarks.inputs import english
from benchmarks.report import Table, percentile, readable
from benchmarks.stream import nobody_else
from benchmarks.upstream import Script, upstream
from tokenflow_tui.screens.compress import CompressScreen
from tokenflow_tui.screens.history import HistoryScreen
from tokenflow_tui.widgets.answer import Answer
from tokenflow_tui.widgets.turn import Turn

KEYS = 100
KEY_EVERY_S = 0.06  # a fast typist
STREAM = Script(tokens=1_500, pause_ms=10, markdown=True)  # 100 tokens a second
TURN = Script(tokens=1_000, pause_ms=1, markdown=True)
TURNS = 200
STARTS = 5
ROWS = 100_000
SOUGHT = ("generator", "exception", "import", "coroutine", "class body", "the")  # rare to all rows
TEXT_TOKENS = 6_500
WORDS = 5_000
TYPED = b"~"  # which is nowhere else on the screen


@dataclass
class Arrivals:
    """When each piece of an answer came, and when it was painted."""

    fed: list[tuple[float, int]] = field(default_factory=list)  # time, characters so far
    painted: list[float] = field(default_factory=list)
    flushes: int = 0
    shown: int = 0  # characters that the widget has


def measure(progress: Progress) -> Table:
    with tempfile.TemporaryDirectory() as home, upstream() as port:
        Path(home, "config.toml").write_text(tomli_w.dumps({"providers": nobody_else()}))
        provider = {"GROQ_API_BASE_URL": f"http://127.0.0.1:{port}/v1", "GROQ_API_KEY": "none"}
        with daemon(Path(home), provider) as running:
            figures = asyncio.run(_interactions(running, progress))
            figures |= _starts(f"http://127.0.0.1:{running.port}", progress)
    with tempfile.TemporaryDirectory() as home:
        task = progress.add_task(f"a history of {ROWS:,} requests", total=None)
        fill(Path(home), ROWS)
        with daemon(Path(home)) as running:
            url = f"http://127.0.0.1:{running.port}"
            progress.update(task, description="the history")
            figures |= asyncio.run(_history(url))
            progress.update(task, description="the slider")
            figures |= asyncio.run(_slider(url))
        progress.remove_task(task)
    return Table(
        "The terminal client",
        ("interaction", "figure", "bar"),
        [(name, shown(figures), bar) for name, (shown, bar) in BARS.items()],
        [
            f"{SIZE[0]}x{SIZE[1]}, headless; daemon and provider on the same cores; {KEYS} keys; "
            f"the stream: {STREAM.tokens} tokens of headings, lists, code and tables, "
            f"{1000 // STREAM.pause_ms} a second; first paint: in a pseudoterminal, {STARTS} starts"
        ],
        figures,
    )


async def _interactions(running: Daemon, progress: Progress) -> dict[str, Any]:
    url = f"http://127.0.0.1:{running.port}"
    figures: dict[str, Any] = {}
    task = progress.add_task("the app", total=None)
    async with headless(url, STREAM.model) as app:
        progress.update(task, description="typing, alone")
        figures["typing"] = await _type(app, KEYS)
        progress.update(task, description="typing beside a stream")
        figures |= await _beside_a_stream(app)
    async with headless(url, STREAM.model) as app:
        progress.update(task, description="stopping")
        figures |= await _stop(app)
    async with headless(url, STREAM.model) as app:
        before = await _type(app, KEYS)
        for _turn in progress.track(range(TURNS), description="two hundred turns"):
            await _one_turn(app, TURN)
        figures["typing_before"], figures["typing_after"] = before, await _type(app, KEYS)
        figures["widgets"] = len(app.screen.query("*"))
    progress.remove_task(task)
    return figures


async def _press(app: Measured, key: str, is_done: Callable[[], object]) -> float:
    """As `app.key`, and the rest of the time that a fast typist takes for a key."""
    taken = await app.key(key, is_done)
    await asyncio.sleep(max(0.0, KEY_EVERY_S - taken))
    return taken


async def _type(app: Measured, keys: int) -> list[float]:
    composer, taken = app.ask.composer, []
    for number in range(keys):
        length = len(composer.text) + 1
        letter = "typing "[number % 7]
        taken.append(await _press(app, letter, lambda length=length: len(composer.text) >= length))
    return taken


async def _begin(app: Measured, script: Script) -> Turn:
    """An answer under way."""
    before = app.ask.query(Turn).last() if app.ask.query(Turn) else None
    app.state.settings.model = script.model
    app.ask.ask("Go on.")
    await until(lambda: app.ask.query(Turn) and app.ask.query(Turn).last() is not before)
    turn = app.ask.query(Turn).last()
    await until(lambda: turn.answer.text)
    return turn


async def _one_turn(app: Measured, script: Script) -> None:
    await _begin(app, script)
    await until(lambda: not app.ask.is_answering)


async def _beside_a_stream(app: Measured) -> dict[str, Any]:
    arrivals, awaiting = Arrivals(), Answer.feed
    append = Answer.append

    def feed(self: Answer, chunk: str) -> None:
        awaiting(self, chunk)
        arrivals.fed.append((time.perf_counter(), len(self.text)))

    async def appended(self: Answer, markdown: str) -> None:
        await append(self, markdown)
        arrivals.flushes += 1
        arrivals.shown += len(markdown)

    def frame() -> bool:
        now = time.perf_counter()
        while (
            len(arrivals.painted) < len(arrivals.fed)
            and arrivals.fed[len(arrivals.painted)][1] <= arrivals.shown
        ):
            arrivals.painted.append(now)
        return len(arrivals.painted) == len(arrivals.fed) and not app.ask.is_answering

    Answer.feed, Answer.append = feed, appended  # type: ignore[method-assign, assignment]
    try:
        started, cpu = time.perf_counter(), time.process_time()
        turn = await _begin(app, STREAM)
        finished = asyncio.ensure_future(app.painted(frame))
        typed = await _type(app, KEYS)
        await finished
        wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    finally:
        Answer.feed, Answer.append = awaiting, append  # type: ignore[method-assign]
    assert turn.answer.text == "".join(STREAM.texts)
    return {
        "typing_beside": typed,
        "chunk_to_paint": [
            painted - fed for painted, (fed, _) in zip(arrivals.painted, arrivals.fed, strict=True)
        ],
        "flushes_per_s": arrivals.flushes / wall,
        "behind": arrivals.painted[-1] - arrivals.fed[-1][0],
        "core": cpu / wall,
    }


async def _stop(app: Measured) -> dict[str, Any]:
    stops, closed = [], []
    for _ in range(STARTS):
        turn = await _begin(app, STREAM)
        await asyncio.sleep(0.5)
        stop = asyncio.ensure_future(app.key("escape", lambda turn=turn: turn.is_stopped))
        started = time.perf_counter()
        while (await app.daemon.get("/healthz"))["streams"]:
            pass
        closed.append(time.perf_counter() - started)
        stops.append(await stop)
        await until(lambda: not app.ask.is_answering)
    return {"stopped": stops, "closed": closed}


async def _history(url: str) -> dict[str, Any]:
    pages, moves, found = [], [], []
    for _ in range(STARTS):
        async with headless(url) as app:
            pages.append(await app.key("f4", lambda app=app: _rows(app)))
    async with headless(url) as app:
        await app.key("f4", lambda: _rows(app))
        history = app.screen
        assert isinstance(history, HistoryScreen)
        for number in range(KEYS):
            moves.append(
                await _press(app, "j", lambda at=number + 1: history.requests.cursor == at)
            )
        await app.key("slash", lambda: history.words.has_focus)
        for words in SOUGHT * 2:
            before = history.requests.rows
            history.words.value = words[:-1]
            history.words.action_end()
            await until(lambda before=before: history.requests.rows is not before)
            before = history.requests.rows
            found.append(
                await app.key(words[-1], lambda before=before: history.requests.rows is not before)
            )
            assert history.words.value == words
    return {"first_page": pages, "moves": moves, "found": found}


def _rows(app: Measured) -> bool:
    return isinstance(app.screen, HistoryScreen) and bool(app.screen.requests.rows)


async def _slider(url: str) -> dict[str, Any]:
    """There and back, faster than the daemon is asked."""
    async with headless(url) as app:
        await app.key("f3", lambda: isinstance(app.screen, CompressScreen))
        compress = app.screen
        assert isinstance(compress, CompressScreen)
        words = english(TEXT_TOKENS).split(" ")[:WORDS]
        compress.set_text(" ".join(words))
        await until(lambda: compress.words.kept)
        compress.slider.focus()
        moves = []
        for number in range(KEYS):
            before = compress.words.kept
            moves.append(
                await _press(
                    app,
                    "right" if number // 8 % 2 else "left",
                    lambda before=before: compress.words.kept != before,
                )
            )
    return {"slider": moves}


def _starts(url: str, progress: Progress) -> dict[str, Any]:
    """From the command to the first frame, and to the echo of a key that was pressed then."""
    figures: dict[str, list[float]] = {"paint": [], "usable": [], "paint_down": []}
    for _ in progress.track(range(STARTS), description="starting in a terminal"):
        paint, usable = _start(url)
        figures["paint"].append(paint)
        figures["usable"].append(usable)
        figures["paint_down"].append(_start("http://127.0.0.1:1")[0])
    return figures


def _start(url: str) -> tuple[float, float]:
    program = str(Path(sysconfig.get_path("scripts"), "tokenflow-tui"))
    with tempfile.TemporaryDirectory() as folder:
        terminal, inside = pty.openpty()
        termios.tcsetwinsize(inside, SIZE[::-1])
        started = time.perf_counter()
        process = subprocess.Popen(
            [program, "--url", url, "--data-dir", folder],
            stdin=inside,
            stdout=inside,
            stderr=inside,
            env=os.environ | {"TERM": "xterm-256color"},
            start_new_session=True,
        )
        try:
            seen, paint = b"", 0.0
            while TYPED not in seen:
                if not select.select([terminal], [], [], PATIENCE_S)[0]:
                    raise TimeoutError("the app painted nothing")
                seen += os.read(terminal, 65_536)
                if not paint and b"TokenFlow" in seen:
                    paint = time.perf_counter() - started
                    os.write(terminal, TYPED)
            return paint, time.perf_counter() - started
        finally:
            process.kill()
            process.wait()
            os.close(terminal)
            os.close(inside)


def _p95(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda figures: readable(percentile(figures[name], 95))


BARS: dict[str, tuple[Callable[[dict[str, Any]], str], str]] = {
    "typing, alone: p95": (_p95("typing"), "16 ms"),
    "typing beside the stream: p95": (_p95("typing_beside"), "50 ms"),
    "typing beside the stream: longest": (lambda f: readable(max(f["typing_beside"])), "250 ms"),
    "a piece of an answer to its paint: p95": (_p95("chunk_to_paint"), "150 ms"),
    "flushes a second": (lambda f: f"{f['flushes_per_s']:.1f}", "10"),
    "the answer ends behind its source": (lambda f: readable(f["behind"]), "0.5 s"),
    "share of a core while it streams": (lambda f: f"{f['core']:.0%}", "60%"),
    "esc to stopped: longest": (lambda f: readable(max(f["stopped"])), "100 ms"),
    "esc to the provider's socket closed: longest": (
        lambda f: readable(max(f["closed"])),
        "250 ms",
    ),
    "first paint in a terminal: median": (
        lambda f: readable(sorted(f["paint"])[STARTS // 2]),
        "0.8 s",
    ),
    "usable: median": (lambda f: readable(sorted(f["usable"])[STARTS // 2]), "1.0 s"),
    "first paint without a daemon: median": (
        lambda f: readable(sorted(f["paint_down"])[STARTS // 2]),
        "0.8 s",
    ),
    f"typing after {TURNS} turns, against before: p95": (
        lambda f: f"{percentile(f['typing_after'], 95) / percentile(f['typing_before'], 95):.1f}x",
        "1.5x",
    ),
    f"widgets after {TURNS} turns": (lambda f: str(f["widgets"]), "1,500"),
    f"first page of {ROWS:,} requests: median": (
        lambda f: readable(sorted(f["first_page"])[STARTS // 2]),
        "150 ms",
    ),
    "a key in that list: p95": (_p95("moves"), "33 ms"),
    "search, last key to what was found: median": (
        lambda f: readable(percentile(f["found"], 50)),
        "200 ms",
    ),
    "search: longest": (lambda f: readable(max(f["found"])), "200 ms"),
    f"the slider, {WORDS:,} words: p95": (_p95("slider"), "100 ms"),
}
