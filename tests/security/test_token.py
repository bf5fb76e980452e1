"""server.token: other users of the machine reach the port, and get nothing."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.conftest import Daemon, answered_by, config_in
from tests.program import Program
from tests.security.test_guards import FRONTEND, every_route
from tests.upstream import Upstream
from tokenflow_tui.client import Daemon as Client
from tokenflow_tui.client import DaemonError
from tokenflow_tui.state import State
from tokenflowd.errors import ConfigError
from tokenflowd.services import Services

WANTED = {"server": {"token": True}}


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Daemon]:
    with Upstream() as upstream:
        daemon = Daemon(Services(answered_by(upstream, tmp_path, **WANTED)))
        yield daemon
        daemon.close()


def token_of(daemon: Daemon) -> str:
    return (daemon.services.config.home / "token").read_text()


def test_no_route_answers_without_the_token(guarded: Daemon) -> None:
    wrong = [
        {},
        {"Authorization": f"Bearer {token_of(guarded)}x"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {token_of(guarded)}"},
        {"Cookie": f"tokenflow-{guarded.port}=x"},
        {"Cookie": f"tokenflow-1={token_of(guarded)}"},
    ]
    for method, path in every_route(guarded):
        if path.rstrip("/") == "/healthz":
            continue
        for headers in wrong:
            body = {"text": "a", "prompt": "a"} if method in ("POST", "PUT") else None
            refused = guarded.request(method, path, body, headers=headers)
            assert refused.status == 401, (method, path, headers)
    assert guarded.get("/healthz").status == 200
    assert token_of(guarded) not in guarded.get("/healthz").body.decode()


def test_the_token_is_the_api_key_of_any_client(guarded: Daemon) -> None:
    url = f"http://127.0.0.1:{guarded.port}/v1"
    messages = [{"role": "user", "content": "Hi"}]
    client = openai.OpenAI(base_url=url, api_key=token_of(guarded), max_retries=0)
    assert client.chat.completions.create(model="m1", messages=messages).choices  # type: ignore[call-overload]
    stranger = openai.OpenAI(base_url=url, api_key="sk-none", max_retries=0)
    with pytest.raises(openai.AuthenticationError, match="Bearer TOKEN"):
        stranger.models.list()


def test_a_browser_gets_a_cookie_for_the_token(guarded: Daemon) -> None:
    opened = guarded.get(f"/?token={token_of(guarded)}")
    assert (opened.status, opened.headers["location"]) == (303, "/")
    cookie = opened.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    headers = {"Cookie": cookie.partition(";")[0]}
    assert guarded.get("/", headers=headers).status == 200
    assert guarded.get("/api/history", headers=headers).status == 200
    assert guarded.get("/api/history?token=" + token_of(guarded)).status == 401
    assert guarded.get("/?token=x").status == 401


def test_a_preflight_needs_no_token(guarded: Daemon) -> None:
    headers = {"Origin": FRONTEND, "Access-Control-Request-Method": "POST"}
    assert guarded.request("OPTIONS", "/api/compress", headers=headers).status == 204


def test_without_the_setting_nobody_is_asked(daemon: Daemon) -> None:
    assert daemon.get("/api/history").status == 200
    assert not (daemon.services.config.home / "token").exists()


def test_the_token_is_its_owners_and_stays(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        first = Services(config_in(tmp_path, **WANTED))
    finally:
        os.umask(before)
    first.store.close()
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    assert len(first.token) >= 43
    again = Services(config_in(tmp_path, **WANTED))
    again.store.close()
    assert again.token == first.token


@pytest.mark.parametrize("what", ["link", "pipe", "empty", "directory"])
def test_a_token_file_that_is_none_is_refused(tmp_path: Path, what: str) -> None:
    file = tmp_path / "token"
    if what == "link":
        (tmp_path / "known").write_text("known-to-others")
        file.symlink_to(tmp_path / "known")
    elif what == "pipe":
        os.mkfifo(file)
    elif what == "directory":
        file.mkdir()
    else:
        file.touch()
    with pytest.raises(ConfigError, match="token"):
        Services(config_in(tmp_path, **WANTED))


def test_the_terminal_client_has_it_from_the_file(guarded: Daemon) -> None:
    async def asked(token: str) -> Any:
        client = Client(f"http://127.0.0.1:{guarded.port}", token)
        try:
            return await client.get("/api/history")
        finally:
            await client.close()

    state = State(guarded.services.config.home)
    assert asyncio.run(asked(state.daemon_token))["requests"] == []
    with pytest.raises(DaemonError, match="token"):
        asyncio.run(asked(""))


def test_no_other_machine_is_sent_the_token() -> None:
    assert not Client("http://192.0.2.1:8000", "secret")._headers


def test_the_command_has_it_from_the_file_and_the_log_has_not(tmp_path: Path) -> None:
    with Upstream() as upstream:
        program = Program(tmp_path, upstream)
        with (tmp_path / "config.toml").open("a") as config:
            config.write("\n[server]\ntoken = true\n")
        program.start()
        command = str(Path(sysconfig.get_path("scripts"), "tokenflow"))
        environment = {"PATH": os.environ["PATH"], "TOKENFLOW_HOME": str(tmp_path)}
        done = subprocess.run(
            [command, "ask", "-m", "m1", "Hi"],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        token = (tmp_path / "token").read_text()
        program.request("GET", f"/?token={token}")
        program.close()
        assert done.stdout == "Hello world", done.stderr
        assert token not in program.log()


@pytest.mark.parametrize(("host", "loud"), [("0.0.0.0", True), ("127.0.0.1", False)])  # noqa: S104
def test_listening_beyond_this_machine_is_said_loudly(
    tmp_path: Path, host: str, loud: bool
) -> None:
    with Upstream() as upstream:
        program = Program(tmp_path, upstream, "--host", host)
        program.start()
        program.close()
        assert ("ANYBODY WHO REACHES" in program.log()) is loud


def test_streams_are_guarded_too(guarded: Daemon) -> None:
    body = {"prompt": "Hi", "model": "m1"}
    assert guarded.post("/api/generate", body).status == 401
    headers = {"Authorization": f"bearer {token_of(guarded)}"}
    answered = guarded.post("/api/generate", body, headers=headers)
    assert b"Hello" in answered.body
