"""Figures as people read them."""

from __future__ import annotations

from datetime import UTC, datetime


def tokens(count: float) -> str:
    """1,234 or 1.2M."""
    return f"{count / 1e6:.1f}M" if count >= 1e6 else f"{count:,.0f}"


def dollars(amount: float) -> str:
    if amount == 0 or amount >= 0.1:
        return f"${amount:,.2f}"
    return f"${amount:.5f}".rstrip("0") if amount >= 0.00001 else "<$0.00001"


def counted(count: int, noun: str) -> str:
    """1 turn, 2 turns."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def milliseconds(ms: float) -> str:
    return f"{ms / 1000:.1f} s" if ms >= 1000 else f"{ms:.0f} ms"


def saved_share(original: int, compressed: int) -> str:
    """−32%: what compressing took away."""
    return f"−{1 - compressed / original:.0%}" if original else "−0%"


def age(iso: str) -> str:
    """How long ago a time in UTC was: now, 5m, 3h, 2d, else its date."""
    try:
        moment = datetime.fromisoformat(iso).astimezone(UTC)
    except ValueError:
        return ""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    for limit, unit, letter in ((3600, 60, "m"), (86_400, 3600, "h"), (7 * 86_400, 86_400, "d")):
        if seconds < limit:
            return f"{int(seconds // unit)}{letter}" if seconds >= 60 else "now"
    return moment.strftime("%Y-%m-%d")
