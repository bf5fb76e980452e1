"""The clients that people have, each in an environment of its own, against a scripted provider.

`make test-clients` installs them below the virtual environment of the tests;
TOKENFLOW_TEST_CLIENTS names another folder that has them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Relay
from tests.upstream import DONE, Received, Script, Wire, answer, chunk, event, usage

HOME = Path(os.environ.get("TOKENFLOW_TEST_CLIENTS") or Path(sys.prefix, "clients"))
PROGRAMS = Path(__file__).with_name("programs")
PATIENCE_S = 200.0
# A client finds the daemon's address in its settings alone, and no server but the daemon.
CLOSED = "http://127.0.0.1:9"
PROXIES = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), CLOSED)
NO_PROXY = dict.fromkeys(("NO_PROXY", "no_proxy"), "localhost,127.0.0.1")

PIECES = ["Hello", " wörld", ",\n\n", "汉字", " 🙂"]
TEXT = "".join(PIECES)
TOOL_NAME = "get_weather"
TOOL_ARGUMENTS = {"city": "Köln"}
TOOL_RESULT = "7 degrees"  # what each program's tool returns
FINAL_TEXT = "It is 7 degrees in Köln."
BAD_REQUEST = {
    "message": "Please reduce the length of the messages: at most 8192 tokens are read.",
    "type": "invalid_request_error",
    "param": "messages",
    "code": "context_length_exceeded",
}
RATE_LIMIT = {
    "message": "Rate limit reached for model m1 in organization org_1.",
    "type": "tokens",
    "param": None,
    "code": "rate_limit_exceeded",
}


def needs(environment: str) -> pytest.MarkDecorator:
    """Skips a test where the environment of its client, such as `py`, is not installed."""
    path = HOME / environment
    return pytest.mark.skipif(not path.exists(), reason=f"no {path}: make test-clients")


def program_on_path(name: str) -> str:
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"there is no {name} on the PATH")
    return program


@dataclass(frozen=True)
class Output:
    """What a client printed, to either side, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def everything(self) -> str:
        return self.out + self.err

    @property
    def words(self) -> str:
        """All of it with single spaces, as some clients fold their lines."""
        return " ".join(self.everything.split())


def run_client(
    command: list[str],
    folder: Path,
    home: Path,
    environment: Mapping[str, str] | None = None,
    stdin: str = "",
) -> Output:
    """Runs it in `folder`, as a user whose home is `home` and who can reach this machine alone."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TERM": "dumb",
            "LANG": "C.UTF-8",
            **PROXIES,
            **NO_PROXY,
            **(environment or {}),
        },
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    return Output(done.returncode, done.stdout, done.stderr)


LIBRARIES = [
    pytest.param("openai_python.py", marks=needs("py")),
    pytest.param("openai_node.mjs", marks=needs("js")),
    pytest.param("openai_page.mjs", marks=needs("js")),
    pytest.param("langchain.py", marks=needs("py")),
    pytest.param("llamaindex.py", marks=needs("py")),
    pytest.param("litellm_.py", marks=needs("py")),
    pytest.param("ai_sdk_openai.mjs", marks=needs("js")),
    pytest.param("ai_sdk_openai_compatible.mjs", marks=needs("js")),
]


@dataclass(frozen=True)
class Library:
    """A program of ours that uses a client's library, and tells in JSON what came of a step."""

    program: str

    def report(self, relay: Relay, step: str, home: Path) -> dict[str, Any]:
        url = f"http://localhost:{relay.daemon.port}/v1"
        path = PROGRAMS / self.program
        if path.suffix == ".py":
            python = str(HOME / "py" / "bin" / "python")
            output = run_client([python, str(path), url, step], home, home)
        else:
            # Node finds the packages of a program that it reads from its input where it is run.
            node = [program_on_path("node"), "--input-type=module", "-", url, step]
            page = {"CHROMIUM": program_on_path("chromium"), "PROGRAMS": str(PROGRAMS)}
            output = run_client(
                node,
                HOME / "js",
                home,
                page if "page" in self.program else {},
                path.read_text("utf-8"),
            )
        assert output.code == 0, output.everything
        report: dict[str, Any] = json.loads(output.out.splitlines()[-1])
        return report


def calls_tool(name: str, arguments: Mapping[str, Any], then: str = FINAL_TEXT) -> Script:
    """A model that calls a tool if it is offered, and says `then` once it has the result."""
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)},
    }

    async def script(wire: Wire, request: Received) -> None:
        offered = [tool["function"]["name"] for tool in request.body.get("tools") or ()]
        has_result = any(said["role"] == "tool" for said in request.body["messages"])
        if name not in offered or has_result:
            await answer(then)(wire, request)
        elif request.body.get("stream"):
            await _stream_call(wire, call)
        else:
            message = {"role": "assistant", "content": None, "tool_calls": [call]}
            choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
            counts = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
            head = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m1"}
            await wire.json(200, {**head, "choices": [choice], "usage": counts})

    return script


async def _stream_call(wire: Wire, call: dict[str, Any]) -> None:
    """The call's name first, then its arguments in two pieces, as OpenAI sends them."""
    function = call["function"]
    arguments: str = function["arguments"]
    half = len(arguments) // 2
    begun = {**call, "index": 0, "function": {**function, "arguments": ""}}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None, "tool_calls": [begun]}]
    deltas += [
        {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
        for piece in (arguments[:half], arguments[half:])
    ]
    await wire.head()
    for delta in deltas:
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        await wire.send(event({"id": "c1", "object": "chat.completion.chunk", "choices": [choice]}))
    await wire.send(chunk(finish_reason="tool_calls"))
    await wire.send(usage())
    await wire.send(DONE)
    await wire.end()


def refuses(status: int, error: Mapping[str, Any], **headers: str) -> Script:
    """A provider that answers with this error, in OpenAI's shape."""

    async def script(wire: Wire, request: Received) -> None:
        await wire.json(status, {"error": error}, **headers)

    return script


def breaks_off(*texts: str) -> Script:
    """A provider that begins to answer, and then closes the connection."""

    async def script(wire: Wire, request: Received) -> None:
        await wire.head()
        for text in texts:
            await wire.send(chunk(text))
        await wire.close()

    return script


def tool_results(relay: Relay) -> list[str]:
    """The contents of tool messages that reached the provider, latest request."""
    messages = relay.upstream.bodies[-1]["messages"]
    return [_text(said["content"]) for said in messages if said["role"] == "tool"]


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)
