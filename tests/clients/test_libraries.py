"""Libraries that speak to OpenAI-compatible servers: what the programs written with them get."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.clients.conftest import (
    BAD_REQUEST,
    FINAL_TEXT,
    LIBRARIES,
    PATIENCE_S,
    PIECES,
    RATE_LIMIT,
    TEXT,
    TOOL_ARGUMENTS,
    TOOL_NAME,
    TOOL_RESULT,
    Library,
    breaks_off,
    calls_tool,
    refuses,
    tool_results,
)
from tests.conftest import OpenRelay
from tests.upstream import Received, Wire, answer
from tokenflowd.api.streams import KEEP_ALIVE_S

pytestmark = [
    pytest.mark.clients,
    pytest.mark.timeout(PATIENCE_S + 20),
    pytest.mark.parametrize("program", LIBRARIES),
]


def test_an_answer_is_streamed(open_relay: OpenRelay, tmp_path: Path, program: str) -> None:
    relay = open_relay(answer(*PIECES, delay_s=0.02))
    report = Library(program).report(relay, "stream", tmp_path)
    assert report["pieces"] == PIECES
    assert report["usage"] == 3
    assert relay.latest()["output"] == TEXT


def test_a_tool_is_called_and_its_result_is_sent_back(
    open_relay: OpenRelay, tmp_path: Path, program: str
) -> None:
    relay = open_relay(calls_tool(TOOL_NAME, TOOL_ARGUMENTS))
    report = Library(program).report(relay, "tools", tmp_path)
    assert report == {"tool": TOOL_NAME, "arguments": TOOL_ARGUMENTS, "text": FINAL_TEXT}
    assert tool_results(relay) == [TOOL_RESULT]
    assert len(relay.upstream.requests) == 2


def test_a_refusal_keeps_what_the_provider_said(
    open_relay: OpenRelay, tmp_path: Path, program: str
) -> None:
    relay = open_relay(refuses(400, BAD_REQUEST))
    report = Library(program).report(relay, "error", tmp_path)
    assert BAD_REQUEST["message"] in report["message"]
    assert report["status"] == 400
    assert (report["code"], report["param"]) == (BAD_REQUEST["code"], BAD_REQUEST["param"])
    assert len(relay.upstream.requests) == 1


def test_a_rate_limit_is_said_to_be_one(
    open_relay: OpenRelay, tmp_path: Path, program: str
) -> None:
    relay = open_relay(refuses(429, RATE_LIMIT, Retry_After="1"))
    report = Library(program).report(relay, "error", tmp_path)
    assert RATE_LIMIT["message"] in report["message"]
    assert report["status"] == 429


def test_a_rate_limit_is_waited_for(open_relay: OpenRelay, tmp_path: Path, program: str) -> None:
    """As each client does by itself: ours and its repetitions do not multiply."""
    relay = open_relay(refuses(429, RATE_LIMIT, Retry_After="1"), answer(*PIECES))
    report = Library(program).report(relay, "stream", tmp_path)
    assert "".join(report["pieces"]) == TEXT
    assert len(relay.upstream.requests) == 2


def test_an_answer_that_breaks_off_is_an_error(
    open_relay: OpenRelay, tmp_path: Path, program: str
) -> None:
    relay = open_relay(breaks_off(PIECES[0]))
    report = Library(program).report(relay, "error", tmp_path)
    assert "broke off" in report["message"]
    assert relay.latest()["status"] == "error"


def test_a_first_word_may_be_late(open_relay: OpenRelay, tmp_path: Path, program: str) -> None:
    """Comments keep the connection alive meanwhile; no client takes them for the answer."""

    async def late(wire: Wire, request: Received) -> None:
        await asyncio.sleep(KEEP_ALIVE_S + 1)
        await answer(*PIECES)(wire, request)

    relay = open_relay(late)
    report = Library(program).report(relay, "stream", tmp_path)
    assert "".join(report["pieces"]) == TEXT
    assert len(relay.upstream.requests) == 1
