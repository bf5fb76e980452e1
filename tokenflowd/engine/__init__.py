"""Text in, arrays out: ONNX sessions, subword tokenizers, batching. Knows no HTTP, no SQL."""

from tokenflowd.engine.model import EncoderModel, load_model
from tokenflowd.engine.tokenizer import (
    EncodedSequence,
    Subwords,
    SubwordTokenizer,
    TokenizerShelf,
)

__all__ = [
    "EncodedSequence",
    "EncoderModel",
    "SubwordTokenizer",
    "Subwords",
    "TokenizerShelf",
    "load_model",
]
