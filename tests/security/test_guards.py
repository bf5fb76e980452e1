"""Who is let in: names (Host), pages (Origin), bodies (content type)."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from tests.conftest import Answer, Daemon, OpenRelay, config_in
from tests.upstream import failure
from tokenflowd.app import build_app
from tokenflowd.services import Services

FRONTEND = "http://localhost:3000"


def raw_request(daemon: Daemon, head: str) -> int:
    """The status of a request sent as it is written; {port} stands for the daemon's."""
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=10) as connection:
        lines = head.format(port=daemon.port).split("\n")
        connection.sendall(("\r\n".join(lines) + "\r\nConnection: close\r\n\r\n").encode())
        answer = b""
        while chunk := connection.recv(4096):
            answer += chunk
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /healthz HTTP/1.1\nHost: localhost:{port}", 200),
        ("GET /healthz HTTP/1.1\nHost: 127.0.0.1:{port}", 200),
        ("GET /healthz HTTP/1.1\nHost: [::1]:{port}", 200),
        # Absolute-form is for proxies: no client of a local daemon sends it.
        ("GET http://localhost:{port}/healthz HTTP/1.1\nHost: localhost:{port}", 403),
        ("GET /healthz HTTP/1.1\nHost: localhost", 403),
        ("GET /healthz HTTP/1.1\nHost: localhost:1", 403),
        ("GET /healthz HTTP/1.1\nHost: LOCALHOST:{port}", 403),
        ("GET /healthz HTTP/1.1\nHost: localhost.:{port}", 403),
        ("GET /healthz HTTP/1.1\nHost: :{port}", 403),
        ("GET /healthz HTTP/1.1\nHost: :8000", 403),
        ("GET /healthz HTTP/1.1\nHost: ", 403),
        ("GET /healthz HTTP/1.1\nHost: evil.example:{port}", 403),
        ("GET /healthz HTTP/1.1\nHost: localhost.evil.example:{port}", 403),
        ("GET /healthz HTTP/1.1\nHost: 127.0.0.1@evil.example", 403),
        ("GET /healthz HTTP/1.1\nHost: 127.0.0.1@evil.example:{port}", 403),
        ("GET /healthz HTTP/1.1\nHost: localhost:{port}@evil.example:{port}", 403),
        ("GET /healthz HTTP/1.1\nHost: localhost:{port}, evil.example", 403),
        ("GET /healthz HTTP/1.1\nHost: 2130706433:{port}", 403),
        ("GET /healthz HTTP/1.1\nHost: [::ffff:127.0.0.1]:{port}", 403),
        ("GET /healthz HTTP/1.1\nHost: 127.0.0.1.nip.io:{port}", 403),
        ("GET /healthz HTTP/1.1\nHost: 0.0.0.0:{port}", 403),
        ("GET http://evil.example/healthz HTTP/1.1\nHost: localhost:{port}", 403),
        ("GET http://localhost:{port}/healthz HTTP/1.1\nHost: evil.example", 403),
        ("GET http://localhost:{port}/healthz HTTP/1.1\nHost: ", 403),
        ("GET /healthz HTTP/1.0", 403),
    ],
)
def test_only_this_machines_own_names_are_answered(daemon: Daemon, head: str, status: int) -> None:
    assert raw_request(daemon, head) == status


def test_two_hosts_are_refused(daemon: Daemon) -> None:
    head = "GET /healthz HTTP/1.1\nHost: localhost:{port}\nHost: evil.example"
    assert raw_request(daemon, head) in (400, 403)


def test_a_configured_name_is_answered(tmp_path: Path) -> None:
    config = config_in(tmp_path, server={"allowed_hosts": ["tokenflow.lan"]})
    daemon = Daemon(Services(config))
    assert raw_request(daemon, "GET /healthz HTTP/1.1\nHost: tokenflow.lan") == 200
    daemon.close()


def every_route(daemon: Daemon) -> list[tuple[str, str]]:
    """From the app's own router, so that a new route is covered by itself, described or not."""
    routes = build_app(daemon.services).router.routes()
    found = [
        (route.method, re.sub(r"\{[^}]+\}", "x", route.resource.canonical))
        for route in routes
        if route.resource
    ]
    assert ("GET", "/api/openapi.json") in found
    assert len(found) == len(routes)
    return found


def test_no_route_answers_a_foreign_page(daemon: Daemon) -> None:
    for method, path in every_route(daemon):
        for origin in ("https://evil.example", "null", "http://localhost:3001", "", "file://"):
            body = {"text": "a", "prompt": "a"} if method in ("POST", "PUT") else None
            answer = daemon.request(method, path, body, headers={"Origin": origin})
            assert answer.status == 403, (method, path, origin)
            assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "text/json"],
)
def test_no_route_takes_a_body_that_needs_no_preflight(daemon: Daemon, content_type: str) -> None:
    for method, path in every_route(daemon):
        if method in ("POST", "PUT"):
            headers = {"Content-Type": content_type}
            answer = daemon.request(method, path, raw=b'{"text":"a"}', headers=headers)
            assert answer.status == 415, (path, content_type)


def test_a_body_in_another_charset_is_refused(daemon: Daemon) -> None:
    headers = {"Content-Type": "application/json; charset=latin-1"}
    assert daemon.request("POST", "/api/classify", raw=b"{}", headers=headers).status == 415
    headers = {"Content-Type": "application/json; charset=UTF-8"}
    assert daemon.request("POST", "/api/classify", raw=b"{}", headers=headers).status == 422


def preflight(daemon: Daemon, origin: str) -> Answer:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    return daemon.request("OPTIONS", "/api/compress", headers=headers)


def test_the_frontends_preflight_is_answered(daemon: Daemon) -> None:
    answer = preflight(daemon, FRONTEND)
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == FRONTEND
    allowed = set(answer.headers["access-control-allow-methods"].split(", "))
    assert allowed == {method for method, _ in every_route(daemon)}
    assert answer.headers["access-control-allow-headers"] == "content-type"
    assert "access-control-allow-private-network" not in answer.headers
    assert answer.headers["vary"] == "Origin"


STAINLESS = "authorization,content-type,x-stainless-arch,x-stainless-retry-count"


@pytest.mark.parametrize(
    ("asked_for", "allowed"),
    [
        pytest.param(STAINLESS, STAINLESS, id="OpenAI's own"),
        pytest.param("", "Authorization, Content-Type", id="none"),
        pytest.param("x-a: b", "Authorization, Content-Type", id="no names"),
        pytest.param("*", "Authorization, Content-Type", id="all"),
    ],
)
def test_a_page_may_send_the_headers_that_it_asks_for(
    daemon: Daemon, asked_for: str, allowed: str
) -> None:
    headers = {
        "Origin": FRONTEND,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": asked_for,
        "Access-Control-Request-Private-Network": "true",
    }
    answer = daemon.request("OPTIONS", "/v1/chat/completions", headers=headers)
    assert answer.status == 204
    assert answer.headers["access-control-allow-headers"] == allowed
    assert answer.headers["access-control-allow-private-network"] == "true"


def test_a_page_may_read_our_headers(daemon: Daemon) -> None:
    answer = daemon.get("/v1/models", headers={"Origin": FRONTEND})
    exposed = answer.headers["access-control-expose-headers"]
    assert {"X-Request-Id", "Retry-After", "X-TokenFlow-Id"} <= set(exposed.split(", "))


def test_a_page_may_read_whatever_limits_a_provider_has(open_relay: OpenRelay) -> None:
    relay = open_relay(failure(429, X_RateLimit_Reset="9"))
    body = {"model": "m1", "messages": [{"role": "user", "content": "Hi"}]}
    answer = relay.daemon.post("/v1/chat/completions", body, headers={"Origin": FRONTEND})
    assert answer.headers["x-ratelimit-reset"] == "9"
    assert "x-ratelimit-reset" in answer.headers["access-control-expose-headers"].split(", ")


def test_a_foreign_preflight_is_refused(daemon: Daemon) -> None:
    assert preflight(daemon, "https://evil.example").status == 403


def test_the_frontend_reads_answers_and_errors(daemon: Daemon) -> None:
    headers = {"Origin": FRONTEND}
    for body, status in (({"text": "hello"}, 200), ({}, 422)):
        answer = daemon.request("POST", "/api/compress", body, headers=headers)
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == FRONTEND


def test_nothing_is_ever_allowed_for_all_origins(daemon: Daemon) -> None:
    for method, path in every_route(daemon):
        answer = daemon.request(method, path, headers={"Origin": FRONTEND})
        assert answer.headers.get("access-control-allow-origin") == FRONTEND, (method, path)


@pytest.mark.parametrize("path", ["/../../etc/passwd", "/%2e%2e/etc", "/api/history/..%2f..%2fx"])
def test_paths_lead_nowhere_else(daemon: Daemon, path: str) -> None:
    assert daemon.get(path).status == 404
