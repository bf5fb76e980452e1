"""Cuts a prompt into sentences, items of lists, and lines of data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from tokenflowd.compress.instructions import (
    LABEL,
    introduces_rules,
    is_about_material,
    is_self_contained,
    is_spoken,
    weight_of,
)

# A longer one is no sentence of an ask.
MAX_SENTENCE_CHARS = 300
# The longest words before a long text on the same line: "Käännä englanniksi: ...".
_MAX_TITLE_CHARS = 60


@dataclass(frozen=True, slots=True)
class Sentence:
    """Characters [start, end) of a text: a sentence, an item of a list, a line or block of data.

    `paragraph` counts them. `weight` is 2 for a task or question, 1 for what says how to do it.
    """

    start: int
    end: int
    paragraph: int
    is_data: bool = False
    is_item: bool = False
    introduces: bool = False  # ends with a colon, is a heading, a rule or a tag
    is_question: bool = False
    is_self_contained: bool = False  # a task that needs no material
    is_about_material: bool = False
    ends_line: bool = False
    weight: int = 0

    @property
    def chars(self) -> int:
        return self.end - self.start


_FENCE = re.compile(r"(?m)^ {0,3}(`{3,}+|~~~(?!~))[ \t]*([^\n]*)$")
_LINE = re.compile(r"[^\n]*\n?")
_LINE_END = re.compile(r"[ \t\r]*+(?:\n|\Z)")
_END = re.compile(
    r"(?<![.!?…])[.!?…]++[\"'”’»)\]]*+(?=\s|\Z)|(?<![。！？؟।])[。！？؟।]++[”’」』）]*+"
)
# What a full stop does not end: "Dr.", "e.g.", "z. B.", "1."
_ABBREVIATION = re.compile(
    r"(?i:\b(?:mr|mrs|ms|dr|prof|st|no|nr|vs|etc|approx|ca|bzw|usw|evtl|inkl|sr|sra|env|[^\W\d_]|"
    r"[^\W\d_]\.[^\W\d_])|(?:^|\s)\d{1,2})\.$"
)
ITEM = re.compile(r"(?:[-*+•–]|\d{1,2}[.)]|[a-z]\)|\[[ xX]?\])[ \t]+")
_DIFF = re.compile(r"diff --git |@@ -|--- [ab]?/|\+\+\+ [ab]?/|Index: ")
# Headings, rules and tags, which people put around the material of a prompt.
_FRAME = re.compile(r"#{1,6} .*|\*\*[^*]+\*\*:?|[-=*_~\"']{3,}|</?[A-Za-z][\w-]{2,30}>")
# A line this long, without a full stop, is taken to be wrapped.
_WRAPPED_CHARS = 55


def split_sentences(text: str) -> list[Sentence]:
    sentences: list[Sentence] = []
    paragraph = 0
    at = 0
    for start, end in [*_fenced(text), (len(text), len(text))]:
        for lines in _paragraphs(text, at, start):
            paragraph += 1
            sentences += _sentences_of(text, lines, paragraph)
        if start < end:
            paragraph += 1
            sentences.append(Sentence(start, end, paragraph, is_data=True))
            at = end
    return _with_rules(text, sentences)


def _with_rules(text: str, sentences: Sequence[Sentence]) -> list[Sentence]:
    """The items of a list that is introduced as rules say how to do it."""
    weighted: list[Sentence] = []
    in_rules = False
    for sentence in sentences:
        if in_rules and sentence.is_item:
            sentence = replace(sentence, weight=max(1, sentence.weight))
        else:
            in_rules = sentence.introduces and introduces_rules(text[sentence.start : sentence.end])
        weighted.append(sentence)
    return weighted


def _fenced(text: str) -> list[tuple[int, int]]:
    """Blocks of code between fences. A fence that nothing closes opens none: what is asked may
    stand behind it."""
    fences = list(_FENCE.finditer(text))
    can_be_closed: list[bool] = []
    longest = {"`": 0, "~": 0}  # of the closing fences behind
    for fence in reversed(fences):
        mark, info = fence.groups()
        can_be_closed.append(len(mark) <= longest[mark[0]])
        if not info.strip():
            longest[mark[0]] = max(longest[mark[0]], len(mark))
    blocks: list[tuple[int, int]] = []
    opened: re.Match[str] | None = None
    for fence, can_open in zip(fences, reversed(can_be_closed), strict=True):
        mark, info = fence.groups()
        if opened is None:
            opened = fence if can_open else None
        elif not info.strip() and mark.startswith(opened[1]):
            blocks.append((opened.start(), fence.end()))
            opened = None
    return blocks


def _paragraphs(text: str, start: int, end: int) -> list[list[tuple[int, int]]]:
    """Runs of lines that are not blank, as the offsets of their lines without line breaks."""
    paragraphs: list[list[tuple[int, int]]] = [[]]
    for line in _LINE.finditer(text, start, end):
        kept = line[0].rstrip()
        if kept:
            paragraphs[-1].append((line.start(), line.start() + len(kept)))
        elif paragraphs[-1]:
            paragraphs.append([])
    return [lines for lines in paragraphs if lines]


def _sentences_of(text: str, lines: list[tuple[int, int]], paragraph: int) -> list[Sentence]:
    is_data = data_lines([text[start:end] for start, end in lines])
    sentences: list[Sentence] = []
    prose: tuple[int, int] | None = None  # lines that are read as one
    for index, (start, end) in enumerate(lines):
        if prose and not (
            not is_data[index]
            and _is_wrapped(text[lines[index - 1][0] : lines[index - 1][1]], text[start:end])
        ):
            sentences += _split(text, *prose, paragraph)
            prose = None
        if is_data[index]:
            sentences.append(Sentence(start, end, paragraph, is_data=True))
        else:
            prose = (prose[0] if prose else start, end)
    if prose:
        sentences += _split(text, *prose, paragraph)
    return sentences


def _is_wrapped(line: str, following: str) -> bool:
    """Whether a sentence goes on from a line of prose to the next."""
    if ITEM.match(following.lstrip()) or weight_of(following):
        return False
    if line[-1] in ".!?…:。！？؟।：":
        return False
    return following.lstrip()[0].islower() or len(line) >= _WRAPPED_CHARS


def _split(text: str, start: int, end: int, paragraph: int) -> list[Sentence]:
    """The sentences of prose at [start, end)."""
    sentences: list[Sentence] = []
    spoken = is_spoken(text[start : min(end, start + MAX_SENTENCE_CHARS)].lstrip())
    start += len(text[start:end]) - len(text[start:end].lstrip())
    at = start
    for match in [*_END.finditer(text, start, end), None]:
        stop = match.end() if match else end
        if match and _ABBREVIATION.search(text, max(at, stop - 12), stop):
            continue
        if not text[at:stop].strip():
            continue
        at += len(text[at:stop]) - len(text[at:stop].lstrip())
        opens = paragraph == 1 and not sentences
        for first, last in _after_colon(text, at, stop, opens_text=opens):
            sentences.append(_sentence(text, first, last, paragraph, spoken=spoken))
        at = stop
    return sentences


def _after_colon(text: str, start: int, end: int, *, opens_text: bool) -> list[tuple[int, int]]:
    """A long sentence that begins with a task ends at its colon ("Translate this: ..."), and the
    first one of a text at an early colon, whatever it says."""
    colon = text.find(": ", start, min(end, start + MAX_SENTENCE_CHARS))
    goes_on = end - colon > _MAX_TITLE_CHARS or _LINE_END.match(text, end) is None
    if opens_text and 0 <= colon - start <= _MAX_TITLE_CHARS and goes_on:
        return [(start, colon + 1), (colon + 2, end)]
    if end - start <= MAX_SENTENCE_CHARS or colon < 0 or not weight_of(text[start:colon]):
        return [(start, end)]
    return [(start, colon + 1), (colon + 2, end)]


def _sentence(text: str, start: int, end: int, paragraph: int, *, spoken: bool) -> Sentence:
    sentence = text[start:end]
    item = ITEM.match(sentence)
    return Sentence(
        start,
        end,
        paragraph,
        is_item=item is not None and len(sentence) <= MAX_SENTENCE_CHARS,
        is_question=sentence[-1] in "?？؟",
        introduces=len(sentence) <= MAX_SENTENCE_CHARS
        and (sentence[-1] in ":：" or _FRAME.fullmatch(sentence) is not None),
        is_self_contained=is_self_contained(sentence),
        is_about_material=is_about_material(sentence),
        ends_line=_LINE_END.match(text, end) is not None,
        weight=weight_of(sentence[item.end() :] if item else sentence, spoken=spoken),
    )


_DATA = re.compile(
    r"\A(?:[ ]{4,}\S|[ ]*\t|[{}\[\]();]+$|[{}\[\]]+[,;]?(?=\s|$)|[{\[]\"|\"[^\"]*\"\s*:|"
    r"</?[A-Za-z!?]|\||"
    r"```|~~~|//|/\*|\*/|#!|#include\b|[+-](?=[^\s\d-])|"
    r"diff --git |index [0-9a-f]{6,}|@@ |\+\+\+ |--- \S|"
    r"\[?\d{4}[-/]\d\d[-/]\d\d|\[?\d{1,2}:\d\d|\d{1,3}(?:\.\d{1,3}){3}\b|"
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]* +\d|"
    r"\[?(?:TRACE|DEBUG|INFO|WARN(?:ING)?|ERROR|FATAL|CRITICAL)\b|"
    r"(?:[A-Za-z_.]*(?:Error|Exception)\b|Traceback \()|\s*at [\w.$<>]+\(|\s*File \"|"
    r"[\w./\\-]+\.\w+:\d+\b|[0-9a-f]{7,64}\b|commit [0-9a-f]{7}|(?:Author|Date|Merge): |"
    r"(?:def|func|fn|function|sub) \w+|class \w+\s*[(:{]|import [\w.{*]+;?$|from \S+ import |"
    r"package \w+;?$|(?:const|let|var|public|private|static|export|async) \w|"
    r"(?:SELECT|INSERT INTO|UPDATE|DELETE FROM|FROM|WHERE|CREATE TABLE|ALTER|LEFT JOIN|JOIN|"
    r"GROUP BY|ORDER BY|VALUES|SET|AND|OR)\b|"
    r"[\w.\[\]\"'-]+\s*[:+*/|-]?=\s*\S)"
)
_CODE_INSIDE = re.compile(
    r"[{};\\]$|\w\([^)]{0,200}\)[:;,{]?$|[=!<>]=|=>|->|&&|\|\||::|</|\t.*\t|\S {2,}\S.*\S {2,}\S|"
    r",(?=\S)[^,]*,(?=\S)[^,]*,(?=\S)|\w\|\w.*\||\|.*\|"
)
_KEY = re.compile(r"\A[a-z_][\w.-]*:(?: \S+){0,3}$")  # of YAML, with its value
_MIN_LETTERS = 0.6
_MAX_LINE_CHARS = 400  # the beginning of a line tells what it is


def data_lines(lines: Sequence[str]) -> list[bool]:
    """Which lines of a paragraph are data. Lines between those are, too, unless one of them asks:
    then how to do it may stand beside it."""
    in_diff = False
    last = len(lines) - 1
    flags: list[bool] = []
    for index, line in enumerate(lines):
        in_diff = bool(_DIFF.match(line)) or (in_diff and line[0] in " +-@\\")
        is_key = _KEY.match(line) is not None and (0 < index < last or weight_of(line) < 2)
        flags.append(in_diff or _is_data(line) or (is_key and not LABEL.match(line)))
    if 2 * sum(flags) < len(lines):
        return flags
    joined: list[bool] = []
    for is_data, run in groupby(range(len(lines)), flags.__getitem__):
        indexes = list(run)
        is_between = indexes[0] > 0 and indexes[-1] < last
        asks = any(weight_of(lines[index]) == 2 for index in indexes)
        joined += [is_data or (is_between and not asks)] * len(indexes)
    return joined


def _is_data(line: str) -> bool:
    line = line[:_MAX_LINE_CHARS]
    item = ITEM.match(line)
    if item:
        return bool(_CODE_INSIDE.search(line[item.end() :]))
    if _FRAME.fullmatch(line):
        return False
    if _DATA.match(line):
        return not LABEL.match(line)
    if _CODE_INSIDE.search(line):
        return weight_of(line) < 2
    letters = sum(character.isalpha() or character == " " for character in line)
    return len(line) >= 8 and letters < _MIN_LETTERS * len(line) and not weight_of(line)
