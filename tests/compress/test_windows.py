from __future__ import annotations

import numpy as np

from tests.conftest import text
from tokenflowd.compress.windows import sentence_windows
from tokenflowd.engine import EncoderModel, Subwords


def test_windows_cover_every_token_once(compressor_model: EncoderModel) -> None:
    source = text("meeting.txt")
    subwords = compressor_model.tokenizer.subwords(source)
    windows = sentence_windows(source, subwords, 60)
    assert [first for first, _ in windows[1:]] == [last for _, last in windows[:-1]]
    assert windows[0][0] == 0
    assert windows[-1][1] == len(subwords)
    assert all(0 < last - first <= 60 for first, last in windows)


def test_windows_end_at_sentences_where_there_are_some(compressor_model: EncoderModel) -> None:
    source = text("de.txt")
    subwords = compressor_model.tokenizer.subwords(source)
    ends = [
        source[subwords.ends[last - 1] - 1] for _, last in sentence_windows(source, subwords, 120)
    ]
    assert sum(end in ".;:!?" for end in ends) >= len(ends) - 1


def test_a_word_longer_than_a_window_is_cut() -> None:
    n = 250
    subwords = Subwords(
        np.zeros(n, np.int32), np.arange(n, dtype=np.int32), np.arange(1, n + 1, dtype=np.int32)
    )
    assert sentence_windows("x" * n, subwords, 100) == [(0, 100), (100, 200), (200, 250)]
