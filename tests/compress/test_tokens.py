from __future__ import annotations

import pytest

from tests.conftest import text
from tokenflowd.compress.tokens import count_tokens


@pytest.mark.parametrize("encoding", ["o200k_base", "cl100k_base"])
@pytest.mark.parametrize("name", ["api.md", "zh.txt", "chat.txt"])
def test_counts_are_those_of_the_packages_own_encoder(name: str, encoding: str) -> None:
    import bpe_openai

    expected = bpe_openai.get_encoding(encoding).encode(text(name), disallowed_special=())
    assert count_tokens(text(name), encoding) == len(expected)


def test_special_tokens_in_a_text_are_plain_text() -> None:
    assert count_tokens("<|endoftext|>") > 1
