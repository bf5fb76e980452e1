"""Classification: ours against transformers' zero-shot pipeline, and ours with many labels."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from rich.progress import Progress

from benchmarks.daemon import daemon
from benchmarks.inputs import LABELS, MANY_LABELS, PROMPT
from benchmarks.references import shipped, zero_shot
from benchmarks.report import INSTALL, Run, Table, interleave, p50, p95, times_faster
from tokenflowd.catalog.catalog import shipped_models_dir
from tokenflowd.classify import EmbeddingScorer, PairScorer
from tokenflowd.config import EngineConfig
from tokenflowd.engine import EncoderModel, load_model

ROUNDS = 20
RUNS = 6  # of each side, in a row, in each round
OURS = "ours, int8"
THEIRS = "transformers, fp32"
THEIRS_AT_ONCE = "transformers, fp32, all pairs in one batch"


def measure(progress: Progress) -> Table:
    with contextlib.ExitStack() as stack:
        classifier = stack.enter_context(contextlib.closing(_model("classifier")))
        embedder = stack.enter_context(contextlib.closing(_model("embedder")))
        home = stack.enter_context(tempfile.TemporaryDirectory())
        running = stack.enter_context(daemon(Path(home)))
        checkpoint = stack.enter_context(shipped(classifier.manifest.id))
        theirs = checkpoint and zero_shot(checkpoint)
        pair, embedding = PairScorer(classifier), EmbeddingScorer(embedder)
        few: dict[str, Run] = {
            OURS: lambda: pair.scores(PROMPT, LABELS, multi_label=False),
            "ours, the whole HTTP request": lambda: running.classify(PROMPT),
        }
        if theirs:
            same = {"hypothesis_template": classifier.manifest.hypothesis_template}
            few[THEIRS] = lambda: theirs(PROMPT, LABELS, **same)
            few[THEIRS_AT_ONCE] = lambda: theirs(PROMPT, LABELS, batch_size=len(LABELS), **same)
        many: dict[str, Run] = {
            "ours, 77 labels by pair": lambda: pair.scores(PROMPT, MANY_LABELS, multi_label=False),
            "ours, 77 labels by embedding": lambda: embedding.scores(
                PROMPT, MANY_LABELS, multi_label=False
            ),
        }
        taken = interleave(few, progress, "classify", rounds=ROUNDS, runs=RUNS)
        taken |= interleave(many, progress, "classify, 77 labels", rounds=ROUNDS)
    aims = {OURS: "p50 < 15 ms", THEIRS: "8x"}
    return Table(
        f"Classification of a prompt of 60 tokens into {len(LABELS)} categories",
        ("", "p50", "p95", "ours is faster", "aim"),
        [
            (
                name,
                p50(seconds),
                p95(seconds),
                times_faster(taken[OURS], seconds) if name in (THEIRS, THEIRS_AT_ONCE) else "",
                aims.get(name, ""),
            )
            for name, seconds in taken.items()
        ],
        [
            f"{ROUNDS * RUNS} runs of each in alternating rows of {RUNS}, {ROUNDS} with 77 labels; "
            "the same weights, labels and template; by embedding, the labels' vectors are known",
            "transformers takes one pair at a time unless told otherwise" if theirs else INSTALL,
        ],
        {"seconds": taken},
    )


def _model(name: str) -> EncoderModel:
    return load_model(shipped_models_dir() / f"tokenflow-{name}", EngineConfig())
