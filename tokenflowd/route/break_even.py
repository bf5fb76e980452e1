"""Whether compressing a prompt pays: by the daemon's own speed and the provider's."""

from __future__ import annotations

from dataclasses import dataclass

from tokenflowd.config import RouteConfig

# A prompt shorter than this has little to lose.
MIN_TOKENS = 200
# Taken until the first compression was measured: what a slow laptop does.
ASSUMED_TOKENS_PER_S = 4000.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known; None is not measured, or has no price.

    `seconds_per_prompt_token`: by how much each token of a prompt delays the first of the
    answer. `input_usd`: for a million tokens.
    """

    compressed_tokens_per_s: float | None = None
    seconds_per_prompt_token: float | None = None
    input_usd: float | None = None

    def saved_usd(self, tokens: int) -> float | None:
        return None if self.input_usd is None else tokens * self.input_usd / 1e6

    def saved_s(self, tokens: int, spent_s: float) -> float | None:
        """Time that `tokens` would have taken, less what it took to leave them out."""
        if self.seconds_per_prompt_token is None:
            return None
        return tokens * self.seconds_per_prompt_token - spent_s


@dataclass(frozen=True, slots=True)
class Decision:
    compress: bool
    reason: str


def decide(tokens: int, measured: Measured, settings: RouteConfig) -> Decision:
    """For `tokens` that could be compressed to `settings.auto_ratio`."""
    if tokens < MIN_TOKENS:
        return Decision(False, f"{tokens} tokens that could be compressed are too few")
    saved = round(tokens * (1 - settings.auto_ratio))
    spent_s = tokens / (measured.compressed_tokens_per_s or ASSUMED_TOKENS_PER_S)
    saved_s = measured.saved_s(saved, spent_s)
    saved_usd = measured.saved_usd(saved) or 0.0
    if saved_s is not None and saved_s > 0:
        return Decision(True, f"saves {saved_s:.2g} s until the first token")
    delay_s = spent_s if saved_s is None else -saved_s
    if saved_usd and delay_s <= settings.auto_max_delay_s:
        return Decision(True, f"saves ${saved_usd:.2g} for {delay_s:.2g} s")
    cost = f"saves ${saved_usd:.2g}" if saved_usd else "saves no money"
    time = (
        "the provider's speed is not measured yet"
        if saved_s is None
        else f"delays the first token by {delay_s:.2g} s"
    )
    return Decision(False, f"{cost}, {time}")
