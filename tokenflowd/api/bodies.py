"""Reads what clients send: one decoder for every body and query, whose failures are 4xx."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec
from aiohttp import web

from tokenflowd.api.offload import Offload
from tokenflowd.api.parts import MEDIA_PARTS, holds
from tokenflowd.config import ServerConfig
from tokenflowd.errors import BadRequest, InvalidField, RequestTimeout, TooLarge

T = TypeVar("T", bound=msgspec.Struct)
Limit = Literal["max_body_bytes", "max_media_body_bytes"]
# What clients in Go and C# send for a field that nobody set, besides null.
_ZERO_VALUES: dict[str, Any] = {"possible_categories": [], "max_tokens": 0}
# One of these is in the first megabytes of every body that is large for its images or files.
_SIGNS_OF_MEDIA = (b'_url"', b'"input_', b'"image"', b'"file', b'"audio"', b";base64,")
# Decoding many small values keeps the event loop from running in any thread: 64 MiB of `[],` take
# 11 s, as much of an image 0.05 s. So larger bodies may have no more values than smaller ones.
_BYTES_PER_VALUE = 4
_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")


async def read_json(request: web.Request, schema: type[T], settings: ServerConfig) -> T:
    """The body as `schema`. Raises InvalidField and what `read_object` raises."""
    fields = await read_object(request, settings)
    return as_schema({_snake_case(name): value for name, value in fields.items()} | fields, schema)


async def read_object(request: web.Request, settings: ServerConfig) -> dict[str, Any]:
    """The body's fields as they are. Raises BadRequest, TooLarge, RequestTimeout."""
    return _decode(await _read(request, settings, "max_body_bytes"))


async def read_object_with_media(
    request: web.Request, settings: ServerConfig, offload: Offload
) -> dict[str, Any]:
    """As `read_object`, of a body that may be larger if its `messages` hold images, audio or files.

    Raises Busy, too.
    """
    body = await _read(request, settings, "max_media_body_bytes")
    if len(body) <= settings.max_body_bytes:
        return _decode(body)
    if body.count(b",") > settings.max_body_bytes // _BYTES_PER_VALUE:
        raise _large_without_media(settings)
    fields = await offload.run(_decode, body)
    if not holds(fields.get("messages"), MEDIA_PARTS):
        raise _large_without_media(settings)
    return fields


def _decode(body: bytearray) -> dict[str, Any]:
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is not valid JSON: {error}") from None
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
    if not isinstance(fields, dict):
        raise BadRequest("the body must be a JSON object")
    return fields


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


def as_openai_request(fields: dict[str, Any], schema: type[T]) -> T:
    """As `as_schema`, of a request under /v1. Raises BadRequest when it names no model."""
    if fields.get("model") in (None, ""):
        raise BadRequest("`model` is missing: name one; GET /v1/models lists those that are here")
    return as_schema(fields, schema)


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


async def _read(request: web.Request, settings: ServerConfig, setting: Limit) -> bytearray:
    limit: int = getattr(settings, setting)
    if (request.content_length or 0) > limit:
        raise _too_large(settings, setting)
    body = bytearray()
    may_be_large = False
    try:
        # A body that trickles in never times out by itself.
        async with asyncio.timeout(settings.body_timeout_s):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limit:
                    raise _too_large(settings, setting)
                if len(body) > settings.max_body_bytes and not may_be_large:
                    may_be_large = any(sign in body for sign in _SIGNS_OF_MEDIA)
                    if not may_be_large:
                        raise _large_without_media(settings)
    except TimeoutError:
        raise RequestTimeout(
            f"the body did not arrive within {settings.body_timeout_s:g} s"
        ) from None
    return body


def _too_large(settings: ServerConfig, setting: Limit) -> TooLarge:
    return TooLarge(f"the body has more than {getattr(settings, setting)} bytes (server.{setting})")


def _large_without_media(settings: ServerConfig) -> TooLarge:
    too_large = _too_large(settings, "max_body_bytes")
    return TooLarge(f"{too_large.detail}; only images, audio and files may make it larger")


def _snake_case(name: str) -> str:
    return _HUMP.sub(r"_\1", name).lower()
