"""`"compress": "auto"`: only where it saves time or money."""

from __future__ import annotations

import pytest

from tokenflowd.config import RouteConfig
from tokenflowd.route import Measured, decide
from tokenflowd.route.break_even import MIN_TOKENS

SETTINGS = RouteConfig(auto_ratio=0.5, auto_max_delay_s=1.0)
FAST = 10_000.0  # tokens a second that the compressor reads


@pytest.mark.parametrize(
    ("tokens", "measured", "compresses", "says"),
    [
        # A CPU reads 100 tokens/s: 5,000 tokens less are 50 s, for half a second.
        (10_000, Measured(FAST, 0.01, None), True, "saves 49 s"),
        # A fast provider without a price: half a second for nothing.
        (
            5_000,
            Measured(FAST, 0.00002, None),
            False,
            "saves no money, delays the first token by 0.45 s",
        ),
        # The same provider for money: 2,500 tokens of $0.60 a million.
        (5_000, Measured(FAST, 0.00002, 0.60), True, "saves $0.0015 for 0.45 s"),
        # Money, but at the price of too long a wait.
        (50_000, Measured(FAST, 0.0, 0.60), False, "by 5 s"),
        # Nothing is known of the provider's speed.
        (5_000, Measured(FAST, None, None), False, "is not measured yet"),
        (5_000, Measured(FAST, None, 0.60), True, "for 0.5 s"),
        # Free of charge is not a saving.
        (5_000, Measured(FAST, None, 0.0), False, "saves no money"),
        # Nothing is known of our own speed: a slow one is assumed.
        (2_000, Measured(None, 0.01, None), True, "saves 9.5 s"),
        (MIN_TOKENS - 1, Measured(FAST, 1.0, 100.0), False, "too few"),
    ],
)
def test_it_compresses_where_that_pays(
    tokens: int, measured: Measured, compresses: bool, says: str
) -> None:
    decision = decide(tokens, measured, SETTINGS)
    assert decision.compress is compresses
    assert says in decision.reason


def test_savings_are_unknown_without_a_measurement_or_a_price() -> None:
    assert Measured().saved_usd(1000) is None
    assert Measured().saved_s(1000, 0.1) is None


def test_savings_are_priced_and_net_of_the_compression() -> None:
    measured = Measured(FAST, 0.001, 0.15)
    assert measured.saved_usd(1_000_000) == pytest.approx(0.15)
    assert measured.saved_s(1000, 0.25) == pytest.approx(0.75)
