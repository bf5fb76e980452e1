"""A checkpoint on this machine: found or downloaded, and read for what it is."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tokenflowd.catalog import Task
from tokenflowd.errors import ExportError

# What is downloaded: no pickles, no code.
WANTED_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "README.md")
# fp32 and int8 graphs beside the checkpoint, while one is made from the other.
DISK_FACTOR = 3


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder in the file layout of the hub: config.json, safetensors, a tokenizer."""

    folder: Path
    source: str  # as it was asked for
    config: dict[str, Any]

    @property
    def architecture(self) -> str:
        return str((self.config.get("architectures") or ["?"])[0])

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the logits."""
        named = self.config.get("id2label") or {}
        count = len(named) or int(self.config.get("num_labels", 2))
        return tuple(str(named.get(str(index), f"LABEL_{index}")) for index in range(count))

    @property
    def task(self) -> Task:
        """Raises ExportError for what is neither an LLMLingua-2 nor an NLI model."""
        labels = [label.lower() for label in self.labels]
        if self.architecture.endswith("ForTokenClassification") and len(labels) == 2:
            return "token-classification"
        if self.architecture.endswith("ForSequenceClassification") and "entailment" in labels:
            return "zero-shot-classification"
        raise ExportError(
            f"{self.source} is a {self.architecture} with the labels {', '.join(self.labels)}; "
            "a token classifier with two labels (LLMLingua-2) or an NLI model with the label "
            "entailment can be exported"
        )

    @property
    def max_tokens(self) -> int:
        """The longest sequence that its positions allow."""
        positions = int(self.config.get("max_position_embeddings") or 512)
        # RoBERTa and its kin count positions from the padding id on.
        is_roberta = "roberta" in str(self.config.get("model_type"))
        return positions - (int(self.config.get("pad_token_id") or 1) + 1 if is_roberta else 0)

    @property
    def bytes(self) -> int:
        return sum(file.stat().st_size for file in self.folder.glob("*.safetensors"))

    @property
    def licence(self) -> str:
        """As its model card says."""
        card = self.folder / "README.md"
        text = card.read_text("utf-8", "replace") if card.exists() else ""
        found = re.search(r"\A---\n.*?^license:\s*(\S+)", text, re.MULTILINE | re.DOTALL)
        return found[1] if found else "see its model card"


def find_checkpoint(source: str) -> Checkpoint:
    """A local folder, else a repository of the hub, which is downloaded (and resumed) by its own
    client. Raises ExportError, also for a name that could be either: whoever wrote the current
    directory does not decide which."""
    folder = Path(source).expanduser()
    if not folder.is_dir():
        folder = _download(source)
    elif not source.startswith(("/", ".", "~")):
        raise ExportError(
            f"there is a folder {source} here: write ./{source} for it, or run this elsewhere for "
            "the repository of the hub"
        )
    try:
        config = msgspec.json.decode((folder / "config.json").read_bytes())
    except FileNotFoundError:
        raise ExportError(f"{source} is no checkpoint: it has no config.json") from None
    except (OSError, msgspec.MsgspecError) as error:
        raise ExportError(f"the config.json of {source} cannot be read: {error}") from None
    if not any(folder.glob("*.safetensors")):
        raise ExportError(
            f"{source} has no .safetensors; pickled weights can run code and are not loaded"
        )
    if config.get("auto_map"):
        raise ExportError(f"{source} needs code of its own (trust_remote_code), which is not run")
    return Checkpoint(folder, source, config)


def check_space(checkpoint: Checkpoint, where: Path) -> None:
    """Raises ExportError when the disk has no room for the files in between."""
    needed = DISK_FACTOR * checkpoint.bytes
    free = shutil.disk_usage(where).free
    if free < needed:
        raise ExportError(
            f"the export needs {needed / 1e9:.1f} GB in {where}, {free / 1e9:.1f} GB are free"
        )


def _download(source: str) -> Path:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", source):
        raise ExportError(f"there is no folder {source}, and it is no OWNER/NAME of a repository")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(source, allow_patterns=list(WANTED_FILES)))
    except LocalEntryNotFoundError:
        raise ExportError(
            f"{source} is not on this machine, and the hub cannot be reached"
        ) from None
    except HfHubHTTPError as error:
        raise ExportError(f"the hub does not give {source}: {error.server_message}") from None
    except OSError as error:  # of requests, too, whose errors are all of this kind
        raise ExportError(
            f"the download of {source} broke off ({type(error).__name__}); the same command keeps "
            "what is there and goes on"
        ) from None
