"""The figures of one run as a picture."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

COLOURS = ("#9aa5b1", "#3e7cb1", "#0b6e4f")


def plot(figures: dict[str, Any], file: Path) -> None:
    """Bars for each text length: how long llmlingua and ours take, on a logarithmic scale."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    by_tokens = figures["exported-compress"]["seconds"]
    sides = list(next(iter(by_tokens.values())))
    canvas, axes = pyplot.subplots(figsize=(8, 3.6), dpi=150, layout="constrained")
    height = 0.8 / len(sides)
    for row, side in enumerate(sides):
        seconds = [median(taken[side]) for taken in by_tokens.values()]
        places = [place + row * height for place in range(len(seconds))]
        bars = axes.barh(places, seconds, height * 0.92, label=side, color=COLOURS[row])
        labels = [f"{value:.2g} s" if value >= 1 else f"{value * 1000:.0f} ms" for value in seconds]
        axes.bar_label(bars, labels, padding=4, fontsize=8)
    axes.set_yticks(
        [place + height * (len(sides) - 1) / 2 for place in range(len(by_tokens))],
        [f"{int(tokens):,} tokens" for tokens in by_tokens],
    )
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.invert_yaxis()
    axes.set_xlabel("seconds to compress to half, on the CPU (logarithmic)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="upper right")
    file.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(file)
