"""The key is seen in a request's Authorization and nowhere else, whatever a provider echoes."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from tests.conftest import KEY, OpenRelay, Relay
from tests.upstream import Received, Script, Wire, chunk, event, events
from tests.upstream import failure as status

ECHO = f"Incorrect API key provided: {KEY}. You can find yours at example.com"
ESCAPED = "".join(f"\\u{ord(character):04x}" for character in KEY)
CHAT = {"model": "m1", "messages": [{"role": "user", "content": "Hi"}]}


def saying(code: int, content: str, content_type: str, **headers: str) -> Script:
    async def script(wire: Wire, request: Received) -> None:
        await wire.body(code, content.encode(), content_type, **headers)

    return script


async def breaking_http(wire: Wire, request: Received) -> None:
    await wire.raw(f"HTTP/1.1 {KEY} {KEY}\r\n{KEY}\r\n\r\n".encode())
    await wire.close()


SCRIPTS = {
    "401": status(401, ECHO),
    "500": status(500, ECHO),
    "400": status(400, ECHO),
    "404": status(404, ECHO),
    "429": status(429, ECHO, Retry_After=KEY),
    "escaped": saying(401, f'{{"error": "{ESCAPED}"}}', "application/json"),
    "nested": saying(500, json.dumps({"error": {"why": [ECHO, {KEY: KEY}]}}), "application/json"),
    "plain": saying(500, ECHO * 1000, "text/plain"),
    "page": saying(502, f"<html>{ECHO}</html>", "text/html"),
    "content type": saying(200, ECHO, f"text/{KEY}"),
    "redirect": saying(308, "", "text/plain", Location=f"http://127.0.0.1:9/?key={KEY}"),
    "headers": saying(401, "{}", "application/json", Server=KEY, Set_Cookie=f"key={KEY}"),
    "first event": events(event({"error": {"message": ECHO}})),
    "later event": events(chunk("Hel"), event({"error": {"message": ECHO}})),
    "no event": events(chunk("Hel"), f"data: {ECHO}\n\n".encode()),
    "no HTTP": breaking_http,
}


def kept(relay: Relay) -> bytes:
    """All that is in the data directory."""
    home = relay.daemon.services.config.home
    files = [path for path in home.rglob("*") if path.is_file()]
    assert any(path.name.endswith("-wal") for path in files)
    return b"".join(path.read_bytes() for path in files)


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/generate", {"prompt": "Hi", "model": "m1"}),
        ("/v1/chat/completions", CHAT),
        ("/v1/chat/completions", CHAT | {"stream": True}),
    ],
    ids=["generate", "whole", "stream"],
)
def test_the_key_is_never_seen(
    open_relay: OpenRelay,
    caplog: pytest.LogCaptureFixture,
    script: Script,
    path: str,
    body: dict[str, Any],
) -> None:
    caplog.set_level(logging.DEBUG)
    relay = open_relay(script, generate={"retries": 0})
    answered = relay.daemon.post(path, body)
    [request] = relay.upstream.requests
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert relay.latest()["status"] == "error"
    listed = relay.daemon.get("/api/history/export").body + relay.daemon.get("/metrics").body
    said = json.dumps(answered.headers).encode() + answered.body + listed
    assert KEY not in said.decode()
    assert KEY not in caplog.text
    assert KEY.encode() not in kept(relay)


def test_what_else_the_provider_says_is_kept(open_relay: OpenRelay) -> None:
    relay = open_relay(status(401, ECHO))
    detail = relay.generate()[-1].json["detail"]
    assert "Incorrect API key provided: ***." in detail
    assert relay.latest()["error_detail"] == detail


def test_the_key_is_not_in_what_the_daemon_says_of_itself(open_relay: OpenRelay) -> None:
    relay = open_relay()
    for path in ("/", "/healthz", "/api/providers", "/api/model-rankings", "/v1/models"):
        answered = relay.daemon.get(path)
        assert answered.status == 200
        assert KEY not in answered.body.decode(), path
    assert KEY not in repr(relay.daemon.services.providers["groq"])
