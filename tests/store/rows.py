"""Rows as the services would write them."""

from __future__ import annotations

import os
from typing import Any

from tokenflowd.store import (
    ClassificationRecord,
    CompressionRecord,
    GenerationRecord,
    Message,
    RequestRecord,
    Store,
)


def compression(source: str = "some long text", **more: Any) -> RequestRecord:
    compression = CompressionRecord("o200k_base", "budget", 2, 3, 2, False, {"ratio": 0.5}, 3, 1.5)
    return RequestRecord(
        "compress",
        "test",
        input=source,
        output="long text",
        model="m",
        compression=compression,
        **more,
    )


def classification(prompt: str = "what is 2 + 2?", category: str = "reasoning") -> RequestRecord:
    found = ClassificationRecord(category, 0.9, {category: 0.9, "other": 0.1}, False, "big-model")
    return RequestRecord("classify", "test", input=prompt, model="m", classification=found)


def large() -> RequestRecord:
    """One that takes several steps to copy: 8 MB."""
    return RequestRecord("compress", "test", input=os.urandom(4_000_000).hex())


def generation(prompt: str = "why?", answer: str = "because", **more: Any) -> RequestRecord:
    fields: dict[str, Any] = {
        "wanted_model": "big",
        "route": "category reasoning, 0.90",
        "parameters": {"max_tokens": 5},
        "attempts": [{"provider": "a", "model": "big", "error": "timeout", "detail": "late"}],
        "provider": "b",
        "model": "small",
        "partial": False,
        "finish_reason": "stop",
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "tokens_counted_by": "provider",
        "ttft_ms": 250.0,
        "latency_ms": 650.0,
        "cost_usd": 0.001,
    }
    return RequestRecord(
        "generate",
        "test",
        input=prompt,
        output=answer,
        model="small",
        generation=GenerationRecord(**fields | more),
        messages=(Message("system", "Be brief."), Message("user", prompt)),
    )


def write(store: Store, *records: RequestRecord) -> None:
    futures = [store.write(record) for record in records]
    assert all(future.result(5) for future in futures)
