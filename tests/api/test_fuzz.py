from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Daemon

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4)
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        *("text", "ratio", "target_token", "forceTokens", "preserve", "question", "mode"),
        *("prompt", "possibleCategories", "multi_label", "return_words", "drop_consecutive"),
    ]
)
BODIES = st.dictionaries(FIELDS, JSON, max_size=6)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(["/api/compress", "/api/classify"]), BODIES, st.text(max_size=80))
def test_no_json_body_is_a_server_error(
    daemon: Daemon, path: str, body: dict[str, Any], valid: str
) -> None:
    required = "text" if path == "/api/compress" else "prompt"
    for candidate in (body, {**body, required: valid}):
        answer = daemon.post(path, candidate)
        assert answer.status < 500, (candidate, answer.body)
        assert isinstance(answer.json, dict)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_are_a_server_error(daemon: Daemon, body: bytes) -> None:
    answer = daemon.request("POST", "/api/classify", raw=body or b"\x00")
    assert 400 <= answer.status < 500
    assert {"error", "detail"} == set(answer.json)
