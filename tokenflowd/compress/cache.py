"""Remembers the keep probabilities of texts, so that a new ratio needs no model run."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenflowd.engine import Subwords

Key = tuple[bytes, str, str]


@dataclass(frozen=True, slots=True)
class KeepProbabilities:
    """Of each subword of a text, float32 of shape (n_tokens,) in [0, 1], and the windows
    (token ranges) in which the model read them."""

    subwords: Subwords
    values: NDArray[np.float32]
    windows: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.values)


class ProbabilityCache:
    """The latest texts' probabilities, at most `max_tokens` of them. Thread-safe."""

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._entries: OrderedDict[Key, KeepProbabilities] = OrderedDict()
        self._tokens = 0
        self._lock = threading.Lock()

    @staticmethod
    def key(text: str, model_id: str, windowing: str) -> Key:
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        return digest, model_id, windowing

    def get(self, key: Key) -> KeepProbabilities | None:
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key)

    def put(self, key: Key, probabilities: KeepProbabilities) -> None:
        if len(probabilities) > self._max_tokens:
            return
        with self._lock:
            if key in self._entries:
                return
            self._entries[key] = probabilities
            self._tokens += len(probabilities)
            while self._tokens > self._max_tokens:
                _, oldest = self._entries.popitem(last=False)
                self._tokens -= len(oldest)

    def __len__(self) -> int:
        return len(self._entries)

    def __reduce__(self) -> tuple[type[ProbabilityCache], tuple[int]]:
        return ProbabilityCache, (self._max_tokens,)
