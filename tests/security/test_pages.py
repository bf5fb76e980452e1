"""What pages of other sites can do without being let in: nothing, nor tell by the time."""

from __future__ import annotations

import gzip
import http.client
import json
import threading
from pathlib import Path

import pytest

from tests.conftest import Daemon
from tests.security.test_guards import FRONTEND, every_route
from tests.store.rows import compression, write
from tokenflowd.errors import Cancelled, ReadTimeout
from tokenflowd.store import Filter, Store
from tokenflowd.store.database import reading

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def fetch_metadata(site: str, mode: str = "no-cors") -> dict[str, str]:
    return {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": "image"}


@pytest.mark.parametrize("mode", ["no-cors", "navigate", "cors"])
def test_no_route_answers_another_site(daemon: Daemon, mode: str) -> None:
    for method, path in every_route(daemon):
        refused = daemon.request(method, path, headers=fetch_metadata("cross-site", mode))
        assert refused.status == 403, (method, path)


@pytest.mark.parametrize(
    ("site", "mode", "status"),
    [
        ("none", "navigate", 200),  # typed into the address bar
        ("same-origin", "navigate", 200),
        ("same-origin", "no-cors", 200),
        ("same-site", "navigate", 200),  # a link on a page of this machine
        ("same-site", "no-cors", 403),  # an image on such a page
    ],
)
def test_who_opens_the_page_is_answered(daemon: Daemon, site: str, mode: str, status: int) -> None:
    assert daemon.get("/healthz", headers=fetch_metadata(site, mode)).status == status


def test_the_frontend_on_the_other_name_is_let_in(daemon: Daemon) -> None:
    """127.0.0.1:3000 and localhost:8000 are two sites."""
    headers = fetch_metadata("cross-site", "cors") | {"Origin": "http://127.0.0.1:3000"}
    assert daemon.get("/api/model-rankings", headers=headers).status == 200


def test_nothing_can_be_framed_or_taken_for_something_else(daemon: Daemon) -> None:
    for path in ("/", "/healthz", "/api/history", "/metrics", "/nothing"):
        headers = daemon.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["content-security-policy"].endswith("frame-ancestors 'none'")
    events = {"Accept": "text/event-stream", "Origin": FRONTEND}
    body = {"prompt": "Hi", "model": "nowhere"}
    assert daemon.post("/api/generate", body, headers=events).headers["x-content-type-options"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
def test_an_encoded_body_is_refused_without_being_unpacked(daemon: Daemon, encoding: str) -> None:
    bomb = gzip.compress(json.dumps({"text": "a" * 100_000_000}).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    refused = daemon.request("POST", "/api/compress", raw=bomb, headers=headers)
    assert refused.status == 415
    assert "Content-Encoding" in refused.json["detail"]
    assert daemon.get("/healthz", timeout_s=5).status == 200


def test_a_body_that_says_to_be_as_it_is_is_read(daemon: Daemon) -> None:
    headers = {"Content-Encoding": "identity"}
    assert daemon.post("/api/compress", {"text": "Hello"}, headers=headers).status == 200


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "tokenflow.db")
    write(store, compression())
    return store


def test_a_read_ends_after_its_time(store: Store) -> None:
    with pytest.raises(ReadTimeout), reading(store.path, timeout_s=0.1) as connection:
        connection.execute(ENDLESS).fetchone()
    store.close()


def test_a_read_ends_with_its_client(store: Store) -> None:
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(Cancelled), reading(store.path, stop=stop) as connection:
        connection.execute(ENDLESS).fetchone()
    assert store.history.page(Filter())  # others read on
    store.close()


def test_readers_are_free_again_when_their_clients_leave(daemon: Daemon) -> None:
    """Six images of one page: each connection is closed as soon as it has asked."""
    for _ in range(20):
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port)
        connection.request("GET", "/api/metrics?days=3650")
        connection.close()
    assert daemon.get("/api/metrics", timeout_s=30).status == 200
