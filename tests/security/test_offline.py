"""--offline: refused at the sockets, whoever opens them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Daemon, answered_by, config_in
from tests.upstream import Upstream
from tokenflowd.services import Services

# In a process of its own: an audit hook stays until the process ends.
PROGRAM = """
import socket
from tokenflowd.offline import OfflineError, refuse_other_machines
refuse_other_machines()
try:
    {attempt}
except OfflineError:
    print("refused")
except OSError as error:
    print("let through")
else:
    print("let through")
"""
UDP = "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"
AIOHTTP = """
    import asyncio, aiohttp
    async def get():
        async with aiohttp.ClientSession() as session:
            await session.get("{url}")
    try:
        asyncio.run(get())
    except aiohttp.ClientConnectorError as error:
        raise error.os_error from None
"""


@pytest.mark.parametrize(
    ("attempt", "outcome"),
    [
        ("socket.create_connection(('192.0.2.1', 80), timeout=1)", "refused"),
        ("socket.socket(socket.AF_INET6).connect(('2001:db8::1', 80))", "refused"),
        (f"{UDP}.sendto(b'x', ('192.0.2.1', 53))", "refused"),
        (f"{UDP}.sendmsg([b'x'], [], 0, ('192.0.2.1', 53))", "refused"),
        (f"{UDP}.connect_ex(('192.0.2.1', 53))", "refused"),
        ("socket.getaddrinfo('example.com', 80)", "refused"),
        ("socket.gethostbyname('example.com')", "refused"),
        (AIOHTTP.format(url="http://192.0.2.1/"), "refused"),
        (AIOHTTP.format(url="https://api.groq.com/openai/v1/models"), "refused"),
        ("socket.create_connection(('127.0.0.1', 9), timeout=1)", "let through"),
        ("socket.create_connection(('localhost', 9), timeout=1)", "let through"),
        ("socket.getaddrinfo('0.0.0.0', 80)", "let through"),
        ("socket.socketpair()", "let through"),
        (AIOHTTP.format(url="http://127.0.0.1:9/"), "let through"),
    ],
)
def test_only_this_machine_can_be_connected_to(attempt: str, outcome: str) -> None:
    program = PROGRAM.format(attempt=attempt.strip())
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == outcome, done.stderr


def test_an_offline_daemon_asks_servers_of_this_machine_only(tmp_path: Path) -> None:
    with Upstream(models=["local-model"]) as server:
        providers = {
            "groq": {"base_url": "https://api.groq.com/openai/v1"},
            "llamacpp": {"base_url": server.url},
        }
        config = answered_by(server, tmp_path, server={"offline": True}, providers=providers)
        daemon = Daemon(Services(config))
        events = daemon.stream("/api/models/select", {"prompt": "Why is the sky blue?"})
        daemon.close()
    assert events[0].json["provider"] == "llamacpp"
    assert events[0].json["selected_model"] == "local-model"


def test_offline_without_a_server_says_so(tmp_path: Path) -> None:
    with Upstream() as server:
        groq = {"groq": {"base_url": "https://api.groq.com/openai/v1"}}
        config = answered_by(server, tmp_path, server={"offline": True}, providers=groq)
        daemon = Daemon(Services(config))
        events = daemon.stream("/api/models/select", {"prompt": "Why is the sky blue?"})
        daemon.close()
    assert events[-1].name == "error"
    assert "the daemon is offline" in events[-1].json["detail"]


def test_the_flag_closes_the_daemons_own_process(tmp_path: Path) -> None:
    program = f"""
import os, signal, socket, threading, time
from pathlib import Path
from tokenflowd.cli.daemon import main
from tokenflowd.store.lock import owner_of

home = Path({str(tmp_path)!r})

def try_to_leave():
    while not ((owner := owner_of(home)) and owner.url):
        time.sleep(0.05)
    try:
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    except OSError as error:
        print(type(error).__name__, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=try_to_leave).start()
main(["--offline", "--port", "0", "--data-dir", str(home)])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "OfflineError", done.stderr


@pytest.mark.parametrize("by", ["name", "provider", "provider/model", "auto"])
def test_a_cloud_model_of_a_local_server_is_not_asked(tmp_path: Path, by: str) -> None:
    """Ollama passes such a request on to its makers' servers."""
    cloud = "gpt-oss:120b-cloud"
    body = {
        "name": {"model": cloud},
        "provider": {"model": cloud, "provider": "ollama"},
        "provider/model": {"model": f"ollama/{cloud}"},
        "auto": {"model": "auto"},
    }[by]
    with Upstream(models=[cloud]) as upstream:
        config = config_in(
            tmp_path, server={"offline": True}, providers={"ollama": {"base_url": upstream.url}}
        )
        daemon = Daemon(Services(config))
        daemon.get("/api/providers")  # its models are known
        refused = daemon.post("/api/generate", {"prompt": "Hi"} | body)
        daemon.close()
        assert refused.status in (404, 503) or b'"event":"error"' in refused.body
        assert upstream.requests == []
