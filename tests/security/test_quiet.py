"""Nothing leaves the machine, and nothing is left on it, that nobody asked for."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sysconfig
import time
from pathlib import Path

import pytest

from tests.conftest import eventually
from tests.program import Program
from tests.upstream import Upstream
from tokenflowd.store.lock import owner_of

WATCHED_S = 14.0  # ONNX Runtime's telemetry, were it on, looks for its server after eight
LOOPBACK = re.compile(r'sa_family=AF_UNIX|inet_addr\("127\.|"::1"|sa_family=AF_(UNSPEC|NETLINK)')


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")
def test_nothing_is_written_outside_of_the_data_directory(tmp_path: Path) -> None:
    """ONNX Runtime would have kept an identifier of this machine in the user's cache."""
    home = tmp_path / "data"
    home.mkdir(mode=0o700)
    with Upstream() as upstream, contextlib.closing(Program(home, upstream)) as program:
        program.start()
        assert program.request("POST", "/api/compress", {"text": "Some words."}).status == 200
        held = open_files(program.pid)
    database = ("tokenflow.db", "tokenflow.db-wal", "tokenflow.db-shm")
    expected = {str(home / name) for name in (*database, "tokenflow.lock", "daemon.log")}
    assert {name for name in held if name.startswith(str(tmp_path))} == expected
    assert not [name for name in held if "Microsoft" in name or "onnxruntime" in name]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def open_files(pid: int) -> set[str]:
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.add(str(link.readlink()))
    return found


@pytest.mark.soak
@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
def test_no_connection_leaves_this_machine(tmp_path: Path) -> None:
    """Not Python's alone: as the kernel sees it, and without --offline."""
    home, trace = tmp_path / "data", tmp_path / "connections"
    home.mkdir(mode=0o700)
    environment = {"PATH": os.environ["PATH"], "TOKENFLOW_HOME": str(home), "HOME": str(tmp_path)}
    daemon = str(Path(sysconfig.get_path("scripts"), "tokenflowd"))
    watched = ["strace", "-f", "-qq", "-e", "trace=connect", "-o", str(trace)]
    process = subprocess.Popen(
        [*watched, daemon, "--port", "0"], env=environment, cwd=home, stderr=subprocess.PIPE
    )
    try:
        owner = eventually(lambda: (o := owner_of(home)) and o.url and o, within_s=60)
        time.sleep(WATCHED_S)
        os.kill(int(owner.pid), signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
    connections = [line for line in trace.read_text().splitlines() if "connect(" in line]
    assert connections  # it did look for the user's own servers
    assert [line for line in connections if not LOOPBACK.search(line)] == []
