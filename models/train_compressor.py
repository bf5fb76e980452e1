"""Train the shipped compressor: all-MiniLM-L6-v2 with a token head, on labels of reuse (reuse.py).

    python models/train_compressor.py models/compressor.toml --data DATA --base BASE --out OUT

DATA is a folder with the unpacked sources that the configuration names, BASE a BERT checkpoint.
Writes a Hugging Face checkpoint for quantise.py. Needs torch and transformers (the `export`
extra).
"""

import argparse
import json
import random
import shutil
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import reuse
import torch
from rich.progress import Progress
from tokenizers import Tokenizer
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import BertForTokenClassification

LABELS = {0: "drop", 1: "keep"}
IGNORED = -1.0  # the label of what begins no word's piece: [CLS] and [SEP]
# Windows of about equal length train together: nothing is lost to padding.
SORTED_BATCHES = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    config = tomllib.loads(options.config.read_text())
    torch.manual_seed(config["seed"])
    windows = reuse.windows(options.data, config["times"], config["held_out_articles"])
    encoded = encode(windows, Tokenizer.from_file(str(options.base / "tokenizer.json")), config)
    model = BertForTokenClassification.from_pretrained(
        options.base, num_labels=2, id2label=LABELS, label2id={v: k for k, v in LABELS.items()}
    )
    started = time.monotonic()
    loss = train(model, encoded, config)
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


def train(model: BertForTokenClassification, encoded: Encoded, config: dict[str, Any]) -> float:
    """By AdamW with one cycle of the learning rate, multiplying in bfloat16; returns the mean loss
    of the last hundred batches."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device).train()
    rng = random.Random(config["seed"])
    size, epochs = config["batch_size"], config["epochs"]
    steps = sum(1 for _ in batches(encoded, size, random.Random(0))) * epochs
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config["learning_rate"], total_steps=steps, pct_start=0.1
    )
    losses: list[float] = []
    with Progress() as progress:
        task = progress.add_task("training", total=steps)
        for _ in range(epochs):
            for batch in batches(encoded, size, rng):
                loss = loss_of(model, batch, device)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                losses.append(loss.item())
                mean = sum(losses[-100:]) / len(losses[-100:])
                progress.update(task, advance=1, description=f"training, loss {mean:.3f}")
    return mean


def loss_of(model: BertForTokenClassification, batch: Encoded, device: str) -> torch.Tensor:
    longest = max(len(ids) for ids, _ in batch)
    ids = torch.tensor([row + [0] * (longest - len(row)) for row, _ in batch], device=device)
    labels = torch.tensor(
        [row + [IGNORED] * (longest - len(row)) for _, row in batch], device=device
    )
    with torch.autocast(device, torch.bfloat16):
        logits = model(input_ids=ids, attention_mask=(ids != 0).long()).logits.float()
    known = labels != IGNORED
    return binary_cross_entropy_with_logits((logits[..., 1] - logits[..., 0])[known], labels[known])


if __name__ == "__main__":
    main()
