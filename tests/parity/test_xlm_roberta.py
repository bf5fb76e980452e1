"""The same parity for the other family that llmlingua knows: XLM-R, whose tokenizer marks where a
word begins. Its weights here are random: what is compared is how words are made and chosen."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Reference, reference_for

from tests.conftest import TEXTS
from tokenflowd.compress import CompressionOptions, Compressor
from tokenflowd.config import CompressConfig, EngineConfig
from tokenflowd.engine import EncoderModel, load_model

pytestmark = [pytest.mark.export, pytest.mark.timeout(300)]

# llmlingua tells SentencePiece from WordPiece by this name in the model's path.
NAME = "xlm-roberta-large"
# How the tokenizer spells the beginning of a word.
MARK = "\u2581"


@pytest.fixture(scope="module")
def checkpoint(export_extra: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.export import checkpoints

    return checkpoints.xlm_roberta(tmp_path_factory.mktemp("xlm") / NAME)


@pytest.fixture(scope="module")
def reference(checkpoint: Path, vocabulary_offline: None) -> Iterator[Reference]:
    """With XLM-R's special tokens: llmlingua forgets to say which model it is, so that [CLS] and
    [SEP] stand around each text, which XLM-R reads as <unk>."""
    from llmlingua import prompt_compressor

    dataset = functools.partial(prompt_compressor.TokenClfDataset, model_name=NAME)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prompt_compressor, "TokenClfDataset", dataset)
        yield reference_for(checkpoint)


@pytest.fixture(scope="module")
def model(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> EncoderModel:
    from tokenflowd.export import export_model, find_checkpoint

    models = tmp_path_factory.mktemp("models")
    report = export_model(find_checkpoint(str(checkpoint)), models, precision="fp32")
    return load_model(report.folder, EngineConfig())


@pytest.mark.parametrize("rate", [0.33, 0.5, 0.7])
@pytest.mark.parametrize("forced", [(), ("the",)])
def test_the_words_of_sentencepiece_are_chosen_as_in_llmlingua(
    model: EncoderModel, reference: Reference, rate: float, forced: tuple[str, ...]
) -> None:
    compressor = Compressor(model, CompressConfig(mode="llmlingua"))
    options = CompressionOptions(ratio=rate, force_tokens=forced, return_words=True)
    compared = 0
    for file in sorted(TEXTS.glob("*.md")) + sorted(TEXTS.glob("meeting.txt")):
        known = filter(model.tokenizer.knows, file.read_text("utf-8").split())
        text = " ".join(known)[:800]
        mine = [(word.text.strip(), word.keep) for word in compressor.compress(text, options).words]
        theirs = [
            (word.lstrip(MARK), keep)
            for word, keep in reference.label(text, rate=rate, force_tokens=list(forced))
        ]
        for (word, keep), (their_word, their_keep) in itertools.zip_longest(
            filter(lambda pair: pair[0], mine), filter(lambda pair: pair[0], theirs)
        ):
            assert (word, keep) == (their_word, their_keep)
            compared += 1
    assert compared > 200
