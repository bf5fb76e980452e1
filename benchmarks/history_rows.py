"""A history as years of use would leave it, for measuring what reads it."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from pydoc_data.topics import topics

from ulid import ULID

from tokenflowd.route import DEFAULT_CATEGORIES
from tokenflowd.store import (
    ClassificationRecord,
    CompressionRecord,
    GenerationRecord,
    Message,
    RequestRecord,
    Store,
)

YEARS = 2
IN_FLIGHT = 2_000  # records that wait for the writer
SEED = 20_251_124
KINDS = ("select", "select", "generate", "chat", "compress", "classify")
MODELS = ("llama-3.3-70b-versatile", "llama-3.1-8b-instant", "openai/gpt-oss-120b", "qwen3-32b")


def fill(home: Path, rows: int) -> None:
    """Writes `rows` requests of the last years into the history of `home`, oldest first, the same
    ones every time. No daemon may run there meanwhile. Raises AlreadyRunning, StoreDegraded."""
    store = Store(home / "tokenflow.db")
    try:
        waiting: deque[Future[bool]] = deque()
        for record in _records(rows):
            waiting.append(store.write(record))
            if len(waiting) >= IN_FLIGHT:
                _written(waiting.popleft())
        for future in waiting:
            _written(future)
    finally:
        store.close()


def _written(future: Future[bool]) -> None:
    if not future.result():
        raise RuntimeError("the history could not be written")


def _records(rows: int) -> Iterator[RequestRecord]:
    rng = random.Random(SEED)
    words = " ".join(topics.values()).split()
    start = datetime.now(UTC) - timedelta(days=365 * YEARS)
    step = timedelta(days=365 * YEARS) / max(rows, 1)
    for number in range(rows):
        yield _record(rng, words, number, start + step * (number + 1))


def _record(
    rng: random.Random, words: Sequence[str], number: int, moment: datetime
) -> RequestRecord:
    kind = rng.choice(KINDS)
    # Most prompts are short; some carry a file.
    prompt = f"{_text(rng, words, int(rng.paretovariate(1.2) * 12) % 600 + 4)} #{number}"
    answer = None if kind == "classify" else _text(rng, words, rng.randrange(5, 120))
    model = "tokenflow-compressor" if kind == "compress" else rng.choice(MODELS)
    failed = rng.random() < 0.02
    is_asked = kind in ("select", "generate", "chat")
    return RequestRecord(
        kind=kind,
        client="tokenflow-tui",
        input=prompt,
        output=None if failed else answer,
        model=model,
        duration_ms=rng.uniform(5, 4_000),
        error_type="provider error" if failed else None,
        error_detail="groq answered 503: over capacity" if failed else None,
        compression=_compression(rng, prompt) if kind == "compress" else None,
        classification=_classification(rng) if kind in ("select", "classify") else None,
        generation=_generation(rng, prompt, model, failed) if is_asked else None,
        messages=(Message("user", prompt),) if is_asked else (),
        id=str(ULID.from_datetime(moment)),
        created_at=moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    )


def _text(rng: random.Random, words: Sequence[str], count: int) -> str:
    start = rng.randrange(len(words) - count)
    return " ".join(words[start : start + count])


def _compression(rng: random.Random, prompt: str) -> CompressionRecord:
    original = len(prompt) // 4 + 1
    kept = max(1, round(original * rng.uniform(0.3, 0.9)))
    return CompressionRecord(
        "o200k_base", "budget", kept, original, kept, False, {"ratio": 0.5}, original, 40.0
    )


def _classification(rng: random.Random) -> ClassificationRecord:
    top = rng.choice(DEFAULT_CATEGORIES)
    confidence = rng.uniform(0.3, 0.99)
    rest = (1 - confidence) / (len(DEFAULT_CATEGORIES) - 1)
    scores = {top: confidence} | {name: rest for name in DEFAULT_CATEGORIES if name != top}
    return ClassificationRecord(top, confidence, scores, False, MODELS[0])


def _generation(rng: random.Random, prompt: str, model: str, failed: bool) -> GenerationRecord:
    route, parameters = "ranks first", {"temperature": 0.7, "max_tokens": 2048}
    if failed:
        attempt = {"provider": "groq", "model": model, "error": "provider error", "detail": "503"}
        return GenerationRecord(model, route, parameters, attempts=[attempt])
    completion = rng.randrange(5, 400)
    ttft = rng.uniform(80, 900)
    return GenerationRecord(
        wanted_model=model,
        route=route,
        parameters=parameters,
        provider="groq",
        model=model,
        partial=False,
        finish_reason="stop",
        prompt_tokens=len(prompt) // 4 + 1,
        completion_tokens=completion,
        tokens_counted_by="provider",
        ttft_ms=ttft,
        first_word_ms=ttft,
        latency_ms=ttft + completion * 10,
        cost_usd=completion * 8e-7,
    )
