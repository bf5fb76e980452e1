"""POST /api/compress."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from aiohttp import web
from msgspec import UNSET

from tokenflowd.api.bodies import read_json
from tokenflowd.api.guards import json_response
from tokenflowd.api.offload import Offload
from tokenflowd.api.recording import Draft, Recorder
from tokenflowd.api.schemas import CompressRequest, CompressResponse, WordOut
from tokenflowd.compress import Compression, CompressionOptions
from tokenflowd.compress.tokens import BUDGET_ENCODING
from tokenflowd.services import Services
from tokenflowd.store import CompressionRecord


class CompressResource:
    def __init__(self, services: Services, offload: Offload, recorder: Recorder) -> None:
        self._services = services
        self._offload = offload
        self._recorder = recorder

    async def post(self, request: web.Request) -> web.Response:
        async def work(draft: Draft) -> CompressResponse:
            wanted = await read_json(request, CompressRequest, self._services.config.server)
            draft.input = wanted.text
            compressor = await self._offload.run(self._services.compressor_for, wanted.text)
            draft.model = compressor.model.manifest.id
            options = options_of(wanted)
            started = time.monotonic()
            compression = await self._offload.run_stoppable(
                compressor.compress, wanted.text, options
            )
            compress_ms = (time.monotonic() - started) * 1000
            draft.output = lambda: compression.compressed_text
            draft.compression = record_of([compression], options, compress_ms)
            return answer_of(compression, draft.id, draft.model, draft.elapsed_ms)

        return json_response(await self._recorder.record("compress", request, work))


def options_of(wanted: CompressRequest) -> CompressionOptions:
    return CompressionOptions(
        ratio=wanted.ratio,
        target_tokens=wanted.target_token if wanted.ratio is None else None,
        mode=wanted.mode,
        force_tokens=tuple(wanted.force_tokens),
        force_reserve_digit=wanted.force_reserve_digit,
        drop_consecutive=wanted.drop_consecutive,
        preserve=None if wanted.preserve is None else tuple(wanted.preserve),
        question=wanted.question,
        return_words=wanted.return_words,
    )


def record_of(
    compressions: Sequence[Compression], options: CompressionOptions, compress_ms: float
) -> CompressionRecord:
    """The history's row for texts that were compressed together, at least one; `options` holds
    what differs from the defaults."""
    default = CompressionOptions()
    named = {name: getattr(options, name) for name in CompressionOptions.__slots__}
    asked: dict[str, Any] = {
        name: value for name, value in named.items() if value != getattr(default, name)
    }
    asked.pop("return_words", None)
    asked.pop("ranks_asks_first", None)
    return CompressionRecord(
        tokenizer=BUDGET_ENCODING,
        mode=compressions[0].mode,
        budget=sum(compression.budget for compression in compressions),
        original_tokens=sum(compression.original_tokens for compression in compressions),
        compressed_tokens=sum(compression.compressed_tokens for compression in compressions),
        over_budget=any(compression.over_budget for compression in compressions),
        options=asked,
        model_tokens=sum(compression.model_tokens for compression in compressions),
        compress_ms=round(compress_ms, 3),
    )


def answer_of(
    compression: Compression, request_id: str, model_id: str, latency_ms: float
) -> CompressResponse:
    words = compression.words
    return CompressResponse(
        id=request_id,
        original_text=compression.original_text,
        compressed_text=compression.compressed_text,
        original_tokens=compression.original_tokens,
        compressed_tokens=compression.compressed_tokens,
        compression_ratio=round(compression.compression_ratio, 4),
        over_budget=compression.over_budget,
        model=model_id,
        tokenizer=BUDGET_ENCODING,
        latency_ms=round(latency_ms, 3),
        words=UNSET
        if words is None
        else [WordOut(word.text, word.keep, word.probability) for word in words],
    )
