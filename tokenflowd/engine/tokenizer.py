"""Subword tokenization of texts of any length, with character offsets."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from tokenflowd.errors import ModelUnavailable

# A `tokenizers.Encoding` takes some 200 bytes a token, so long texts are encoded in slices
# and only ids and offsets are kept.
SLICE_CHARS = 16_384
SLICES_AT_ONCE = 16
# What the vocabulary has nothing for is worse than spelled in pieces.
UNKNOWN_PIECES = 3
_LAST_WHITESPACE = re.compile(r"\s(?=\S*\Z)")

Ints = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Subwords:
    """A text's subword tokens without special ones: int32 arrays of shape (n_tokens,).

    `starts` and `ends` are offsets in characters of the text.
    """

    ids: Ints
    starts: Ints
    ends: Ints

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class EncodedSequence:
    """One input of a model, special tokens included: int32 arrays of shape (length,)."""

    ids: Ints
    type_ids: Ints

    def __len__(self) -> int:
        return len(self.ids)


class SubwordTokenizer:
    """A Hugging Face fast tokenizer (tokenizer.json), without truncation and padding."""

    def __init__(self, tokenizer_json: Path) -> None:
        try:
            self._tokenizer = Tokenizer.from_file(str(tokenizer_json))
        except Exception as error:  # the library raises nothing more special
            raise ModelUnavailable(f"{tokenizer_json} cannot be read: {error}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        around = self._tokenizer.encode("a")
        inside = [index for index, special in enumerate(around.special_tokens_mask) if not special]
        self._prefix = np.array(around.ids[: inside[0]], np.int32)
        self._suffix = np.array(around.ids[inside[-1] + 1 :], np.int32)
        # SentencePiece and byte-level BPE count the space before a word as part of it.
        self._takes_spaces = any(start == 1 for start, _ in self._tokenizer.encode("a b").offsets)
        # Byte-level vocabularies lack nothing.
        self._unknown = self._tokenizer.token_to_id(_unknown_token(self._tokenizer))
        self.special_tokens = len(self._prefix) + len(self._suffix)
        self.pair_special_tokens = self._tokenizer.num_special_tokens_to_add(True)

    def subwords(self, text: str) -> Subwords:
        """The subwords of all of `text`, in order."""
        ids: list[Ints] = []
        starts: list[Ints] = []
        ends: list[Ints] = []
        slices = list(_slices(text))
        for first in range(0, len(slices), SLICES_AT_ONCE):
            group = slices[first : first + SLICES_AT_ONCE]
            encodings = self._tokenizer.encode_batch(
                [text[start:end] for start, end in group], add_special_tokens=False
            )
            for (start, _), encoding in zip(group, encodings, strict=True):
                offsets = np.array(encoding.offsets, np.int32).reshape(-1, 2) + start
                ids.append(np.array(encoding.ids, np.int32))
                starts.append(offsets[:, 0])
                ends.append(offsets[:, 1])
        subwords = Subwords(_concatenate(ids), _concatenate(starts), _concatenate(ends))
        return _without_spaces(text, subwords) if self._takes_spaces else subwords

    def tokens(self, ids: Ints) -> list[str]:
        """The vocabulary's spelling of each id, such as `##ing`."""
        return [self._tokenizer.id_to_token(token_id) or "" for token_id in ids.tolist()]

    def sequence(self, ids: Ints) -> EncodedSequence:
        """`ids` between the special tokens of a single text."""
        whole = np.concatenate([self._prefix, ids, self._suffix])
        return EncodedSequence(whole, np.zeros_like(whole))

    def unwrap(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The values, shape (length, ...), of a `sequence` without those of special tokens."""
        return values[len(self._prefix) : len(values) - len(self._suffix)]

    def text_sequence(self, text: str) -> EncodedSequence:
        """One model input for a whole text."""
        return _sequence(self._tokenizer.encode(text))

    def pairs(self, first: str, seconds: list[str]) -> list[EncodedSequence]:
        """The model inputs of (first, second) for each second, as the model's template pairs."""
        head = self._tokenizer.encode(first, add_special_tokens=False)
        tails = self._tokenizer.encode_batch(seconds, add_special_tokens=False)
        return [_sequence(self._tokenizer.post_process(head, tail)) for tail in tails]

    def length(self, text: str) -> int:
        """Tokens of a short text, without special ones."""
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def knows(self, text: str) -> bool:
        """Whether the vocabulary has something for all of `text`."""
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return self._unknown is None or self._unknown not in ids

    def pieces(self, text: str) -> int:
        """Tokens of a short text, those that the vocabulary lacks counted threefold."""
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        unknown = 0 if self._unknown is None else ids.count(self._unknown)
        return len(ids) + (UNKNOWN_PIECES - 1) * unknown

    def shorten(self, text: str, limit: int) -> str:
        """`text` itself if it has at most `limit` tokens, else its head and its tail.

        Three quarters of the tokens go to the head, one quarter to the tail: people write what
        they want first or last, and paste what they want it done to in between.
        """
        # No vocabulary here has tokens of more than 16 characters on average, so the middle
        # of a very long text need not be tokenized to know that it falls.
        reach = 16 * limit
        head, tail = (text, text) if len(text) <= 2 * reach else (text[:reach], text[-reach:])
        head_words = self.subwords(head)
        if head is tail and len(head_words) <= limit:
            return text
        tail_words = head_words if head is tail else self.subwords(tail)
        head_tokens = limit * 3 // 4
        tail_tokens = limit - head_tokens
        return (
            head[: head_words.ends[:head_tokens][-1]]
            + " "
            + tail[tail_words.starts[-tail_tokens:][0] :]
        )


class TokenizerShelf:
    """Tokenizers in use, by the sha256 of their files: models often have the same, of 9 MB in
    memory."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[str, SubwordTokenizer] = WeakValueDictionary()
        self._lock = threading.Lock()

    def get(self, path: Path, sha256: str) -> SubwordTokenizer:
        with self._lock:
            known = self._known.get(sha256)
            if known is None:
                known = self._known[sha256] = SubwordTokenizer(path)
            return known


def _unknown_token(tokenizer: Tokenizer) -> str:
    return getattr(tokenizer.model, "unk_token", None) or "<unk>"


def _sequence(encoding: Encoding) -> EncodedSequence:
    return EncodedSequence(np.array(encoding.ids, np.int32), np.array(encoding.type_ids, np.int32))


def _without_spaces(text: str, subwords: Subwords) -> Subwords:
    """The same with starts behind the white space that stands before a word. What is nothing but
    white space stays."""
    is_space = np.fromiter(map(str.isspace, text), np.bool_, len(text))
    others = np.where(is_space, len(text), np.arange(len(text)))
    next_other = np.append(np.minimum.accumulate(others[::-1])[::-1], len(text)).astype(np.int32)
    behind = next_other[subwords.starts]
    starts = np.where(behind < subwords.ends, behind, subwords.starts)
    return Subwords(subwords.ids, starts, subwords.ends)


def _concatenate(arrays: list[Ints]) -> Ints:
    return np.concatenate(arrays) if arrays else np.zeros(0, np.int32)


def _slices(text: str) -> Iterator[tuple[int, int]]:
    """Spans that cover `text`, cut at white space, where subword tokenizers cut anyway.

    Text without white space is cut between characters: exact where the tokenizer takes each
    character by itself (Chinese, Japanese), one odd token in 16,384 characters elsewhere.
    """
    start = 0
    while start < len(text):
        end = start + SLICE_CHARS
        if end < len(text) and (cut := _LAST_WHITESPACE.search(text, start + 1, end)):
            end = cut.start()
        end = min(end, len(text))
        yield start, end
        start = end
