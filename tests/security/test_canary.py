"""Keys stay where they belong, in a process of its own that logs all it can.

What each kind of answer may echo is in tests/generate/test_secrets.py.
"""

from __future__ import annotations

import contextlib
import signal
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.conftest import KEY
from tests.generate.test_secrets import CHAT, SCRIPTS
from tests.program import Program
from tests.upstream import Upstream, answer

CLIENTS_KEY = "canary-client-8b1f77"
QUERY = f"?api_key={CLIENTS_KEY}"
BEARER = f"Bearer {CLIENTS_KEY}"
ASKED: dict[str, dict[str, Any]] = {
    "/api/generate": {"prompt": "Hi", "model": "m1"},
    "/v1/chat/completions": CHAT | {"stream": True},
    "/nothing": {},
}


# An HTTP parser likes to quote the line that it does not understand.
NO_HTTP = [
    f"GET / HTTP/1.1\r\nAuthorization: {BEARER}\x01\r\n\r\n",
    f"GET / HTTP/1.1\r\nAuthorization: {BEARER}{'a' * 20_000}\r\n\r\n",
    f"GET / HTTP/1.1\r\n{BEARER}\r\n\r\n",
    f"GET /{QUERY} {BEARER}\r\n\r\n",
    f"{BEARER}\r\n\r\n",
]


def raw_answer(program: Program, request: str) -> bytes:
    """The head of it: a body may tell the client what it sent itself."""
    address = ("127.0.0.1", urlsplit(program.url).port)
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(request.encode())
        head = connection.recv(65536).partition(b"\r\n\r\n")[0]
    assert head.split(b" ")[1] == b"400", request
    return head


def test_no_key_is_anywhere_but_in_the_request_to_the_provider(tmp_path: Path) -> None:
    with Upstream() as upstream:
        program = Program(tmp_path, upstream, "--log-level", "debug")
        with (tmp_path / "config.toml").open("a") as settings:
            settings.write("[generate]\nretries = 0\n")
        with contextlib.closing(program):
            process = program.start()
            said = b""
            for number, script in enumerate(SCRIPTS.values()):
                for path, body in ASKED.items():
                    # A provider that keeps failing would be left alone, as a limited model is.
                    for model, upstream.scripts in (
                        (f"groq/m{number}-{path}", [script]),
                        ("groq/well", [answer("Hello")]),
                    ):
                        asked = body | {"model": model}
                        told = program.request("POST", path + QUERY, asked, Authorization=BEARER)
                        said += told.body + repr(told.headers).encode()
            said += b"".join(raw_answer(program, request) for request in NO_HTTP)
            for path in ("/api/history/export", "/metrics", "/api/metrics", "/api/providers"):
                said += program.request("GET", path).body
            files = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
            files |= {f"{path.name}, after": path.read_bytes() for path in tmp_path.glob("*.*")}
        assert {"tokenflow.db", "tokenflow.db-wal", "daemon.log", "daemon.log, after"} <= set(files)
        assert {request.headers["authorization"] for request in upstream.requests} == {
            f"Bearer {KEY}"
        }
    assert len(upstream.requests) >= 4 * len(SCRIPTS)
    for canary in (KEY, CLIENTS_KEY):
        assert canary.encode() not in said
        assert [name for name, content in files.items() if canary.encode() in content] == []
