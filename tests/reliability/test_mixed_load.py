"""Everything at once, for long: nothing fails, nothing is left behind."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import eventually
from tests.program import Program
from tests.soak import Soak
from tests.upstream import Upstream, answer

# As many more descriptors and threads are no leak: pools keep what the busiest moment needed, a
# connection to the provider, a reader of the history, a thread for each client at most.
CLIENTS = 8
WORDS = "the disk of server seven is full again since nobody deleted the old logs".split()
CHAT = {"model": "m1", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    tmp_path.chmod(0o700)
    with (
        Upstream(answer("Hello", " world")) as upstream,
        contextlib.closing(Program(tmp_path, upstream)) as program,
    ):
        program.start()
        yield program


def sentence(random_: random.Random) -> str:
    return " ".join(random_.choices(WORDS, k=random_.randint(3, 60)))


def requests(program: Program, seed: int) -> Iterator[tuple[int, Any]]:
    """The statuses that are expected, and the answers, to all kinds of requests for ever."""
    random_ = random.Random(seed)
    ids: list[str] = []
    ask = program.request
    kinds: list[Callable[[], tuple[int, Any]]] = [
        lambda: (200, ask("POST", "/api/compress", {"text": sentence(random_)})),
        lambda: (200, ask("POST", "/api/classify", {"prompt": sentence(random_)})),
        lambda: (200, ask("POST", "/api/generate", {"prompt": sentence(random_), "model": "m1"})),
        lambda: (200, ask("POST", "/v1/chat/completions", CHAT)),
        lambda: (200, ask("POST", "/v1/chat/completions", CHAT | {"stream": True})),
        lambda: (200, ask("GET", "/api/history?q=disk&limit=20")),
        lambda: (200, ask("GET", "/api/metrics")),
        lambda: (200, ask("GET", "/metrics")),
        lambda: (200, ask("GET", "/healthz")),
        lambda: (204, ask("DELETE", f"/api/history/{ids.pop()}")) if ids else kinds[0](),
        lambda: (422, ask("POST", "/api/compress", {"text": 1})),
        lambda: (404, ask("GET", "/api/history/nothing")),
        lambda: (403, ask("GET", "/api/history", Origin="https://evil.example")),
    ]
    while True:
        expected, told = random_.choice(kinds)()
        is_object = told.status == 200 and told.body.startswith(b"{")
        if is_object and program.recorded(str(told.json.get("id"))):
            ids.append(told.json["id"])
        yield expected, told


def load(program: Program, count: int, round_: int) -> None:
    def client(number: int) -> None:
        asked = requests(program, round_ * CLIENTS + number)
        for expected, told in itertools.islice(asked, count // CLIENTS):
            assert told.status == expected, told.body

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))


class Process:
    """What the daemon holds, as the kernel counts it."""

    def __init__(self, pid: int) -> None:
        self._proc = Path(f"/proc/{pid}")

    @property
    def threads(self) -> int:
        return len(list((self._proc / "task").iterdir()))

    @property
    def descriptors(self) -> int:
        return len(list((self._proc / "fd").iterdir()))

    @property
    def resident_mb(self) -> float:
        status = (self._proc / "status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")
def test_mixed_requests_leave_no_thread_and_no_descriptor_behind(program: Program) -> None:
    load(program, 400, 1)
    process = Process(program.pid)
    threads, descriptors = process.threads, process.descriptors
    load(program, 400, 2)
    eventually(lambda: process.descriptors <= descriptors + CLIENTS)
    eventually(lambda: process.threads <= threads + CLIENTS)
    assert program.integrity() == "ok"
    assert program.health()["streams"] == 0


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")
def test_ten_thousand_mixed_requests_leave_the_memory_as_it_was(
    program: Program, soak: Soak
) -> None:
    """The warm-up is a fifth of them: caches fill, pools get their threads."""
    process = Process(program.pid)
    load(program, soak.size(2_000, 400), 1)
    threads, descriptors, resident = process.threads, process.descriptors, process.resident_mb
    count = soak.size(10_000, 400)
    load(program, count, 2)
    grown = (process.resident_mb / resident - 1) * 100
    soak.figure(f"memory grown in {count:,} mixed requests", grown, "%", below=5)
    soak.figure("memory after them", process.resident_mb, "MB")
    eventually(lambda: process.descriptors <= descriptors + CLIENTS)
    eventually(lambda: process.threads <= threads + CLIENTS)
    soak.figure("descriptors more than before", process.descriptors - descriptors, "", CLIENTS + 1)
    soak.figure("threads more than before", process.threads - threads, "", CLIENTS + 1)
    assert program.integrity() == "ok"
