"""A figure over time: sums as bars, means as a line."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, log10

from textual.app import RenderResult
from textual.color import Color
from textual_plotext import PlotextPlot

from tokenflow_tui.figures import Bucket, Figure
from tokenflow_tui.numbers import tokens

# What one date needs, with some air.
TICK_WIDTH = 12
# Where equal bars would leave more of the axis empty, there is an area without gaps.
MIN_FILLED = 0.8
HALF = 2  # the markers of the bars have two dots in a column


class Plot(PlotextPlot):
    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self._figure: Figure | None = None
        self._series: Sequence[Bucket] = ()
        self._unit = "day"

    def show(self, figure: Figure, series: Sequence[Bucket], unit: str) -> None:
        if (figure, series, unit) != (self._figure, self._series, self._unit):
            self._figure, self._series, self._unit = figure, series, unit
            self.refresh()

    def render(self) -> RenderResult:
        self.plt.clear_figure()
        if self._figure and self._series and self.size.height > 3:
            self._draw(self._figure)
        return super().render()

    def _draw(self, figure: Figure) -> None:
        values = [figure.of_bucket(bucket) for bucket in self._series]
        points = [(place, value) for place, value in enumerate(values) if value is not None]
        top = _round_up(max((value for _, value in points), default=0))
        # There is no half a request.
        ticks = [0, top] if figure.written is tokens and top % 2 else [0, top / 2, top]
        labels = [figure.written(tick) for tick in ticks]
        dots_in_all = HALF * (self.size.width - max(map(len, labels)) - 1)
        dots = dots_in_all / len(values)
        has_bars = figure.is_sum and dots >= 2 and int(dots) / dots > MIN_FILLED
        if has_bars:
            # Each as many dots wide, with one between it and the next; what is left over at the
            # end of the axis stays empty.
            dots = int(dots)
        filled = max(dots - 2, 0.01) / dots
        if points:
            places, heights = zip(*points, strict=True)
            if has_bars:
                color = self._color("primary")
                self.plt.bar(places, heights, marker="hd", color=color, width=filled)
            elif figure.is_sum:
                color = self._color("primary")
                self.plt.plot(places, heights, marker="hd", color=color, fillx=True)
            else:
                self.plt.plot(places, heights, marker="braille", color=self._color("accent"))
        self.plt.xlim(-filled / 2, (dots_in_all - 1) / dots - filled / 2)
        self.plt.ylim(0, top)
        self.plt.yticks(ticks, labels)
        shown = max(2, int(len(values) * dots / HALF / TICK_WIDTH))
        step = max(1, -(-len(values) // shown))
        marked = range(len(values) - 1, -1, -step)[::-1]
        self.plt.xticks(list(marked), [self._date(self._series[place]) for place in marked])
        self.plt.xaxes(True, False)
        self.plt.yaxes(True, False)

    def _color(self, name: str) -> tuple[int, int, int]:
        return Color.parse(self.app.theme_variables[name]).rgb

    def _date(self, bucket: Bucket) -> str:
        if self._unit == "hour":
            return f"{bucket.start.astimezone():%H:%M}"
        return f"{bucket.start:%b %d}"


def _round_up(value: float) -> float:
    """To a number whose half is a round one, too."""
    if value <= 0:
        return 1
    unit: float = 10 ** floor(log10(value))
    return next(step * unit for step in (1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10) if step * unit >= value)
