from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from tests.conftest import text
from tokenflowd.catalog.catalog import shipped_models_dir
from tokenflowd.engine import EncoderModel, SubwordTokenizer, TokenizerShelf


@pytest.fixture
def tokenizer(compressor_model: EncoderModel) -> SubwordTokenizer:
    return compressor_model.tokenizer


def test_slices_give_the_tokens_of_the_whole(tokenizer: SubwordTokenizer) -> None:
    source = "\n\n".join(text(name) for name in ("meeting.txt", "api.md", "log.jsonl")) * 20
    whole = tokenizer._tokenizer.encode(source, add_special_tokens=False)
    sliced = tokenizer.subwords(source)
    assert sliced.ids.tolist() == whole.ids
    assert list(zip(sliced.starts.tolist(), sliced.ends.tolist(), strict=True)) == whole.offsets


def test_chinese_without_any_space_is_sliced_exactly(tokenizer: SubwordTokenizer) -> None:
    source = text("zh.txt").replace("\n", "").replace(" ", "") * 150
    whole = tokenizer._tokenizer.encode(source, add_special_tokens=False)
    assert len(source) > 2 * 16_384
    assert abs(len(tokenizer.subwords(source)) - len(whole.ids)) <= len(source) // 16_384


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text(max_size=200))
def test_offsets_are_in_the_text_and_in_order(tokenizer: SubwordTokenizer, source: str) -> None:
    subwords = tokenizer.subwords(source)
    assert (np.diff(subwords.starts) >= 0).all()
    assert all(
        0 <= s <= e <= len(source) for s, e in zip(subwords.starts, subwords.ends, strict=True)
    )


def test_a_sequence_has_its_special_tokens_and_loses_them_again(
    tokenizer: SubwordTokenizer,
) -> None:
    subwords = tokenizer.subwords("compress this")
    sequence = tokenizer.sequence(subwords.ids)
    assert sequence.ids.tolist() == tokenizer._tokenizer.encode("compress this").ids
    assert len(sequence) == len(subwords) + tokenizer.special_tokens
    assert tokenizer.unwrap(np.arange(len(sequence), dtype=np.float32)).tolist() == [1, 2, 3]


def test_pairs_follow_the_models_template(tokenizer: SubwordTokenizer) -> None:
    expected = tokenizer._tokenizer.encode("a prompt", "a label")
    pair = tokenizer.pairs("a prompt", ["a label"])[0]
    assert pair.ids.tolist() == expected.ids
    assert pair.type_ids.tolist() == expected.type_ids


def test_a_short_text_is_not_shortened(tokenizer: SubwordTokenizer) -> None:
    assert tokenizer.shorten("just a few words", 10) == "just a few words"


@pytest.mark.parametrize("times", [3, 3000])
def test_a_long_text_keeps_its_head_and_its_tail(tokenizer: SubwordTokenizer, times: int) -> None:
    source = "Translate this. " + "lorem ipsum dolor " * 20 * times + " Into French, please."
    short = tokenizer.shorten(source, 40)
    assert short.startswith("Translate this.")
    assert short.endswith("Into French, please.")
    assert tokenizer.length(short) <= 40


def test_the_space_before_a_word_is_no_part_of_it(tmp_path: Path) -> None:
    pieces = [("<unk>", 0.0), ("\u2581", -2.0), ("\u2581ab", -1.0), ("cd", -1.0), ("e", -3.0)]
    sentencepiece = Tokenizer(models.Unigram(pieces, unk_id=0))
    sentencepiece.pre_tokenizer = pre_tokenizers.Metaspace()
    sentencepiece.save(str(tmp_path / "tokenizer.json"))
    tokenizer = SubwordTokenizer(tmp_path / "tokenizer.json")
    source = "ab  abcd e "
    subwords = tokenizer.subwords(source)
    assert tokenizer.tokens(subwords.ids) == [
        *("\u2581ab", "\u2581", "\u2581ab", "cd", "\u2581", "e", "\u2581")
    ]
    spans = zip(subwords.starts, subwords.ends, strict=True)
    assert [source[start:end] for start, end in spans] == ["ab", " ", "ab", "cd", " ", "e", " "]


def test_models_share_a_tokenizer_for_as_long_as_one_of_them_lives() -> None:
    path = shipped_models_dir() / "tokenflow-compressor" / "tokenizer.json"
    shelf = TokenizerShelf()
    one = shelf.get(path, "of the file")
    assert shelf.get(path, "of the file") is one
    gone = weakref.ref(one)
    del one
    gc.collect()
    assert gone() is None
