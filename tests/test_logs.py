"""The daemon's log: where it goes, who can read it, and that no key is ever in it."""

from __future__ import annotations

import json
import logging
import re
import signal
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_commands import Shell, wait_for_url
from tests.conftest import KEY, config_in
from tokenflowd.logs import SecretsFilter, log_as_configured

OTHER_KEYS = (
    "sk-proj-Abcdefghijklmnop_qrstuvwxyz0123456789",
    "sk-or-v1-0123456789abcdef0123456789abcdef",
    "gsk_Abcdefghijklmnopqrstuvwxyz0123456789",
)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def home_of(shell: Shell, **server: Any) -> Path:
    home = Path(shell.environment["TOKENFLOW_HOME"])
    home.mkdir()
    lines = [f"{name} = {json.dumps(value)}" for name, value in server.items()]
    (home / "config.toml").write_text("\n".join(["[server]", *lines]))
    return home


def run(shell: Shell, *arguments: str, requests: int = 1, umask: int = -1) -> str:
    """Starts tokenflowd, asks so often for what is not there, stops it. Its standard error."""
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("tokenflowd")), "--port", "0", *arguments],
        cwd=shell.home,
        env=shell.environment,
        stderr=subprocess.PIPE,
        text=True,
        umask=umask,
    )
    url = wait_for_url(shell)
    for number in range(requests):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{url}/nothing/{number}", timeout=10)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=10)
    assert process.returncode == 0
    return said


def test_the_log_is_on_standard_error_and_nowhere_else(shell: Shell) -> None:
    said = run(shell)
    assert re.search(
        r"^[\d-]{10} [\d:,]{12} INFO tokenflowd.requests: GET /nothing/0 404", said, re.M
    )
    assert not (Path(shell.environment["TOKENFLOW_HOME"]) / "logs").exists()


def test_a_log_file_is_its_users_only(shell: Shell) -> None:
    home = home_of(shell, log_max_bytes=2000)
    said = run(shell, "--log-file", requests=60, umask=0)
    logs = home / "logs"
    assert said.strip() == f"The log is {logs / 'tokenflowd.log'}"
    assert stat.S_IMODE(logs.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in logs.iterdir()} == {0o600}


def test_a_full_log_file_makes_room_for_a_new_one(shell: Shell) -> None:
    home = home_of(shell, log_file=True, log_max_bytes=2000, log_backups=2)
    run(shell, requests=120)
    files = sorted((home / "logs").iterdir())
    assert [file.name for file in files] == [
        "tokenflowd.log",
        "tokenflowd.log.1",
        "tokenflowd.log.2",
    ]
    assert all(file.stat().st_size <= 2000 for file in files)
    kept = "".join(file.read_text() for file in reversed(files))
    numbers = [int(number) for number in re.findall(r"/nothing/(\d+) ", kept)]
    assert numbers == list(range(numbers[0], 120))  # the oldest went first
    assert numbers[0] > 0


def test_json_is_one_object_a_line(shell: Shell) -> None:
    home_of(shell, log_format="json")
    lines = [json.loads(line) for line in run(shell).splitlines()]
    assert lines[-1].keys() == {"time", "level", "logger", "message"}
    assert lines[-1]["logger"] == "tokenflowd.requests"
    assert lines[-1]["level"] == "info"
    assert lines[-1]["message"].startswith("GET /nothing/0 404")
    assert re.fullmatch(r"[\d-]{10}T[\d:]{8}\.\d{3}\+00:00", lines[-1]["time"])


def test_a_log_file_that_cannot_be_written_is_one_clear_sentence(shell: Shell) -> None:
    home = home_of(shell)
    (home / "logs").write_text("no directory")
    done = shell.run("tokenflowd", "--log-file", "--port", "0", ok=False)
    assert done.stderr.startswith(f"Error: {home / 'logs' / 'tokenflowd.log'} cannot be written")


@pytest.fixture(params=["text", "json"])
def log_file(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Of a process whose GROQ_API_KEY is KEY."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    environment = {"GROQ_API_KEY": f" {KEY}\n", "OPENROUTER_API_KEY": f"{KEY}-and-more"}
    server = {"log_file": True, "log_format": request.param, "log_level": "debug"}
    file = log_as_configured(config_in(tmp_path, environment=environment, server=server))
    assert file
    yield file
    for handler in set(root.handlers) - set(before):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)


class Reprobate(Exception):
    """Tells the key wherever it is asked for anything."""

    def __str__(self) -> str:
        return f"refused: {KEY}"

    def __repr__(self) -> str:
        return f"Reprobate({KEY!r})"


def test_no_key_is_in_a_log(log_file: Path) -> None:
    log = logging.getLogger("somebody.elses.library")
    log.info("the key is %s", KEY)
    log.info("the other key is %(key)s", {"key": f"{KEY}-and-more"})
    log.warning(f"sent {KEY} {OTHER_KEYS}")
    log.debug("%s %r", Reprobate(), [Reprobate()])
    log.debug("Authorization: Bearer of-unknown-origin, {'authorization': 'bearer again'}")
    for key in OTHER_KEYS:
        log.error("%s", {"headers": key})
    log.info("wrong %d", KEY)
    try:
        try:
            raise Reprobate
        except Reprobate as cause:
            raise RuntimeError(f"{OTHER_KEYS[2]}") from cause
    except RuntimeError:
        log.exception("failed")
    log.info("where", stack_info=True, extra={"key": KEY})
    written = log_file.read_text()
    for secret in (KEY, *OTHER_KEYS, "of-unknown-origin", "again", "and-more"):
        assert secret not in written
    assert "the key is ***" in written
    assert "the other key is ***" in written
    assert "Authorization: Bearer ***" in written
    assert "refused: ***" in written
    assert "RuntimeError: ***" in written


def test_what_is_no_key_stays() -> None:
    said = "task-manager-of-the-year, disk_usage_of_the_daemon, sk-8, ask-me-anything-you-want"
    record = logging.LogRecord("a", logging.INFO, "a.py", 1, said, None, None)
    assert SecretsFilter(()).filter(record)
    assert record.getMessage() == said


def test_the_daemon_says_what_is_wrong_without_the_key(shell: Shell) -> None:
    shell.environment |= {"GROQ_API_KEY": KEY, "TOKENFLOW_COMPRESSOR": KEY}  # the wrong line
    said = run(shell)
    assert "no model `***` is installed" in said
    assert KEY not in said
