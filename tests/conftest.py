"""Real parts for the tests: the shipped models, a real SQLite file, a real socket."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import tokenflowd
from tests.upstream import Script, Upstream
from tokenflowd.catalog import Catalog
from tokenflowd.compress import Compressor
from tokenflowd.config import CompressConfig, Config, EngineConfig, load_config
from tokenflowd.engine import EncoderModel, load_model
from tokenflowd.server import serve
from tokenflowd.services import Services

pytest_plugins = ["tests.soak"]

KEY = "canary-key-51c2f0"  # must never be seen anywhere but in a request's Authorization
# The developer's own keyring has no part in a test either.
NO_KEYRING = {"PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}
os.environ.update(NO_KEYRING)
TEXTS = Path(tokenflowd.__file__).parent / "export" / "texts"


def text(name: str) -> str:
    return (TEXTS / name).read_text("utf-8")


def shipped(model_id: str) -> EncoderModel:
    return load_model(Catalog(Path("/nowhere")).folder(model_id), EngineConfig())


@pytest.fixture(scope="session")
def compressor_model() -> Iterator[EncoderModel]:
    model = shipped("tokenflow-compressor")
    yield model
    model.close()


@pytest.fixture(scope="session")
def classifier_model() -> Iterator[EncoderModel]:
    model = shipped("tokenflow-classifier")
    yield model
    model.close()


@pytest.fixture(scope="session")
def embedder_model() -> Iterator[EncoderModel]:
    model = shipped("tokenflow-embedder")
    yield model
    model.close()


@pytest.fixture
def compressor(compressor_model: EncoderModel) -> Compressor:
    return Compressor(compressor_model, CompressConfig())


# Where nothing listens: model servers that happen to run on the developer's machine have no part
# in a test.
NOWHERE = "http://127.0.0.1:9/v1"
LOCAL_PROVIDERS = ("ollama", "lmstudio", "llamacpp", "vllm")


def config_in(
    home: Path, *, environment: dict[str, str] | None = None, **sections: dict[str, Any]
) -> Config:
    """A configuration that nothing outside of `home` has a part in."""
    nowhere = {name: {"base_url": NOWHERE} for name in LOCAL_PROVIDERS}
    sections["providers"] = nowhere | sections.get("providers", {})
    return load_config(home=home, flags=sections, environment=environment or {})


def answered_by(upstream: Upstream, home: Path, **sections: dict[str, Any]) -> Config:
    """A configuration in which `upstream` is Groq, and the only one that can be asked."""
    providers = sections.get("providers", {})
    groq = {"base_url": upstream.url} | providers.get("groq", {})
    sections["providers"] = providers | {"groq": groq}
    return config_in(home, environment={"GROQ_API_KEY": KEY}, **sections)


@dataclass(frozen=True)
class Event:
    """A server-sent event. Its data is that of the envelope: text in `text_chunk` and `end_stream`,
    fields in the others; in an event without a name, as /v1 sends them, the text as it came."""

    name: str
    data: Any

    @property
    def json(self) -> Any:
        """The fields."""
        return json.loads(self.data) if self.name == "message" else self.data


class EventReader:
    """A stream of events under way. Closing it early is how a client leaves."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection
        self.response = connection.getresponse()
        self.status = self.response.status
        self.comments: list[str] = []

    def __iter__(self) -> Iterator[Event]:
        while lines := self._block():
            if lines[0].startswith(": "):
                self.comments.append(lines[0].removeprefix(": "))
            elif lines[0].startswith("event: "):
                yield _named(lines)
            else:
                data = [line.removeprefix("data:").removeprefix(" ") for line in lines]
                yield Event("message", "\n".join(data))

    def _block(self) -> list[str]:
        """The lines until the next empty one."""
        lines: list[str] = []
        while (line := self.response.readline().decode()) and line != "\n":
            lines.append(line.removesuffix("\n"))
        return lines if line else []  # what has no empty line behind it is no event

    def close(self) -> None:
        self.response.close()
        self._connection.close()


def _named(lines: list[str]) -> Event:
    """In the contract's shape, and in no other: the name, then JSON in one line that repeats it."""
    name, data = lines
    assert data.startswith("data: "), data
    envelope = json.loads(data.removeprefix("data: "))
    assert envelope.keys() == {"event", "data"}
    assert name == f"event: {envelope['event']}"
    return Event(envelope["event"], envelope["data"])


def text_of(events: Sequence[Event]) -> str:
    return "".join(event.data for event in events if event.name == "text_chunk")


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Daemon:
    """A daemon on a real socket, and the plainest client there is."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        assert self.port, "the daemon did not start"

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout_s: float = 60,
    ) -> Answer:
        """JSON goes out with its content type; `raw` as it is; `headers` above all."""
        sent = {"Content-Type": "application/json"} if body is not None or raw else {}
        payload = raw if raw is not None else None if body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request(method, path, payload, {**sent, **(headers or {})})
            response = connection.getresponse()
            return Answer(
                response.status,
                {name.lower(): value for name, value in response.getheaders()},
                response.read(),
            )
        finally:
            connection.close()

    def open_stream(self, path: str, body: Any, timeout_s: float = 60) -> EventReader:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        return EventReader(connection)

    def stream(self, path: str, body: Any, timeout_s: float = 60) -> list[Event]:
        """All events until the end of the stream."""
        reader = self.open_stream(path, body, timeout_s)
        assert reader.status == 200, reader.response.read()
        try:
            return list(reader)
        finally:
            reader.close()

    def get(self, path: str, **more: Any) -> Answer:
        return self.request("GET", path, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> Answer:
        return self.request("POST", path, body, **more)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)

        def on_ready(url: str) -> None:
            self.port = int(url.rpartition(":")[2])
            self._ready.set()

        self._loop.run_until_complete(
            serve(self.services, host="127.0.0.1", port=0, stop=self._stop, on_ready=on_ready)
        )


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for all tests that do not change its state for others."""
    running = Daemon(Services(config_in(tmp_path_factory.mktemp("home"))))
    yield running
    running.close()


@dataclass
class Relay:
    """A daemon and the provider that it asks."""

    daemon: Daemon
    upstream: Upstream

    def generate(self, **body: Any) -> list[Event]:
        """All events of an answer; one that says nothing for long is not waited for."""
        body = {"prompt": "Hi", "model": "m1"} | body
        return self.daemon.stream("/api/generate", body, timeout_s=10)

    def open(self, **body: Any) -> EventReader:
        return self.daemon.open_stream("/api/generate", {"prompt": "Hi", "model": "m1"} | body)

    def rows(self) -> list[Any]:
        return list(self.daemon.get("/api/history").json["requests"])

    def latest(self) -> Any:
        """The newest row of the history, with everything that is known of it."""
        return self.daemon.get(f"/api/history/{self.rows()[0]['id']}").json


OpenRelay = Callable[..., Relay]


@pytest.fixture
def open_relay(tmp_path: Path) -> Iterator[OpenRelay]:
    """Opens relays with these scripts behind them, and closes them after the test."""
    opened: list[Relay] = []

    def opening(*scripts: Script, **sections: dict[str, Any]) -> Relay:
        home = tmp_path / f"home{len(opened)}"
        home.mkdir()
        upstream = Upstream(*scripts)
        opened.append(Relay(Daemon(Services(answered_by(upstream, home, **sections))), upstream))
        return opened[-1]

    yield opening
    for relay in opened:
        relay.daemon.close()
        relay.upstream.close()


def eventually(seen: Callable[[], Any], within_s: float = 10.0) -> Any:
    """What `seen` returns, once it returns something."""
    deadline = time.monotonic() + within_s
    while not (value := seen()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
    return value
