"""Texts go to the compressor of their language."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.api.test_models import install
from tests.conftest import Daemon, config_in
from tokenflowd.services import Services

SAMPLES: dict[str, str] = json.loads(Path("models/sample.json").read_text())


def compressed(daemon: Daemon, text: str) -> dict[str, Any]:
    answer = daemon.post("/api/compress", {"text": text, "ratio": 0.5})
    assert answer.status == 200
    result: dict[str, Any] = answer.json
    return result


@pytest.mark.parametrize("language", SAMPLES)
def test_a_text_is_read_by_the_model_of_its_language(daemon: Daemon, language: str) -> None:
    result = compressed(daemon, SAMPLES[language])
    wanted = "tokenflow-compressor" if language == "en" else "tokenflow-multilingual"
    assert result["model"] == wanted
    assert result["compressed_tokens"] <= 0.5 * result["original_tokens"] + 1


@pytest.mark.parametrize("multilingual", ["not-there", ""])
def test_without_the_multilingual_model_the_other_reads_everything(
    tmp_path: Path, multilingual: str
) -> None:
    daemon = Daemon(Services(config_in(tmp_path, models={"multilingual": multilingual})))
    assert compressed(daemon, SAMPLES["de"])["model"] == "tokenflow-compressor"
    daemon.close()


def test_a_compressor_that_names_no_languages_reads_everything(tmp_path: Path) -> None:
    install(tmp_path, "mine", languages=[])
    daemon = Daemon(Services(config_in(tmp_path, models={"compressor": "mine"})))
    assert compressed(daemon, SAMPLES["de"])["model"] == "mine"
    daemon.close()
