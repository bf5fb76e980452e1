"""A history as someone who works with it would have: for pictures and snapshots of the client."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from ulid import ULID

from tokenflowd.store import (
    ClassificationRecord,
    CompressionRecord,
    GenerationRecord,
    Message,
    RequestRecord,
    Store,
    iso_time,
)

DAYS = 30
BIG, SMALL, ABROAD = "openai/gpt-oss-120b", "openai/gpt-oss-20b", "qwen/qwen3.8-27b"
# USD for a token in and out, and how long the first token typically takes.
MODELS = {
    BIG: (0.15e-6, 0.60e-6, 310.0),
    SMALL: (0.075e-6, 0.30e-6, 180.0),
    ABROAD: (0.80e-6, 4.00e-6, 420.0),
}


class Exchange(NamedTuple):
    prompt: str
    answer: str
    category: str
    model: str


EXCHANGES = (
    Exchange(
        "Two trains leave at 9:00 and 9:20, at 80 and 100 km/h. When does the second catch up?",
        "At **10:40**. The first is 26.7 km ahead at 9:20, and the gap shrinks by 20 km an hour: "
        "80 minutes.",
        "reasoning",
        BIG,
    ),
    Exchange(
        "Translate into Portuguese: the delivery arrives on Thursday before noon.",
        "A entrega chega na quinta-feira antes do meio-dia.",
        "multilingual",
        ABROAD,
    ),
    Exchange(
        "Shorten this for a status page: we have found the cause of the slow searches, an index "
        "that was rebuilt at noon, and are putting the old one back.",
        "Searches are slow since noon because of an index rebuild. The old index is being "
        "restored.",
        "text-to-text",
        SMALL,
    ),
    Exchange(
        "Which tool do I call to list the open tickets of a customer, and with what arguments?",
        '```json\n{"tool": "list_tickets", "arguments": {"customer": "c-1042", "state": "open"}}\n'
        "```",
        "function-calling",
        BIG,
    ),
    Exchange(
        "Is a queue with two stacks amortised constant time? Prove it.",
        "Yes. Each element is pushed twice and popped twice over its life, so n operations cost "
        "at most 4n.",
        "reasoning",
        BIG,
    ),
    Exchange(
        "Write a friendly reminder that the office plants need water on Fridays.",
        "Hello all,\n\na small reminder from our plants: Friday is water day. Thank you!",
        "text-to-text",
        SMALL,
    ),
    Exchange(
        "Traduis en anglais : la réunion est reportée à lundi, même heure.",
        "The meeting is postponed to Monday, same time.",
        "multilingual",
        ABROAD,
    ),
    Exchange(
        "Why does my test pass alone and fail in the suite?",
        "Shared state, most likely:\n\n- a module-level cache\n- an environment variable\n- a port "
        "or a file that another test holds\n\nRun the suite in random order to find the pair.",
        "reasoning",
        BIG,
    ),
    Exchange(
        "Turn these notes into three bullet points: bread sold out by ten, the new oven is slow, "
        "Mia wants Tuesdays off.",
        "- Bread is sold out by ten\n- The new oven is slow\n- Mia would like Tuesdays off",
        "text-to-text",
        SMALL,
    ),
    Exchange(
        "Call the weather service for Bergen and tell me whether to take an umbrella.",
        '```json\n{"tool": "forecast", "arguments": {"place": "Bergen", "hours": 12}}\n```',
        "function-calling",
        SMALL,
    ),
    Exchange(
        "What is the fewest weighings to find one light coin among twelve?",
        "Three: each weighing has three outcomes, and 3³ = 27 ≥ 12.",
        "reasoning",
        BIG,
    ),
    Exchange(
        "Explain database indexes to someone who knows libraries.",
        "An index is the card catalogue: it does not hold the books, only where each one stands, "
        "in an order that is quick to search.",
        "text-to-text",
        SMALL,
    ),
    Exchange(
        "Would an index on (customer, day) help a query that only filters by day?",
        "Hardly: rows of one day are scattered over all customers. Index `(day, customer)`, or "
        "`day` alone.",
        "reasoning",
        BIG,
    ),
    Exchange(
        "Übersetze ins Englische: Das Register steht auf Seite 212, der Index danach.",
        "The register is on page 212, followed by the index.",
        "multilingual",
        ABROAD,
    ),
    Exchange(
        "Ask the search service to rebuild the index of the archive tonight.",
        '```json\n{"tool": "rebuild", "arguments": {"index": "archive", "at": "02:00"}}\n```',
        "function-calling",
        BIG,
    ),
    Exchange(
        "Name a children's book about a lighthouse in four ways, each under five words.",
        "- The Lamp Above Waves\n- Nora Keeps the Light\n- Goodnight, Lighthouse\n- Foghorn Finds "
        "a Friend",
        "text-to-text",
        SMALL,
    ),
)
NOTES = (
    "Well, as you can probably imagine, the backup of db-2 did not actually finish on Tuesday, "
    "because the disk was basically full, and so somebody really has to clean up before 18:00.",
    "We basically agreed that the release will, if nothing else comes up, go out on the 14th, and "
    "that Ana is going to be the one who writes to the three customers who asked for it.",
)
SHORTER = (
    "backup of db-2 did not finish Tuesday, disk full, somebody clean up before 18:00.",
    "agreed release go out 14th, Ana writes to three customers who asked.",
)


def fill(store: Store, now: datetime, seed: int = 7) -> None:
    """The days up to `now`: fewer requests on some, an error here and there. The same `now` and
    `seed` give the same rows."""
    chance = random.Random(seed)
    moments = []
    for ago in range(DAYS):
        day = now - timedelta(days=ago)
        count = chance.randint(3, 8) if day.weekday() >= 5 else chance.randint(14, 34)
        moments += [day - timedelta(minutes=chance.uniform(2, 9 * 60)) for _ in range(count)]
    exchanges = [EXCHANGES[number % len(EXCHANGES)] for number in range(len(moments))]
    futures = [
        store.write(_record(moment, exchange, chance))
        for moment, exchange in zip(sorted(moments), exchanges, strict=True)
    ]
    assert all(future.result(30) for future in futures)


def _record(moment: datetime, exchange: Exchange, chance: random.Random) -> RequestRecord:
    milliseconds = int(moment.timestamp() * 1000)
    identifier = str(ULID.from_bytes(milliseconds.to_bytes(6, "big") + chance.randbytes(10)))
    kind = chance.random()
    if kind < 0.12:
        record = _compressed(chance)
    else:
        record = _answered(exchange, chance)
        if kind > 0.97:
            record = replace(
                record,
                output=None,
                error_type="rate limited",
                error_detail="groq: too many requests, try again in 12 s",
                generation=None,
            )
    return replace(record, id=identifier, created_at=iso_time(moment))


def _compressed(chance: random.Random) -> RequestRecord:
    number = chance.randrange(len(NOTES))
    original = chance.randint(400, 1600)
    kept = int(original * chance.uniform(0.45, 0.6))
    ms = original * 0.21
    return RequestRecord(
        "compress",
        "tokenflow-tui",
        input=NOTES[number],
        output=SHORTER[number],
        model="tokenflow-compressor",
        duration_ms=ms,
        compression=CompressionRecord(
            "o200k_base", "budget", original // 2, original, kept, False, {"ratio": 0.5},
            original, ms,
        ),
    )  # fmt: skip


def _answered(exchange: Exchange, chance: random.Random) -> RequestRecord:
    price_in, price_out, first = MODELS[exchange.model]
    original = chance.randint(200, 2600)
    shares = chance.random() < 0.5
    sent = int(original * chance.uniform(0.5, 0.7)) if shares else original
    said = chance.randint(60, 700)
    ttft = first * chance.lognormvariate(0, 0.35) + sent * 0.02
    latency = ttft + said * chance.uniform(2.5, 4.5)
    score = chance.uniform(0.62, 0.97)
    others = [c for c in ("reasoning", "text-to-text", "multilingual") if c != exchange.category]
    scores = {exchange.category: score, others[0]: (1 - score) * 0.7, others[1]: (1 - score) * 0.3}
    return RequestRecord(
        "select",
        "tokenflow-tui",
        input=exchange.prompt,
        output=exchange.answer,
        model=exchange.model,
        duration_ms=latency,
        classification=ClassificationRecord(
            exchange.category, score, scores, False, exchange.model
        ),
        compression=CompressionRecord(
            "o200k_base", "budget", sent, original, sent, False, {"ratio": 0.6}, original,
            original * 0.21,
        )
        if shares
        else None,
        generation=GenerationRecord(
            wanted_model=exchange.model,
            route=f"category {exchange.category}, {score:.2f}",
            parameters={"temperature": 0.7, "max_tokens": 2048},
            provider="groq",
            model=exchange.model,
            partial=False,
            finish_reason="stop",
            prompt_tokens=sent,
            completion_tokens=said,
            tokens_counted_by="provider",
            ttft_ms=ttft,
            latency_ms=latency,
            cost_usd=sent * price_in + said * price_out,
            compress_decision="asked for" if shares else None,
            saved_usd=(original - sent) * price_in if shares else None,
        ),
        messages=(Message("user", exchange.prompt),),
    )  # fmt: skip
