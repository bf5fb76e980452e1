"""How near a model comes to what the machine can do: int8 multiplications and additions."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime as ort

from tokenflowd.catalog.manifest import MODEL_FILE
from tokenflowd.config import EngineConfig
from tokenflowd.engine import EncoderModel

# A product of the size of BART-large's widest layers, for a batch as the engine makes them.
ROWS, INNER, COLUMNS = EngineConfig().batch_tokens, 1024, 4096
RUNS = 30


def share_of_peak(name: str, folder: Path, model: EncoderModel, length: int) -> str:
    """The speed of the model in `folder` on sequences of `length` tokens, in words."""
    generator = np.random.default_rng(0)
    batch = []
    for _ in range(max(1, EngineConfig().batch_tokens // length)):
        inner = length - model.tokenizer.special_tokens
        batch.append(model.tokenizer.sequence(generator.integers(1_000, 20_000, inner, np.int32)))
    tokens_per_second = len(batch) * length / _seconds(lambda: model.run(batch))
    macs, peak = tokens_per_second * _macs_per_token(folder), _peak_macs()
    return (
        f"{name}: {tokens_per_second:,.0f} tokens a second in sequences of {length}, which is "
        f"{macs / 1e9:.0f} of the {peak / 1e9:.0f} billion int8 multiplications a second that one "
        f"large product reaches ({macs / peak:.0%}); attention, LayerNorm and GELU are in fp32"
    )


def _macs_per_token(folder: Path) -> int:
    """Each weight of a product is multiplied once for each token."""
    import onnx

    graph = onnx.load(folder / MODEL_FILE).graph
    looked_up = {node.input[0] for node in graph.node if node.op_type == "Gather"}
    return sum(
        int(np.prod(tensor.dims))
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8
        and len(tensor.dims) == 2
        and tensor.name not in looked_up
    )


def _peak_macs() -> float:
    """Of one product as the models have them: quantised, multiplied, scaled."""
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(0).integers(-127, 127, (INNER, COLUMNS), np.int8)
    scale = np.full(COLUMNS, 0.01, np.float32)
    product = helper.make_node(
        "DynamicQuantizeMatMul", ["x", "weight", "scale"], ["y"], domain="com.microsoft"
    )
    graph = helper.make_graph(
        [product],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [ROWS, INNER])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [ROWS, COLUMNS])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(scale, "scale")],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = os.cpu_count() or 1
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    inputs = {"x": np.random.default_rng(1).standard_normal((ROWS, INNER), np.float32)}
    return ROWS * INNER * COLUMNS / _seconds(lambda: session.run(None, inputs))


def _seconds(run: Callable[[], object]) -> float:
    run()
    taken = []
    for _ in range(RUNS):
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    return median(taken)
