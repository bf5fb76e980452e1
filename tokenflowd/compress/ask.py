"""Divides a prompt into what it asks and the material that it is about.

No model takes part: the same text is always divided in the same way, in time linear in its length.
What is not recognised by its words is judged by its place: people put what they ask before the
material, after it, or between two pieces of it. A doubtful part is not called material.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise, takewhile
from typing import Literal

from tokenflowd.compress.sentences import MAX_SENTENCE_CHARS, Sentence, split_sentences

PartKind = Literal["ask", "note", "material"]

# The longest part at either end of a text of sentences that may be what it asks, in characters,
# and as a share of the text.
MAX_ASK_CHARS, MAX_ASK_SHARE = 1500, 0.5
# The longest last paragraph that is taken for an ask whatever its words are; of a longer one its
# last sentence is.
MAX_NOTE_CHARS = 400
# The longest last paragraph that is an ask because it begins with a task.
MAX_PARAGRAPH_CHARS = 2000
# Sentences and paragraphs that may stand between two instructions of one ask.
MAX_BETWEEN = 3
# Data at one end that are at most this share of the prose beside them say what to do with it.
MAX_SPECIFICATION_SHARE = 0.2
# Prose that is at most this share of the code, logs or data beside it is about them.
MAX_SHARE_BESIDE_DATA = 0.5
# More instructions in the middle of a text than so many, and than this share of it, are what the
# text is made of: a manual, an interview.
MAX_ALONE, MAX_MIDDLE_SHARE = 2, 0.15
# A text of which instructions are this share is all ask.
MIN_SHARE_OF_ALL_ASK = 0.4


@dataclass(frozen=True, slots=True)
class Part:
    """Characters of a text: an `ask` is recognised by its words, a `note` by its place (it may be
    an ask in other words or languages), and only `material` may be compressed."""

    kind: PartKind
    text: str


def divide(text: str) -> tuple[Part, ...]:
    """The parts of `text`; joined, they are the text. White space around material is not part of
    it, but for the indentation of its first line, so that compressing it moves nothing."""
    sentences = split_sentences(text)
    return _parts(text, sentences, _kinds(sentences))


def attach(attachment: str, rest: str) -> tuple[Part, ...]:
    """The parts of a message that begins with an `attachment`: nothing has to be guessed."""
    body = attachment.strip()
    if not body:
        return (Part("ask", attachment + rest),)
    before, after = attachment.split(body, 1)
    parts = Part("note", before), Part("material", body), Part("ask", after + rest)
    return tuple(part for part in parts if part.text)


def _kinds(sentences: Sequence[Sentence]) -> list[PartKind]:
    """The kind of each sentence."""
    total = sum(sentence.chars for sentence in sentences)
    data = sum(sentence.chars for sentence in sentences if sentence.is_data)
    # A long text that consists of questions is an interview.
    counts_questions = total <= MAX_NOTE_CHARS
    told = sum(s.chars for s in sentences if s.weight and (counts_questions or not s.is_question))
    has_task = any(sentence.weight == 2 for sentence in sentences)
    kinds: list[PartKind] = ["material"] * len(sentences)
    is_all_ask = not data and has_task and told >= MIN_SHARE_OF_ALL_ASK * total
    is_all_ask |= not data and _is_brief(sentences, total)
    is_about_data = data > 0 and total - data <= MAX_SHARE_BESIDE_DATA * data
    if is_all_ask or is_about_data:
        example = _example(sentences)
        is_only_data = sum(s.chars for s in sentences[len(sentences) - example :]) == data
        first = len(sentences) - (0 if is_only_data else example)
        head = _head(sentences, MAX_PARAGRAPH_CHARS)
        kept = [
            index
            for index, sentence in enumerate(sentences)
            if index < head or index >= first or not sentence.is_data
        ]
    else:
        limit = min(MAX_ASK_CHARS, int(MAX_ASK_SHARE * total))
        head = _head(sentences, limit)
        tail = max(head, _tail(sentences, limit))
        middle = _middle(sentences, range(head, tail), MAX_MIDDLE_SHARE * total)
        kept = [*range(head), *middle, *range(tail, len(sentences))]
    for index in kept:
        kinds[index] = "note"
    asks = _runs_of_asks(sentences, kinds)
    return ["ask" if index in asks else kind for index, kind in enumerate(kinds)]


def _is_brief(sentences: Sequence[Sentence], total: int) -> bool:
    """Whether a text of no great length is about something new that is described in it."""
    tasks = [sentence for sentence in sentences if sentence.weight == 2]
    begins_so = bool(sentences) and sentences[0].is_self_contained
    return begins_so and total <= MAX_PARAGRAPH_CHARS and not any(s.is_question for s in tasks)


def _runs_of_asks(sentences: Sequence[Sentence], kinds: Sequence[PartKind]) -> set[int]:
    """The sentences of each run of notes in which at least one names a task."""
    asks: set[int] = set()
    run: list[int] = []
    for index, kind in enumerate([*kinds, "material"]):
        if kind != "material":
            run.append(index)
            continue
        if any(sentences[i].weight == 2 for i in run):
            asks.update(run)
        run = []
    return asks


def _head(sentences: Sequence[Sentence], limit: int) -> int:
    """How many of the first sentences are an ask."""
    specification = _rest(sentences, 0, lambda other: other.is_data)
    if _is_short_and_alone(sentences, specification):
        return specification
    reached = _reach(sentences, limit, without_task=0)
    before_data = _rest(sentences, 0, lambda other: not other.is_data)
    if reached and before_data < len(sentences):
        chars = sum(sentence.chars for sentence in sentences[:before_data])
        if chars <= MAX_PARAGRAPH_CHARS:
            return before_data + _shown(sentences, before_data)
    if reached == 0:
        return int(_is_title(sentences, limit))
    rest = _rest_of_paragraph(sentences, reached)
    chars = sum(sentence.chars for sentence in sentences[: reached + rest])
    is_short = chars <= min(limit, 2 * MAX_NOTE_CHARS)
    return reached + rest if is_short else reached


def _shown(sentences: Sequence[Sentence], first: int) -> int:
    """How many lines of data from the `first` on are what the instruction before them shows: few,
    and not what the text ends with."""
    if not (sentences[first - 1].introduces and sentences[first - 1].weight):
        return 0
    paragraph = sentences[first].paragraph
    count = _rest(sentences, first, lambda s: s.paragraph == paragraph and s.is_data)
    chars = sum(sentence.chars for sentence in sentences[first : first + count])
    is_example = chars <= MAX_NOTE_CHARS / 2 and first + count < len(sentences)
    return count if is_example else 0


def _is_title(sentences: Sequence[Sentence], limit: int) -> bool:
    """A short line of its own, or a few words that end with a colon."""
    if len(sentences) < 2 or sentences[0].is_data:
        return False
    first = sentences[0]
    return (first.ends_line or first.introduces) and first.chars <= min(limit, MAX_SENTENCE_CHARS)


def _tail(sentences: Sequence[Sentence], limit: int) -> int:
    """Where the ask at the end begins: at a recognised instruction, or by its place."""
    example = _example(sentences)
    if example:
        return _tail(sentences[:-example], limit)
    backwards = sentences[::-1]
    after_data = _rest(backwards, 0, lambda other: not other.is_data)
    if 0 < after_data < len(sentences) and backwards[after_data - 1].weight == 2:
        chars = sum(sentence.chars for sentence in backwards[:after_data])
        if chars <= MAX_PARAGRAPH_CHARS:
            return len(sentences) - after_data
    reached = _reach(backwards, limit, without_task=MAX_BETWEEN)
    rest = _rest_of_paragraph(backwards, reached)
    paragraph = backwards[: reached + rest]
    chars = sum(sentence.chars for sentence in paragraph)
    is_own = reached + rest < len(sentences)
    if is_own and rest and paragraph[-1].weight == 2 and chars <= MAX_PARAGRAPH_CHARS:
        return len(sentences) - reached - rest
    if reached:
        is_short = is_own and chars <= min(limit, MAX_NOTE_CHARS)
        return len(sentences) - reached - (rest if is_short else 0)
    if paragraph and chars <= min(limit, MAX_NOTE_CHARS):
        return len(sentences) - rest
    if paragraph and paragraph[0].chars <= min(limit, MAX_SENTENCE_CHARS):
        return len(sentences) - 1
    return len(sentences)


def _rest_of_paragraph(sentences: Sequence[Sentence], count: int) -> int:
    """How many sentences after the first `count` are in the paragraph of the last of these."""
    paragraph = sentences[max(0, count - 1)].paragraph if sentences else 0
    return _rest(sentences, count, lambda s: s.paragraph == paragraph and not s.is_data)


def _rest(sentences: Sequence[Sentence], first: int, belongs: Callable[[Sentence], bool]) -> int:
    """How many sentences from the `first` on belong together."""
    return sum(1 for _ in takewhile(belongs, islice(sentences, first, None)))


def _example(sentences: Sequence[Sentence]) -> int:
    """How many lines of data at the end are what an instruction shows ("Output format: {...}"), or
    stand alone in a text."""
    backwards = sentences[::-1]
    count = _rest(backwards, 0, lambda other: other.is_data)
    if not 0 < count < len(sentences):
        return 0
    shows = backwards[count].introduces and backwards[count].weight > 0
    is_short = sum(sentence.chars for sentence in backwards[:count]) <= MAX_NOTE_CHARS
    return count if (shows and is_short) or _is_short_and_alone(backwards, count) else 0


def _is_short_and_alone(sentences: Sequence[Sentence], count: int) -> bool:
    """Whether the first `count` sentences are few data beside much else and no other data."""
    chars = sum(sentence.chars for sentence in sentences[:count])
    rest = sentences[count:]
    most = min(MAX_NOTE_CHARS / 2, MAX_SPECIFICATION_SHARE * sum(s.chars for s in rest))
    return 0 < chars <= most and not any(other.is_data for other in rest)


def _reach(sentences: Sequence[Sentence], limit: int, *, without_task: int) -> int:
    """How many sentences from the beginning of the sequence belong to an ask: up to the last
    recognised one from which the one before is not far; if none of them names a task, at most
    `without_task`."""
    reach = chars = between = 0
    has_task = False
    for count, sentence in enumerate(sentences, start=1):
        chars += sentence.chars
        if sentence.is_data or chars > limit:
            break
        leads = sentence.weight == 2 and not (sentence.is_question and has_task)
        if leads or (between == 0 and _goes_along(sentences, count - 1)):
            reach, between = count, 0
            has_task |= sentence.weight == 2
        elif not sentence.weight:
            between += 1
        if between > MAX_BETWEEN:
            break
    return reach if has_task else min(reach, without_task)


def _goes_along(sentences: Sequence[Sentence], index: int) -> bool:
    """Whether a sentence beside an ask is of it: how to do it, or a short list."""
    sentence = sentences[index]
    if sentence.weight or sentence.introduces:
        return True
    if not sentence.is_item:
        return False
    chars = 0
    for item in takewhile(lambda other: other.is_item, islice(sentences, index, None)):
        chars += item.chars
        if chars > MAX_NOTE_CHARS:
            return False
    return True


def _middle(sentences: Sequence[Sentence], within: range, limit: float) -> list[int]:
    """Tasks that speak of the text, and tasks and questions that stand alone, as a paragraph or as
    a line among data."""
    alone = [
        index
        for index in within
        if sentences[index].weight == 2
        and sentences[index].chars <= MAX_SENTENCE_CHARS
        and (sentences[index].is_about_material or _stands_alone(sentences, index))
    ]
    are_few = len(alone) <= MAX_ALONE or sum(sentences[index].chars for index in alone) <= limit
    return alone if are_few else []


def _stands_alone(sentences: Sequence[Sentence], index: int) -> bool:
    neighbours = [*sentences[max(0, index - 1) : index], *sentences[index + 1 : index + 2]]
    return all(
        other.is_data or other.paragraph != sentences[index].paragraph or other.weight == 2
        for other in neighbours
    )


def _parts(text: str, sentences: Sequence[Sentence], kinds: Sequence[PartKind]) -> tuple[Part, ...]:
    """Joins neighbours of one kind. A gap goes with the neighbour that is not material."""
    cuts: list[tuple[int, PartKind]] = []  # where a part begins
    if not sentences:
        return (Part("note", text),) if text else ()
    first: PartKind = "note" if kinds[0] == "material" else kinds[0]
    cuts.append((0, first))
    cuts.append((sentences[0].start, kinds[0]))
    for (left, right), (kind, following) in zip(pairwise(sentences), pairwise(kinds), strict=True):
        if kind != following:
            cuts.append((left.end if kind == "material" else right.start, following))
    if kinds[-1] == "material":
        cuts.append((sentences[-1].end, "note"))
    parts: list[Part] = []
    for (start, kind), (end, _) in pairwise([*cuts, (len(text), "note")]):
        if start == end:
            continue
        if parts and parts[-1].kind == kind:
            parts[-1] = Part(kind, parts[-1].text + text[start:end])
        else:
            parts.append(Part(kind, text[start:end]))
    return tuple(parts)
