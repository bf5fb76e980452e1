"""Models of the sizes that people export, against llmlingua and transformers: weights are random,
the same on both sides; ours went through `tokenflow models export`."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.progress import Progress

from benchmarks.inputs import LABELS, PROMPT, english
from benchmarks.peak import share_of_peak
from benchmarks.references import (
    bart_large_shape,
    export_extra,
    llmlingua,
    mbert_shape,
    zero_shot,
)
from benchmarks.report import INSTALL, Run, Table, interleave, p50, times_faster
from tokenflowd.catalog.catalog import shipped_models_dir
from tokenflowd.classify import PairScorer
from tokenflowd.compress import CompressionOptions, Compressor
from tokenflowd.config import CompressConfig, EngineConfig
from tokenflowd.engine import EncoderModel, load_model

HALF = CompressionOptions(ratio=0.5)
# Tokens of the text, and how often each side runs: llmlingua needs minutes for the longest.
RUNS = {500: 7, 5_000: 3, 50_000: 1}
CLASSIFICATIONS = 7
LLMLINGUA, EXPORTED, EMBEDDED = "llmlingua, mBERT", "ours, mBERT in int8", "ours, the shipped model"
PIPELINE = "transformers, BART-large"
PIPELINE_AT_ONCE = "transformers, BART-large, all pairs in one batch"
OURS = "ours, BART-large in int8"
# Of the prompt with a category.
PAIR_TOKENS = 80
SHIPPED = shipped_models_dir() / "tokenflow-compressor"


def compression(progress: Progress) -> Table:
    """In the shape of LLMLingua-2's multilingual BERT."""
    columns = ("tokens", LLMLINGUA, EXPORTED, "faster", "aim", EMBEDDED, "faster", "aim")
    if not export_extra():
        return Table("Compression with an exported model", columns, [], [INSTALL], {})
    rows, figures = [], {}
    with (
        mbert_shape() as checkpoint,
        _exported(checkpoint, progress) as folder,
        _loaded(folder) as big,
        _loaded(SHIPPED) as small,
    ):
        theirs = llmlingua(checkpoint)
        forgetful = CompressConfig(cache_tokens=0)
        exporteds, embeddeds = Compressor(big, forgetful), Compressor(small, forgetful)
        for tokens, runs in RUNS.items():
            text = english(tokens)
            sides: dict[str, Run] = {
                LLMLINGUA: lambda text=text: theirs.compress_prompt(text, rate=0.5),
                EXPORTED: lambda text=text: exporteds.compress(text, HALF),
                EMBEDDED: lambda text=text: embeddeds.compress(text, HALF),
            }
            label = f"compress {tokens:,} tokens with mBERT"
            taken = interleave(sides, progress, label, rounds=runs, warm_up=tokens < 50_000)
            figures[str(tokens)] = taken
            row = [f"{tokens:,}", p50(taken[LLMLINGUA])]
            for side, aim in ((EXPORTED, "5x"), (EMBEDDED, "30x")):
                row += p50(taken[side]), times_faster(taken[side], taken[LLMLINGUA]), aim
            rows.append(tuple(row))
        window = big.manifest.window_tokens
        notes = [
            f"medians of {', '.join(map(str, RUNS.values()))} alternating runs, no caches; windows "
            f"of {window} tokens; llmlingua pads each of its own to 512",
            share_of_peak("mBERT in int8", folder, big, window),
            share_of_peak("the shipped model", SHIPPED, small, small.manifest.window_tokens),
        ]
    return Table("Compression with an exported model", columns, rows, notes, {"seconds": figures})


def classification(progress: Progress) -> Table:
    """In the shape of bart-large-mnli."""
    columns = ("", "p50", "ours is faster", "aim")
    if not export_extra():
        return Table("Classification with an exported model", columns, [], [INSTALL], {})
    with (
        bart_large_shape() as checkpoint,
        _exported(checkpoint, progress) as folder,
        _loaded(folder) as model,
    ):
        ours, theirs = PairScorer(model), zero_shot(checkpoint)
        sides: dict[str, Run] = {
            OURS: lambda: ours.scores(PROMPT, LABELS, multi_label=False),
            PIPELINE: lambda: theirs(PROMPT, LABELS),
            PIPELINE_AT_ONCE: lambda: theirs(PROMPT, LABELS, batch_size=len(LABELS)),
        }
        label = "classify with BART-large"
        taken = interleave(sides, progress, label, rounds=CLASSIFICATIONS)
        note = share_of_peak("BART-large in int8", folder, model, PAIR_TOKENS)
    aims = {PIPELINE: "5x"}
    return Table(
        f"Classification of a prompt of 60 tokens into {len(LABELS)} categories, exported model",
        columns,
        [
            (
                side,
                p50(seconds),
                "" if side == OURS else times_faster(taken[OURS], seconds),
                aims.get(side, ""),
            )
            for side, seconds in taken.items()
        ],
        [
            f"medians of {CLASSIFICATIONS} alternating runs; transformers takes one pair at a time "
            "unless told otherwise",
            note,
        ],
        {"seconds": taken},
    )


@contextlib.contextmanager
def _exported(checkpoint: Path, progress: Progress) -> Iterator[Path]:
    """The folder of the model that the checkpoint becomes."""
    from tokenflowd.export import export_model, find_checkpoint

    task = progress.add_task("export", total=None)

    def show(step: str, done: int, of: int) -> None:
        progress.update(task, description=step, total=of or None, completed=done)

    with tempfile.TemporaryDirectory() as folder:
        report = export_model(
            find_checkpoint(str(checkpoint)),
            Path(folder),
            model_id="exported",
            threads=os.cpu_count() or 1,
            progress=show,
        )
        progress.remove_task(task)
        yield report.folder


def _loaded(folder: Path) -> contextlib.closing[EncoderModel]:
    return contextlib.closing(load_model(folder, EngineConfig()))
