"""Small checkpoints with random weights, in the file layout of the hub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import TEXTS

SIZES: dict[str, int] = {
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 128,
}
NLI: dict[str, Any] = {
    "num_labels": 3,
    "id2label": {0: "contradiction", 1: "neutral", 2: "entailment"},
    "label2id": {"contradiction": 0, "neutral": 1, "entailment": 2},
}


def bert(folder: Path, **more: Any) -> Path:
    from transformers import BertConfig, BertForTokenClassification

    config = BertConfig(vocab_size=VOCABULARY, num_labels=2, **SIZES | more)
    return _save(folder, BertForTokenClassification(config), _word_pieces())


def xlm_roberta(folder: Path) -> Path:
    from transformers import XLMRobertaConfig, XLMRobertaForTokenClassification

    config = XLMRobertaConfig(
        vocab_size=VOCABULARY, num_labels=2, max_position_embeddings=514, **ROBERTA_IDS, **SIZES
    )
    return _save(folder, XLMRobertaForTokenClassification(config), _sentence_pieces())


def modernbert(folder: Path) -> Path:
    from transformers import ModernBertConfig, ModernBertForTokenClassification

    ids = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    config = ModernBertConfig(
        vocab_size=VOCABULARY, num_labels=2, cls_token_id=2, sep_token_id=3, **ids, **SIZES
    )
    return _save(folder, ModernBertForTokenClassification(config), _word_pieces())


def bart(folder: Path) -> Path:
    from transformers import BartConfig, BartForSequenceClassification

    sizes = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in (("layers", 2), ("attention_heads", 4), ("ffn_dim", 128))
    }
    config = BartConfig(
        vocab_size=VOCABULARY,
        d_model=64,
        max_position_embeddings=512,
        decoder_start_token_id=2,
        **ROBERTA_IDS,
        **sizes,
        **NLI,
    )
    return _save(folder, BartForSequenceClassification(config), _byte_pairs())


def deberta(folder: Path) -> Path:
    from transformers import DebertaV2Config, DebertaV2ForSequenceClassification

    config = DebertaV2Config(
        vocab_size=VOCABULARY,
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
        position_buckets=32,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        position_biased_input=False,
        **SIZES,
        **NLI,
    )
    return _save(folder, DebertaV2ForSequenceClassification(config), _word_pieces())


VOCABULARY = 600
ROBERTA_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
ROBERTA_IDS = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
MAKERS: dict[str, Callable[[Path], Path]] = {
    "bert": bert,
    "xlm-roberta": xlm_roberta,
    "modernbert": modernbert,
    "bart": bart,
    "deberta-v3": deberta,
}


def _save(folder: Path, model: Any, tokenizer: Any) -> Path:
    """With weights large enough that the logits of different inputs differ."""
    import torch

    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=1.0 if "classif" in name else 0.1)
    model.eval().save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    return folder


def _texts() -> list[str]:
    return [path.read_text("utf-8") for path in sorted(TEXTS.iterdir())]


def _word_pieces() -> Any:
    from tokenizers import (
        Tokenizer,
        models,
        normalizers,
        pre_tokenizers,
        processors,
        trainers,
    )
    from transformers import PreTrainedTokenizerFast

    special = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=VOCABULARY, special_tokens=list(special.values()), show_progress=False
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    named = {f"{name}_token": token for name, token in special.items()}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)


def _sentence_pieces() -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=VOCABULARY,
        special_tokens=ROBERTA_TOKENS,
        unk_token="<unk>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    return _robertas(tokenizer)


def _byte_pairs() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=ROBERTA_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    return _robertas(tokenizer)


def _robertas(tokenizer: Any) -> Any:
    """With RoBERTa's special tokens."""
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
    )
