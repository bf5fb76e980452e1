"""Texts that are made to be slow: every pattern is linear, and what takes long can be stopped.

A pattern that tries all ways to split a run takes minutes for these texts, and holds the
interpreter's lock meanwhile, so that nobody is answered. It would meet the test's time limit.
"""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import tokenflow_tui
import tokenflowd
from tests.conftest import Daemon
from tokenflowd.compress import CompressionOptions, Compressor
from tokenflowd.errors import Cancelled

# Quadratic patterns were seen to take 50 s and more for so many characters, linear ones 0.05 s.
CHARS = 60_000
TIME_LIMIT_S = 30
ALPHABET = [
    *"Aa1x_-./:\"\\ \n\t`~{[()]}<>#*+|@$%é漢あカ。、—=&',",
    *("\u0301", "\u200d", "\r\n", "http://", "www.", "not ", '"a": ', "12 ", "Anna:", "```\n"),
    *("A1", "1.", "a_", "ab/", "a@", "[ ", "aA", "- ", "(a", "a-", "%s"),
]
ENDS = ("", "x")


def patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    """All of the daemon's and the client's, by the module and name that they stand under."""
    seen = set()
    for package in (tokenflowd, tokenflow_tui):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.endswith("__main__") or ".export." in module.name:
                continue
            for name, value in vars(importlib.import_module(module.name)).items():
                values = value.values() if isinstance(value, dict) else [value]
                for pattern in values:
                    if isinstance(pattern, re.Pattern) and pattern not in seen:
                        seen.add(pattern)
                        yield f"{module.name}.{name}[{pattern.pattern[:20]}]", pattern


@pytest.mark.timeout(TIME_LIMIT_S)
@pytest.mark.parametrize("pattern", [pytest.param(p, id=name) for name, p in patterns()])
def test_a_pattern_takes_time_in_proportion(pattern: re.Pattern[str]) -> None:
    for unit, end in itertools.product(ALPHABET, ENDS):
        for _ in pattern.finditer(unit[0] + unit * (CHARS // len(unit)) + end):
            pass


@pytest.mark.timeout(TIME_LIMIT_S)
@pytest.mark.parametrize("unit", ["#\n", "A1", "\u0301", "\u200d", "- [ ] ", "{", "a\u0301", "|"])
def test_a_text_of_one_thing_is_compressed(compressor: Compressor, unit: str) -> None:
    text = unit * (CHARS // len(unit)) + "x"
    compression = compressor.compress(text, CompressionOptions(ratio=0.5))
    assert compression.compressed_tokens <= compression.budget or compression.over_budget


@pytest.mark.parametrize("unit", ["\u0301", "a ", "漢"])
def test_a_selection_can_be_stopped(compressor: Compressor, unit: str) -> None:
    text = unit * (CHARS // len(unit))
    compressor.compress(text, CompressionOptions(ratio=0.5))  # what is left is the selection
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        compressor.compress(text, CompressionOptions(ratio=0.4), stop=stop)


def test_others_are_answered_beside_a_hostile_text(daemon: Daemon) -> None:
    """One letter, digits, and a letter that makes it no identifier."""
    hostile = "A" + "1" * 20_000 + "x"
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(daemon.post, "/api/compress", {"text": hostile})
        while not slow.done():
            assert daemon.get("/healthz", timeout_s=5).status == 200
        assert slow.result().status == 200
