"""Where tokenflowd listens: addresses, and socket files that only its user can open."""

from __future__ import annotations

import asyncio
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_commands import SENTENCE, Shell, wait_for_url
from tokenflow_tui.client import Daemon as TerminalClient


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "own" / "tokenflow.sock"


@pytest.fixture
def daemon(shell: Shell, path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = shell.start("--listen", f"unix:{path}")
    assert wait_for_url(shell) == f"unix:{path}"
    yield process
    stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def status(path: Path, *, host: str = "localhost") -> int:
    """What /healthz answers there under that name."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        head = f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        answer = connection.makefile("rb").read()
    return int(answer.split(b" ", 2)[1])


@pytest.mark.usefixtures("daemon")
def test_only_its_user_can_open_the_socket_file(path: Path) -> None:
    assert status(path) == 200
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("localhost", 200),
        ("localhost:8000", 200),  # a client that took the port from a URL
        ("127.0.0.1", 200),
        ("[::1]:80", 200),
        ("evil.example", 403),  # what a proxy before the socket passes on
        ("localhost.evil.example", 403),
        ("localhost:", 403),
        ("", 403),
    ],
)
def test_requests_over_the_socket_file_name_this_machine(
    path: Path, host: str, answer: int
) -> None:
    assert status(path, host=host) == answer


@pytest.mark.usefixtures("daemon")
def test_the_command_line_uses_the_socket_file(shell: Shell, path: Path) -> None:
    shell.run("tokenflow", "compress", "-r", "0.5", stdin=SENTENCE)
    assert "tokenflow-cli" in shell.run("tokenflow", "history", "list", "--json").stdout
    assert f"unix:{path}" in shell.run("tokenflow", "doctor").stdout


@pytest.mark.usefixtures("daemon")
def test_the_terminal_client_uses_the_socket_file(path: Path) -> None:
    async def health() -> str:
        client = TerminalClient(f"unix:{path}")
        try:
            return str((await client.get("/healthz"))["status"])
        finally:
            await client.close()

    assert asyncio.run(health()) == "ok"


def test_the_socket_file_goes_with_the_daemon(shell: Shell, path: Path) -> None:
    process = shell.start("--listen", f"unix:{path}")
    wait_for_url(shell)
    stop(process)
    assert not path.exists()


def test_what_a_dead_daemon_left_behind_is_replaced(shell: Shell, path: Path) -> None:
    killed = shell.start("--listen", f"unix:{path}")
    wait_for_url(shell)
    killed.kill()
    killed.wait()
    assert path.is_socket()
    process = shell.start("--listen", f"unix:{path}")
    wait_for_url(shell)
    assert status(path) == 200
    stop(process)


@pytest.mark.usefixtures("daemon")
def test_a_live_socket_is_left_alone(shell: Shell, path: Path, tmp_path: Path) -> None:
    other = ("--data-dir", str(tmp_path / "other"), "--listen", f"unix:{path}")
    done = shell.run("tokenflowd", *other, ok=False)
    assert done.stderr.splitlines() == [
        f"Error: another program listens on {path}; stop it, or name another --listen"
    ]
    assert status(path) == 200


def test_another_daemons_socket_is_not_removed(shell: Shell, path: Path) -> None:
    process = shell.start("--listen", f"unix:{path}")
    wait_for_url(shell)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        stop(process)
    assert path.is_socket()


def test_the_settings_may_name_a_socket_file(shell: Shell, path: Path) -> None:
    home = Path(shell.environment["TOKENFLOW_HOME"])
    home.mkdir()
    (home / "config.toml").write_text(f'[server]\nhost = "unix:{path}"\n')
    process = shell.start()
    assert wait_for_url(shell) == f"unix:{path}"
    stop(process)


def test_host_and_port_in_one(shell: Shell) -> None:
    process = shell.start("--listen", "127.0.0.1:0")
    assert wait_for_url(shell).startswith("http://localhost:")
    stop(process)


def test_a_directory_of_everybodys_is_refused(shell: Shell, tmp_path: Path) -> None:
    everybodys = tmp_path / "everybodys"
    everybodys.mkdir()
    everybodys.chmod(0o777)
    done = shell.run("tokenflowd", "--listen", f"unix:{everybodys}/a.sock", ok=False)
    assert f"others can write into {everybodys}" in done.stderr
    assert list(everybodys.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("8000", "HOST:PORT or unix:PATH"),
        ("localhost:http", "HOST:PORT or unix:PATH"),
        (":8000", "HOST:PORT or unix:PATH"),
        ("localhost:70000", "$.server.port"),
        ("unix:", "no socket"),
        ("unix:config.toml", "config.toml is no socket; it was left as it is"),
        (f"unix:{'long' * 40}", "path too long"),
        ("unix:/proc/1/tokenflow.sock", "cannot listen on /proc/1/tokenflow.sock"),
    ],
)
def test_a_wrong_address_is_one_clear_sentence(shell: Shell, address: str, says: str) -> None:
    (shell.home / "config.toml").touch()
    shell.home.chmod(0o700)
    done = shell.run("tokenflowd", "--listen", address, ok=False)
    assert says in done.stderr
    assert [file.name for file in shell.home.iterdir()] == ["config.toml"]


def test_an_address_is_named_once(shell: Shell) -> None:
    done = shell.run("tokenflowd", "--listen", "localhost:0", "--port", "0", ok=False)
    assert "--listen says what --host and --port say" in done.stderr
