"""Labels for texts in eight languages: what reuse.py says of English, with what each needs.

Stop-words are the most frequent words of a language (wordfreq, CC BY-SA 4.0), and a word is worth
more the rarer it is. Of Chinese, whose words are not set apart, each character is judged by itself
and comes back if it does so together with a neighbour.
"""

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from math import log10
from pathlib import Path

import reuse
from reuse import BETWEEN, NAME, NEGATION, NUMBER, WINDOW_WORDS, Window
from sources import Passage, bare, split, table, words_of, xquad
from wordfreq import get_frequency_dict

from tokenflowd.compress.words import UNSPACED

# Name of SIB-200's folder, and what negates.
LANGUAGES = {
    "en": ("eng_Latn", "not no never none nothing nobody without cannot neither nor unless"),
    "de": ("deu_Latn", "nicht kein keine keinen keinem keiner nie niemals ohne weder nichts"),
    "es": ("spa_Latn", "no nunca sin ni ninguno ninguna ningún nada jamás tampoco"),
    "fr": ("fra_Latn", "ne pas non jamais sans ni aucun aucune rien"),
    "zh": ("zho_Hans", "不 没 無 无 非 未 别"),
    "ru": ("rus_Cyrl", "не нет ни никогда без нельзя"),
    "ar": ("arb_Arab", "لا لم لن ليس ليست غير بدون"),
    "hi": ("hin_Deva", "नहीं न मत बिना"),
}
# Of a word's frequency, in Zipf's logarithm for 10^9 words: stop-words lie above FREQUENT.
FREQUENT, RARE = 6.0, 1.5
STOP_WORDS = 150  # at most
STEM_SHARE, STEM_CHARS = 0.75, 8
LISTED_WORDS = 25_000  # of each language, to learn their frequency from
LISTED_TOGETHER = 24
# What a word is worth that does not come back: the first number, and the second for a rare one.
COMMON_WORTH, RARE_WORTH = 0.05, 0.35
BOOK_LANGUAGES = ("de", "es", "fr", "zh", "ru", "ar")


@dataclass(frozen=True)
class Language:
    code: str

    @cached_property
    def frequencies(self) -> dict[str, float]:
        """In Zipf's logarithm; of Chinese, of characters."""
        found: dict[str, float] = get_frequency_dict(self.code, wordlist="best")
        if self.code == "zh":
            characters: dict[str, float] = {}
            for word, frequency in found.items():
                for character in word:
                    characters[character] = characters.get(character, 0.0) + frequency
            found = characters
        return {word: 9 + log10(frequency) for word, frequency in found.items()}

    @cached_property
    def stop_words(self) -> frozenset[str]:
        most = sorted(self.frequencies, key=self.frequencies.__getitem__, reverse=True)
        frequent = [word for word in most[:STOP_WORDS] if self.frequencies[word] > FREQUENT]
        return frozenset(word for word in frequent if not re.search(r"\d", word)) - self.negations

    @cached_property
    def negations(self) -> frozenset[str]:
        return frozenset(LANGUAGES[self.code][1].split())

    def rarity(self, word: str) -> float:
        """From 0 for the most frequent words to 1 for those that nobody has counted."""
        zipf = self.frequencies.get(bare(word), RARE)
        return min(1.0, max(0.0, (FREQUENT + 0.5 - zipf) / (FREQUENT + 0.5 - RARE)))

    def stem(self, word: str) -> str:
        """What a word's forms have in common: most of its beginning."""
        core = bare(word)
        return core[: min(STEM_CHARS, max(4, round(len(core) * STEM_SHARE)))]

    def stems(self, texts: Iterable[str]) -> set[str]:
        if self.code == "zh":
            return {text[at : at + 2] for text in texts for at in range(len(text) - 1)}
        return {self.stem(w) for t in texts for w in t.split() if bare(w) not in self.stop_words}

    def label(self, words: list[str], used_again: set[str]) -> list[float]:
        labels = []
        for index, word in enumerate(words):
            core = bare(word)
            begins = index == 0 or words[index - 1][-1] in '.!?:"”'
            if core in self.negations:
                labels.append(NEGATION)
            elif core in self.stop_words or not core:
                labels.append(0.0)
            elif self._is_used(words, index, used_again):
                labels.append(1.0)
            elif re.search(r"\d", word):
                labels.append(NUMBER)
            elif word.strip("«„“\"'([")[:1].isupper() and not begins and self.code != "de":
                labels.append(NAME)
            else:
                labels.append(COMMON_WORTH + (RARE_WORTH - COMMON_WORTH) * self.rarity(word))
        for index in range(1, len(words) - 1):
            if labels[index] == 0 and min(labels[index - 1], labels[index + 1]) >= NAME:
                labels[index] = BETWEEN
        return labels

    def _is_used(self, words: list[str], index: int, used_again: set[str]) -> bool:
        if self.code != "zh" or not re.match(f"[{UNSPACED}]", words[index]):
            return self.stem(words[index]) in used_again
        before = words[index - 1][-1] if index else ""
        after = words[index + 1][0] if index + 1 < len(words) else ""
        own = words[index][0]
        return before + own in used_again or own + after in used_again


@cache
def language(code: str) -> Language:
    return Language(code)


def frequency_windows(data: Path, rng: random.Random) -> Iterator[Window]:
    """Words with their rarity for a label: lists of them, so that the model has met each, and
    sentences (SIB-200, the prompt book)."""
    for code in LANGUAGES:
        spoken = language(code)
        known = sorted(spoken.frequencies, key=spoken.frequencies.__getitem__, reverse=True)
        listed = known[:LISTED_WORDS]
        rng.shuffle(listed)
        # Frequent words are few: each list has its share of them.
        frequent = known[:1000]
        for start in range(0, len(listed), LISTED_TOGETHER):
            words = listed[start : start + LISTED_TOGETHER] + rng.sample(frequent, 8)
            rng.shuffle(words)
            yield _by_rarity("words", spoken, words)
        for text in sentences(data, code):
            words = words_of(text)
            for start in range(0, len(words), WINDOW_WORDS):
                if len(part := words[start : start + WINDOW_WORDS]) > 3:
                    yield _by_rarity("sentences", spoken, part)


def _by_rarity(source: str, spoken: Language, words: list[str]) -> Window:
    return Window(source, words, [spoken.rarity(word) for word in words])


def sentences(data: Path, code: str) -> Iterator[str]:
    yield from (row["text"] for row in table(data / f"sib200/{LANGUAGES[code][0]}/train.tsv"))
    folder = data / "prompts_chat_book/src/content/book"
    for file in sorted((folder / code).glob("*.mdx")) if code in BOOK_LANGUAGES else ():
        paragraphs = file.read_text("utf-8").split("\n\n")
        yield from (text for text in paragraphs if len(text) > 60 and "<" not in text)


def reuse_windows(data: Path, times: int, held_out_articles: int) -> list[Window]:
    """XQuAD's passages in all languages that it has, labelled by their questions and answers."""
    found = []
    for code in LANGUAGES:
        if code == "fr":  # which XQuAD does not speak
            continue
        trained: list[Passage]
        trained, _ = split(xquad(data, code), held_out_articles)
        spoken = language(code)
        for passage in trained:
            words = words_of(passage.text)
            labels = spoken.label(
                words, spoken.stems(text for pair in passage.asked for text in pair)
            )
            for start in range(0, len(words), WINDOW_WORDS):
                part = slice(start, start + WINDOW_WORDS)
                if len(words[part]) >= 5:
                    found += [Window(f"xquad {code}", words[part], labels[part])] * times
    return found


def english_windows(data: Path, held_out_articles: int, share: float) -> list[Window]:
    """A share of what the English compressor learns from."""
    found = reuse.windows(data, {}, held_out_articles)
    return found[: round(share * len(found))]
