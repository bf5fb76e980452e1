"""From a checkpoint to an ONNX graph: exported, fused, quantised."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tokenflowd.export.checkpoint import Checkpoint

OPSET = 18
# Of 2 GiB that protobuf allows.
MAX_FILE_BYTES = 1_900_000_000
_OPTIMUM_TASKS = {
    "token-classification": "token-classification",
    "zero-shot-classification": "text-classification",
}
# Architectures that ONNX Runtime's transformers tool knows how to fuse, by config's model_type.
_FUSIONS = {
    "bert": "bert",
    "roberta": "bert",
    "xlm-roberta": "bert",
    "distilbert": "bert",
    "electra": "bert",
    "bart": "bart",
}
# Not Gemm: that is what heads are made of, a thousandth of the work and the most sensitive.
_PRODUCTS = ("MatMul", "Attention")


def export_fp32(checkpoint: Checkpoint, folder: Path) -> Path:
    """The graph as PyTorch traces it, in fp32."""
    from optimum.exporters.onnx import main_export

    with _quiet():
        main_export(
            str(checkpoint.folder),
            folder,
            task=_OPTIMUM_TASKS[checkpoint.task],
            opset=OPSET,
            device="cpu",
            do_validation=False,
            local_files_only=True,
            trust_remote_code=False,
        )
    return folder / "model.onnx"


def fuse(graph: Path, checkpoint: Checkpoint, fused: Path) -> None:
    """Attention and GELU as one node each, where the tool knows the architecture."""
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    config = checkpoint.config
    kind = _FUSIONS.get(str(config.get("model_type")))
    heads = int(config.get("num_attention_heads") or config.get("encoder_attention_heads") or 0)
    options = FusionOptions(kind or "bert")
    # Fused embeddings would stay in fp32: half of a multilingual model's size.
    options.enable_embed_layer_norm = False
    options.enable_skip_layer_norm = options.enable_bias_skip_layer_norm = False
    with _quiet():
        model = optimizer.optimize_model(
            str(graph),
            optimization_options=options,
            model_type=kind or "bert",
            # 0 leaves attention as it is: a wrong fusion would be worse than none.
            num_heads=heads if kind else 0,
            hidden_size=int(config.get("hidden_size") or config.get("d_model") or 0) if kind else 0,
            opt_level=0,
        )
        _sum_before_layer_norm(model.model.graph)
        fused.parent.mkdir()
        model.save_model_to_file(str(fused), use_external_data_format=_is_large(graph))


def _sum_before_layer_norm(graph: Any) -> None:
    """Sum in the place of Add, which ONNX Runtime would fuse with the LayerNormalization behind
    it into a SkipLayerNormalization when it loads the graph: on the CPU that takes three times as
    long as the two, a tenth of the whole model's time (measured with 1.32)."""
    weights = {tensor.name for tensor in graph.initializer}
    sums = {
        node.output[0]: node
        for node in graph.node
        if node.op_type == "Add" and not weights.intersection(node.input)
    }
    for node in graph.node:
        if node.op_type == "LayerNormalization" and node.input[0] in sums:
            sums[node.input[0]].op_type = "Sum"


def quantise(graph: Path, quantised: Path, *, excluded: Sequence[str], embeddings: bool) -> None:
    """Dynamic int8: weights signed, with a scale for each output channel; activations at run
    time. Unsigned weights were half as fast on x86 (measured)."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet():
        quantize_dynamic(
            graph,
            quantised,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=[*_PRODUCTS, *(["Gather"] if embeddings else [])],
            nodes_to_exclude=[*excluded, *_heads(graph)],
            use_external_data_format=_is_large(graph),
            extra_options={
                "MatMulConstBOnly": True,
                "DefaultTensorType": 1,  # float: fused nodes have no types of their own
            },
        )


def halve(graph: Path, halved: Path) -> None:
    """fp16 weights; inputs and outputs stay as they are."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with _quiet():
        model = convert_float_to_float16(onnx.load(graph), keep_io_types=True)
        _save(model, halved, is_large=_is_large(graph))


def copy(graph: Path, target: Path) -> None:
    """The graph as it is; its data, if it has any beside it, follows it."""
    import onnx

    _save(onnx.load(graph), target, is_large=_is_large(graph))


def _save(model: Any, target: Path, *, is_large: bool) -> None:
    import onnx

    onnx.save(model, target, save_as_external_data=is_large, location=f"{target.name}.data")


def products(graph: Path) -> list[str]:
    """The names of the nodes that can be quantised and have weights, first to last."""
    import onnx

    model = onnx.load(graph, load_external_data=False).graph
    weights = {tensor.name for tensor in model.initializer}
    return [
        node.name for node in model.node if node.op_type in _PRODUCTS and node.input[1] in weights
    ]


def _heads(graph: Path) -> list[str]:
    """The heads under the names that the tool gives them when it takes Gemm apart."""
    import onnx

    nodes = onnx.load(graph, load_external_data=False).graph.node
    return [f"{node.name}_MatMul" for node in nodes if node.op_type == "Gemm"]


def inputs_of(graph: Path) -> tuple[str, ...]:
    import onnx

    return tuple(i.name for i in onnx.load(graph, load_external_data=False).graph.input)


def _is_large(graph: Path) -> bool:
    """Whether it is beyond what one protobuf file can hold, so that weights go beside it."""
    files = graph.parent.glob(f"{graph.name}*")
    return sum(file.stat().st_size for file in files) > MAX_FILE_BYTES


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the tools' chatter, which says nothing that a user could act on."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
