"""What a request needs of the model that answers it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenflowd.generate import Candidate


@dataclass(frozen=True, slots=True)
class Needs:
    """`tokens` are those of the request and of the longest answer that it allows."""

    images: bool = False
    tools: bool = False
    tokens: int = 0

    def are_met_by(self, candidate: Candidate) -> bool:
        """Whether the model takes all that. One that is not known to read images does not; tools
        and long texts are taken by most, so only one that is known not to take them is out."""
        facts = candidate.provider.facts(candidate.model)
        reads_all = facts.context_tokens is None or self.tokens <= facts.context_tokens
        takes_tools = not self.tools or facts.tools is not False
        return reads_all and takes_tools and (not self.images or facts.images is True)

    def unmet_by(self, candidates: Sequence[Candidate]) -> str:
        """What a request does that none of these takes; all that it does if each takes some of it.
        For a sentence."""
        each = [
            *[(Needs(images=True), "holds images")] * self.images,
            *[(Needs(tools=True), "names tools")] * self.tools,
            (Needs(tokens=self.tokens), f"takes {self.tokens} tokens with its answer"),
        ]
        unmet = [said for need, said in each if not any(map(need.are_met_by, candidates))]
        return " and ".join(unmet or (said for _, said in each))
