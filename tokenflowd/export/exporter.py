"""The export, from a name to a verified model of the catalog."""

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
import numpy as np

from tokenflowd import __version__
from tokenflowd.catalog.catalog import MODEL_ID, shipped_models_dir
from tokenflowd.catalog.manifest import MODEL_FILE, SCHEMA, TOKENIZER_FILE, File, Manifest
from tokenflowd.engine.tokenizer import EncodedSequence, SubwordTokenizer
from tokenflowd.errors import ExportError
from tokenflowd.export import graph
from tokenflowd.export.checkpoint import Checkpoint, check_space, find_checkpoint
from tokenflowd.export.verify import (
    WINDOW_TOKENS,
    Agreement,
    Floats,
    Run,
    compare,
    onnx_runner,
    texts,
    torch_runner,
)

Precision = Literal["int8", "fp16", "fp32"]
Progress = Callable[[str], None]

# A graph in fp32 is the checkpoint itself, up to rounding: of logits above 1, to this share.
MAX_FP32_DIFFERENCE = 1e-4
# The share of decisions that a smaller precision has to leave as they were.
BARS = {"token-classification": 0.97, "zero-shot-classification": 0.98}
MAX_WINDOW_TOKENS = 512
TIMED_RUNS = 3
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
    Scheme("fp32, as int8 changed too many decisions", 0.5, embeddings=True),
)


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
    seconds: float


def export_model(
    source: str,
    models_dir: Path,
    *,
    model_id: str = "",
    precision: Precision = "int8",
    threads: int = 1,
    progress: Progress = lambda step: None,
) -> Report:
    """Puts the checkpoint `source` (a folder, or OWNER/NAME on the hub) into `models_dir`.

    Nothing is there until everything is: an export that ends early leaves no model. Raises
    ExportError.
    """
    started = time.monotonic()
    progress("looking for the checkpoint")
    checkpoint = find_checkpoint(source)
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

        progress("exporting the graph")
        exported = graph.export_fp32(checkpoint, work / "fp32")
        inputs = graph.inputs_of(exported)

        progress("fusing nodes")
        fused = work / "fused.onnx"
        graph.fuse(exported, checkpoint, fused)

        progress("comparing with PyTorch")
        torch_run = torch_runner(checkpoint)
        reference = _remembering(torch_run)

        def held_against(file: Path) -> Agreement:
            return compare(checkpoint, tokenizer, reference, onnx_runner(file, inputs, threads))

        fp32 = held_against(fused)
        if not _is_rounding(fp32):  # then the fusion is not for this model
            fused, fp32 = exported, held_against(exported)
        if not _is_rounding(fp32):
            raise ExportError(
                f"the exported graph of {source} is not what PyTorch computes: its logits differ "
                f"by {fp32.difference:.2g}, where the largest is {fp32.scale:.2g}"
            )
        for name in _made(precision, fused, result / MODEL_FILE, progress):
            scheme, agreement = name, held_against(result / MODEL_FILE)
            if agreement.decisions >= BARS[task]:
                break
        else:
            raise ExportError(f"{precision} keeps only {agreement.decisions:.1%} of the decisions")

        progress("measuring")
        ours = onnx_runner(result / MODEL_FILE, inputs, threads)
        window = _timed_window(tokenizer, checkpoint)
        report = Report(
            model_id=model_id,
            folder=target,
            scheme=scheme,
            fp32=fp32,
            agreement=agreement,
            bytes_before=checkpoint.bytes,
            bytes_after=(result / MODEL_FILE).stat().st_size,
            ms_before=_median_ms(torch_run, window),
            ms_after=_median_ms(ours, window),
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
    if precision == "fp32":
        shutil.copyfile(fused, model)
        yield "fp32"
    elif precision == "fp16":
        graph.halve(fused, model)
        yield "fp16 weights"
    else:
        names = graph.products(fused)
        for scheme in INT8_SCHEMES:
            progress(f"quantising: {scheme.name}")
            ends = round(scheme.ends * len(names))
            excluded = names[:ends] + names[len(names) - ends :]
            graph.quantise(fused, model, excluded=excluded, embeddings=not scheme.embeddings)
            yield scheme.name


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


def _remembering(run: Run) -> Run:
    """The reference is asked the same for every scheme."""
    known: dict[bytes, Floats] = {}

    def remembered(sequence: EncodedSequence) -> Floats:
        key = sequence.ids.tobytes() + sequence.type_ids.tobytes()
        if key not in known:
            known[key] = run(sequence)
        return known[key]

    return remembered


def _timed_window(tokenizer: SubwordTokenizer, checkpoint: Checkpoint) -> EncodedSequence:
    subwords = tokenizer.subwords(" ".join(texts()))
    room = min(WINDOW_TOKENS, checkpoint.max_tokens) - tokenizer.special_tokens
    return tokenizer.sequence(subwords.ids[:room])


def _median_ms(run: Run, window: EncodedSequence) -> float:
    taken = []
    for _ in range(TIMED_RUNS + 1):
        started = time.perf_counter()
        run(window)
        taken.append((time.perf_counter() - started) * 1000)
    return float(np.median(taken[1:]))  # the first run warms up


def _manifest(
    checkpoint: Checkpoint,
    report: Report,
    tokenizer: SubwordTokenizer,
    inputs: tuple[str, ...],
    folder: Path,
) -> Manifest:
    is_compressor = checkpoint.task == "token-classification"
    kind = msgspec.json.decode((folder / TOKENIZER_FILE).read_bytes())["model"]
    return Manifest(
        schema=SCHEMA,  # type: ignore[arg-type]
        id=report.model_id,
        name=checkpoint.source.rstrip("/").rpartition("/")[2],
        version="1",
        task=checkpoint.task,
        files={name: _file(folder / name) for name in (MODEL_FILE, TOKENIZER_FILE)},
        inputs=inputs,
        output="logits",
        window_tokens=min(MAX_WINDOW_TOKENS, checkpoint.max_tokens),
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
        },
        hf_config={"model_type": checkpoint.config.get("model_type")},
    )


def _file(path: Path) -> File:
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return File(sha256=digest, bytes=path.stat().st_size)


def _id_of(checkpoint: Checkpoint, precision: Precision) -> str:
    name = re.sub(r"[^a-z0-9._-]+", "-", checkpoint.source.rstrip("/").rpartition("/")[2].lower())
    return f"{name.strip('-.')}-{precision}"[:128]
