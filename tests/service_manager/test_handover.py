"""tokenflowd as a service manager starts it: told sockets, passed sockets."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.test_commands import BIN, Shell, wait_for_url
from tokenflowd.service_manager import Handover

# What systemd does between fork and exec.
PASS_SOCKETS = """
import fcntl, os, sys
numbers, *program = sys.argv[1:]
passed = [fcntl.fcntl(int(number), fcntl.F_DUPFD_CLOEXEC, 100) for number in numbers.split()]
for target, number in enumerate(passed, start=3):
    os.dup2(number, target)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(passed))}
os.execv(program[0], program)
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, shell: Shell) -> Iterator[socket.socket]:
    """The manager's end, whose name is in the environment."""
    if request.param == "abstract" and sys.platform != "linux":
        pytest.skip("abstract names are Linux's")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        if request.param == "abstract":
            listening.bind("")  # the kernel chooses
            name = f"@{listening.getsockname()[1:].decode()}"
        else:
            name = str(shell.home / "notify")
            listening.bind(name)
        listening.settimeout(30)
        shell.environment["NOTIFY_SOCKET"] = name
        yield listening


def test_the_manager_is_told_when_the_daemon_is_ready_and_when_it_stops(
    shell: Shell, manager: socket.socket
) -> None:
    process = shell.start("--port", "0")
    ready = manager.recv(4096).decode().splitlines()
    url = wait_for_url(shell)
    assert ready == ["READY=1", f"STATUS=Answers on {url}"]
    with urllib.request.urlopen(f"{url}/healthz", timeout=10) as answer:
        assert b'"ready":true' in answer.read().replace(b" ", b"")
    process.send_signal(signal.SIGTERM)
    assert manager.recv(4096).decode().splitlines()[0] == "STOPPING=1"
    assert process.wait(10) == 0


@pytest.mark.parametrize("name", ["/nowhere/notify", "@nobody", "vsock:2:1"])
def test_a_manager_that_is_gone_does_not_matter(shell: Shell, name: str) -> None:
    shell.environment["NOTIFY_SOCKET"] = name
    process = shell.start("--port", "0")
    wait_for_url(shell)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert process.stderr
    assert b"cannot be told READY=1" in process.stderr.read()


def test_children_see_nothing_of_it() -> None:
    environment = {"PATH": "/bin", "NOTIFY_SOCKET": "/n", "LISTEN_PID": "1", "LISTEN_FDS": "2"}
    environment["LISTEN_FDNAMES"] = "a:b"
    handover = Handover.take(environment)
    assert environment == {"PATH": "/bin"}
    assert handover == Handover("/n")  # the sockets were another process's


def start_with(shell: Shell, *sockets: socket.socket) -> subprocess.Popen[bytes]:
    """tokenflowd with these as its file descriptors 3 and up."""
    numbers = [passed.fileno() for passed in sockets]
    wrapper = [sys.executable, "-c", PASS_SOCKETS, " ".join(map(str, numbers))]
    return subprocess.Popen(
        [*wrapper, str(BIN / "tokenflowd"), "--port", "0"],
        cwd=shell.home,
        env=shell.environment,
        stderr=subprocess.PIPE,
        pass_fds=numbers,
    )


def over_tcp(listener: socket.socket) -> socket.socket:
    return socket.create_connection(listener.getsockname()[:2], timeout=30)


def over_a_file(listener: socket.socket) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(30)
    connection.connect(listener.getsockname())
    return connection


def status(connect: Callable[[socket.socket], socket.socket], listener: socket.socket) -> int:
    name = listener.getsockname()
    host = f"localhost:{name[1]}" if isinstance(name, tuple) else "localhost"
    with connect(listener) as connection:
        head = f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        return int(connection.makefile("rb").read().split(b" ", 2)[1])


def test_passed_sockets_are_answered_and_left_to_their_owner(shell: Shell) -> None:
    path = shell.home / "passed.sock"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as file:
        file.bind(str(path))
        file.listen()
        process = start_with(shell, tcp, file)
        # Nobody waits for the daemon to be ready: the kernel keeps the connections until then.
        assert status(over_tcp, tcp) == 200
        assert status(over_a_file, file) == 200
        assert wait_for_url(shell) == f"http://localhost:{tcp.getsockname()[1]}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert path.is_socket()


def test_a_socket_that_does_not_listen_is_one_clear_sentence(shell: Shell) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        process = start_with(shell, datagrams)
        assert process.wait(30) == 1
    assert process.stderr
    [said] = process.stderr.read().decode().splitlines()
    assert said.startswith("Error: file descriptor 3, which the service manager passed, is no")
