"""opencode: writes a file by a tool call of a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.clients.conftest import (
    BAD_REQUEST,
    HOME,
    PATIENCE_S,
    RATE_LIMIT,
    Output,
    calls_tool,
    needs,
    refuses,
    run_client,
    tool_results,
)
from tests.conftest import OpenRelay, Relay
from tests.upstream import answer

pytestmark = [pytest.mark.clients, pytest.mark.timeout(PATIENCE_S + 20), needs("js")]


def opencode(relay: Relay, folder: Path, model: str = "m1") -> Output:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "options": {"baseURL": f"http://localhost:{relay.daemon.port}/v1", "apiKey": "x"},
        "models": {model: {"name": "A model"}},
    }
    config = {
        "provider": {"tokenflow": provider},
        "model": f"tokenflow/{model}",
        "small_model": f"tokenflow/{model}",
        "permission": "allow",
        "share": "disabled",
        "autoupdate": False,
    }
    environment = {
        "OPENCODE_CONFIG_CONTENT": json.dumps(config),
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    }
    program = HOME / "js" / "node_modules" / "opencode-ai" / "bin"
    command = [str(next(program.glob("opencode*"))), "run", "Write a greeting to greet.txt."]
    return run_client(command, folder, folder / "home", environment)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path


@pytest.mark.parametrize("model", ["m1", "auto"])
def test_a_file_is_written_by_a_tool_call(open_relay: OpenRelay, folder: Path, model: str) -> None:
    written = {"filePath": str(folder / "greet.txt"), "content": "Hällo\n"}
    relay = open_relay(calls_tool("write", written, then="It is written."))
    output = opencode(relay, folder, model)
    assert (folder / "greet.txt").read_text() == "Hällo\n", output.everything
    assert "It is written." in output.out
    assert len(tool_results(relay)) == 1
    assert all(body["stream"] for body in relay.upstream.bodies)


def test_a_refusal_shows_what_the_provider_said(open_relay: OpenRelay, folder: Path) -> None:
    error = {**BAD_REQUEST, "code": "invalid_value"}  # it compacts what is too long, and asks again
    output = opencode(open_relay(refuses(400, error)), folder)
    assert BAD_REQUEST["message"] in output.everything


def test_a_rate_limit_is_waited_for(open_relay: OpenRelay, folder: Path) -> None:
    relay = open_relay(refuses(429, RATE_LIMIT, Retry_After="1"), answer("Hällo"))
    assert "Hällo" in opencode(relay, folder).out
