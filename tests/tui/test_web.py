"""tokenflow-tui --web, as a browser sees it."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sysconfig
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.program import Program

PATIENCE_S = 20.0
Served = tuple[str, subprocess.Popen[str]]


def tui(*options: str) -> subprocess.Popen[str]:
    program = str(Path(sysconfig.get_path("scripts"), "tokenflow-tui"))
    return subprocess.Popen(
        [program, *options], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def served(program: Program, port: int, tmp_path: Path) -> Iterator[Served]:
    """Its address and its process."""
    folder = str(tmp_path / "tui")
    process = tui("--web", "--web-port", str(port), "--url", program.url, "--data-dir", folder)
    assert process.stdout
    assert process.stdout.readline() == (
        f"TokenFlow is at http://127.0.0.1:{port}, ctrl+c ends it\n"
    )
    yield f"http://127.0.0.1:{port}", process
    process.kill()
    process.communicate()


def test_the_page_shows_the_app_and_ends_with_the_server(served: Served, program: Program) -> None:
    url, process = served

    async def looked() -> None:
        async with aiohttp.ClientSession() as session:
            async with session.get(url) as page:
                assert f"ws://{url.removeprefix('http://')}/ws" in await page.text()
            async with session.ws_connect(f"{url}/ws?width=100&height=30") as screen:
                seen = b""
                wanted = f":{program.url.rpartition(':')[2]}".encode()
                while wanted not in seen:  # the daemon's port, in the app's first line
                    message = await screen.receive(PATIENCE_S)
                    assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT), seen
                    seen += message.data if isinstance(message.data, bytes) else b""
                process.send_signal(signal.SIGINT)
                await asyncio.to_thread(process.wait, PATIENCE_S)

    asyncio.run(looked())
    assert process.returncode == 0


def test_other_sites_are_kept_out(served: Served) -> None:
    for path in ("/", "/ws"):
        for header in ("Origin", "https://elsewhere.example"), ("Host", "elsewhere.example:8001"):
            request = urllib.request.Request(served[0] + path, headers=dict([header]))
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, timeout=PATIENCE_S)
            refused.value.close()
            assert refused.value.code == 403, (path, header)


def test_the_page_asks_nobody_else(served: Served) -> None:
    with urllib.request.urlopen(served[0], timeout=PATIENCE_S) as page:
        policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self'")
    assert "http" not in policy


def test_a_port_that_is_taken_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = tui("--web", "--web-port", str(taken.getsockname()[1]))
        out, error = process.communicate(timeout=PATIENCE_S)
    assert out == ""
    assert error.startswith("Error: port ")
    assert "address already in use" in error
    assert process.returncode == 1
