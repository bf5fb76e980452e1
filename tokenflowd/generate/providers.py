"""Who can answer: Groq, OpenRouter and any OpenAI-compatible server, as the config names them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from tokenflowd.config import ProviderConfig, ServedModel
from tokenflowd.generate.wire import Usage

TOKENS_PER_PRICE = 1_000_000
# Ollama's names for models that it asks its makers' servers for: "gpt-oss:120b-cloud", "x:cloud".
_CLOUD_MODEL = re.compile(r"[:-]cloud\Z", re.IGNORECASE)
# Sentence encoders, which local servers list among the others; they cannot chat.
_EMBEDDER = re.compile(
    r"embed|(?:\A|[/_-])(?:bge|gte|e5|minilm|stella|sbert|colbert|rerank\w*)(?:[:/_.-]|\Z)|"
    r"all-minilm|paraphrase-multilingual|sentence-t",
    re.IGNORECASE,
)


@dataclass(frozen=True, eq=False)
class Provider:
    """One server. Two are the same only if they are the same object."""

    name: str
    settings: ProviderConfig
    find_key: Callable[[str], str | None] = field(repr=False)
    offline: bool = False

    @property
    def key(self) -> str:
        """Empty if it has none, or needs none."""
        variable = self.settings.key_variable
        return (self.find_key(variable) or "").strip() if variable else ""

    @cached_property
    def base_url(self) -> str:
        return self.settings.base_url.rstrip("/")

    @cached_property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        host = urlsplit(self.base_url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    @cached_property
    def proxy(self) -> str | None:
        """As the environment names it, but never between us and this machine."""
        address = urlsplit(self.base_url)
        if self.is_local or proxy_bypass(address.hostname or ""):
            return None
        return getproxies().get(address.scheme)

    @property
    def is_own(self) -> bool:
        """Whether it is the user's own server: on this machine, and without a key. With one it is
        somebody's door to elsewhere."""
        return self.is_local and not self.settings.key_variable

    @property
    def obstacle(self) -> str | None:
        """Why it cannot be asked, as settings and environment stand; None if it can."""
        if self.offline and not self.is_local:
            return "the daemon is offline"
        if self.settings.key_variable and not self.key:
            return f"{self.settings.key_variable} is not set"
        return None

    def served_as(self, model: str) -> str:
        """The id under which `model` is served today."""
        return self.settings.retired.get(model, model)

    def knows(self, model: str) -> bool:
        """Whether the settings say that it serves `model`, or what came in its place."""
        return model in self.settings.models or model in self.settings.retired

    def facts(self, model: str) -> ServedModel:
        return self.settings.models.get(model, ServedModel())

    def cost_usd(self, model: str, usage: Usage) -> float | None:
        """What an answer cost: as reported, else by the price table, 0 at one's own server."""
        if usage.cost is not None:
            return usage.cost
        facts = self.facts(model)
        if facts.input_usd is None or facts.output_usd is None:
            return 0.0 if self.is_own else None
        tokens_in, tokens_out = usage.prompt_tokens or 0, usage.completion_tokens or 0
        return (tokens_in * facts.input_usd + tokens_out * facts.output_usd) / TOKENS_PER_PRICE


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model at a provider: one way to get an answer."""

    provider: Provider
    model: str

    @property
    def is_remote(self) -> bool:
        """Whether the answer comes from another machine: a server of this one may only pass the
        request on."""
        return not self.provider.is_local or _CLOUD_MODEL.search(self.model) is not None

    @property
    def is_embedder(self) -> bool:
        """Whether its name is that of a sentence encoder, or of another model that cannot chat."""
        return _EMBEDDER.search(self.model) is not None


class Providers(Mapping[str, Provider]):
    """All that the config names, in its order. `find_key` gets the variable of a key."""

    def __init__(
        self,
        settings: Mapping[str, ProviderConfig],
        find_key: Callable[[str], str | None],
        *,
        offline: bool = False,
    ) -> None:
        self._by_name = {
            name: Provider(name, provider, find_key, offline) for name, provider in settings.items()
        }

    def __getitem__(self, name: str) -> Provider:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)
