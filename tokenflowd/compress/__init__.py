"""Prompt compression: keep the words that matter, within an exact token budget."""

from tokenflowd.compress.compressor import Compression, CompressionOptions, Compressor, Word
from tokenflowd.compress.spelling import is_spelled_better
from tokenflowd.compress.tokens import count_tokens

__all__ = [
    "Compression",
    "CompressionOptions",
    "Compressor",
    "Word",
    "count_tokens",
    "is_spelled_better",
]
