"""What a question needs: words and sentences of a text that share its content words."""

from __future__ import annotations

import math
import re
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from tokenflowd.compress.words import Words

_TOKEN = re.compile(r"\w+")
_SENTENCE_ENDS = (".", "!", "?", "。", "！", "？")
_STEM_CHARS = 6
_STOPWORDS = frozenset(
    "a an and are as at be been but by can could did do does for from had has have how i if "
    "in into is it its may me my of on or our shall should so than that the their them then "
    "there these they this those to was we were what when where which who whom whose why will "
    "with would you your please tell explain describe".split()
)


def relevance(words: Words, question: str) -> NDArray[np.float32]:
    """How much the question needs each word: float32, shape (n_words,), in [0, 1.5].

    A sentence gets the share of the question's content words that it holds, rare ones weighing
    more (inverse sentence frequency), relative to the best sentence; the words found get half
    a point on top.
    """
    wanted = set(_stems(question))
    found = [wanted.intersection(_stems(words[index])) for index in range(len(words))]
    sentences = _sentences(words)
    in_sentence: dict[int, set[str]] = {}
    for sentence, stems in zip(sentences.tolist(), found, strict=True):
        in_sentence.setdefault(sentence, set()).update(stems)
    frequency = Counter(stem for stems in in_sentence.values() for stem in stems)
    weight = {stem: math.log(1 + len(in_sentence) / n) for stem, n in frequency.items()}
    score = {key: sum(weight[stem] for stem in stems) for key, stems in in_sentence.items()}
    best = max(score.values(), default=0.0)
    if best == 0:
        return np.zeros(len(words), np.float32)
    of_sentence = np.array([score[key] / best for key in sentences.tolist()], np.float32)
    return of_sentence + np.array([0.5 if stems else 0.0 for stems in found], np.float32)


def _stems(text: str) -> list[str]:
    """The content words of `text`, without their endings."""
    tokens = _TOKEN.findall(text.lower())
    return [token[:_STEM_CHARS] for token in tokens if token not in _STOPWORDS]


def _sentences(words: Words) -> NDArray[np.int64]:
    """The number of the sentence that each word is in; a line's end ends one, too."""
    ends = np.array([words[index].endswith(_SENTENCE_ENDS) for index in range(len(words))], bool)
    starts = words.newlines > 0
    starts[1:] |= ends[:-1]
    return np.cumsum(starts)
