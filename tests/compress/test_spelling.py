"""Which compressor reads a text: decided by the vocabulary that spells it shorter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tokenflowd.catalog.catalog import shipped_models_dir
from tokenflowd.compress import is_spelled_better
from tokenflowd.engine import SubwordTokenizer

SAMPLES: dict[str, str] = json.loads(Path("models/sample.json").read_text())
CODE = Path(__file__).read_text()


@pytest.fixture(scope="module")
def english() -> SubwordTokenizer:
    return SubwordTokenizer(shipped_models_dir() / "tokenflow-compressor/tokenizer.json")


@pytest.fixture(scope="module")
def multilingual() -> SubwordTokenizer:
    return SubwordTokenizer(shipped_models_dir() / "tokenflow-multilingual/tokenizer.json")


@pytest.mark.parametrize("language", [language for language in SAMPLES if language != "en"])
def test_another_language_is_spelled_better_by_the_multilingual_vocabulary(
    language: str, english: SubwordTokenizer, multilingual: SubwordTokenizer
) -> None:
    assert is_spelled_better(SAMPLES[language], english, lambda: multilingual)


@pytest.mark.parametrize("text", [CODE, CODE.upper(), "", "14", "!?", "kubectl get pods -n infra"])
def test_what_is_no_language_stays_where_it_is(
    text: str, english: SubwordTokenizer, multilingual: SubwordTokenizer
) -> None:
    assert not is_spelled_better(text, english, lambda: multilingual)


def test_plain_english_needs_no_second_vocabulary(english: SubwordTokenizer) -> None:
    def loaded() -> SubwordTokenizer:
        raise AssertionError("loaded for English")

    assert not is_spelled_better(SAMPLES["en"], english, loaded)


def test_an_english_question_about_a_long_german_text_is_german(
    english: SubwordTokenizer, multilingual: SubwordTokenizer
) -> None:
    text = "Please tell me what was decided about the bridge.\n\n" + SAMPLES["de"] * 5
    assert is_spelled_better(text, english, lambda: multilingual)
