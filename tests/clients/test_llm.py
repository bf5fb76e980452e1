"""`llm`, the command: a model in its extra-openai-models.yaml is the daemon's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.conftest import (
    BAD_REQUEST,
    FINAL_TEXT,
    HOME,
    PATIENCE_S,
    PIECES,
    RATE_LIMIT,
    TEXT,
    TOOL_ARGUMENTS,
    TOOL_NAME,
    TOOL_RESULT,
    Output,
    calls_tool,
    needs,
    refuses,
    run_client,
    tool_results,
)
from tests.conftest import OpenRelay, Relay
from tests.upstream import answer

pytestmark = [pytest.mark.clients, pytest.mark.timeout(PATIENCE_S + 20), needs("py")]

FUNCTION = f"""
def {TOOL_NAME}(city: str) -> str:
    "The weather in a city."
    return {TOOL_RESULT!r}
"""


def llm(relay: Relay, home: Path, *arguments: str) -> Output:
    (home / "extra-openai-models.yaml").write_text(
        f"""
- model_id: flow
  model_name: m1
  api_base: http://localhost:{relay.daemon.port}/v1
  supports_tools: true
"""
    )
    command = [str(HOME / "py" / "bin" / "llm"), "-m", "flow", "--key", "x", *arguments]
    return run_client(command, home, home, {"LLM_USER_PATH": str(home)})


def test_an_answer_is_streamed(open_relay: OpenRelay, tmp_path: Path) -> None:
    relay = open_relay(answer(*PIECES, delay_s=0.02))
    output = llm(relay, tmp_path, "Hi")
    assert output.out == TEXT + "\n"
    assert relay.upstream.bodies[0]["stream"]
    assert relay.latest()["output"] == TEXT


def test_a_tool_is_called_and_its_result_is_sent_back(
    open_relay: OpenRelay, tmp_path: Path
) -> None:
    relay = open_relay(calls_tool(TOOL_NAME, TOOL_ARGUMENTS))
    output = llm(relay, tmp_path, "--functions", FUNCTION, "--td", "What is the weather in Köln?")
    assert output.out == FINAL_TEXT + "\n"
    assert f"{TOOL_NAME}({TOOL_ARGUMENTS})" in output.err
    assert tool_results(relay) == [TOOL_RESULT]


def test_a_refusal_shows_what_the_provider_said(open_relay: OpenRelay, tmp_path: Path) -> None:
    output = llm(open_relay(refuses(400, BAD_REQUEST)), tmp_path, "Hi")
    assert output.code != 0
    assert BAD_REQUEST["message"] in output.err
    assert BAD_REQUEST["code"] in output.err


def test_a_rate_limit_that_stays_is_said_to_be_one(open_relay: OpenRelay, tmp_path: Path) -> None:
    relay = open_relay(refuses(429, RATE_LIMIT, Retry_After="1"))
    output = llm(relay, tmp_path, "Hi")
    assert output.code != 0
    assert "429" in output.err
    assert str(RATE_LIMIT["message"]) in output.err
    assert len(relay.rows()) > 1  # it asked again
