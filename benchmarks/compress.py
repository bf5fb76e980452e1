"""Compression: ours against llmlingua's, ours at another ratio, and where the time goes."""

from __future__ import annotations

import contextlib
from typing import Any

from rich.progress import Progress

from benchmarks.inputs import english
from benchmarks.references import llmlingua, shipped
from benchmarks.report import INSTALL, Run, Table, interleave, p50, times_faster
from tokenflowd.catalog.catalog import shipped_models_dir
from tokenflowd.compress import CompressionOptions, Compressor, count_tokens
from tokenflowd.compress.windows import sentence_windows
from tokenflowd.config import CompressConfig, EngineConfig
from tokenflowd.engine import EncoderModel, load_model

HALF = CompressionOptions(ratio=0.5)
THIRD = CompressionOptions(ratio=0.33)
# Tokens of the text, and how often each side runs. Theirs needs half a minute for the longest.
RUNS = {500: 20, 5_000: 7, 50_000: 2}
NO_CACHE = CompressConfig(cache_tokens=0)


def measure(progress: Progress) -> Table:
    rows: list[tuple[str, ...]] = []
    figures: dict[str, Any] = {}
    with contextlib.closing(_model()) as model, shipped(model.manifest.id) as checkpoint:
        theirs = checkpoint and llmlingua(checkpoint)
        for tokens, runs in RUNS.items():
            made: dict[str, str] = {}
            sides = _sides(english(tokens), model, theirs, made)
            label, warm_up = f"compress {tokens:,} tokens", tokens < 50_000
            taken = interleave(sides, progress, label, rounds=runs, warm_up=warm_up)
            kept = {name: count_tokens(text) for name, text in made.items()}
            figures[str(tokens)] = {"seconds": taken, "kept_tokens": kept}
            row: tuple[str, ...] = (f"{tokens:,}", p50(taken["ours"]))
            if theirs:
                slower = taken["llmlingua"]
                row += p50(slower), times_faster(taken["ours"], slower), "5x"
            row += p50(taken["again"]), " / ".join(f"{count:,}" for count in kept.values())
            rows.append(row)
    compared = ("llmlingua, fp32", "ours is faster", "aim") if theirs else ()
    return Table(
        "Compression to half the tokens",
        ("tokens", "ours, int8", *compared, "ours again, at 0.33", "tokens kept"),
        rows,
        [
            f"medians of {', '.join(map(str, RUNS.values()))} alternating runs; the same weights; "
            "no run of ours finds the text in its cache, except those again",
            "llmlingua pads each window to 512 tokens" if theirs else INSTALL,
        ],
        figures,
    )


def profile(progress: Progress, tokens: int = 5_000) -> Table:
    """Where the time of one compression goes, by running its steps one by one."""
    text = english(tokens)
    with contextlib.closing(_model()) as model:
        tokenizer = model.tokenizer
        subwords = tokenizer.subwords(text)
        capacity = model.manifest.window_tokens - tokenizer.special_tokens
        windows = sentence_windows(text, subwords, capacity)
        sequences = [tokenizer.sequence(subwords.ids[first:last]) for first, last in windows]
        ours = _sides(text, model, None, {})
        steps: dict[str, Run] = {
            "count the tokens": lambda: count_tokens(text),
            f"tokenize ({len(subwords):,} subwords)": lambda: tokenizer.subwords(text),
            f"cut into {len(windows)} windows": lambda: sentence_windows(text, subwords, capacity),
            "run the model": lambda: model.run(sequences),
            "count, split, protect and select (all that a cached text needs)": ours["again"],
            "all of it": ours["ours"],
        }
        taken = interleave(steps, progress, "profile", rounds=10)
    return Table(
        f"One compression of {tokens:,} tokens",
        ("step", "median of 10"),
        [(name, p50(seconds)) for name, seconds in taken.items()],
        [],
        {"seconds": taken},
    )


def _model() -> EncoderModel:
    return load_model(shipped_models_dir() / "tokenflow-compressor", EngineConfig())


def _sides(text: str, model: EncoderModel, theirs: Any, made: dict[str, str]) -> dict[str, Run]:
    """What runs, by name; `made` gets the texts that are compared."""
    forgetful, mindful = Compressor(model, NO_CACHE), Compressor(model, CompressConfig())
    mindful.compress(text, HALF)

    def ours() -> None:
        made["ours"] = forgetful.compress(text, HALF).compressed_text

    def llmlinguas() -> None:
        made["llmlingua"] = theirs.compress_prompt(text, rate=0.5)["compressed_prompt"]

    sides: dict[str, Run] = {"ours": ours, "again": lambda: mindful.compress(text, THIRD)}
    return sides | ({"llmlingua": llmlinguas} if theirs else {})
