"""Open WebUI, used in a browser. `make test-clients` does not install it: it needs torch."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.clients.conftest import (
    BAD_REQUEST,
    FINAL_TEXT,
    HOME,
    PATIENCE_S,
    PIECES,
    PROGRAMS,
    RATE_LIMIT,
    TEXT,
    TOOL_ARGUMENTS,
    TOOL_NAME,
    TOOL_RESULT,
    calls_tool,
    needs,
    program_on_path,
    refuses,
    run_client,
)
from tests.conftest import Daemon, answered_by
from tests.upstream import Upstream, answer
from tokenflowd.services import Services

pytestmark = [
    pytest.mark.clients,
    pytest.mark.timeout(2 * PATIENCE_S),
    needs("open-webui"),
    needs("js"),
]

TOOL = f'''
class Tools:
    def {TOOL_NAME}(self, city: str) -> str:
        """
        The weather in a city.
        :param city: The city.
        """
        return {TOOL_RESULT!r}
'''


@dataclass
class OpenWebUI:
    url: str
    daemon: Daemon
    upstream: Upstream
    home: Path
    token: str = ""

    def post(self, path: str, body: Any) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)

    def set_up(self) -> None:
        """What its user would click together: no release notes, native tool calls, a tool."""
        self.token = self.post("/api/v1/auths/signin", {"email": "", "password": ""})["token"]
        settings = {"showChangelog": False, "params": {"function_calling": "native"}}
        self.post("/api/v1/users/user/settings/update", {"ui": settings})
        tool = {"id": "weather", "name": "Weather", "meta": {"description": ""}, "content": TOOL}
        self.post("/api/v1/tools/create", tool)

    def page_after(self, message: str, picture: Path, **more: str) -> str:
        """The words in a new chat's page once `message` is answered."""
        url = f"{self.url}/?{urlencode({'models': 'm1', 'q': message, **more})}"
        environment = {"CHROMIUM": program_on_path("chromium"), "SCREENSHOT": str(picture)}
        output = run_client(
            [program_on_path("node"), "--input-type=module", "-", url],
            HOME / "js",
            self.home,
            environment,
            (PROGRAMS / "open_webui.mjs").read_text("utf-8"),
        )
        assert output.code == 0, output.everything
        return " ".join(json.loads(output.out).split())


@pytest.fixture(scope="module")
def web_ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenWebUI]:
    program = HOME / "open-webui" / "bin" / "open-webui"
    home = tmp_path_factory.mktemp("home")
    with Upstream() as upstream:
        groq = {"base_url": upstream.url, "models": {"m1": {}}}
        daemon = Daemon(Services(answered_by(upstream, home, providers={"groq": groq})))
        with started(program, home, daemon) as url:
            ui = OpenWebUI(url, daemon, upstream, home)
            ui.set_up()
            yield ui
        daemon.close()


@contextlib.contextmanager
def started(program: Path, home: Path, daemon: Daemon) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "DATA_DIR": str(home / "open-webui"),
        "OPENAI_API_BASE_URL": f"http://localhost:{daemon.port}/v1",
        "OPENAI_API_KEY": "x",
        "ENABLE_OLLAMA_API": "False",
        "WEBUI_AUTH": "False",
        "WEBUI_SECRET_KEY": "x",
        # Neither fetches models nor asks for newer releases.
        "OFFLINE_MODE": "True",
        "HF_HUB_OFFLINE": "1",
        "RAG_EMBEDDING_ENGINE": "openai",
        # Its own questions (titles, tags) would come between those of the test.
        "ENABLE_TITLE_GENERATION": "False",
        "ENABLE_TAGS_GENERATION": "False",
        "ENABLE_FOLLOW_UP_GENERATION": "False",
    }
    log = home / "open-webui.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [str(program), "serve", "--host", "127.0.0.1", "--port", str(port)],
            env=environment,
            cwd=home,
            stdout=file,
            stderr=file,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not is_up(url):
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.5)
        yield url
    finally:
        process.kill()
        process.wait()


def is_up(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=10) as response:
            return bool(json.load(response)["status"])
    except OSError:
        return False


def test_an_answer_is_streamed(web_ui: OpenWebUI, tmp_path: Path) -> None:
    web_ui.upstream.scripts = [answer(*PIECES, delay_s=0.02)]
    page = web_ui.page_after("Hi", tmp_path / "page.png")
    assert " ".join(TEXT.split()) in page
    assert web_ui.upstream.bodies[-1]["stream"]


def test_a_tool_is_called_and_its_result_is_sent_back(web_ui: OpenWebUI, tmp_path: Path) -> None:
    web_ui.upstream.scripts = [calls_tool(TOOL_NAME, TOOL_ARGUMENTS)]
    page = web_ui.page_after("How warm is it?", tmp_path / "page.png", tools="weather")
    assert f"View Result from {TOOL_NAME}" in page
    assert FINAL_TEXT in page
    [result] = [said for said in web_ui.upstream.bodies[-1]["messages"] if said["role"] == "tool"]
    assert TOOL_RESULT in str(result["content"])


@pytest.mark.parametrize(("status", "error"), [(400, BAD_REQUEST), (429, RATE_LIMIT)])
def test_an_error_shows_what_the_provider_said(
    web_ui: OpenWebUI, tmp_path: Path, status: int, error: dict[str, Any]
) -> None:
    web_ui.upstream.scripts = [refuses(status, error, Retry_After="1")]
    assert error["message"] in web_ui.page_after("Hi", tmp_path / "page.png")
