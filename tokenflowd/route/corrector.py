"""Corrects classifications by what people said of the same prompt, or of prompts like it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

from tokenflowd.classify import Classification, CorrectedPrompts, EmbeddingScorer, blended
from tokenflowd.config import RouteConfig
from tokenflowd.errors import InvalidField, ModelUnavailable, StoreDegraded
from tokenflowd.store import CorrectionRecord, Store

log = logging.getLogger(__name__)


class Corrector:
    """Keeps the corrections in memory and reads them again when the store has others.

    `encoder` is called when there is something to compare, so that those who never correct
    anything never load it.
    """

    def __init__(
        self, settings: RouteConfig, store: Store, encoder: Callable[[], EmbeddingScorer]
    ) -> None:
        self._settings = settings
        self._store = store
        self._encoder = encoder
        self._prompts: dict[str, CorrectedPrompts] = {}
        self._version = -1
        self._lock = threading.Lock()

    def corrected(
        self,
        classification: Classification,
        prompt: str,
        *,
        multi_label: bool = False,
        stop: threading.Event | None = None,
    ) -> Classification:
        """`classification` as it is when nothing like `prompt` was corrected to one of its
        categories, or when that cannot be known. Raises Busy, Cancelled."""
        if not self._settings.corrections:
            return classification
        try:
            by_encoder = self._by_encoder()
            if not by_encoder:
                return classification
            encoder = self._encoder()
        except (ModelUnavailable, StoreDegraded) as error:  # answers go on without
            log.warning("corrections are not used: %s", error.detail)
            return classification
        prompts = by_encoder.get(encoder.model_id)
        if prompts is None:
            return classification
        (vector,) = encoder.vectors([prompt], stop)
        neighbours = prompts.near(vector, classification.scores)
        if not neighbours:
            return classification
        scores = blended(classification.scores, neighbours, multi_label=multi_label)
        return replace(
            classification,
            scores=dict(sorted(scores.items(), key=lambda pair: -pair[1])),
            corrected_by=neighbours[0].request_id,
        )

    def correction(
        self, request_id: str, category: str, *, stop: threading.Event | None = None
    ) -> CorrectionRecord:
        """What to store when the request was `category`. Raises NotFound, InvalidField, Busy,
        Cancelled, ModelUnavailable, StoreDegraded."""
        request = self._store.history.get(request_id)
        if "category" not in request:
            raise InvalidField(f"request {request_id} was not classified: it has no category")
        prompt = request.get("input", "")
        if not prompt.strip():
            raise InvalidField(f"request {request_id} has no prompt to know it by")
        encoder = self._encoder()
        (vector,) = encoder.vectors([prompt], stop)
        return CorrectionRecord(request_id, category, encoder.model_id, vector.tobytes())

    def _by_encoder(self) -> dict[str, CorrectedPrompts]:
        with self._lock:
            version = self._store.corrections_version
            if version != self._version:
                self._prompts = {
                    model: CorrectedPrompts.of(corrections)
                    for model, corrections in self._store.history.corrections().items()
                }
                self._version = version
            return self._prompts
