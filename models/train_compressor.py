"""Train the shipped compressor: all-MiniLM-L6-v2 with a token head, on labels of reuse (reuse.py).

    python models/train_compressor.py models/compressor.toml --data DATA --base BASE --out OUT

DATA is a folder with the unpacked sources that the configuration names, BASE a BERT checkpoint.
Writes a Hugging Face checkpoint for quantise.py. Needs torch and transformers (the `export`
extra).
"""

import json
import random
import shutil
import time
from collections.abc import Iterator
from typing import Any

import reuse
import torch
from tokenizers import Tokenizer
from torch.nn.functional import binary_cross_entropy_with_logits
from training import asked_for, fit, padded
from transformers import BertForTokenClassification

LABELS = {0: "drop", 1: "keep"}
IGNORED = -1.0  # the label of what begins no word's piece: [CLS] and [SEP]
# Windows of about equal length train together: nothing is lost to padding.
SORTED_BATCHES = 64


def main() -> None:
    options, config = asked_for(__doc__)
    windows = reuse.windows(options.data, config["times"], config["held_out_articles"])
    encoded = encode(windows, Tokenizer.from_file(str(options.base / "tokenizer.json")), config)
    model = BertForTokenClassification.from_pretrained(
        options.base, num_labels=2, id2label=LABELS, label2id={v: k for k, v in LABELS.items()}
    )
    started = time.monotonic()
    rng, size = random.Random(config["seed"]), config["batch_size"]
    steps = config["epochs"] * sum(1 for _ in batches(encoded, size, random.Random(0)))
    loss = fit(
        model,
        (batch for _ in range(config["epochs"]) for batch in batches(encoded, size, rng)),
        lambda batch: loss_of(model, batch),
        steps=steps,
        learning_rate=config["learning_rate"],
    )
    model.save_pretrained(options.out)
    shutil.copy(options.base / "tokenizer.json", options.out)
    words = sum(len(window.words) for window in windows)
    facts = {"windows": len(windows), "words": words, "seconds": round(time.monotonic() - started)}
    (options.out / "training.json").write_text(
        json.dumps(config | facts | {"loss": loss}, indent=2)
    )


Encoded = list[tuple[list[int], list[float]]]


def encode(windows: list[reuse.Window], tokenizer: Tokenizer, config: dict[str, Any]) -> Encoded:
    """Token ids of each window, and for each token the label of its word."""
    tokenizer.no_padding()
    tokenizer.enable_truncation(config["max_tokens"])
    pieces = tokenizer.encode_batch([window.words for window in windows], is_pretokenized=True)
    return [
        (
            piece.ids,
            [IGNORED if word is None else window.labels[word] for word in piece.word_ids],
        )
        for piece, window in zip(pieces, windows, strict=True)
    ]


def batches(encoded: Encoded, size: int, rng: random.Random) -> Iterator[Encoded]:
    order = rng.sample(encoded, len(encoded))
    for start in range(0, len(order), size * SORTED_BATCHES):
        chunk = sorted(order[start : start + size * SORTED_BATCHES], key=lambda pair: len(pair[0]))
        parts = [chunk[at : at + size] for at in range(0, len(chunk), size)]
        yield from rng.sample(parts, len(parts))


def loss_of(model: BertForTokenClassification, batch: Encoded) -> torch.Tensor:
    ids = padded([row for row, _ in batch])
    labels = padded([row for _, row in batch], filler=IGNORED)
    logits = model(input_ids=ids, attention_mask=(ids != 0).long()).logits.float()
    known = labels != IGNORED
    return binary_cross_entropy_with_logits((logits[..., 1] - logits[..., 0])[known], labels[known])


if __name__ == "__main__":
    main()
