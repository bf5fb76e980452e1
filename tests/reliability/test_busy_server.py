"""A server of this machine that does one thing at a time, as llama-cpp-python's: it breaks off
an answer when anything else is asked, and names its models only when nothing else is to do."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Daemon, config_in, text_of
from tests.upstream import DONE, chunk, usage
from tokenflowd.services import Services

PATIENCE_S = 10.0
PROMPT = {"prompt": "Go on.", "model": "tiny:1b", "max_tokens": 9}


class OneAtATime:
    """Notes whether it was asked for an answer and for its models at the same time."""

    def __init__(self) -> None:
        self.names_models = threading.Event()  # what it waits for before it does
        self.finishes = threading.Event()
        self.is_asked_for_models = threading.Event()
        self.was_disturbed = False
        self._answers = self._listings = 0
        self.names_models.set()
        self.finishes.set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with server._counted("_listings"):
                    server.is_asked_for_models.set()
                    server.names_models.wait(PATIENCE_S)
                models = {"object": "list", "data": [{"id": "tiny:1b", "owned_by": "me"}]}
                self._begin("application/json")
                self._send(json.dumps(models).encode())

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                with server._counted("_answers"):
                    self._begin("text/event-stream")
                    self._send(chunk("Hello"))
                    server.finishes.wait(PATIENCE_S)
                    self._send(chunk(" world") + chunk(finish_reason="stop") + usage() + DONE)

            def _begin(self, content_type: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", content_type)
                with contextlib.suppress(ConnectionError):
                    self.end_headers()

            def _send(self, content: bytes) -> None:
                with contextlib.suppress(ConnectionError):  # it was not waited for
                    self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """From now on connections to it are refused."""
        self.names_models.set()
        self.finishes.set()
        self._server.shutdown()
        self._server.server_close()

    @contextlib.contextmanager
    def _counted(self, name: str) -> Iterator[None]:
        setattr(self, name, getattr(self, name) + 1)
        self.was_disturbed |= bool(self._answers and self._listings)
        yield
        setattr(self, name, getattr(self, name) - 1)


@pytest.fixture
def server() -> Iterator[OneAtATime]:
    with contextlib.closing(OneAtATime()) as server:
        yield server


@pytest.fixture
def beside(server: OneAtATime, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that has found the server, and has no key."""
    config = config_in(tmp_path, providers={"llamacpp": {"base_url": server.url}})
    daemon = Daemon(Services(config))
    assert found(daemon)["models"] == ["tiny:1b"]
    server.is_asked_for_models.clear()
    yield daemon
    daemon.close()


def found(daemon: Daemon) -> Any:
    """The server as the daemon finds it now."""
    providers = daemon.get("/api/providers").json
    return next(provider for provider in providers if provider["name"] == "llamacpp")


def test_a_server_that_is_too_busy_to_name_its_models_still_has_them(
    server: OneAtATime, beside: Daemon
) -> None:
    server.names_models.clear()
    assert not found(beside)["up"]
    assert text_of(beside.stream("/api/generate", PROMPT)) == "Hello world"
    chosen = {"prompt": "Go on."}
    assert text_of(beside.stream("/api/models/select", chosen)) == "Hello world"
    assert "tiny:1b" in {model["id"] for model in beside.get("/v1/models").json["data"]}


def test_a_server_that_is_gone_has_none(server: OneAtATime, beside: Daemon) -> None:
    server.close()
    assert found(beside)["models"] == []
    assert beside.post("/api/generate", PROMPT).status == 404


def test_a_server_is_not_asked_for_its_models_while_it_answers(
    server: OneAtATime, beside: Daemon
) -> None:
    server.finishes.clear()
    reader = beside.open_stream("/api/generate", PROMPT)
    events = iter(reader)
    assert [next(events).name, next(events).data] == ["metadata", "Hello"]
    provider = found(beside)
    assert provider["up"]
    assert provider["models"] == ["tiny:1b"]
    server.finishes.set()
    assert [event.name for event in events] == ["text_chunk", "usage", "end_stream"]
    reader.close()
    assert not server.was_disturbed
    assert not server.is_asked_for_models.is_set()
    found(beside)
    assert server.is_asked_for_models.is_set()  # between answers it is


def test_an_answer_waits_until_the_server_has_named_its_models(
    server: OneAtATime, beside: Daemon
) -> None:
    server.names_models.clear()
    with ThreadPoolExecutor(2) as pool:
        looking = pool.submit(found, beside)
        assert server.is_asked_for_models.wait(PATIENCE_S)
        answering = pool.submit(beside.stream, "/api/generate", PROMPT)
        threading.Timer(0.3, server.names_models.set).start()
        assert text_of(answering.result()) == "Hello world"
        assert looking.result()["up"]
    assert not server.was_disturbed
