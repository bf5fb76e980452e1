"""Write a BERT checkpoint as the int8 ONNX graph that the engine runs.

    python models/quantise.py CHECKPOINT_DIR OUT_DIR --task token-classification

CHECKPOINT_DIR is a Hugging Face folder: config.json, model.safetensors, tokenizer.json.
OUT_DIR gets model.onnx, tokenizer.json and manifest.json; what a person wrote into an existing
manifest (name, data, figures) stays, what follows from the graph is written anew.

The graph is built node by node instead of traced, so that every initializer keeps the name of
its checkpoint tensor (dequantise.py reads them back) and so that only fast kernels are used.
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file
from tokenizers import Tokenizer

OPSET = 17  # the first with LayerNormalization
IR_VERSION = 8
CONTRIB = "com.microsoft"  # operators that onnxruntime ships besides the ONNX standard
QUANTISATION = (
    "dynamic: int8 weights, symmetric, one scale per output channel (per row for the word "
    "embeddings); uint8 activations, one scale per tensor; heads, biases and LayerNorm in fp32"
)
INPUTS = {
    "token-classification": ["input_ids", "attention_mask"],
    "zero-shot-classification": ["input_ids", "attention_mask", "token_type_ids"],
    "sentence-embedding": ["input_ids", "attention_mask"],
}
OUTPUT = {  # name and shape
    "token-classification": ("logits", ["batch", "sequence", 2]),
    "zero-shot-classification": ("logits", ["batch", 2]),
    "sentence-embedding": ("embeddings", ["batch", 384]),
}


def quantise_symmetric(weight: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """int8 values and float32 scales (kept as size 1 along `axis`): weight ~ values * scales."""
    scale = np.maximum(np.abs(weight).max(axis, keepdims=True), 1e-12) / 127
    return np.rint(weight / scale).astype(np.int8), scale.astype(np.float32)


class BertGraph:
    """The nodes and initializers of one BERT encoder with its head.

    Activations are (batch, sequence, hidden). Weights of linear layers are stored (in, out), the
    transpose of PyTorch's; those of layers that share one multiplication lie side by side under
    a name such as `...self.query+key+value.weight`.
    """

    def __init__(self, config: dict[str, Any], tensors: dict[str, np.ndarray], *, int8: bool):
        self.config = config
        self.tensors = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
        self.int8 = int8
        self.prefix = "bert." if "bert.embeddings.word_embeddings.weight" in tensors else ""
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}

    # Building blocks

    def node_outputs(
        self, count: int, op: str, *inputs: str, domain: str = "", **attributes: float
    ) -> list[str]:
        """Append a node with `count` outputs; their names."""
        name = f"{op}_{len(self.nodes)}"
        outputs = [f"{name}.{i}" for i in range(count)]
        node = helper.make_node(op, inputs, outputs, name=name, domain=domain, **attributes)
        self.nodes.append(node)
        return outputs

    def node(self, op: str, *inputs: str, domain: str = "", **attributes: float) -> str:
        """Append a node; the name of its output."""
        return self.node_outputs(1, op, *inputs, domain=domain, **attributes)[0]

    def constant(self, name: str, value: np.ndarray) -> str:
        self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def tensor(self, name: str) -> str:
        return self.constant(name, self.tensors[name])

    def stacked(self, module: str, kind: str) -> np.ndarray:
        """Weights (in, sum of outs) or biases of the layers that `module` names with `+`."""
        parent, _, layers = module.rpartition(".")
        parent += "." if parent else ""
        parts = [self.tensors[f"{parent}{layer}.{kind}"].T for layer in layers.split("+")]
        return np.concatenate(parts, axis=-1)

    def weight(self, module: str) -> list[str]:
        """The weight of a linear layer, followed by its scales in an int8 graph."""
        name = f"{module}.weight"
        if not self.int8:
            return [self.constant(name, self.stacked(module, "weight"))]
        values, scale = quantise_symmetric(self.stacked(module, "weight"), axis=0)
        return [self.constant(name, values), self.constant(f"{name}_scale", scale[0])]

    def bias(self, module: str) -> str:
        return self.constant(f"{module}.bias", self.stacked(module, "bias"))

    def linear(self, x: str, module: str, *, bias: bool = True) -> str:
        if self.int8:
            inputs = [x, *self.weight(module), "", *([self.bias(module)] if bias else [])]
            return self.node("DynamicQuantizeMatMul", *inputs, domain=CONTRIB)
        product = self.node("MatMul", x, *self.weight(module))
        return self.node("Add", product, self.bias(module)) if bias else product

    def head(self, x: str, module: str) -> str:
        """A linear layer too small to gain from int8."""
        weight = self.constant(f"{module}.weight", self.stacked(module, "weight"))
        return self.node("Add", self.node("MatMul", x, weight), self.bias(module))

    def layer_norm(self, x: str, module: str) -> str:
        inputs = [x, self.tensor(f"{module}.weight"), self.tensor(f"{module}.bias")]
        return self.node("LayerNormalization", *inputs, epsilon=self.config["layer_norm_eps"])

    def add_and_norm(self, x: str, residual: str, module: str) -> str:
        # Sum, not Add: onnxruntime fuses Add and LayerNormalization into SkipLayerNormalization,
        # whose CPU kernel takes three times as long as the two apart (measured with 1.32).
        return self.layer_norm(self.node("Sum", x, residual), module)

    def first_token(self, x: str) -> str:
        """The [CLS] vectors: (batch, 1, hidden)."""
        zero, one = self.constant("zero", np.array([0])), self.constant("one", np.array([1]))
        return self.node("Slice", x, zero, one, one)

    # The encoder

    def embeddings(self, *, segments: bool) -> str:
        module = f"{self.prefix}embeddings"
        words = f"{module}.word_embeddings.weight"
        if self.int8:
            values, scale = quantise_symmetric(self.tensors[words], axis=1)
            rows = self.node("Gather", self.constant(words, values), "input_ids")
            scales = self.node("Gather", self.constant(f"{words}_scale", scale), "input_ids")
            x = self.node("Mul", self.node("Cast", rows, to=TensorProto.FLOAT), scales)
        else:
            x = self.node("Gather", self.tensor(words), "input_ids")
        positions = self.tensors[f"{module}.position_embeddings.weight"]
        if not segments:  # every token is of segment 0, so its vector belongs to every position
            positions = positions + self.tensors[f"{module}.token_type_embeddings.weight"][0]
        table = self.constant(f"{module}.position_embeddings.weight", positions)
        zero = self.constant("zero", np.array([0]))
        length = self.node("Shape", "input_ids", start=1, end=2)
        offset = self.node("Slice", table, zero, length, zero)
        if segments:
            table = self.tensor(f"{module}.token_type_embeddings.weight")
            offset = self.node("Add", offset, self.node("Gather", table, "token_type_ids"))
        return self.layer_norm(self.node("Add", x, offset), f"{module}.LayerNorm")

    def attention(self, x: str, mask: str, module: str) -> str:
        heads = self.config["num_attention_heads"]
        module += ".query+key+value"
        weight, *scale = self.weight(module)
        if not self.int8:
            inputs = [x, weight, self.bias(module), mask]
            return self.node("Attention", *inputs, domain=CONTRIB, num_heads=heads)
        x, x_scale, x_zero = self.node_outputs(3, "DynamicQuantizeLinear", x)
        inputs = [x, weight, self.bias(module), x_scale, *scale, mask, x_zero]
        return self.node("QAttention", *inputs, domain=CONTRIB, num_heads=heads)

    def attention_of_first_token(self, x: str, mask: str, module: str) -> str:
        query = self.linear(self.first_token(x), f"{module}.query", bias=False)
        key_value = self.linear(x, f"{module}.key+value", bias=False)
        key, value = self.node_outputs(2, "Split", key_value, axis=2)
        inputs = [query, key, value, self.bias(f"{module}.query+key+value"), mask]
        heads = self.config["num_attention_heads"]
        return self.node("MultiHeadAttention", *inputs, domain=CONTRIB, num_heads=heads)

    def layer(self, x: str, mask: str, module: str, *, first_token_only: bool) -> str:
        if first_token_only:
            attended = self.attention_of_first_token(x, mask, f"{module}.attention.self")
            x = self.first_token(x)
        else:
            attended = self.attention(x, mask, f"{module}.attention.self")
        attended = self.linear(attended, f"{module}.attention.output.dense")
        x = self.add_and_norm(attended, x, f"{module}.attention.output.LayerNorm")
        wide = self.node("Gelu", self.linear(x, f"{module}.intermediate.dense"), domain=CONTRIB)
        narrow = self.linear(wide, f"{module}.output.dense")
        return self.add_and_norm(narrow, x, f"{module}.output.LayerNorm")

    def encoder(self, task: str) -> str:
        """Hidden states (batch, sequence, hidden); of [CLS] alone where the head reads no more,
        which spares a classifier most of its last layer."""
        pairs = task == "zero-shot-classification"
        mask = self.node("Cast", "attention_mask", to=TensorProto.INT32)
        x = self.embeddings(segments=pairs)
        last = self.config["num_hidden_layers"] - 1
        for i in range(last + 1):
            module = f"{self.prefix}encoder.layer.{i}"
            x = self.layer(x, mask, module, first_token_only=pairs and i == last)
        return x

    # The heads

    def output(self, task: str) -> str:
        x = self.encoder(task)
        if task == "token-classification":
            return self.head(x, "classifier")
        axis = self.constant("one", np.array([1]))
        if task == "zero-shot-classification":
            x = self.node("Squeeze", x, axis)
            return self.head(self.node("Tanh", self.head(x, "bert.pooler.dense")), "classifier")
        # The mean's denominator vanishes in the L2 norm: the sum over the mask is enough.
        mask = self.node("Cast", "attention_mask", to=TensorProto.FLOAT)
        total = self.node("MatMul", self.node("Unsqueeze", mask, axis), x)
        return self.node("LpNormalization", self.node("Squeeze", total, axis), axis=-1, p=2)


def bert_onnx(checkpoint_dir: Path, task: str, *, int8: bool) -> onnx.ModelProto:
    """The graph of a checkpoint for one task, in int8 or fp32, with the same inputs and output."""
    config = json.loads((checkpoint_dir / "config.json").read_text())
    expected = ("bert", "gelu", "absolute")
    found = tuple(config.get(x) for x in ("model_type", "hidden_act", "position_embedding_type"))
    if found != expected:
        raise SystemExit(f"{checkpoint_dir}: the graph is for {expected}, this model is {found}.")
    graph = BertGraph(config, load_file(checkpoint_dir / "model.safetensors"), int8=int8)
    name, shape = OUTPUT[task]
    graph.node("Identity", graph.output(task))
    graph.nodes[-1].output[0] = name
    integers, floats = TensorProto.INT64, TensorProto.FLOAT
    inputs = [
        helper.make_tensor_value_info(x, integers, ["batch", "sequence"]) for x in INPUTS[task]
    ]
    outputs = [helper.make_tensor_value_info(name, floats, shape)]
    initializers = list(graph.initializers.values())
    return helper.make_model(
        helper.make_graph(graph.nodes, task, inputs, outputs, initializers),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)],
        ir_version=IR_VERSION,
        producer_name="tokenflow",
    )


def export_fp32(checkpoint_dir: Path, out_path: Path, task: str) -> None:
    """Write the checkpoint's graph in fp32: the reference that the int8 graph is measured by."""
    onnx.save(bert_onnx(checkpoint_dir, task, int8=False), out_path)


def file_facts(path: Path) -> dict[str, str | int]:
    content = path.read_bytes()
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def blank_manifest(model_id: str, task: str, config: dict[str, Any]) -> dict[str, Any]:
    """What a new model's manifest starts from; the rest is for a person to write."""
    labels = {int(index): label for index, label in config.get("id2label", {}).items()}
    return {
        "schema": 1,
        "id": model_id,
        "name": model_id,
        "version": "0",
        "task": task,
        "labels": [labels[i] for i in sorted(labels)],
        "window_tokens": 256,
        "max_tokens": config["max_position_embeddings"],
        "subword_prefix": "##",
    }


def quantise(checkpoint_dir: Path, out_dir: Path, task: str) -> None:
    """Write model.onnx, tokenizer.json and manifest.json of one model."""
    out_dir.mkdir(parents=True, exist_ok=True)
    onnx.save(bert_onnx(checkpoint_dir, task, int8=True), out_dir / "model.onnx")
    tokenizer = Tokenizer.from_file(str(checkpoint_dir / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.save(str(out_dir / "tokenizer.json"), pretty=False)

    config = json.loads((checkpoint_dir / "config.json").read_text())
    manifest_path = out_dir / "manifest.json"
    if manifest_path.exists():
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
    else:
        manifest = blank_manifest(out_dir.name, task, config)
    manifest |= {
        "files": {x: file_facts(out_dir / x) for x in ("model.onnx", "tokenizer.json")},
        "inputs": INPUTS[task],
        "output": OUTPUT[task][0],
        "opset": OPSET,
        "quantisation": QUANTISATION,
        "hf_config": config,
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    manifest_path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkpoint_dir", type=Path)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--task", choices=INPUTS, required=True)
    quantise(**vars(parser.parse_args()))
