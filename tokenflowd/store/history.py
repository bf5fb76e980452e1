"""Reads the history: pages, full-text search, one request with everything, an export."""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tokenflowd.errors import NotFound
from tokenflowd.store.database import reading
from tokenflowd.store.search import condition, terms_of

_SUMMARY = """
    SELECT r.id, r.created_at, r.kind, r.status, r.error_type, r.duration_ms, r.client, r.model,
           substr(i.text, 1, 200) AS preview,
           c.original_tokens, c.compressed_tokens,
           k.top_category AS category, k.confidence, x.category AS corrected_category,
           g.provider, g.partial, g.prompt_tokens, g.completion_tokens, g.ttft_ms, g.cost_usd
    FROM requests r
    LEFT JOIN texts i ON i.id = r.input_text_id
    LEFT JOIN texts o ON o.id = r.output_text_id
    LEFT JOIN compressions c ON c.request_id = r.id
    LEFT JOIN classifications k ON k.request_id = r.id
    LEFT JOIN corrections x ON x.request_id = r.id
    LEFT JOIN generations g ON g.request_id = r.id
"""
_DETAIL = """
    SELECT r.id, r.created_at, r.kind, r.status, r.error_type, r.error_detail, r.duration_ms,
           r.client, r.model, i.text AS input, o.text AS output,
           c.tokenizer, c.mode, c.budget, c.original_tokens, c.compressed_tokens, c.over_budget,
           c.options, k.top_category AS category, k.confidence, k.scores, k.multi_label,
           k.recommended_model, k.corrected_by, x.category AS corrected_category,
           g.wanted_model, g.provider, g.route, g.attempts, g.parameters, g.partial,
           g.finish_reason, g.prompt_tokens, g.completion_tokens, g.tokens_counted_by, g.ttft_ms,
           g.first_word_ms, g.latency_ms, g.cost_usd, g.compress_decision, g.saved_usd, g.saved_ms,
           (SELECT nullif(json_group_array(json_object('role', role, 'text', text)), '[]')
            FROM (SELECT m.role, t.text FROM messages m JOIN texts t ON t.id = m.text_id
                  WHERE m.request_id = r.id ORDER BY m.position)) AS messages,
           (SELECT nullif(json_group_object(p.name, t.text), '{}')
            FROM generation_parameters p JOIN texts t ON t.id = p.text_id
            WHERE p.request_id = r.id) AS large_parameters
    FROM requests r
    LEFT JOIN texts i ON i.id = r.input_text_id
    LEFT JOIN texts o ON o.id = r.output_text_id
    LEFT JOIN compressions c ON c.request_id = r.id
    LEFT JOIN classifications k ON k.request_id = r.id
    LEFT JOIN corrections x ON x.request_id = r.id
    LEFT JOIN generations g ON g.request_id = r.id
"""
# Of a prompt that was corrected more than once, the latest counts (SQLite takes the other columns
# from the row with the maximum).
_CORRECTIONS = """
    SELECT c.model, c.request_id, c.category, c.vector, max(c.created_at)
    FROM corrections c JOIN requests r ON r.id = c.request_id
    GROUP BY c.model, r.input_text_id
"""
_JSON_COLUMNS = ("options", "scores", "attempts", "parameters", "messages")
_FLAG_COLUMNS = ("over_budget", "multi_label", "partial")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which requests: all conditions must hold. `before` is the id to continue after, going
    back; `since` an ISO 8601 date or time in UTC."""

    query: str = ""
    kind: str = ""
    model: str = ""
    category: str = ""
    since: str = ""
    before: str = ""
    limit: int = 50


class History:
    """Reads with connections of its own that cannot write. Raises StoreDegraded."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def page(self, wanted: Filter, *, stop: threading.Event | None = None) -> list[dict[str, Any]]:
        """The latest requests that match, newest first, each with a preview of its input.
        Raises Cancelled when `stop` is set, and ReadTimeout."""
        with reading(self._path, stop=stop) as connection:
            where, parameters = _conditions(connection, wanted)
            sql = f"{_SUMMARY} {where} ORDER BY r.number DESC LIMIT :limit"
            rows = connection.execute(sql, {**parameters, "limit": wanted.limit})
            return [_decoded(row) for row in rows]

    def get(self, request_id: str) -> dict[str, Any]:
        """Everything about one request. Raises NotFound."""
        rows = self._rows(f"{_DETAIL} WHERE r.id = :id", {"id": request_id})
        if not rows:
            raise NotFound(f"the history has no request {request_id!r}")
        return rows[0]

    def corrections(self) -> dict[str, list[tuple[str, str, bytes]]]:
        """Request, category and vector of every corrected prompt, by the vectors' model."""
        found: dict[str, list[tuple[str, str, bytes]]] = {}
        with reading(self._path) as connection:
            for model, request_id, category, vector, _ in connection.execute(_CORRECTIONS):
                found.setdefault(model, []).append((request_id, category, vector))
        return found

    def export(self) -> Iterator[dict[str, Any]]:
        """Everything about every request, oldest first, read as it is consumed."""
        with reading(self._path, timeout_s=math.inf) as connection:
            for row in connection.execute(f"{_DETAIL} ORDER BY r.number"):
                yield _decoded(row)

    def is_whole(self) -> bool:
        """Whether SQLite finds no damage; reads the whole file."""
        with reading(self._path, timeout_s=math.inf) as connection:
            found: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        return found == "ok"

    def count(self) -> int:
        return int(self._rows("SELECT count(*) AS n FROM requests", {})[0]["n"])

    def _rows(self, sql: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        with reading(self._path) as connection:
            return [_decoded(row) for row in connection.execute(sql, parameters)]


def _conditions(connection: sqlite3.Connection, wanted: Filter) -> tuple[str, dict[str, Any]]:
    conditions = {
        "kind": "r.kind = :kind",
        "model": "r.model = :model",
        "category": """r.id IN (
            SELECT request_id FROM classifications WHERE top_category = :category
            UNION SELECT request_id FROM corrections WHERE category = :category
        )""",
        "since": "r.created_at >= :since",
        # The request itself may have been deleted since.
        "before": """r.number < coalesce(
            (SELECT number FROM requests WHERE id = :before),
            (SELECT max(number) + 1 FROM requests WHERE id < :before)
        )""",
    }
    parameters: dict[str, Any] = {
        name: getattr(wanted, name) for name in conditions if getattr(wanted, name)
    }
    clauses = [conditions[name] for name in parameters]
    if terms := terms_of(wanted.query):
        has_terms, values = condition(connection, terms)
        clauses.append(has_terms)
        parameters |= values
    return (f"WHERE {' AND '.join(clauses)}" if clauses else ""), parameters


def _decoded(row: sqlite3.Row) -> dict[str, Any]:
    """A row without its empty columns, JSON and flags as Python values."""
    values = {name: row[name] for name in row.keys() if row[name] is not None}  # noqa: SIM118
    for name in _JSON_COLUMNS:
        if name in values:
            values[name] = msgspec.json.decode(values[name])
    for name in _FLAG_COLUMNS:
        if name in values:
            values[name] = bool(values[name])
    # In the place where it was: the row of the generation has a null there.
    for name, value in msgspec.json.decode(values.pop("large_parameters", "{}")).items():
        values["parameters"][name] = msgspec.json.decode(value)
    return values
