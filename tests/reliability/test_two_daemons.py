"""One daemon for each data directory."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

from tests.conftest import eventually
from tests.program import Program
from tests.upstream import Upstream
from tokenflowd.store.lock import owner_of

AT_ONCE = 10


def test_of_ten_that_start_at_once_one_survives_and_the_others_name_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    logs = [tmp_path / f"{number}.log" for number in range(AT_ONCE)]
    with Upstream() as upstream, contextlib.closing(Program(home, upstream)) as program:
        started = {log: program.launch(log) for log in logs}

        def still_there() -> list[Path]:
            return [log for log, process in started.items() if process.poll() is None]

        eventually(lambda: len(still_there()) == 1, within_s=60)
        [survivor] = [started[log] for log in still_there()]
        owner = eventually(lambda: (o := owner_of(home)) and o.url and o, within_s=60)
        assert owner.pid == str(survivor.pid)
        for log, process in started.items():
            if process is not survivor:
                assert process.returncode == 1
                assert f"another TokenFlow (process {survivor.pid}) uses" in log.read_text()
        survivor.send_signal(signal.SIGTERM)
        assert survivor.wait(10) == 0
        assert program.integrity() == "ok"
