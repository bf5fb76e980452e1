"""The OpenAPI 3.1 document, made from the operations' types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from tokenflowd import __version__
from tokenflowd.api.schemas import Error

_PARAMETER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `response` None: no body, or one that has no schema."""

    method: str
    path: str
    summary: str
    body: Any = None
    query: Any = None
    response: Any = None
    status: int = 200
    media_type: str = "application/json"
    error: Any = Error


def openapi_document(operations: Sequence[Operation]) -> dict[str, Any]:
    types = [t for o in operations for t in (o.body, o.query, o.response, o.error) if t]
    schemas, components = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    schema_of = {str(of): schema for of, schema in zip(types, schemas, strict=True)}
    for operation in operations:
        if operation.body is not None:
            _allow_null(schema_of[str(operation.body)], components)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        described = _describe(operation, schema_of, components)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "TokenFlow",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": components},
    }


def _allow_null(reference: dict[str, Any], components: dict[str, Any]) -> None:
    """Says that optional fields of a body, and of the objects in it, may be null: they have their
    defaults then (`bodies.as_schema`)."""
    schema = components[reference["$ref"].rpartition("/")[2]]
    for name, field in schema["properties"].items():
        if name in schema.get("required", ()):
            continue
        if "$ref" in field:
            _allow_null(field, components)
        if {"type": "null"} not in field.get("anyOf", ()):
            about = {key: field.pop(key) for key in ("description", "default") if key in field}
            schema["properties"][name] = {"anyOf": [field, {"type": "null"}], **about}


def _describe(
    operation: Operation, schema_of: dict[str, Any], components: dict[str, Any]
) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Success"}
    if operation.status != 204:
        schema = schema_of.get(str(operation.response), {})
        success["content"] = {operation.media_type: {"schema": schema}}
    failure = {
        "description": "What is wrong, and where",
        "content": {"application/json": {"schema": schema_of[str(operation.error)]}},
    }
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": _operation_id(operation),
        "responses": {str(operation.status): success, "4XX": failure, "503": failure},
    }
    if parameters := _parameters(operation, components):
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema_of[str(operation.body)]}},
        }
    return described


def _parameters(operation: Operation, components: dict[str, Any]) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(operation.path)
    ]
    if operation.query is not None:
        properties = components.pop(operation.query.__name__)["properties"]
        parameters += [
            {"name": name, "in": "query", "schema": schema} for name, schema in properties.items()
        ]
    return parameters


def _operation_id(operation: Operation) -> str:
    words = re.findall(r"\w+", operation.path) or ["page"]
    return "_".join([operation.method.lower(), *words])
