"""Remembers which texts `auto` compressed when they were new, so that later turns send them so."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence

from tokenflowd.route.break_even import Decision

MAX_TEXTS = 10_000  # about 1 MB

Key = tuple[bytes, str]


class Decisions:
    """The decisions of this process about the latest texts, by text and model. A provider's cache
    matches from the first byte, so a text that was sent once must not change with what is measured
    or said later."""

    def __init__(self, max_texts: int = MAX_TEXTS) -> None:
        self._max_texts = max_texts
        self._compressed: OrderedDict[Key, bool] = OrderedDict()

    def decide(
        self,
        texts: Sequence[tuple[str, int]],
        model: str,
        decide_new: Callable[[int], Decision],
    ) -> tuple[Decision, frozenset[str]]:
        """The decision about a chat, and those of its texts that are not to be compressed.

        Each text comes with its tokens that could be compressed; `decide_new` is asked for the
        tokens of the texts that are new, all together.
        """
        keys = {text: _key(text, model) for text, _ in texts}
        new = {text: tokens for text, tokens in texts if keys[text] not in self._compressed}
        decision = decide_new(sum(new.values()))
        for text, key in keys.items():
            self._compressed.setdefault(key, text in new and decision.compress)
            self._compressed.move_to_end(key)
        left_alone = frozenset(text for text, key in keys.items() if not self._compressed[key])
        is_any_compressed = len(left_alone) < len(keys)
        while len(self._compressed) > self._max_texts:
            self._compressed.popitem(last=False)
        if (keys and not new) or is_any_compressed != decision.compress:
            decision = Decision(is_any_compressed, "as when it was first sent")
        return decision, left_alone


def _key(text: str, model: str) -> Key:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return digest, model
