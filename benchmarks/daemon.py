"""The daemon as people run it: a process of its own, and HTTP."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import Progress

from benchmarks.inputs import MANY_LABELS, PROMPT, english
from benchmarks.report import Run, Table, interleave, p50, p95

STARTS = 7
MIXED_REQUESTS = 50
PATIENCE_S = 60
POLL_S = 0.002


@dataclass(frozen=True)
class Daemon:
    pid: int
    port: int
    seconds_to_ready: float
    connection: http.client.HTTPConnection
    number: Iterator[int]

    def compress(self, text: str) -> None:
        """The text is made a new one, so that the daemon has never seen it."""
        self._post("/api/compress", {"text": f"{next(self.number)}\n{text}"})

    def classify(self, prompt: str, **more: Any) -> None:
        self._post("/api/classify", {"prompt": prompt, **more})

    def resident_mb(self) -> float:
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
            kib = status.partition("VmRSS:")[2].split()[0]
        except FileNotFoundError:  # macOS
            kib = subprocess.check_output(["ps", "-o", "rss=", "-p", str(self.pid)], text=True)
        return int(kib) * 1024 / 1e6

    def _post(self, path: str, body: dict[str, Any]) -> None:
        headers = {"Content-Type": "application/json"}
        self.connection.request("POST", path, json.dumps(body), headers)
        response = self.connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise RuntimeError(f"{path} answered {response.status}: {answer.decode()}")


@contextlib.contextmanager
def daemon(home: Path, variables: Mapping[str, str] | None = None) -> Iterator[Daemon]:
    """tokenflowd with its defaults but for what `variables` and the home say, until the block
    ends."""
    # Without byte code, each start would compile every module again.
    unwanted = ("PORT", "TOKENFLOW_", "GROQ_", "OPENROUTER_", "PYTHONDONTWRITEBYTECODE")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(unwanted)
    }
    environment |= {"TOKENFLOW_HOME": str(home), **(variables or {})}
    port = _free_port()
    program = str(Path(sysconfig.get_path("scripts"), "tokenflowd"))
    started = time.perf_counter()
    with (home / "daemon.log").open("w") as log:
        process = subprocess.Popen(
            [program, "--port", str(port)], cwd=home, env=environment, stderr=log
        )
    try:
        connection = _connection_once_well(port, process)
        if connection is None:
            said = (home / "daemon.log").read_text()
            raise RuntimeError(f"no daemon; exit status {process.poll()}: {said}")
        seconds_to_ready = time.perf_counter() - started
        yield Daemon(process.pid, port, seconds_to_ready, connection, itertools.count())
        connection.close()
    finally:
        process.terminate()
        process.wait()


def measure(progress: Progress) -> Table:
    starts: dict[str, list[float]] = {"in a fresh home": [], "from then on": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in progress.track(range(STARTS + 1), description="start the daemon"):
            home = Path(folder, str(number))
            home.mkdir()
            for seconds in starts.values():
                with daemon(home) as running:
                    # The first round fills the system's file cache and Python's byte code.
                    seconds.extend([running.seconds_to_ready] if number else [])
        with daemon(home) as running:
            memory, requests = _exercise(running, progress)
    aims = {"after 50 mixed requests": "250 MB"}
    return Table(
        "The daemon",
        ("", "median", "p95", "aim"),
        [
            *((f"ready, {name}", p50(taken), p95(taken), "1 s") for name, taken in starts.items()),
            *(
                (f"memory {when}", f"{mb:.0f} MB", "", aims.get(when, ""))
                for when, mb in memory.items()
            ),
            *((f"request: {name}", p50(taken), p95(taken), "") for name, taken in requests.items()),
        ],
        [
            f"ready: from the start of the process to 200 from /healthz, {STARTS} times each",
            "memory: the resident set, 1 MB = 10^6 bytes; every text to compress is a new one",
        ],
        {"seconds_to_ready": starts, "resident_mb": memory, "seconds_of_requests": requests},
    )


def _exercise(
    running: Daemon, progress: Progress
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Memory by moment and seconds of requests by kind."""
    kinds: dict[str, Run] = {
        "compress 500 tokens": lambda: running.compress(english(500)),
        "classify 60 tokens": lambda: running.classify(PROMPT),
        "compress 5,000 tokens": lambda: running.compress(english(5_000)),
    }
    memory = {"when ready": running.resident_mb()}
    mixed = itertools.islice(itertools.cycle(kinds.values()), MIXED_REQUESTS)
    for request in progress.track(mixed, total=MIXED_REQUESTS, description="mixed requests"):
        request()
    memory["after 50 mixed requests"] = running.resident_mb()
    requests = interleave(kinds, progress, "requests", rounds=20, runs=5, warm_up=False)
    running.compress(english(50_000))
    memory["after a text of 50,000 tokens"] = running.resident_mb()
    running.classify(PROMPT, possible_categories=MANY_LABELS)
    memory["with the third model (77 labels)"] = running.resident_mb()
    return memory, requests


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _connection_once_well(
    port: int, process: subprocess.Popen[bytes]
) -> http.client.HTTPConnection | None:
    """A connection on which /healthz answered 200; None if the process ends or is too slow."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(ConnectionError):
            connection.request("GET", "/healthz")
            response = connection.getresponse()
            response.read()
            if response.status == 200:
                return connection
        connection.close()
        time.sleep(POLL_S)
    return None
