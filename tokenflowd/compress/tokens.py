"""Counts tokens as OpenAI's models do, offline."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any, Literal

Encoding = Literal["o200k_base", "cl100k_base"]

# What budgets are measured in: the encoding of GPT-4o and later, and of gpt-oss.
BUDGET_ENCODING: Encoding = "o200k_base"


def count_tokens(text: str, encoding: Encoding = BUDGET_ENCODING) -> int:
    """Tokens of `text`; text that looks like a special token counts as plain text."""
    count: int = _tokenizer(encoding).count(text)
    return count


@cache
def _tokenizer(encoding: Encoding) -> Any:
    return _bindings().tokenizer_for_encoding(encoding)


@cache
def _bindings() -> Any:
    """bpe-openai's Rust module, without the package around it.

    Importing the package unpacks three vocabularies into Python dictionaries that only its
    tiktoken-like layer needs: 0.45 s and 70 MB (measured, 0.1.4). The Rust module carries its
    own and needs 1 ms.
    """
    package = importlib.util.find_spec("bpe_openai")
    if package is None or not package.submodule_search_locations:
        raise ImportError("bpe-openai is not installed")
    folder = Path(next(iter(package.submodule_search_locations)))
    spec = importlib.machinery.PathFinder.find_spec("_bindings", [str(folder)])
    if spec is None or spec.loader is None:
        raise ImportError(f"bpe-openai has no Rust module in {folder}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
