"""What the recipes have in common: the command line, and the loop that fits a model to batches."""

import argparse
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.progress import Progress

Batch = TypeVar("Batch")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def asked_for(
    about: str | None, *, with_base: bool = True
) -> tuple[argparse.Namespace, dict[str, Any]]:
    """What the command line says, and the configuration that it names, whose seed torch gets."""
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument("config", type=Path)
    for name in ("--data", *(["--base"] if with_base else []), "--out"):
        parser.add_argument(name, type=Path, required=True)
    options = parser.parse_args()
    config = tomllib.loads(options.config.read_text())
    torch.manual_seed(config["seed"])
    return options, config


def fit(
    model: torch.nn.Module,
    batches: Iterable[Batch],
    loss_of: Callable[[Batch], torch.Tensor],
    *,
    steps: int,
    learning_rate: float,
) -> float:
    """By AdamW with one cycle of the learning rate, multiplying in bfloat16; returns the mean loss
    of the last hundred of `steps` batches."""
    model.to(DEVICE).train()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=steps, pct_start=0.1
    )
    losses: list[float] = []
    with Progress() as progress:
        task = progress.add_task("training", total=steps)
        for batch in batches:
            with torch.autocast(DEVICE, torch.bfloat16):
                loss = loss_of(batch)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            mean = sum(losses[-100:]) / len(losses[-100:])
            progress.update(task, advance=1, description=f"training, loss {mean:.3f}")
    return mean


def padded(rows: list[list[int]], filler: float = 0) -> torch.Tensor:
    """One tensor of rows of different lengths: shape (n_rows, longest)."""
    longest = max(map(len, rows))
    return torch.tensor([row + [filler] * (longest - len(row)) for row in rows], device=DEVICE)
