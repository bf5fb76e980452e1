"""One ONNX model on the CPU: padded batches in, one array for each sequence out."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from tokenflowd.engine.tokenizer import EncodedSequence
from tokenflowd.errors import ModelUnavailable

Floats = NDArray[np.float32]


class OnnxSession:
    """Runs one encoder. Not for several threads at once: the batcher owns it."""

    def __init__(self, path: Path, *, name: str, inputs: tuple[str, ...], threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # The arena keeps what its largest batch needed for ever (424 MiB once, measured);
        # small batches through malloc are as fast.
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        # Threads that spin between runs burn a core each, and two models' pools spin against
        # each other: pairs of sessions ran half as fast with it.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if adds_int8_in_16_bits(platform.machine(), _cpu_flags()):
            options.add_session_config_entry("session.x64quantprecision", "1")
        try:
            self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime raises a dozen types of its own
            raise ModelUnavailable(f"model {name}: ONNX Runtime cannot load it: {error}") from error
        self._inputs = inputs
        self.answers_per_token = len(self._session.get_outputs()[0].shape) == 3

    def run(self, batch: list[EncodedSequence]) -> list[Floats]:
        """The first output for each sequence: float32, shape (length, k) for models that
        answer for each token, else (k,)."""
        shape = (len(batch), max(map(len, batch)))
        arrays = {name: np.zeros(shape, np.int64) for name in self._inputs}
        for row, sequence in enumerate(batch):
            columns = slice(0, len(sequence))
            arrays["input_ids"][row, columns] = sequence.ids
            arrays["attention_mask"][row, columns] = 1
            if "token_type_ids" in arrays:
                arrays["token_type_ids"][row, columns] = sequence.type_ids
        output = self._session.run(None, arrays)[0]
        if self.answers_per_token:
            return [output[row, : len(sequence)] for row, sequence in enumerate(batch)]
        return list(output)


def adds_int8_in_16_bits(machine: str, cpu_flags: str) -> bool:
    """Whether int8 products can saturate: on x86 without VNNI their pairs are added in 16 bits.

    ONNX Runtime then has a slower exact way. It must not be asked for elsewhere: it doubles the
    time where VNNI is (measured).
    """
    is_x86 = machine.lower() in ("x86_64", "amd64")
    return is_x86 and not any(flag in cpu_flags for flag in ("avx512_vnni", "avx_vnni"))


def _cpu_flags() -> str:
    """The processor's features, where the system tells (Linux)."""
    try:
        info = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
    return next((line for line in info.splitlines() if line.startswith("flags")), "")
