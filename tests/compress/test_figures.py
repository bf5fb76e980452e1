"""The packaged compressors are those whose figures are published: `make models-eval` wrote down
what they keep of a text (models/sample.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tokenflowd.catalog.catalog import shipped_models_dir
from tokenflowd.compress import CompressionOptions, Compressor
from tokenflowd.compress.words import split_words
from tokenflowd.config import CompressConfig, EngineConfig
from tokenflowd.engine import load_model

TEXTS: dict[str, str] = json.loads(Path("models/sample.json").read_text())
# Between CPUs a word or two may change places.
SAME = 0.9


def published(name: str) -> list[Any]:
    sample = json.loads(Path(f"models/{name}.json").read_text())["sample"]
    model_id = f"tokenflow-{name}"
    return [
        pytest.param(model_id, language, float(rate), kept, id=f"{name}-{language}-{rate}")
        for language, by_rate in sample.items()
        for rate, kept in by_rate.items()
    ]


def words_of(text: str) -> list[str]:
    words = split_words(text)
    return [words[index] for index in range(len(words))]


@pytest.mark.parametrize(
    ("model_id", "language", "rate", "kept"), published("compressor") + published("multilingual")
)
def test_the_kept_words_are_the_published_ones(
    model_id: str, language: str, rate: float, kept: str
) -> None:
    model = load_model(shipped_models_dir() / model_id, EngineConfig())
    done = Compressor(model, CompressConfig()).compress(
        TEXTS[language], CompressionOptions(ratio=rate)
    )
    wanted, got = words_of(kept), words_of(done.compressed_text)
    assert len(set(wanted) & set(got)) >= SAME * len(set(wanted))
    assert done.compressed_tokens <= done.budget
