"""What a model is: a folder with model.onnx, tokenizer.json and manifest.json."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from tokenflowd.errors import ModelUnavailable

Task = Literal["token-classification", "zero-shot-classification", "sentence-embedding"]
# Of the folder itself: a manifest may come from anywhere, and its files are read and hashed.
FileName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
SCHEMA = 1
MODEL_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"


class File(Struct, frozen=True):
    sha256: str
    bytes: int


class Dataset(Struct, frozen=True):
    name: str
    repository: str
    licence: str


class Manifest(Struct, frozen=True):
    """The facts about one model that the daemon acts on, and those a person asks for.

    `labels` are in the order of the logits. `window_tokens` is the longest sequence, special
    tokens included, that the engine feeds at once; `max_tokens` is what the model could take.
    `keeps` is what a compressor's scores are good enough to choose among.
    `temperature` divides the logits before the softmax (Guo et al. 2017, arXiv:1706.04599).
    """

    schema: Literal[1]
    id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    name: str
    version: str
    task: Task
    files: dict[FileName, File]
    inputs: tuple[str, ...]
    output: str
    window_tokens: Annotated[int, Meta(ge=8)]
    max_tokens: Annotated[int, Meta(ge=8)]
    languages: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    hypothesis_template: str = "This example is {}."
    temperature: Annotated[float, Meta(gt=0)] = 1.0
    label_descriptions: dict[str, str] = {}
    pooling: str = ""
    subword_prefix: str = ""
    keeps: Literal["words", "clauses"] = "words"
    opset: int = 0
    quantisation: str = ""
    base: str = ""
    source: str = ""
    licence: str = ""
    datasets: tuple[Dataset, ...] = ()
    figures: dict[str, Any] = {}
    hf_config: dict[str, Any] = {}

    def label_index(self, label: str) -> int:
        """The logit of `label`, whatever its case. Raises ModelUnavailable."""
        lowered = [name.lower() for name in self.labels]
        if label not in lowered:
            raise ModelUnavailable(
                f"model {self.id} has no label `{label}`; its manifest names "
                f"{', '.join(self.labels) or 'none'}"
            )
        return lowered.index(label)


# Made at import: msgspec 0.22 crashes when two threads are the first to decode a type at once.
_decoder = msgspec.json.Decoder(Manifest)


def read_manifest(folder: Path) -> Manifest:
    """Raises ModelUnavailable when the manifest is missing, damaged or not about this folder."""
    path = folder / "manifest.json"
    try:
        manifest = _decoder.decode(path.read_bytes())
    except FileNotFoundError:
        raise ModelUnavailable(f"no model in {folder}: manifest.json is missing") from None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ModelUnavailable(f"{path} cannot be used: {error}") from error
    if manifest.id != folder.name:
        raise ModelUnavailable(f"{path} is about `{manifest.id}`, not `{folder.name}`")
    return manifest


def verified(folder: Path, name: str, manifest: Manifest) -> Path:
    """The path of file `name`, after its sha256 was compared with the manifest's.

    ONNX Runtime loads a file with a flipped byte without a word. Raises ModelUnavailable.
    """
    expected = manifest.files.get(name)
    if expected is None:
        raise ModelUnavailable(f"the manifest of model {manifest.id} does not list {name}")
    path = folder / name
    try:
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise ModelUnavailable(f"model {manifest.id}: {name}: {error.strerror}") from error
    if digest != expected.sha256:
        raise ModelUnavailable(
            f"model {manifest.id}: {name} is damaged (its sha256 is not the manifest's); "
            "install it again"
        )
    return path
