from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest
from jsonschema import Draft202012Validator

from tests.conftest import Daemon, OpenRelay
from tests.upstream import answer, failure


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
    answered = daemon.request(method, path, body)
    jsonschema.validate(answered.json, {**schema, "components": document["components"]})


@pytest.mark.parametrize("path", ["/api/generate", "/api/models/select"])
def test_events_are_what_the_document_says(
    open_relay: OpenRelay, document: dict[str, Any], path: str
) -> None:
    described = document["paths"][path]["post"]["responses"]["200"]["content"]["text/event-stream"]
    schema = {**described["schema"], "components": document["components"]}
    relay = open_relay(answer("Hello"), failure(401))
    body = {"prompt": "Hi", "model": "m1", "compress": "auto"}
    names = []
    for event in relay.daemon.stream(path, body) + relay.daemon.stream(path, body):
        jsonschema.validate({"event": event.name, "data": event.data}, schema)
        names.append(event.name)
    told = ["metadata", "text_chunk", "usage", "end_stream", "metadata", "error"]
    assert names == told
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"event": "text_chunk", "data": {}}, schema)


@pytest.mark.parametrize("path", ["/api/compress", "/api/classify", "/api/generate"])
def test_optional_fields_of_requests_may_be_null(document: dict[str, Any], path: str) -> None:
    described = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    schema = {**described["schema"], "components": document["components"]}
    name = described["schema"]["$ref"].rpartition("/")[2]
    component = document["components"]["schemas"][name]
    body: dict[str, Any] = dict.fromkeys(component["properties"])
    body |= dict.fromkeys(component["required"], "some words")
    jsonschema.validate(body, schema)
    jsonschema.validate(body | {"possible_categories": [], "max_tokens": 0}, schema)
    for required in component["required"]:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(body | {required: None}, schema)


def test_errors_are_what_the_document_says(daemon: Daemon, document: dict[str, Any]) -> None:
    operation = document["paths"]["/api/compress"]["post"]
    schema = operation["responses"]["4XX"]["content"]["application/json"]["schema"]
    answered = daemon.post("/api/compress", {})
    jsonschema.validate(answered.json, {**schema, "components": document["components"]})
