"""Finds out which providers are up and what they serve."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tokenflowd.errors import ProviderError
from tokenflowd.generate.client import ProviderClient
from tokenflowd.generate.providers import Candidate, Provider, Providers

# How long the servers of this machine are taken to be as they were found.
FRESH_S = 10.0


@dataclass(frozen=True, slots=True)
class ServerState:
    provider: Provider
    models: tuple[str, ...] = ()
    problem: str | None = None
    latency_ms: float | None = None
    checked_at: float = field(default_factory=time.monotonic)


class Discovery:
    """Asks providers for their models; remembers the answers of the user's own servers."""

    def __init__(self, client: ProviderClient, providers: Providers) -> None:
        self._client = client
        self._local = [provider for provider in providers.values() if provider.is_own]
        self._states: dict[str, ServerState] = {}
        self._refreshing: asyncio.Task[Sequence[ServerState]] | None = None

    async def check(self, providers: Sequence[Provider]) -> Sequence[ServerState]:
        """How each is now, all asked at once."""
        states = await asyncio.gather(*map(self._check, providers))
        self._states |= {state.provider.name: state for state in states}
        return states

    def local_candidates(self) -> list[Candidate]:
        """What the servers of this machine had when they were last asked."""
        return [
            Candidate(provider, model)
            for provider in self._local
            if (state := self._states.get(provider.name))
            for model in state.models
        ]

    def refresh(self) -> asyncio.Task[Sequence[ServerState]] | None:
        """Looks at this machine again if that was long ago: the task that does, for those who
        need its outcome."""
        if self._refreshing and not self._refreshing.done():
            return self._refreshing
        stale = time.monotonic() - FRESH_S
        states = [self._states.get(provider.name) for provider in self._local]
        if all(state and state.checked_at > stale for state in states):
            return None
        self._refreshing = asyncio.create_task(self.check(self._local))
        return self._refreshing

    def close(self) -> None:
        if self._refreshing:
            self._refreshing.cancel()

    async def _check(self, provider: Provider) -> ServerState:
        if obstacle := provider.obstacle:
            return ServerState(provider, problem=obstacle)
        known = self._states.get(provider.name)
        had = known.models if known else ()
        started = time.monotonic()
        try:
            models = await self._client.models(provider)
        except ProviderError as error:
            # One that is busy with somebody's answer may say nothing until it is done.
            has = had if error.fault == "timeout" else ()
            return ServerState(provider, has, problem=error.detail)
        if models is None:
            return ServerState(provider, had)
        return ServerState(provider, models, latency_ms=(time.monotonic() - started) * 1000)
