"""The export, from a checkpoint to a verified model of the catalog."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from tokenflowd import __version__
from tokenflowd.catalog.catalog import MODEL_ID, shipped_models_dir
from tokenflowd.catalog.manifest import MODEL_FILE, SCHEMA, TOKENIZER_FILE, File, Manifest
from tokenflowd.config import EngineConfig
from tokenflowd.engine.tokenizer import SubwordTokenizer
from tokenflowd.errors import ExportError
from tokenflowd.export import graph
from tokenflowd.export.apart import apart
from tokenflowd.export.checkpoint import Checkpoint, check_space
from tokenflowd.export.verify import (
    Agreement,
    Run,
    agreement,
    make_probe,
    median_ms,
    onnx_runner,
    sample,
    torch_answers,
)

Precision = Literal["int8", "fp16", "fp32"]
# Told what is going on, how much of it is done, and of how much; 0 where nobody knows.
Progress = Callable[[str, int, int], None]

# A graph in fp32 is the checkpoint itself, up to rounding: of logits above 1, to this share.
MAX_FP32_DIFFERENCE = 1e-4
# The share of decisions that a smaller precision has to leave as they were.
BARS = {"token-classification": 0.97, "zero-shot-classification": 0.98}
WINDOWS = (128, 256, 512)
# A longer window sees more of the text: it may be so much slower than the fastest.
WINDOW_SLACK = 0.9
CHINESE = "今天的会议决定推迟发布。"


@dataclass(frozen=True, slots=True)
class Scheme:
    """What stays in fp32: a share of the products at either end, which are the most sensitive,
    and the embeddings."""

    name: str
    ends: float = 0.0
    embeddings: bool = False


INT8_SCHEMES = (
    Scheme("int8 throughout"),
    Scheme("int8, but fp32 for the first and last tenth of the products", ends=0.1),
    Scheme("int8, but fp32 for the first and last quarter of the products", ends=0.25),
    Scheme("int8, but fp32 for half of the products and the embeddings", 0.25, embeddings=True),
)
FALLBACK = "fp32, as int8 changed too many decisions"


@dataclass(frozen=True, slots=True)
class Report:
    """What came out, for people. Times are for one window of 256 tokens."""

    model_id: str
    folder: Path
    scheme: str
    fp32: Agreement
    agreement: Agreement
    bytes_before: int
    bytes_after: int
    ms_before: float
    ms_after: float
    tokens_per_second: dict[int, float]  # by the window's length
    seconds: float


def export_model(
    checkpoint: Checkpoint,
    models_dir: Path,
    *,
    model_id: str = "",
    precision: Precision = "int8",
    threads: int = 1,
    progress: Progress = lambda step, done, of: None,
) -> Report:
    """Puts the checkpoint into `models_dir`.

    Nothing is there until everything is: an export that ends early leaves no model. Raises
    ExportError.
    """
    started = time.monotonic()
    task = checkpoint.task
    model_id = model_id or _id_of(checkpoint, precision)
    _check_free(model_id, models_dir)
    target = models_dir / model_id
    models_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    for killed in models_dir.glob(f".{model_id}-*"):  # an export that could not clean up
        shutil.rmtree(killed)
    check_space(checkpoint, models_dir)
    with tempfile.TemporaryDirectory(prefix=f".{model_id}-", dir=models_dir) as folder:
        work, result = Path(folder), Path(folder, "result")
        result.mkdir()
        tokenizer = SubwordTokenizer(_save_tokenizer(checkpoint, result))
        probe = make_probe(checkpoint, tokenizer)

        progress("asking PyTorch", 0, 0)
        reference, torch_ms = apart(torch_answers, checkpoint, probe.batches, probe.timed)
        progress("exporting the graph", 0, 0)
        exported = apart(graph.export_fp32, checkpoint, work / "fp32")
        inputs = graph.inputs_of(exported)
        progress("fusing nodes", 0, 0)
        fused = work / "fused" / MODEL_FILE
        apart(graph.fuse, exported, checkpoint, fused)

        def held_against(file: Path, step: str) -> Agreement:
            run = onnx_runner(file, inputs, threads)
            answers = []
            for done, batch in enumerate(probe.batches):
                progress(step, done, len(probe.batches))
                answers.append(run(batch))
            return agreement(probe, reference, answers)

        fp32 = held_against(fused, "comparing the fused graph with PyTorch")
        if not _is_rounding(fp32):  # then the fusion is not for this model
            fused = exported
            fp32 = held_against(fused, "comparing the graph with PyTorch")
        if not _is_rounding(fp32):
            raise ExportError(
                f"the exported graph of {checkpoint.source} is not what PyTorch computes: its "
                f"logits differ by {fp32.difference:.2g}, where the largest is {fp32.scale:.2g}"
            )
        model = result / MODEL_FILE
        for scheme in _made(precision, fused, model, progress):
            agreed = held_against(model, f"comparing {scheme} with PyTorch")
            if agreed.decisions >= BARS[task]:
                break
            for file in result.glob(f"{MODEL_FILE}*"):
                file.unlink()
        else:
            raise ExportError(f"{precision} keeps only {agreed.decisions:.1%} of the decisions")

        progress("measuring the speed", 0, 0)
        run = onnx_runner(model, inputs, threads)
        report = Report(
            model_id=model_id,
            folder=target,
            scheme=scheme,
            fp32=fp32,
            agreement=agreed,
            bytes_before=checkpoint.bytes,
            bytes_after=sum(file.stat().st_size for file in result.glob(f"{MODEL_FILE}*")),
            ms_before=torch_ms,
            ms_after=median_ms(run, probe.timed),
            tokens_per_second=_speeds(run, tokenizer, checkpoint),
            seconds=time.monotonic() - started,
        )
        manifest = _manifest(checkpoint, report, tokenizer, inputs, result)
        (result / "manifest.json").write_bytes(
            msgspec.json.format(msgspec.json.encode(manifest), indent=2)
        )
        result.rename(target)
    return report


def _check_free(model_id: str, models_dir: Path) -> None:
    if not MODEL_ID.fullmatch(model_id):
        raise ExportError(f"{model_id!r} cannot be a model's id: letters, digits, `.`, `_` and `-`")
    if (models_dir / model_id).exists():
        raise ExportError(
            f"there is a model {model_id} already: `tokenflow models remove {model_id}`"
        )
    if (shipped_models_dir() / model_id).exists():
        raise ExportError(f"{model_id} is the id of a model that is part of TokenFlow")


def _is_rounding(agreement: Agreement) -> bool:
    return agreement.difference <= MAX_FP32_DIFFERENCE * max(1.0, agreement.scale)


def _made(precision: Precision, fused: Path, model: Path, progress: Progress) -> Iterator[str]:
    """Makes `model` by one scheme after the other, until nobody asks for the next; their names."""
    if precision == "fp16":
        progress("halving", 0, 0)
        apart(graph.halve, fused, model)
        yield "fp16 weights"
        return
    if precision == "int8":
        names = graph.products(fused)
        for scheme in INT8_SCHEMES:
            progress(f"quantising to {scheme.name}", 0, 0)
            ends = round(scheme.ends * len(names))
            excluded = names[:ends] + names[len(names) - ends :]
            apart(graph.quantise, fused, model, excluded=excluded, embeddings=not scheme.embeddings)
            yield scheme.name
    graph.copy(fused, model)
    yield "fp32" if precision == "fp32" else FALLBACK


def _save_tokenizer(checkpoint: Checkpoint, folder: Path) -> Path:
    """tokenizer.json, as it is or converted from the older formats. Raises ExportError."""
    saved = folder / TOKENIZER_FILE
    if (checkpoint.folder / TOKENIZER_FILE).exists():
        shutil.copyfile(checkpoint.folder / TOKENIZER_FILE, saved)
        return saved
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.folder, trust_remote_code=False)
        tokenizer.backend_tokenizer.save(str(saved))
    except (OSError, ValueError, AttributeError) as error:
        raise ExportError(f"{checkpoint.source} has no fast tokenizer: {error}") from None
    return saved


def _speeds(run: Run, tokenizer: SubwordTokenizer, checkpoint: Checkpoint) -> dict[int, float]:
    """Tokens per second in windows of each length, in batches as the daemon makes them."""
    speeds = {}
    for length in sorted({min(window, checkpoint.max_tokens) for window in WINDOWS}):
        batch = [sample(tokenizer, length)] * max(1, EngineConfig().batch_tokens // length)
        speeds[length] = len(batch) * length / median_ms(run, batch) * 1000
    return speeds


def _best_window(checkpoint: Checkpoint, speeds: dict[int, float]) -> int:
    """The longest that is about as fast as the fastest; a pair of texts has to fit as a whole."""
    if checkpoint.task == "zero-shot-classification":
        return max(speeds)
    fastest = max(speeds.values())
    return max(length for length, speed in speeds.items() if speed >= WINDOW_SLACK * fastest)


def _manifest(
    checkpoint: Checkpoint,
    report: Report,
    tokenizer: SubwordTokenizer,
    inputs: tuple[str, ...],
    folder: Path,
) -> Manifest:
    is_compressor = checkpoint.task == "token-classification"
    kind = msgspec.json.decode((folder / TOKENIZER_FILE).read_bytes())["model"]
    files = [TOKENIZER_FILE, *(path.name for path in folder.glob(f"{MODEL_FILE}*"))]
    return Manifest(
        schema=SCHEMA,  # type: ignore[arg-type]
        id=report.model_id,
        name=checkpoint.source.rstrip("/").rpartition("/")[2],
        version="1",
        task=checkpoint.task,
        files={name: _file(folder / name) for name in sorted(files)},
        inputs=inputs,
        output="logits",
        window_tokens=_best_window(checkpoint, report.tokens_per_second),
        max_tokens=checkpoint.max_tokens,
        languages=("multilingual",) if tokenizer.knows(CHINESE) else (),
        labels=("drop", "keep") if is_compressor else tuple(map(str.lower, checkpoint.labels)),
        subword_prefix=str(kind.get("continuing_subword_prefix") or ""),
        opset=graph.OPSET,
        quantisation=report.scheme,
        base=checkpoint.architecture,
        source=f"{checkpoint.source}, exported by TokenFlow {__version__}",
        licence=checkpoint.licence,
        figures={
            "fp32_difference": report.fp32.difference,
            "agreement": report.agreement.decisions,
            "decisions": report.agreement.count,
            "ms_for_256_tokens": {"torch": report.ms_before, "onnx": report.ms_after},
            "tokens_per_second": {str(k): v for k, v in report.tokens_per_second.items()},
        },
        hf_config={"model_type": checkpoint.config.get("model_type")},
    )


def _file(path: Path) -> File:
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return File(sha256=digest, bytes=path.stat().st_size)


def _id_of(checkpoint: Checkpoint, precision: Precision) -> str:
    name = re.sub(r"[^a-z0-9._-]+", "-", checkpoint.source.rstrip("/").rpartition("/")[2].lower())
    return f"{name.strip('-.')}{'' if precision == 'int8' else f'-{precision}'}"[-128:]
