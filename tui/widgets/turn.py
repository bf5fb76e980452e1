"""One question with its answer, and what is known about both."""

from __future__ import annotations

from typing import Any

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from tokenflow_tui.numbers import dollars, milliseconds, saved_share, tokens
from tokenflow_tui.visible import visible
from tokenflow_tui.widgets.answer import Answer

BAR = "▏▎▍▌▋▊▉█"


class Turn(Vertical):
    """`prompt` is what was asked; `metadata` and `usage` are the events of its stream."""

    def __init__(self, prompt: str) -> None:
        super().__init__()
        self.prompt = prompt
        self.metadata: dict[str, Any] = {}
        self.usage: dict[str, Any] = {}
        self.answer = Answer()
        self.ending = ""  # how it ended, if not as it should

    def compose(self) -> ComposeResult:
        yield Static(classes="you-line")
        yield Static(visible(self.prompt), classes="prompt", markup=False)
        yield Static(classes="compressed", markup=False)
        yield Static(classes="ai-line")
        yield self.answer
        yield Static(classes="figures")
        yield Static(classes="ending")

    def on_mount(self) -> None:
        self.query_one(".compressed").display = False
        self.describe()

    def describe(self) -> None:
        """Everything that is known by now."""
        self.query_one(".you-line", Static).update(self._you())
        self.query_one(".ai-line", Static).update(self._ai())
        figures = self._figures()
        self.query_one(".figures", Static).update(Content(" · ".join(figures)))
        self.query_one(".figures").display = bool(figures)
        ending = self.query_one(".ending", Static)
        ending.display = bool(self.ending)
        ending.update(Content(visible(self.ending)))

    @property
    def model(self) -> str:
        """Whose answer it is; before an error, whose it was to be."""
        return str(self.metadata.get("served_model") or self.metadata["selected_model"])

    @property
    def without_words(self) -> str:
        """What the model sent instead of words, if its answer is complete and has none."""
        kind, reason = self.usage.get("answer_kind"), self.usage.get("finish_reason")
        if kind in (None, "text"):
            return ""
        if kind == "refusal":
            return f"the model refused to answer: {self.usage['refusal']}"
        instead = {"reasoning": ", only reasoning", "tool_calls": ", only tool calls"}.get(kind, "")
        more = ": more tokens with ctrl+t" if reason == "length" else ""
        return f"the model sent no answer{instead} (finish reason {reason}{more})"

    @property
    def is_stopped(self) -> bool:
        """Whether it says so."""
        return self.query_one(".ending").display

    def toggle_dropped(self) -> bool:
        """Shows what was sent instead of the prompt; False if that was the prompt."""
        sent = self.metadata.get("compression", {}).get("compressed_text")
        if not sent:
            return False
        compressed = self.query_one(".compressed", Static)
        compressed.update(Content(visible(sent)))
        compressed.display = not compressed.display
        return True

    def _you(self) -> Content:
        compression = self.metadata.get("compression") or {}
        if compression.get("compressed"):
            original, kept = compression["original_tokens"], compression["compressed_tokens"]
            return Content.from_markup(
                "[b]YOU[/]  [dim]$original→$kept tokens ([/][$success]$saved[/][dim]) alt+d[/]",
                original=tokens(original),
                kept=tokens(kept),
                saved=saved_share(original, kept),
            )
        if compression:
            return Content.from_markup(
                "[b]YOU[/]  [dim]as it is: $reason[/]", reason=compression["reason"]
            )
        return Content.from_markup("[b]YOU[/]")

    def _ai(self) -> Content:
        if not self.metadata:
            return Content.from_markup("[b $primary]AI[/]  [dim]…[/]" if not self.ending else "")
        parts = [
            Content.from_markup(
                "[b $primary]AI[/]  $model [dim]$provider[/]",
                model=self.model,
                provider=self.metadata.get("provider", ""),
            )
        ]
        # A prompt whose model was named may have been classified, too.
        category = self.metadata.get("prompt_category")
        if category and self.metadata.get("route", "").startswith("category "):
            score = self.metadata["confidence_score"]
            parts.append(
                Content.from_markup(
                    "[dim]auto:[/] $category $score",
                    category=category,
                    score=f".{score * 100:02.0f}" if score < 0.995 else "1",
                )
            )
        return Content("  ").join(parts)

    def _figures(self) -> list[str]:
        usage, figures = self.usage, []
        if usage.get("ttft_ms") is not None:
            figures.append(f"first token {milliseconds(usage['ttft_ms'])}")
        if usage.get("completion_tokens"):
            seconds = (usage.get("latency_ms", 0) - (usage.get("ttft_ms") or 0)) / 1000
            speed = f", {usage['completion_tokens'] / seconds:.0f}/s" if seconds > 0 else ""
            figures.append(f"{tokens(usage['completion_tokens'])} tokens{speed}")
        if usage.get("cost_usd") is not None:
            figures.append(dollars(usage["cost_usd"]))
        return figures


def score_bars(scores: dict[str, float], width: int) -> Content:
    """A line for each category, the likeliest first."""
    ranked = sorted(scores.items(), key=lambda pair: -pair[1])
    longest = max((len(name) for name, _ in ranked), default=0)
    lines = [
        Content.from_markup(
            "$name [dim]$score[/] [$accent]$bar[/]",
            name=name.ljust(longest),
            score=f"{score:.2f}",
            bar=_bar(score, max(4, width - longest - 7)),
        )
        for name, score in ranked
    ]
    return Content("\n").join(lines)


def _bar(share: float, width: int) -> str:
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + (BAR[rest - 1] if rest else "")
