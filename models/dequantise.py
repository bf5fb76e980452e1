"""Turn shipped int8 weights back into a Hugging Face checkpoint in fp32.

    python models/dequantise.py WEIGHTS_DIR OUT_DIR

Tests and benchmarks run the references (transformers' pipelines, llmlingua) with the very
weights that we ship: each tensor is int8 value * scale, as the int8 graph multiplies it.
"""

import argparse
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from safetensors.numpy import save_file


def checkpoint_tensors(weights_dir: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Names and values of the checkpoint's tensors, in PyTorch's layout (out, in)."""
    graph = onnx.load(weights_dir / "model.onnx").graph
    stored = {x.name: numpy_helper.to_array(x) for x in graph.initializer}
    for name, tensor in stored.items():
        if not name.endswith((".weight", ".bias")):
            continue  # a scale or a constant of the graph
        tensor = tensor * stored.get(f"{name}_scale", np.float32(1))
        module, _, kind = name.rpartition(".")
        parent, _, layers = module.rpartition(".")
        parent += "." if parent else ""
        parts = layers.split("+")  # layers that share one multiplication lie side by side
        for layer, part in zip(parts, np.split(tensor, len(parts), axis=-1), strict=True):
            transposed = kind == "weight" and "embeddings" not in name
            yield f"{parent}{layer}.{kind}", np.ascontiguousarray(part.T if transposed else part)


def unused_tensors(config: dict, prefix: str) -> dict[str, np.ndarray]:
    """Zeros for what the architecture asks for and the graph does without: segment vectors that
    went into the positions, the pooler of a sentence embedder."""
    hidden = config["hidden_size"]
    shapes = {
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], hidden),
        "pooler.dense.weight": (hidden, hidden),
        "pooler.dense.bias": (hidden,),
    }
    if "BertForTokenClassification" in config["architectures"]:
        shapes = {name: shape for name, shape in shapes.items() if "pooler" not in name}
    return {prefix + name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def checkpoint_from_onnx(weights_dir: Path, out_dir: Path) -> None:
    """Write config.json, model.safetensors, tokenizer.json and tokenizer_config.json for
    AutoTokenizer and the AutoModel class that the manifest's hf_config names."""
    weights_dir, out_dir = Path(weights_dir), Path(out_dir)
    manifest = json.loads((weights_dir / "manifest.json").read_text(encoding="utf-8"))
    config = manifest["hf_config"] | {"dtype": "float32"}
    tensors = dict(checkpoint_tensors(weights_dir))
    prefix = "" if "embeddings.LayerNorm.weight" in tensors else "bert."
    tokenizer_config = {
        "tokenizer_class": "BertTokenizerFast",
        "do_lower_case": True,
        "model_max_length": config["max_position_embeddings"],
    }
    out_dir.mkdir(parents=True, exist_ok=True)
    metadata = {"format": "pt"}  # transformers refuses files that don't say so
    save_file(unused_tensors(config, prefix) | tensors, out_dir / "model.safetensors", metadata)
    shutil.copyfile(weights_dir / "tokenizer.json", out_dir / "tokenizer.json")
    (out_dir / "config.json").write_text(json.dumps(config, indent=2))
    (out_dir / "tokenizer_config.json").write_text(json.dumps(tokenizer_config, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("weights_dir", type=Path)
    parser.add_argument("out_dir", type=Path)
    checkpoint_from_onnx(**vars(parser.parse_args()))
