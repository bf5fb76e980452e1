"""Asks a provider as the daemon does, without the daemon."""

from __future__ import annotations

import asyncio

from tests.conftest import KEY
from tests.upstream import Upstream
from tokenflowd.config import GenerateConfig, ProviderConfig
from tokenflowd.generate import Breaker, Candidate, Generator, Provider, ProviderClient


class Caller:
    """Wants an answer of one of `models`, in their order."""

    def __init__(self, upstream: Upstream, *models: str, breaker: Breaker | None = None) -> None:
        provider = Provider("groq", ProviderConfig(base_url=upstream.url), KEY)
        self._candidates = [Candidate(provider, model) for model in models or ("m1",)]
        self._breaker = breaker or Breaker()

    def ask(self, retries: int = 0) -> str:
        return asyncio.run(self._ask(GenerateConfig(retries=retries)))

    async def _ask(self, settings: GenerateConfig) -> str:
        generator = Generator(ProviderClient(settings), settings, self._breaker)
        try:
            generation = await generator.stream(self._candidates, lambda _: {"stream": True})
            async for _ in generation:
                pass
            return generation.answer.text
        finally:
            await generator.client.close()
