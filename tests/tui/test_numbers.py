"""Figures as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tokenflow_tui import numbers


@pytest.mark.parametrize(
    ("amount", "says"),
    [
        (0, "$0.00"),
        (0.000123, "$0.00012"),
        (2e-7, "<$0.00001"),
        (0.5, "$0.50"),
        (1234.5, "$1,234.50"),
    ],
)
def test_dollars(amount: float, says: str) -> None:
    assert numbers.dollars(amount) == says


def test_tokens_and_times() -> None:
    assert (numbers.tokens(1234), numbers.tokens(2_500_000)) == ("1,234", "2.5M")
    assert (numbers.milliseconds(12.4), numbers.milliseconds(1530)) == ("12 ms", "1.5 s")
    assert numbers.saved_share(412, 279) == "−32%"


@pytest.mark.parametrize(
    ("seconds", "says"), [(5, "now"), (300, "5m"), (7300, "2h"), (3 * 86_400, "3d")]
)
def test_age(seconds: int, says: str) -> None:
    moment = datetime.now(UTC) - timedelta(seconds=seconds)
    assert numbers.age(moment.isoformat().replace("+00:00", "Z")) == says


def test_an_old_time_is_a_date_and_none_is_nothing() -> None:
    assert numbers.age("2020-03-01T10:00:00Z") == "2020-03-01"
    assert numbers.age("") == ""
