"""Runs that alternate, and tables as Markdown with the machine under each."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from rich.progress import Progress

PACKAGES = ("onnxruntime", "torch", "llmlingua", "transformers")
INSTALL = "not compared: `pip install 'tokenflow[export]'` brings llmlingua and transformers"

Run = Callable[[], object]
Seconds = dict[str, list[float]]


def interleave(
    sides: Mapping[str, Run],
    progress: Progress,
    label: str,
    *,
    rounds: int,
    runs: int = 1,
    warm_up: bool = True,
) -> Seconds:
    """Seconds of each run of each side: a row of `runs`, in each of `rounds`.

    With `warm_up` an untimed run comes before each row: what ran before has left its own
    weights in the processor's caches, and torch's threads spin a while after their work.
    """
    taken: Seconds = {name: [] for name in sides}
    for _ in progress.track(range(rounds), description=label):
        for name, run in sides.items():
            if warm_up:
                run()
            for _ in range(runs):
                started = time.perf_counter()
                run()
                taken[name].append(time.perf_counter() - started)
    return taken


@dataclass(frozen=True)
class Table:
    """`figures` are the raw ones, in seconds and MB, for the JSON file."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    notes: list[str]
    figures: dict[str, Any]

    def markdown(self, machine: Mapping[str, str]) -> str:
        rule = ("---", *["---:"] * (len(self.columns) - 1))
        table = "\n".join(f"| {' | '.join(row)} |" for row in (self.columns, rule, *self.rows))
        facts = ", ".join(" ".join(fact) for fact in machine.items())
        notes = "\n".join(f"- {note}" for note in [*self.notes, facts])
        return f"## {self.title}\n\n{table}\n\n{notes}\n"


def p50(seconds: list[float]) -> str:
    return readable(median(seconds))


def p95(seconds: list[float]) -> str:
    return readable(percentile(seconds, 95))


def percentile(seconds: list[float], percent: int) -> float:
    return quantiles(seconds, n=100, method="inclusive")[percent - 1]


def times_faster(ours: list[float], theirs: list[float]) -> str:
    return f"{median(theirs) / median(ours):.1f}x"


def machine() -> dict[str, str]:
    """What a figure depends on besides the code."""
    return {
        "CPU": _cpu_model(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "load": f"{os.getloadavg()[0]:.1f} at the start",
        "Python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
    }


def readable(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (FileNotFoundError, StopIteration):
        return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
