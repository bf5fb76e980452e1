"""What stops working takes only itself away."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.conftest import Daemon, config_in, text
from tokenflowd.services import Services


def test_a_missing_model_takes_its_own_service_away_only(tmp_path: Path) -> None:
    config = config_in(tmp_path, models={"compressor": "gone"})
    daemon = Daemon(Services(config))
    answer = daemon.post("/api/compress", {"text": "hello"})
    assert answer.status == 503
    assert "gone" in answer.json["detail"]
    assert daemon.post("/api/classify", {"prompt": "hello"}).status == 200
    health = daemon.get("/healthz").json
    assert health["status"] == "degraded"
    assert "gone" in health["models"]["compressor"]["problem"]
    daemon.close()


def test_answers_go_on_when_the_history_cannot_be_written(tmp_path: Path) -> None:
    daemon = Daemon(Services(config_in(tmp_path)))
    store = daemon.services.store
    store._db.execute("PRAGMA query_only = ON")  # as a full or read-only disk would
    answer = daemon.post("/api/compress", {"text": "hello there"})
    assert answer.status == 200
    assert answer.json["id"] is None
    assert daemon.get("/healthz").json["history"] == "degraded"
    store._db.execute("PRAGMA query_only = OFF")
    assert daemon.post("/api/compress", {"text": "hello there"}).json["id"]
    assert daemon.get("/healthz").json["status"] == "ok"
    daemon.close()


def test_a_body_that_trickles_in_is_timed_out(tmp_path: Path) -> None:
    daemon = Daemon(Services(config_in(tmp_path, server={"body_timeout_s": 0.5})))
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=10) as connection:
        head = (
            f"POST /api/compress HTTP/1.1\r\nHost: localhost:{daemon.port}\r\n"
            "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
        )
        connection.sendall(head.encode())
        assert connection.recv(4096).split(b" ")[1] == b"408"
    daemon.close()


def test_a_client_that_leaves_stops_the_work(tmp_path: Path) -> None:
    daemon = Daemon(Services(config_in(tmp_path)))
    daemon.services.compressor.get()
    body = text("meeting.txt") * 200
    with socket.create_connection(("127.0.0.1", daemon.port)) as connection:
        import json

        payload = json.dumps({"text": body}).encode()
        head = (
            f"POST /api/compress HTTP/1.1\r\nHost: localhost:{daemon.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
        )
        connection.sendall(head.encode() + payload)
        time.sleep(0.5)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        rows = daemon.get("/api/history").json["requests"]
        if rows:
            break
        time.sleep(0.05)
    assert rows[0]["error_type"] == "client left"
    daemon.close()


def test_many_long_texts_do_not_hold_up_a_list(tmp_path: Path) -> None:
    daemon = Daemon(Services(config_in(tmp_path)))
    daemon.services.compressor.get()
    body = text("meeting.txt") * 60
    with ThreadPoolExecutor(12) as pool:
        long = [
            pool.submit(daemon.post, "/api/compress", {"text": f"{n}{body}"}) for n in range(12)
        ]
        time.sleep(0.5)
        assert daemon.get("/api/history").status == 200
        assert daemon.post("/api/compress", {"text": "a short one"}).status == 200
        assert not all(future.done() for future in long)
        assert {future.result().status for future in long} <= {200, 503}
    daemon.close()


def test_a_client_may_call_itself_anything(tmp_path: Path) -> None:
    daemon = Daemon(Services(config_in(tmp_path)))
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=10) as connection:
        head = (
            f"POST /api/compress HTTP/1.1\r\nHost: localhost:{daemon.port}\r\n"
            "Content-Type: application/json\r\nContent-Length: 16\r\nUser-Agent: a"
        )
        connection.sendall(head.encode() + b'\xff\r\n\r\n{"text":"hello"}')
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
    assert daemon.get("/api/history").json["requests"][0]["client"] == "a?"
    daemon.close()
