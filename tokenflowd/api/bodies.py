"""Reads what clients send: one decoder for every body and query, whose failures are 4xx."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec
from aiohttp import web

from tokenflowd.config import ServerConfig
from tokenflowd.errors import BadRequest, InvalidField, RequestTimeout, TooLarge

T = TypeVar("T", bound=msgspec.Struct)
Limit = Literal["max_body_bytes", "max_media_body_bytes"]
# What clients in Go and C# send for a field that nobody set, besides null.
_ZERO_VALUES: dict[str, Any] = {"possible_categories": [], "max_tokens": 0}
_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")


async def read_json(request: web.Request, schema: type[T], settings: ServerConfig) -> T:
    """The body as `schema`. Raises InvalidField and what `read_object` raises."""
    fields, _ = await read_object(request, settings)
    return as_schema({_snake_case(name): value for name, value in fields.items()} | fields, schema)


async def read_object(
    request: web.Request, settings: ServerConfig, limit: Limit = "max_body_bytes"
) -> tuple[dict[str, Any], int]:
    """The body's fields as they are, and its size in bytes. Raises BadRequest, TooLarge,
    RequestTimeout."""
    body = await _read(request, settings, limit)
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is not valid JSON: {error}") from None
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
    if not isinstance(fields, dict):
        raise BadRequest("the body must be a JSON object")
    return fields, len(body)


def read_query(query: Mapping[str, str], schema: type[T]) -> T:
    """The query string as `schema`. Raises InvalidField."""
    return as_schema(dict(query), schema, strict=False)


def as_schema(fields: dict[str, Any], schema: type[T], *, strict: bool = True) -> T:
    """Optional fields that are null or empty are left to their defaults. Raises InvalidField,
    naming the field's path."""
    try:
        return msgspec.convert(_present(fields, schema), schema, strict=strict)
    except msgspec.ValidationError as error:
        raise InvalidField(str(error)) from None


def _present(fields: dict[str, Any], schema: type[msgspec.Struct]) -> dict[str, Any]:
    """The fields that say something, of `fields` and of the objects in it."""
    present = dict(fields)
    for known in _fields_of(schema):
        value = fields.get(known.encode_name)
        if not known.required and _is_absent(known.encode_name, value):
            present.pop(known.encode_name, None)
        elif isinstance(value, dict) and _is_struct(known.type):
            present[known.encode_name] = _present(value, known.type)
    return present


def _is_absent(name: str, value: Any) -> bool:
    zero = _ZERO_VALUES.get(name)
    return value is None or (type(value) is type(zero) and value == zero)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


_fields_of = functools.cache(msgspec.structs.fields)


async def _read(request: web.Request, settings: ServerConfig, name: Limit) -> bytes:
    limit: int = getattr(settings, name)
    too_large = TooLarge(f"the body has more than {limit} bytes (server.{name})")
    if (request.content_length or 0) > limit:
        raise too_large
    body = bytearray()
    try:
        # A body that trickles in never times out by itself.
        async with asyncio.timeout(settings.body_timeout_s):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limit:
                    raise too_large
    except TimeoutError:
        raise RequestTimeout(
            f"the body did not arrive within {settings.body_timeout_s:g} s"
        ) from None
    return bytes(body)


def _snake_case(name: str) -> str:
    return _HUMP.sub(r"_\1", name).lower()
