"""Train the shipped compressor for more languages, from nothing but open data.

    python models/train_multilingual.py models/multilingual.toml --data DATA --out OUT

First it learns each word's frequency, and with it a vocabulary of eight languages; then what
people use again (languages.py). Writes a Hugging Face checkpoint for quantise.py. Needs torch,
transformers and wordfreq (the `train` extra).
"""

import json
import random
import time
from collections.abc import Iterator

from languages import LANGUAGES, english_windows, frequency_windows, language, reuse_windows
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import WordPieceTrainer
from train_compressor import LABELS, Encoded, batches, encode, loss_of
from training import asked_for, fit
from transformers import BertConfig, BertForTokenClassification

UNKNOWN = "[UNK]"
SPECIAL = ["[PAD]", UNKNOWN, "[CLS]", "[SEP]", "[MASK]"]
MARKS = (
    "()[]{}<>.,;:!?…%‰$€£¥'\"`“”„«»‘’‹›–—-/\\_#@&*+=|~^°§©®™•·×÷¿¡№。，、；：？！「」『』（）《》〈〉【】"
    "～·।॥؟،؛٪۔ـ"
)
# Of each language, for the vocabulary: the words met most, the first this often.
VOCABULARY_WORDS, MOST_TIMES = 60_000, 200


def main() -> None:
    options, config = asked_for(__doc__, with_base=False)
    rng = random.Random(config["seed"])
    tokenizer = wordpiece(config["vocabulary"])
    settings = BertConfig(
        vocab_size=tokenizer.get_vocab_size(), pad_token_id=0, **config["architecture"]
    )
    settings.id2label, settings.label2id = LABELS, {name: i for i, name in LABELS.items()}
    model = BertForTokenClassification(settings)
    frequencies = list(frequency_windows(options.data, rng))
    every = config["held_out_articles"]
    used = reuse_windows(options.data, config["xquad_times"], every)
    used += english_windows(options.data, every, config["english_share"])
    started = time.monotonic()
    losses = {}
    for stage, windows in (("frequency", frequencies), ("reuse", used)):
        encoded = encode(windows, tokenizer, config)
        epochs, size = config[f"{stage}_epochs"], config["batch_size"]
        losses[stage] = fit(
            model,
            repeated(encoded, size, epochs, rng),
            lambda batch: loss_of(model, batch),
            steps=epochs * sum(1 for _ in batches(encoded, size, random.Random(0))),
            learning_rate=config["learning_rate"],
        )
    model.save_pretrained(options.out)
    tokenizer.no_truncation()
    tokenizer.save(str(options.out / "tokenizer.json"))
    facts = {
        "windows": {"frequency": len(frequencies), "reuse": len(used)},
        "seconds": round(time.monotonic() - started),
        "loss": losses,
    }
    (options.out / "training.json").write_text(json.dumps(config | facts, indent=2))


def repeated(encoded: Encoded, size: int, epochs: int, rng: random.Random) -> Iterator[Encoded]:
    for _ in range(epochs):
        yield from batches(encoded, size, rng)


def wordpiece(size: int) -> Tokenizer:
    """A vocabulary with an equal share for each language, in lower case, accents kept."""
    tokenizer = Tokenizer(WordPiece(unk_token=UNKNOWN, max_input_chars_per_word=64))
    tokenizer.normalizer = BertNormalizer(strip_accents=False, lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    trainer = WordPieceTrainer(
        vocab_size=size, special_tokens=SPECIAL, limit_alphabet=12_000, min_frequency=1
    )
    tokenizer.train_from_iterator(frequent_words(), trainer)
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, SPECIAL.index(name)) for name in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def frequent_words() -> Iterator[str]:
    """Each word as often as its frequency says, within bounds."""
    yield " ".join(MARKS * 2)
    for code in LANGUAGES:
        known = language(code).frequencies
        ranked = sorted(known, key=known.__getitem__, reverse=True)[:VOCABULARY_WORDS]
        for word in ranked:
            yield " ".join([word] * max(1, min(MOST_TIMES, round(10 ** (known[word] - 3)))))


if __name__ == "__main__":
    main()
