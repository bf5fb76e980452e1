"""A disk that takes no more, or gives back something else: answers go on without the history."""

from __future__ import annotations

import contextlib
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.program import Program
from tests.upstream import Upstream, answer

PAGE = 4096
ASKED = {"prompt": "Hi", "model": "m1"}
TEXT = {"text": "Some words that are said and some that are not. " * 20}
Outage = Callable[[Path, int], AbstractContextManager[None]]


@contextlib.contextmanager
def full_disk(home: Path, pid: int) -> Iterator[None]:
    """No byte is left on the file system."""
    filler = home / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * PAGE)
    yield
    filler.unlink()


@contextlib.contextmanager
def refused_writes(home: Path, pid: int) -> Iterator[None]:
    """No file of the process may have any byte after the first."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, before[1]))
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return home


@pytest.fixture
def small_disk(home: Path) -> Iterator[Path]:
    """The data directory on a file system of its own, of 4 MB."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs", str(home)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield home
    subprocess.run(["umount", "--lazy", str(home)], check=True)


def recorded(program: Program) -> str | None:
    """The id under which a compression is in the history; None if it is not."""
    told = program.request("POST", "/api/compress", TEXT)
    assert told.status == 200, told.body
    request_id: str | None = told.json["id"]
    return request_id


def assert_answers_go_on(program: Program, outage: AbstractContextManager[None]) -> None:
    before = recorded(program)
    assert before
    with outage:
        # A log with room in it may take a little more.
        assert None in [recorded(program) for _ in range(50)]
        streamed = program.request("POST", "/api/generate", ASKED).body
        assert b"event: end_stream" in streamed
        assert b"event: error" not in streamed
        health = program.health()
        assert (health["status"], health["history"]) == ("degraded", "degraded")
        assert health["problem"]
        assert program.recorded(before)  # what is there can be read
    after = recorded(program)
    assert after
    assert program.recorded(after)
    assert program.health()["status"] == "ok"


def assert_history_returns(
    home: Path, fault: Callable[[Path, int], AbstractContextManager[None]]
) -> None:
    with (
        Upstream(answer("Hello")) as upstream,
        contextlib.closing(Program(home, upstream)) as program,
    ):
        process = program.start()
        assert_answers_go_on(program, fault(home, process.pid))
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert program.integrity() == "ok"


def test_a_full_disk_takes_the_history_away_only_while_it_is_full(small_disk: Path) -> None:
    assert_history_returns(small_disk, full_disk)


def test_refused_writes_take_the_history_away_only_while_they_are_refused(home: Path) -> None:
    assert_history_returns(home, refused_writes)


def test_a_full_disk_is_said_at_the_start(small_disk: Path) -> None:
    with Upstream() as upstream, contextlib.closing(Program(small_disk, upstream)) as program:
        log = small_disk.parent / "log"
        with full_disk(small_disk, 0):
            assert program.launch(log).wait(20) == 1
        assert "cannot be" in log.read_text()
        assert "Traceback" not in log.read_text()


def overwrite(database: Path, first_page: float, pages: float) -> bytes:
    """Fills this part of the file, all of which is 1, with nonsense. Returns what it is now."""
    content = bytearray(database.read_bytes())
    count = len(content) // PAGE
    for page in range(int(count * first_page), max(1, int(count * (first_page + pages)))):
        content[page * PAGE : (page + 1) * PAGE] = b"\xa5" * PAGE
    database.write_bytes(content)
    return bytes(content)


@pytest.mark.parametrize(
    ("first_page", "pages"), [(0.0, 0.0), (0.0, 1.0), (0.5, 0.5)], ids=["header", "all", "half"]
)
def test_a_damaged_history_is_moved_aside_and_another_begun(
    home: Path, first_page: float, pages: float
) -> None:
    """At the start or, where the damage is deep in the file, at the first write that meets it."""
    database = home / "tokenflow.db"
    with (
        Upstream(answer("Hello")) as upstream,
        contextlib.closing(Program(home, upstream)) as program,
    ):
        process = program.start()
        for number in range(40):
            long = {"prompt": f"{number} more words " * 200}
            assert program.request("POST", "/api/generate", ASKED | long).status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        damaged = overwrite(database, first_page, pages)

        program.start()
        for _ in range(5):
            recorded(program)
        assert recorded(program)
        assert program.health()["status"] == "ok"
        assert program.integrity() == "ok"
        [aside] = list(home.glob("*.damaged-*Z"))
        assert len(aside.read_bytes()) >= len(damaged)
        assert b"\xa5" * PAGE in aside.read_bytes()
