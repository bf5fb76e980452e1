"""The services of one process: models loaded when first needed, providers, routes, the history."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from tokenflowd.catalog import Catalog, Task
from tokenflowd.classify import Classifier, EmbeddingScorer, PairScorer, Scorer
from tokenflowd.compress import Compressor, count_tokens
from tokenflowd.config import Config
from tokenflowd.engine import EncoderModel, TokenizerShelf, load_model
from tokenflowd.errors import ModelUnavailable
from tokenflowd.generate import Discovery, Generator, ProviderClient, Providers
from tokenflowd.route import Rankings, Router
from tokenflowd.store import Store

log = logging.getLogger(__name__)

S = TypeVar("S")


class OnDemand(Generic[S]):
    """Something that needs the model `model_id`, made when first asked for.

    A model that cannot be used takes only its own service away, and is tried again at the
    next request: it may have been installed anew meanwhile.
    """

    def __init__(self, model_id: str, make: Callable[[], S]) -> None:
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
                    self._made = self._make()
                except ModelUnavailable as error:
                    self.problem = error.detail
                    raise
                self.problem = None
            return self._made


class Services:
    """Made once, in `app`, and handed to the handlers."""

    def __init__(self, config: Config) -> None:
        """Raises AlreadyRunning, ConfigError and StoreDegraded."""
        self.config = config
        self.providers = Providers(
            config.providers, config.environment, offline=config.server.offline
        )
        self.rankings = Rankings(config.route, self.providers)
        self.router = Router(config.route, self.rankings, self.providers)
        self.generator = Generator(ProviderClient(config.generate), config.generate)
        self.discovery = Discovery(self.generator.client, self.providers)
        self.compressor = OnDemand(config.models.compressor, self._compressor)
        self.classifier = OnDemand(config.models.classifier, self._classifier)
        self._embedding = OnDemand(config.models.embedder, self._embedding_scorer)
        self._catalog = Catalog(config.models_dir)
        self._tokenizers = TokenizerShelf()
        self._loaded: list[EncoderModel] = []
        self.store = Store(config.database)  # last: it starts a thread and takes the directory

    def load(self) -> None:
        """Loads the active models at once; one that cannot be used leaves its problem behind."""
        # What takes the time (reading, hashing, building sessions) releases the GIL.
        with ThreadPoolExecutor(3) as pool:
            pool.submit(count_tokens, "")
            for loading in (pool.submit(self.compressor.get), pool.submit(self.classifier.get)):
                try:
                    loading.result()
                except ModelUnavailable as error:
                    log.error("%s", error.detail)

    async def close(self) -> None:
        self.discovery.close()
        await self.generator.client.close()
        for model in self._loaded:
            model.close()
        self.store.close()

    def _compressor(self) -> Compressor:
        model = self._load(self.config.models.compressor, "token-classification")
        return Compressor(model, self.config.compress)

    def _classifier(self) -> Classifier:
        settings = self.config.classify
        model = self._load(self.config.models.classifier, "zero-shot-classification")
        pair = PairScorer(model, settings.hypothesis_template)
        return Classifier(pair, self._embedding.get, settings)

    def _embedding_scorer(self) -> Scorer:
        return EmbeddingScorer(self._load(self.config.models.embedder, "sentence-embedding"))

    def _load(self, model_id: str, task: Task) -> EncoderModel:
        manifest = self._catalog.manifest(model_id, task=task)
        model = load_model(self._catalog.folder(manifest.id), self.config.engine, self._tokenizers)
        self._loaded.append(model)
        return model
