"""Bodies that are wrong, or too much, at every door: refused, and nobody else notices."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.api.test_contract import BAD_BODIES
from tests.conftest import Daemon
from tests.security.test_guards import every_route
from tests.soak import Soak, percentile

MEGABYTE = 1024 * 1024
CAP_BYTES = 8 * MEGABYTE
MILLION = 1_000_000
TEXTS = {"ASCII": "some words, ", "CJK": "图书馆的改造计划。", "emoji": "🙂👩‍👩‍👧 "}
BODIES = {
    **dict(BAD_BODIES),
    "5,000 digits": b'{"text": "a", "prompt": "a", "ratio": %s, "temperature": %s}'
    % (b"9" * 5000, b"9" * 5000),
    "a huge exponent": b'{"text": "a", "prompt": "a", "ratio": 1e999999, "temperature": 1e999999}',
    "UTF-16": '{"text": "a", "prompt": "a"}'.encode("utf-16"),
    "a byte-order mark": b"\xef\xbb\xbf{}",
    "nested objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "one name twice": b'{"text": 1, "prompt": 1, "text": [], "prompt": []}',
    "names that mean the same": b'{"possible_categories": 1, "possibleCategories": 2}',
    "numbers for names": b'{1: "text"}',
}


BODILESS = ("/api/history/vacuum",)  # whatever is sent along is not read


def doors(daemon: Daemon) -> Iterator[tuple[str, str]]:
    for method, path in every_route(daemon):
        if method in ("POST", "PUT") and path.rstrip("/") not in BODILESS:
            yield method, path


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_no_bad_body_is_a_server_error(daemon: Daemon, body: bytes) -> None:
    for method, path in doors(daemon):
        answer = daemon.request(method, path, raw=body or b" ")
        assert 400 <= answer.status < 500, (path, answer.body)
        assert "error" in answer.json, path


@pytest.mark.parametrize("charset", ["latin-1", "utf-16", "utf-7", "nonsense", "\x01"])
def test_no_charset_but_utf_8_is_taken(daemon: Daemon, charset: str) -> None:
    headers = {"Content-Type": f"application/json; charset={charset}"}
    for method, path in doors(daemon):
        answer = daemon.request(method, path, raw=b"{}", headers=headers)
        assert 400 <= answer.status < 500, (path, charset)


def test_a_body_whose_length_is_not_told_ends_at_the_cap(daemon: Daemon) -> None:
    for method, path in doors(daemon):
        with socket.create_connection(("127.0.0.1", daemon.port), timeout=20) as connection:
            head = (
                f"{method} {path} HTTP/1.1\r\nHost: localhost:{daemon.port}\r\n"
                "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            connection.sendall(head.encode())
            for _ in range(CAP_BYTES // MEGABYTE + 1):  # and its end is never sent
                connection.sendall(b"%x\r\n%b\r\n" % (MEGABYTE, b" " * MEGABYTE))
            assert connection.recv(4096).split(b" ")[1] == b"413", path
    assert daemon.get("/healthz").status == 200


IMAGE = b'{"type":"image_url","image_url":{"url":"data:image/png;base64,%b"}}'
LARGE = {
    "text alone": b'{"messages":[{"content":"%b"}]}' % (b"a" * 9 * MEGABYTE),
    "an image that is no part of a message": b'{"messages":[],"x":[%b]}'
    % (IMAGE % (b"A" * 9 * MEGABYTE)),
    "many small values beside an image": b'{"messages":[{"content":[%b]}],"x":[0%b]}'
    % (IMAGE % b"A", b",0" * 5 * MEGABYTE),
    "an image above the larger limit": b'{"messages":[{"content":[%b]}]}'
    % (IMAGE % (b"A" * 65 * MEGABYTE)),
}


@pytest.mark.parametrize("body", LARGE.values(), ids=LARGE)
def test_a_large_body_is_refused_where_it_is_not_large_for_an_image(
    daemon: Daemon, body: bytes
) -> None:
    with ThreadPoolExecutor(1) as pool:
        large = pool.submit(daemon.post, "/v1/chat/completions", raw=body)
        while not large.done():
            assert daemon.get("/healthz").status == 200
    assert large.result().status == 413
    assert "bytes" in large.result().json["error"]["message"]


@pytest.mark.parametrize("unit", TEXTS.values(), ids=TEXTS)
def test_a_million_characters_are_answered_and_so_is_everybody_else(
    daemon: Daemon, unit: str
) -> None:
    text = (unit * MILLION)[:MILLION]
    body = {"prompt": text, "possible_categories": ["a library", "smiles"]}
    raw = json.dumps(body, ensure_ascii=False).encode()
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(daemon.post, "/api/classify", raw=raw)
        while not long.done():
            assert daemon.get("/healthz").status == 200
    assert long.result().status == 200


@pytest.mark.soak
@pytest.mark.parametrize("name", TEXTS)
def test_long_texts_are_compressed_beside_healthy_answers(
    daemon: Daemon, soak: Soak, name: str
) -> None:
    size = soak.size(MILLION, 50_000)
    text = "".join(f"{TEXTS[name]}{number}" for number in range(size // 8))[:size]
    with ThreadPoolExecutor(1) as pool:
        raw = json.dumps({"text": text}, ensure_ascii=False).encode()
        long = pool.submit(daemon.post, "/api/compress", raw=raw, timeout_s=1800)
        waited = list(waits(daemon, long))
    answer = long.result()
    assert answer.status == 200
    assert answer.json["compressed_tokens"] < answer.json["original_tokens"]
    what = f"/healthz p99 beside {len(text):,} characters, {name}"
    soak.figure(what, percentile(waited, 99), "ms", below=100)


def waits(daemon: Daemon, until: Future[object]) -> Iterator[float]:
    while not until.done():
        started = time.monotonic()
        assert daemon.get("/healthz").status == 200
        yield (time.monotonic() - started) * 1000
        time.sleep(0.01)


@pytest.mark.soak
def test_what_is_too_much_is_refused_at_once(daemon: Daemon, soak: Soak) -> None:
    labels = json.dumps({"prompt": "a", "possible_categories": [f"l{n}" for n in range(100_000)]})
    bodies = {"413 for 9 MB": b" " * (9 * MEGABYTE), "422 for 100,000 labels": labels.encode()}
    for name, body in bodies.items():
        waited = []
        for _ in range(20):
            started = time.monotonic()
            answer = daemon.request("POST", "/api/classify", raw=body)
            waited.append((time.monotonic() - started) * 1000)
            assert answer.status == int(name[:3])
        soak.figure(f"{name}, the median of {len(waited)}", percentile(waited, 50), "ms", 100)
