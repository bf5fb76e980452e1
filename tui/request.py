"""One request as the history tells it: what was asked, what came of it, and the figures.

`request` is the JSON of GET /api/history/{id}; of a row of GET /api/history where it says so.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tokenflow_tui.numbers import age, dollars, milliseconds, saved_share, tokens

Request = dict[str, Any]
ASKED = ("generate", "select", "chat")
_CONTROLS = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160)), " ") | {13: None}


def plain(text: str) -> str:
    """Without characters that would move a terminal's cursor or change its colours."""
    return text.translate(_CONTROLS)


def prompt(request: Request) -> str:
    return str(request.get("input") or "")


def answer(request: Request) -> str:
    """For a compression what was left of the text."""
    return str(request.get("output") or "")


def conversation(request: Request) -> list[tuple[str, str]]:
    """Role and text of what was sent, but for a last message that is the prompt itself."""
    said = [(message["role"], message["text"]) for message in request.get("messages", [])]
    return said[:-1] if said and said[-1][1] == prompt(request) else said


def category(request: Request) -> str:
    """Also of a row: the corrected one, if it was corrected."""
    return str(request.get("corrected_category") or request.get("category") or "")


def saved(request: Request) -> str:
    """Also of a row: the share that compressing took away, such as −32%."""
    original = request.get("original_tokens")
    return saved_share(original, request["compressed_tokens"]) if original else ""


def when(request: Request) -> str:
    """In the time of this place."""
    try:
        moment = datetime.fromisoformat(request["created_at"]).astimezone()
    except ValueError:
        return str(request["created_at"])
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def problem(request: Request) -> str:
    """What went wrong, or ""."""
    if request["status"] == "error":
        return str(request.get("error_detail") or request.get("error_type") or "it failed")
    return "the answer broke off" if request.get("partial") else ""


def facts(request: Request) -> list[tuple[str, str]]:
    """Names and values of all that is known besides the texts."""
    found = [
        ("when", when(request) + _ago(request)),
        ("took", milliseconds(request["duration_ms"])),
        ("client", request.get("client", "")),
        ("model", _model(request)),
        ("route", request.get("route", "")),
        ("category", _category(request)),
        ("tokens", _tokens(request)),
        ("speed", _speed(request)),
        ("cost", _cost(request)),
        ("compress", request.get("compress_decision", "")),
        ("settings", _settings(request.get("parameters") or request.get("options") or {})),
    ]
    found += [("tried", _attempt(attempt)) for attempt in request.get("attempts", [])]
    return [(name, plain(value)) for name, value in found if value]


def as_markdown(request: Request) -> str:
    """The whole request as a document."""
    is_asked = request["kind"] in ASKED
    parts = [f"# {request['kind'].capitalize()}, {when(request)}"]
    parts.append("\n".join(f"- {name}: {value}" for name, value in facts(request)))
    if problem(request):
        parts.append(f"**{problem(request)}**")
    if scores := request.get("scores"):
        parts.append("\n".join(f"- {name}: {score:.3f}" for name, score in scores.items()))
    parts += [f"## {role.capitalize()}\n\n{text}" for role, text in conversation(request)]
    parts.append(f"## {'Prompt' if is_asked else 'Text'}\n\n{prompt(request)}")
    if answer(request):
        parts.append(f"## {'Answer' if is_asked else 'Compressed'}\n\n{answer(request)}")
    return "\n\n".join(parts) + "\n"


def _ago(request: Request) -> str:
    span = age(request["created_at"])
    return f", {span} ago" if span.endswith(("m", "h", "d")) else ""


def _model(request: Request) -> str:
    model, wanted = request.get("model") or "", request.get("wanted_model")
    instead = f" instead of {wanted}" if wanted and wanted != model else ""
    return " ".join(filter(None, (model, request.get("provider")))) + instead


def _category(request: Request) -> str:
    if "category" not in request:
        return ""
    found = f"{request['category']} {request['confidence']:.2f}"
    if corrected := request.get("corrected_category"):
        found += f", corrected to {corrected}"
    if request.get("corrected_by"):
        found += ", as a correction of yours has it"
    return found


def _tokens(request: Request) -> str:
    counts = []
    if original := request.get("original_tokens"):
        kept = tokens(request["compressed_tokens"])
        counts.append(f"{tokens(original)} → {kept} ({saved(request)})")
    if (count := request.get("prompt_tokens")) is not None:
        counts.append(f"{tokens(count)} sent")
    if (count := request.get("completion_tokens")) is not None:
        counts.append(f"{tokens(count)} answered")
    if request.get("tokens_counted_by") == "tokenflow":
        counts.append("counted here")
    return ", ".join(counts)


def _speed(request: Request) -> str:
    first, total = request.get("ttft_ms"), request.get("latency_ms")
    if first is None or total is None:
        return ""
    speed = f"first token after {milliseconds(first)}"
    if (word := request.get("first_word_ms")) is not None and word > first:
        speed += f", first word after {milliseconds(word)}"
    if total > first and request.get("completion_tokens"):
        speed += f", then {request['completion_tokens'] / (total - first) * 1000:.0f} tokens/s"
    return speed


def _cost(request: Request) -> str:
    costs = []
    if (cost := request.get("cost_usd")) is not None:
        costs.append(dollars(cost))
    if (less := request.get("saved_usd")) is not None:
        costs.append(f"{dollars(less)} saved")
    if (less := request.get("saved_ms")) is not None and less > 0:
        costs.append(f"{milliseconds(less)} saved")
    return ", ".join(costs)


def _settings(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in values.items()
        if value not in (None, False, "", []) and not name.startswith("stream")
    )


def _attempt(attempt: dict[str, str]) -> str:
    asked = " ".join(filter(None, (attempt.get("model"), attempt.get("provider"))))
    return f"{asked}: {attempt.get('detail') or attempt.get('error', '')}"
