"""Long tests: how long they are is asked for, and what they measured is told at the end.

`pytest --soak 1` runs them, and nothing else, at their full size; `--soak 0.01` at a hundredth.
Times depend on the machine, so they are figures beside their bars and fail nothing.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

LONGEST_S = 3600


@dataclass(frozen=True)
class Figure:
    name: str
    value: float
    unit: str
    below: float | None = None  # RELIABILITY's bar, where there is one

    def __str__(self) -> str:
        bar = "" if self.below is None else f"< {self.below:g} {self.unit}"
        verdict = "" if self.below is None else "kept" if self.value < self.below else "MISSED"
        return f"{self.name:<58} {self.value:>10.4g} {self.unit:<9} {bar:<10} {verdict}".rstrip()


class Soak:
    """How much of the full size is wanted, and the figures so far."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.figures: list[Figure] = []

    def size(self, full: int, least: int = 1) -> int:
        return max(least, round(full * self.share))

    def figure(self, name: str, value: float, unit: str, below: float | None = None) -> None:
        self.figures.append(Figure(name, value, unit, below))


def percentile(values: Sequence[float], percent: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]


_SOAK = pytest.StashKey[Soak]()


def pytest_addoption(parser: pytest.Parser) -> None:
    options = parser.getgroup("soak")
    options.addoption(
        "--soak", type=float, default=0.0, metavar="SHARE", help="the long tests, at this size"
    )
    options.addoption("--soak-json", type=Path, metavar="FILE", help="their figures, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SOAK] = Soak(config.getoption("--soak"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = config.stash[_SOAK].share > 0
    others = [item for item in items if bool(item.get_closest_marker("soak")) is not wanted]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]
    if wanted:
        for item in items:
            item.add_marker(pytest.mark.timeout(LONGEST_S))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    config = terminalreporter.config
    soak = config.stash[_SOAK]
    if soak.figures:
        terminalreporter.section(f"figures at {soak.share:g} of the full size")
        for figure in soak.figures:
            terminalreporter.write_line(str(figure))
    if file := config.getoption("--soak-json"):
        content = {
            "share": soak.share,
            "machine": platform.platform(),
            "python": platform.python_version(),
            "figures": [asdict(figure) for figure in soak.figures],
        }
        file.write_text(json.dumps(content, indent=2) + "\n")


@pytest.fixture
def soak(request: pytest.FixtureRequest) -> Soak:
    return request.config.stash[_SOAK]
