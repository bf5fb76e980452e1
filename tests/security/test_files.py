"""Who may read what the daemon writes."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sysconfig
from pathlib import Path

from tests.api.test_models import install
from tests.program import Program
from tests.store.rows import compression, write
from tests.upstream import Upstream
from tokenflowd.store import Store

OWNER_ONLY = 0o077


def open_to_others(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): oct(mode)
        for path in [folder, *folder.rglob("*")]
        if (mode := stat.S_IMODE(path.stat().st_mode)) & OWNER_ONLY
    }


def test_nothing_the_daemon_writes_is_for_others(tmp_path: Path) -> None:
    """With a umask that would let everybody read and write everything."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    with Upstream() as upstream:
        program = Program(home, upstream, umask=0)
        install(home, "mine")
        for path in [*home.rglob("*")]:  # these are the test's own
            path.chmod(0o700 if path.is_dir() else 0o600)
        with contextlib.closing(program):
            program.start()
            assert program.request("POST", "/api/generate", {"prompt": "Hi", "model": "m1"}).body
            assert program.request("POST", "/api/models/use", {"id": "mine"}).status == 200
            (home / "daemon.log").unlink()  # the test's own, too
            written = {path.name for path in home.iterdir()}
            assert {"tokenflow.db", "tokenflow.db-wal", "tokenflow.lock", "config.toml"} <= written
            assert open_to_others(home) == {}


def test_nothing_the_commands_write_is_for_others(tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"
    environment = {"PATH": os.environ["PATH"], "TOKENFLOW_HOME": str(home)}
    command = str(Path(sysconfig.get_path("scripts"), "tokenflow"))
    for arguments in (["config", "init"], ["compress"]):
        done = subprocess.run(
            [command, *arguments],
            input=b"Some words to shorten.",
            env=environment,
            cwd=tmp_path,
            umask=0,
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
    assert {"config.toml", "tokenflow.db"} <= {path.name for path in home.iterdir()}
    assert open_to_others(home) == {}


def test_what_is_moved_aside_stays_its_owners(tmp_path: Path) -> None:
    home = tmp_path / "home"
    before = os.umask(0)
    try:
        store = Store(home / "tokenflow.db")
        write(store, compression())
        store.close()
        store.path.write_bytes(b"\xa5" * 8192)
        Store(store.path).close()
    finally:
        os.umask(before)
    assert any(".damaged-" in path.name for path in home.iterdir())
    assert open_to_others(home) == {}
    shutil.rmtree(home)
