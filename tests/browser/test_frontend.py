"""A page in a real browser, as the existing frontend asks the daemon: preflights, CORS, streams."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.conftest import Daemon, answered_by, text
from tests.upstream import Received, Upstream, Wire, answer, chunk, events, failure
from tokenflowd.compress import count_tokens
from tokenflowd.route import DEFAULT_CATEGORIES
from tokenflowd.services import Services

FRONTEND_PORT = 3000  # the page's origin is what the daemon lets in, so it has to be this one
PAGE = Path(__file__).with_name("frontend.html")
PATIENCE_S = 60.0
FIVE = ("compress", "classify", "generate", "select", "rankings")
LONG = text("meeting.txt")[:2000]
PIECES = [
    "Hello",
    " world",
    "\n",
    "\n  indented\n\n\nafter two empty lines",
    " Kö",
    "ln 汉字 🙂👩‍👩‍👧",
    "\r",
    "\nin Windows' way\r\n",
    "data: not an event\nevent: error\n: nor a comment",
    "   ",
    "\tend \n",
]
TEXT = "".join(PIECES)
HUGE = (
    "汉字 🙂 data: {}\r\n\n" * 900
)  # several events, less than the 32 KB that a page gets at once


@pytest.fixture(scope="module", autouse=True)
def chromium() -> str:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("there is no chromium on the PATH")
    return program


class PageServer:
    """Serves the page to a browser, and hands out what the page reports."""

    def __init__(self, port: int = 0) -> None:
        """Raises OSError when the port is taken."""
        reports: queue.Queue[Any] = queue.Queue()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                is_page = self.path.startswith("/?")
                self.send_response(200 if is_page else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                if is_page:
                    self.wfile.write(PAGE.read_bytes())

            def do_POST(self) -> None:
                reports.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            allow_reuse_address = True  # what is left of an earlier test's connections
            daemon_threads = True

        self.reports = reports
        self._server = Server(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def serving_the_frontend() -> Iterator[PageServer]:
    """At the frontend's own port; skips the test if another program has it."""
    with contextlib.suppress(OSError):
        socket.create_connection(("localhost", FRONTEND_PORT), timeout=1).close()
        pytest.skip(f"port {FRONTEND_PORT} is taken, and the page must come from there")
    try:
        server = PageServer(FRONTEND_PORT)
    except OSError as error:
        pytest.skip(f"port {FRONTEND_PORT} cannot be had: {error.strerror}")
    with contextlib.closing(server):
        yield server


@contextlib.contextmanager
def browser_at(url: str, program: str, profile: Path) -> Iterator[None]:
    """A browser of its own that opens `url`."""
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
        "--disable-background-networking --disable-component-update --disable-sync"
    )
    process = subprocess.Popen(
        [program, *flags.split(), f"--user-data-dir={profile}", url],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # it has children, which are to end with it
    )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass
class Visit:
    """What a page did at the daemon, and what is left of it there."""

    daemon: Daemon
    upstream: Upstream
    chromium: str
    profile: Path

    def report(
        self, server: PageServer, host: str, steps: Sequence[str], **more: str
    ) -> dict[str, Any]:
        """What the page, served from `host`, says of these steps."""
        daemon = f"http://localhost:{self.daemon.port}"
        query = {"daemon": daemon, "step": steps, "text": LONG, **more}
        url = f"http://{host}:{server.port}/?{urlencode(query, doseq=True)}"
        with browser_at(url, self.chromium, self.profile):
            report: dict[str, Any] = server.reports.get(timeout=PATIENCE_S)
        assert list(report) == list(steps)
        return report

    def history(self) -> list[Any]:
        rows: list[Any] = self.daemon.get("/api/history").json["requests"]
        return rows


@pytest.fixture
def visit(tmp_path: Path, chromium: str) -> Iterator[Visit]:
    # The delay lets each piece come by itself.
    with Upstream(answer(*PIECES, delay_s=0.02)) as upstream:
        home = tmp_path / "home"
        home.mkdir()
        daemon = Daemon(Services(answered_by(upstream, home)))
        yield Visit(daemon, upstream, chromium, tmp_path / "profile")
        daemon.close()


@pytest.fixture
def frontend() -> Iterator[PageServer]:
    with serving_the_frontend() as server:
        yield server


def text_in(said: Any) -> str:
    return "".join(event["data"] for event in said["events"] if event["event"] == "text_chunk")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_the_frontend_gets_what_the_contract_says(
    visit: Visit, frontend: PageServer, host: str
) -> None:
    report = visit.report(frontend, host, FIVE)
    check_compression(report["compress"])
    check_classification(report["classify"])
    check_generation(report["generate"])
    check_selection(report["select"])
    check_rankings(report["rankings"])
    kinds = [row["kind"] for row in reversed(visit.history())]
    assert kinds == ["compress", "classify", "generate", "select"]
    assert all(row["status"] == "ok" for row in visit.history())
    generated, selected = visit.upstream.bodies
    assert (generated["model"], generated["max_tokens"]) == ("m1", 9)
    metadata = report["select"]["events"][0]["data"]
    assert (selected["model"], selected["top_p"]) == (metadata["selected_model"], 0.5)
    assert "Chrome" in visit.history()[0]["client"]


def check_compression(said: Any) -> None:
    assert said["status"] == 200
    body = said["body"]
    assert body["original_text"] == LONG
    assert 0 < len(body["compressed_text"]) < len(LONG)
    assert body["original_tokens"] == count_tokens(LONG)
    assert body["compressed_tokens"] == count_tokens(body["compressed_text"])
    kept = body["compressed_tokens"] / body["original_tokens"]
    assert body["compression_ratio"] == pytest.approx(kept, abs=1e-4)
    assert 0 < kept <= 0.5


def check_classification(said: Any) -> None:
    assert said["status"] == 200
    body = said["body"]
    assert body["top_category"] == "cooking"
    assert body["all_categories"].keys() == {"cooking", "sports"}
    assert sum(body["all_categories"].values()) == pytest.approx(1)
    assert body["confidence_score"] == body["all_categories"]["cooking"] > 0.5
    assert body["recommended_model"] == "llama-3.1-8b-instant"


def check_stream(said: Any, text: str) -> None:
    assert said["status"] == 200
    assert said["type"].startswith("text/event-stream")
    assert said["unreadable"] == []
    assert said["rest"] == ""
    assert all(event.keys() == {"event", "data"} for event in said["events"])
    names = [event["event"] for event in said["events"]]
    assert names == ["metadata", *["text_chunk"] * (len(names) - 3), "usage", "end_stream"]
    assert text_in(said) == text
    assert said["events"][-1]["data"] == "Stream finished"


def check_generation(said: Any) -> None:
    check_stream(said, TEXT)
    metadata, used = said["events"][0]["data"], said["events"][-2]["data"]
    assert metadata["selected_model"] == "m1"
    assert metadata["provider"] == "groq"
    assert {"prompt_category", "confidence_score", "all_categories"} <= metadata.keys()
    assert used["id"] == metadata["id"]
    assert (used["prompt_tokens"], used["completion_tokens"]) == (7, 3)
    assert used["finish_reason"] == "stop"
    assert used["cost_usd"] is None  # no price is known
    assert 0 < used["ttft_ms"] <= used["latency_ms"]


def check_selection(said: Any) -> None:
    check_stream(said, TEXT)
    metadata = said["events"][0]["data"]
    assert metadata["prompt_category"] in DEFAULT_CATEGORIES
    assert metadata["all_categories"].keys() == set(DEFAULT_CATEGORIES)
    assert metadata["confidence_score"] == max(metadata["all_categories"].values())
    assert metadata["selected_model"]


def check_rankings(said: Any) -> None:
    assert said["status"] == 200
    assert said["body"].keys() == set(DEFAULT_CATEGORIES)
    assert said["body"]["nsfw"]["title"] == "NSFW Detection"
    assert said["body"]["reasoning"]["description"] == "Logic, problem-solving, and analysis"
    for ranking in said["body"].values():
        assert [model["primary"] for model in ranking["models"]].count(True) == 1
        assert ranking["models"][0]["primary"]
        assert all(model["id"] and model["name"] for model in ranking["models"])


def test_the_frontend_may_read_what_it_did_wrong(visit: Visit, frontend: PageServer) -> None:
    said = visit.report(frontend, "localhost", ["invalid"])["invalid"]
    assert said["status"] == 422
    assert "text" in said["body"]["detail"]


def test_the_frontend_gets_a_text_that_comes_all_at_once(
    visit: Visit, frontend: PageServer
) -> None:
    visit.upstream.scripts = [answer("First. ", HUGE, " Last.", delay_s=0.2)]
    report = visit.report(frontend, "localhost", ["generate", "select"])
    for said in report.values():
        check_stream(said, f"First. {HUGE} Last.")


def test_the_frontend_is_told_why_there_is_no_answer(visit: Visit, frontend: PageServer) -> None:
    """It looks for reasons among the events only."""
    visit.upstream.scripts = [failure(401, "no such key")]
    steps = ["generate", "select", "invalid_generate", "invalid_select"]
    report = visit.report(frontend, "localhost", steps)
    for step, names, says in (
        ("generate", ["metadata", "error"], "no such key"),
        ("select", ["metadata", "error"], "no such key"),
        ("invalid_generate", ["error"], "model"),
        ("invalid_select", ["error"], "temperature"),
    ):
        said = report[step]
        assert (said["status"], said["unreadable"]) == (200, [])
        assert [event["event"] for event in said["events"]] == names
        assert says in said["events"][-1]["data"]["detail"]


def test_the_frontend_is_told_why_an_answer_breaks_off(visit: Visit, frontend: PageServer) -> None:
    visit.upstream.scripts = [events(chunk("Once upon "))]
    report = visit.report(frontend, "localhost", ["generate", "select"])
    for said in report.values():
        assert [event["event"] for event in said["events"]] == ["metadata", "text_chunk", "error"]
        assert said["events"][1]["data"] == "Once upon "
        assert said["events"][-1]["data"]["error"] == "bad answer"


def test_the_frontend_may_forget_a_request(visit: Visit, frontend: PageServer) -> None:
    """DELETE is never sent without a preflight that allows it."""
    request_id = visit.daemon.post("/api/compress", {"text": "To be forgotten."}).json["id"]
    said = visit.report(frontend, "localhost", ["erase"], id=request_id)["erase"]
    assert said == {"deleted": 204, "after": 404}
    assert visit.history() == []


def test_a_page_that_stops_reading_stops_the_provider(visit: Visit, frontend: PageServer) -> None:
    async def endless(wire: Wire, request: Received) -> None:
        await wire.head()
        await wire.send(chunk("Once"))
        await wire.until_gone()

    visit.upstream.scripts = [endless]
    assert visit.report(frontend, "localhost", ["leave"]) == {"leave": 200}
    assert visit.upstream.requests[0].gone.wait(PATIENCE_S)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_page_from_elsewhere_gets_nothing_and_does_nothing(
    visit: Visit, caplog: pytest.LogCaptureFixture, host: str
) -> None:
    """The same page from another port is another origin, as any page of the web is."""
    kept = visit.daemon.post("/api/compress", {"text": "Mine."}).json["id"]
    with (
        contextlib.closing(PageServer()) as server,
        caplog.at_level(logging.INFO, logger="tokenflowd"),
    ):
        assert server.port != FRONTEND_PORT
        report = visit.report(server, host, [*FIVE, "erase", "blind"], id=kept)
    blind = report.pop("blind")
    assert blind == ["rejected"] * 3  # they are sent, which no server can help, but nothing comes
    assert report == {step: {"rejected": "TypeError"} for step in (*FIVE, "erase")}

    asked = [message.split()[:3] for message in caplog.messages if message.endswith(" ms")]
    assert {status for _, _, status in asked} == {"403"}
    asked_for = {(method, path) for method, path, _ in asked}
    for path in ("/api/compress", "/api/classify", "/api/generate", "/api/models/select"):
        assert ("OPTIONS", path) in asked_for
    assert ("OPTIONS", f"/api/history/{kept}") in asked_for
    assert ("GET", "/api/model-rankings") in asked_for
    assert ("POST", "/v1/chat/completions") in asked_for
    assert [row["id"] for row in visit.history()] == [kept]
    assert visit.upstream.requests == []
