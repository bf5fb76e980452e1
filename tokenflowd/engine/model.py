"""A verified model, ready to run from any thread."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenflowd.catalog.manifest import (
    MODEL_FILE,
    TOKENIZER_FILE,
    Manifest,
    read_manifest,
    verified,
)
from tokenflowd.config import EngineConfig
from tokenflowd.engine.batcher import Batcher
from tokenflowd.engine.session import OnnxSession
from tokenflowd.engine.tokenizer import EncodedSequence, TokenizerShelf
from tokenflowd.errors import ModelUnavailable

# More threads than this gain nothing on sequences of a few hundred tokens.
MAX_THREADS = 4


class EncoderModel:
    """An encoder with its tokenizer. Pickles as its folder, so that workers load their own.

    Its thread ends with `close`, or once nobody holds the model any more: one that was replaced
    stays for as long as somebody still uses it.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, settings: EngineConfig, shelf: TokenizerShelf
    ) -> None:
        self.manifest = manifest
        self._folder = folder
        self._settings = settings
        # Weights of 2 GB and more lie beside the graph.
        names = {MODEL_FILE, TOKENIZER_FILE, *manifest.files}
        files = {name: verified(folder, name, manifest) for name in sorted(names)}
        self.tokenizer = shelf.get(files[TOKENIZER_FILE], manifest.files[TOKENIZER_FILE].sha256)
        session = OnnxSession(
            files[MODEL_FILE],
            name=manifest.id,
            inputs=manifest.inputs,
            threads=settings.threads or min(MAX_THREADS, os.cpu_count() or 1),
        )
        if session.answers_per_token != (manifest.task == "token-classification"):
            raise ModelUnavailable(f"model {manifest.id}: its graph is not for {manifest.task}")
        self._batcher = Batcher(
            session.run,
            batch_tokens=settings.batch_tokens,
            queue_tokens=settings.queue_tokens,
            name=manifest.id,
        )
        # Of the batcher only, which does not hold the model in turn.
        self.close = weakref.finalize(self, self._batcher.close)

    def run(
        self, sequences: Sequence[EncodedSequence], *, stop: threading.Event | None = None
    ) -> list[NDArray[np.float32]]:
        """The output for each sequence: (length, n_labels) logits of a token classifier,
        (n_labels,) logits of a sequence classifier, (dimensions,) of a sentence encoder.

        Raises Busy, Cancelled.
        """
        return self._batcher(sequences, stop)

    def __reduce__(self) -> tuple[Any, ...]:
        return load_model, (self._folder, self._settings)


def load_model(
    folder: Path, settings: EngineConfig, shelf: TokenizerShelf | None = None
) -> EncoderModel:
    """Loads the model in `folder` after checking every file's sha256. Raises ModelUnavailable."""
    return EncoderModel(folder, read_manifest(folder), settings, shelf or TokenizerShelf())
