"""tokenflow-tui --web, as a browser sees it."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import subprocess
import sysconfig
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest

from tests.program import Program

PATIENCE_S = 20.0
Served = tuple[str, subprocess.Popen[str]]
PRINTED = re.compile(
    r"TokenFlow is at (http://127\.0\.0\.1:\d+)/\?token=([\w-]{43}) \(ctrl\+c ends it\)\n"
)


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
    """The address that it prints, and its process."""
    folder = str(tmp_path / "tui")
    process = tui("--web", "--web-port", str(port), "--url", program.url, "--data-dir", folder)
    assert process.stdout
    printed = PRINTED.fullmatch(process.stdout.readline())
    assert printed
    assert printed[1] == f"http://127.0.0.1:{port}"
    yield f"{printed[1]}/?token={printed[2]}", process
    process.kill()
    process.communicate()


def test_the_page_shows_the_app_and_ends_with_the_server(served: Served, program: Program) -> None:
    address, process = served
    url = address.partition("/?")[0]

    async def looked() -> None:
        jar = aiohttp.CookieJar(unsafe=True)  # cookies of an IP address, too, as browsers do
        async with aiohttp.ClientSession(cookie_jar=jar) as session:
            async with session.get(address) as page:
                assert "token" not in str(page.url)
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


def refused(url: str, **headers: str) -> int:
    request = urllib.request.Request(url, headers=headers)
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request, timeout=PATIENCE_S)
    error.value.close()
    return error.value.code


def test_other_sites_are_kept_out(served: Served) -> None:
    address = served[0]
    for url in (address, address.replace("/?", "/ws?")):
        assert refused(url, Origin="https://elsewhere.example") == 403
        assert refused(url, Host="elsewhere.example:8001") == 403


def test_other_users_of_the_machine_are_kept_out(served: Served) -> None:
    """They can reach the port, but have not seen what the command printed."""
    url, _, token = served[0].partition("/?token=")
    for path in (
        "/",
        "/ws",
        "/static/",
        "/download/x",
        f"/ws?token={token}",
        "/?token=",
        "/?token=é",
    ):
        assert refused(url + quote(path, safe="/?=&")) == 403, path
    port = url.rpartition(":")[2]
    wrong = f"tokenflow-web-{port}={token[:-1]}x"
    assert refused(f"{url}/", Cookie=wrong) == 403
    assert refused(f"{url}/?token={token[:-1]}") == 403


def test_each_run_has_a_token_of_its_own(served: Served, program: Program, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    other = tui("--web", "--web-port", port, "--url", program.url, "--data-dir", str(tmp_path))
    assert other.stdout
    printed = PRINTED.fullmatch(other.stdout.readline())
    other.kill()
    other.communicate()
    assert printed
    assert printed[2] not in served[0]


def test_the_page_asks_nobody_else(served: Served) -> None:
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with opener.open(served[0], timeout=PATIENCE_S) as page:
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
