"""Answers from providers: who they are, how they are asked, and what came of it."""

from tokenflowd.generate.answer import Answer, AnswerKind, Attempt
from tokenflowd.generate.breaker import Breaker
from tokenflowd.generate.client import OWNER, USER_AGENT, Endpoint, ProviderClient
from tokenflowd.generate.discovery import Discovery, ServerState
from tokenflowd.generate.generator import AllFailed, Generation, Generator
from tokenflowd.generate.providers import Candidate, Provider, Providers
from tokenflowd.generate.wire import Piece, Usage

__all__ = [
    "OWNER",
    "USER_AGENT",
    "AllFailed",
    "Answer",
    "AnswerKind",
    "Attempt",
    "Breaker",
    "Candidate",
    "Discovery",
    "Endpoint",
    "Generation",
    "Generator",
    "Piece",
    "Provider",
    "ProviderClient",
    "Providers",
    "ServerState",
    "Usage",
]
