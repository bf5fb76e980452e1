"""What the two recipes have in common: the loop that fits a model to batches."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from rich.progress import Progress

Batch = TypeVar("Batch")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


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
