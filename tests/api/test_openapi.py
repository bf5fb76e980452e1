from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest
from jsonschema import Draft202012Validator

from tests.conftest import Daemon


@pytest.fixture
def document(daemon: Daemon) -> dict[str, Any]:
    document: dict[str, Any] = daemon.get("/api/openapi.json").json
    return document


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    names = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert names
    assert names <= set(document["components"]["schemas"])


def test_every_schema_is_a_json_schema(document: dict[str, Any]) -> None:
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_every_served_route_is_described(document: dict[str, Any]) -> None:
    assert set(document["paths"]) == {
        "/",
        "/healthz",
        "/metrics",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/models",
        "/v1/models/{id}",
        "/api/compress",
        "/api/classify",
        "/api/generate",
        "/api/metrics",
        "/api/model-rankings",
        "/api/models",
        "/api/models/select",
        "/api/models/use",
        "/api/models/{id}",
        "/api/providers",
        "/api/history",
        "/api/history/export",
        "/api/history/vacuum",
        "/api/history/{id}",
        "/api/history/{id}/category",
    }
    ids = [o["operationId"] for path in document["paths"].values() for o in path.values()]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/compress", {"text": "some words here", "return_words": True}),
        ("POST", "/api/classify", {"prompt": "some words"}),
        ("GET", "/api/model-rankings", None),
        ("GET", "/api/history", None),
        ("GET", "/healthz", None),
    ],
)
def test_answers_are_what_the_document_says(
    daemon: Daemon, document: dict[str, Any], method: str, path: str, body: Any
) -> None:
    operation = document["paths"][path][method.lower()]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    answer = daemon.request(method, path, body)
    jsonschema.validate(answer.json, {**schema, "components": document["components"]})


def test_errors_are_what_the_document_says(daemon: Daemon, document: dict[str, Any]) -> None:
    operation = document["paths"]["/api/compress"]["post"]
    schema = operation["responses"]["4XX"]["content"]["application/json"]["schema"]
    answer = daemon.post("/api/compress", {})
    jsonschema.validate(answer.json, {**schema, "components": document["components"]})
