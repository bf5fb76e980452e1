"""The services of one process: models loaded when first needed, providers, routes, the history."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, Literal, TypeVar

from tokenflowd.access import access_token
from tokenflowd.catalog import Catalog, Task
from tokenflowd.classify import Classifier, DefaultCategories, EmbeddingScorer, PairScorer
from tokenflowd.compress import Compressor, count_tokens, is_spelled_better
from tokenflowd.config import Config
from tokenflowd.engine import EncoderModel, TokenizerShelf, load_model
from tokenflowd.errors import ModelUnavailable
from tokenflowd.generate import Discovery, Generator, ProviderClient, Providers
from tokenflowd.keys import Keys
from tokenflowd.logs import hide
from tokenflowd.route import Corrector, Rankings, Router
from tokenflowd.store import Store

log = logging.getLogger(__name__)

S = TypeVar("S")
ModelRole = Literal["compressor", "multilingual", "classifier", "embedder"]
ROLES: dict[Task, ModelRole] = {
    "token-classification": "compressor",
    "zero-shot-classification": "classifier",
    "sentence-embedding": "embedder",
}


class OnDemand(Generic[S]):
    """Something that needs the model `model_id`, made when first asked for.

    A model that cannot be used takes only its own service away, and is tried again at the
    next request: it may have been installed anew meanwhile.
    """

    def __init__(self, model_id: str, make: Callable[[str], S]) -> None:
        self.model_id = model_id
        self.problem: str | None = None
        self._make = make
        self._made: S | None = None
        self._lock = threading.Lock()

    @property
    def is_ready(self) -> bool:
        return self._made is not None

    def get(self) -> S:
        """Raises ModelUnavailable."""
        with self._lock:
            if self._made is None:
                try:
                    self._made = self._make(self.model_id)
                except ModelUnavailable as error:
                    self.problem = error.detail
                    raise
                self.problem = None
            return self._made

    def use(self, model_id: str) -> None:
        """From now on, of that model. What is under way ends with the one before, which goes
        when nobody uses it any more. Raises ModelUnavailable; then all stays as it was."""
        made = self._make(model_id)
        with self._lock:
            self.model_id, self._made, self.problem = model_id, made, None


class Services:
    """Made once, in `app`, and handed to the handlers."""

    def __init__(self, config: Config) -> None:
        """Raises AlreadyRunning, ConfigError and StoreDegraded."""
        self.config = config
        self.token = access_token(config.home) if config.server.token else ""
        self.keys = Keys(config)
        self.providers = Providers(config.providers, self.keys.get, offline=config.server.offline)
        self.rankings = Rankings(config.route, self.providers)
        self.router = Router(config.route, self.rankings, self.providers)
        self.generator = Generator(ProviderClient(config.generate), config.generate)
        self.discovery = Discovery(self.generator.client, self.providers)
        self.compressor = OnDemand(config.models.compressor, self._compressor)
        self.multilingual = OnDemand(config.models.multilingual, self._compressor)
        self.classifier = OnDemand(config.models.classifier, self._classifier)
        self.embedder = OnDemand(config.models.embedder, self._embedding_scorer)
        self.by_role: dict[ModelRole, OnDemand[Any]] = {
            "compressor": self.compressor,
            "multilingual": self.multilingual,
            "classifier": self.classifier,
            "embedder": self.embedder,
        }
        self.catalog = Catalog(config.models_dir)
        self._tokenizers = TokenizerShelf()
        self._loaded: weakref.WeakSet[EncoderModel] = weakref.WeakSet()
        self.store = Store(config.database)  # last: it starts a thread and takes the directory
        self.corrector = Corrector(config.route, self.store, self.embedder.get)

    def load(self) -> None:
        """Loads the active models and the keys at once; what cannot be used leaves its problem
        behind."""
        # What takes the time (reading, hashing, building sessions) releases the GIL.
        active: list[OnDemand[Any]] = [self.compressor, self.classifier]
        if self.config.classify.strategy != "pair":
            active.append(self.embedder)
        with ThreadPoolExecutor(len(active) + 2) as pool:
            pool.submit(count_tokens, "")
            pool.submit(self._hide_keys)
            for loading in [pool.submit(model.get) for model in active]:
                try:
                    loading.result()
                except ModelUnavailable as error:
                    log.error("%s", error.detail)

    def compressor_for(self, text: str) -> Compressor:
        """The active compressor; if that says that it is for some languages only, perhaps the
        multilingual one. Raises ModelUnavailable."""
        active = self.compressor.get()
        languages = active.model.manifest.languages
        if not (self.multilingual.model_id and languages) or "multilingual" in languages:
            return active
        try:
            better = is_spelled_better(
                text, active.model.tokenizer, lambda: self.multilingual.get().model.tokenizer
            )
            return self.multilingual.get() if better else active
        except ModelUnavailable as error:  # the active one reads it, if less well
            log.error("%s", error.detail)
            return active

    def _hide_keys(self) -> None:
        hide(self.keys.of_keyring() | {self.token} - {""})

    async def close(self) -> None:
        self.discovery.close()
        await self.generator.client.close()
        for model in list(self._loaded):
            model.close()
        self.store.close()

    def _compressor(self, model_id: str) -> Compressor:
        return Compressor(self._load(model_id, "token-classification"), self.config.compress)

    def _classifier(self, model_id: str) -> Classifier:
        settings = self.config.classify
        model = self._load(model_id, "zero-shot-classification")
        pair = PairScorer(model, settings.hypothesis_template)
        return Classifier(pair, self.embedder.get, settings, DefaultCategories.shipped())

    def _embedding_scorer(self, model_id: str) -> EmbeddingScorer:
        return EmbeddingScorer(self._load(model_id, "sentence-embedding"))

    def _load(self, model_id: str, task: Task) -> EncoderModel:
        manifest = self.catalog.manifest(model_id, task=task)
        model = load_model(self.catalog.folder(manifest.id), self.config.engine, self._tokenizers)
        self._loaded.add(model)
        return model
