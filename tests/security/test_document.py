"""What the served document allows, and what it does not: generated from it, sent to a daemon."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis import GenerationMode

from tests.conftest import eventually
from tests.program import Program
from tests.soak import Soak
from tests.upstream import Upstream, answer

CASES = 20_000  # of which half are made: operations with few fields run out of different ones
FEW = 200
MODES = list(GenerationMode)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    tmp_path.chmod(0o700)
    with (
        Upstream(answer("Hello")) as upstream,
        contextlib.closing(Program(tmp_path, upstream)) as program,
    ):
        program.start()
        yield program


def send_generated(program: Program, cases: int) -> dict[int, int]:
    """How often each status came, of about as many cases for every operation."""
    schema = schemathesis.openapi.from_url(f"{program.url}/api/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    each = max(1, cases // (len(operations) * len(MODES)))
    statuses: dict[int, int] = {}

    for operation in operations:
        for mode in MODES:

            @hypothesis.settings(
                max_examples=each,
                deadline=None,
                database=None,
                suppress_health_check=list(hypothesis.HealthCheck),
            )
            @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
            def send(case: Any) -> None:
                response = case.call(timeout=60)
                statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
                assert response.status_code < 500, (case.as_curl_command(), response.text)
                if b"event: error" in response.content:
                    assert b"fault of TokenFlow" not in response.content, case.as_curl_command()

            with contextlib.suppress(hypothesis.errors.Unsatisfiable):  # nothing can be wrong there
                send()
    return statuses


def assert_well(program: Program) -> None:
    eventually(lambda: program.health()["status"] == "ok")
    assert "Traceback" not in program.log()
    assert program.integrity() == "ok"


def test_nothing_the_document_leads_to_is_a_server_error(program: Program) -> None:
    statuses = send_generated(program, FEW)
    assert {200, 404, 422} <= set(statuses)
    assert_well(program)


@pytest.mark.soak
def test_ten_thousand_cases_are_no_server_error(program: Program, soak: Soak) -> None:
    statuses = send_generated(program, soak.size(CASES, 100))
    cases = sum(statuses.values())
    soak.figure("cases made from the served document, none of them a 5xx", cases, "")
    assert_well(program)
