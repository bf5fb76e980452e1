"""What a prompt asks is told from the material that it is about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.compress.prompts import DIFF
from tokenflowd.compress.ask import Part, attach, divide

COUNCIL = (
    "The town council met on Tuesday to discuss the new bridge. Several residents complained "
    "about noise during the night. The engineer said that the work will take nine months and "
    "cost 4.2 million francs. It begins in May, as soon as the river is low enough for the piers. "
)
LETTER = (
    "Der Vermieter teilt mit, dass die Heizungsanlage ab dem 14. März erneuert wird. Während der "
    "Arbeiten steht warmes Wasser nur zwischen sechs und neun Uhr zur Verfügung. Die Mieter werden "
    "gebeten, die Keller bis zum 10. März zu räumen. Das Treppenhaus bleibt immer offen. "
)
LIBRARY = "图书馆开放时间为上午九点至下午六点，节假日闭馆。书籍须在十四日内归还，维护在每周二深夜。"
TOSHOKAN = (
    "図書館は午前九時から午後六時まで開いていますが、祝日は休館です。本は十四日以内に返却されます。"
)
MEETING = (
    "Собрание жильцов состоялось во вторник. Жильцы жаловались на шум по ночам. Инженер сказал, "
    "что работы займут девять месяцев. "
)
COUNCIL_IN_ARABIC = "اجتمع المجلس يوم الثلاثاء لمناقشة الجسر. اشتكى السكان من الضوضاء ليلا. "
LOG = "".join(
    f"2026-04-02T07:11:{second}.114Z node-4 INFO [http-21] accepted connection {second}\n"
    for second in range(10, 20)
)
CODE = """\
def price(net, country, member=False):
    if country == "CH":
        return net
    return round(net * 1.19, 2)
"""
ROOM = '{\n  "room": "A1",\n  "free": true,\n  "seats": 12\n}\n'
TABLE = "date,store,product,returned\n2026-03-02,Ghent,chair,yes\n2026-03-04,Ghent,table,no\n"
TALK = """\
Anna: Okay, shall we start? I think everybody is here.
Raj: Right. The migration took 38 hours in the rehearsal.
Mia: I would not drop the index. Could you check that?
Anna: Please do, Raj. What about the boat?
"""
BRIEFING = """\
Write release notes about the move to another provider. The readers are owners of small firms who \
don't have an administrator of their own. They have heard of outages.

Each section must contain one concrete example with numbers. The tone is friendly.

Do not name the providers. The length is 600 words at most.
"""
RULES = "Follow these rules:\n" + "".join(
    f"- Rule {number}: sentences of {number + 10} words or fewer\n" for number in range(12)
)

ASKS = [
    # after the material
    (f"{DIFF}\nWrite a commit message", "Write a commit message"),
    (f"{DIFF}Write a commit message", "Write a commit message"),
    (f"{DIFF}\n{BRIEFING}", BRIEFING),
    (f"{LOG}\nWhy did node-4 accept them?", "Why did node-4 accept them?"),
    (f"{LOG}help", "help"),
    (f"{ROOM * 4}\nTurn this into YAML", "Turn this into YAML"),
    (f"{CODE * 2}\nhow do i make this faster", "how do i make this faster"),
    (f"{TABLE * 3}\nWhich store has most returns?", "Which store has most returns?"),
    (f"```py\n{CODE}\n{CODE}```\nExplain it to a child.", "Explain it to a child."),
    (f"{TALK * 3}\nList the actions with owners.", "List the actions with owners."),
    (f"{COUNCIL * 2}How long does it take?", "How long does it take?"),
    (f"{COUNCIL * 2}summarise this in a line", "summarise this in a line"),
    (f"{COUNCIL * 2}Shorten it. Use short words. Thanks!", "Shorten it. Use short words. Thanks!"),
    (f"{COUNCIL * 2}\n\nin German please", "in German please"),
    (f"{COUNCIL * 2}\n\nTL;DR", "TL;DR"),
    (
        f"{COUNCIL * 2}\n\nWrite a summary.\n\nRules:\n- max 100 words\n- no markdown",
        "Write a summary.\n\nRules:\n- max 100 words\n- no markdown",
    ),
    (
        f"{COUNCIL * 2}\n\n1. Summarise it.\n2. Translate that.\n3. Find a title.",
        "1. Summarise it.\n2. Translate that.\n3. Find a title.",
    ),
    (
        f"{COUNCIL * 2}\n\nDraft a reply.\n\nMention that I'm away.\n\nThanks a lot\nHanna",
        "Draft a reply.\n\nMention that I'm away.\n\nThanks a lot\nHanna",
    ),
    (
        f'{COUNCIL * 2}\n\nOutput format:\n{{"date": "..."}}',
        'Output format:\n{"date": "..."}',
    ),
    (
        f'{LOG}{LOG}\nExtract the facts. Return JSON in this form:\n{{"facts": ["..."]}}',
        'Extract the facts. Return JSON in this form:\n{"facts": ["..."]}',
    ),
    (f"{LOG}Žin kio sa stalo\nkratko prosim", "Žin kio sa stalo\nkratko prosim"),
    (f"{COUNCIL * 6}\n\nRewrite the text.\n\n{RULES}", RULES.strip()),
    (
        f"<document>\n{LOG}</document>\n<instructions>\nName three risks.\nNever name hosts.\n"
        "</instructions>",
        "Name three risks.\nNever name hosts.",
    ),
    # before it
    (f"Rewrite the text below.\n\n{RULES}\n{COUNCIL * 6}", RULES.strip()),
    (f"Käännä englanniksi: {COUNCIL * 2}", "Käännä englanniksi:"),
    (
        f'Turn each line into an object like this:\n{{"time": "...", "level": "..."}}\n\n{LOG}',
        '{"time": "...", "level": "..."}',
    ),
    (f"Translate the following to French:\n\n{COUNCIL * 2}", "Translate the following to French:"),
    (f"optimise:\n{CODE * 3}", "optimise:"),
    (f"Fix the bug:\n```py\n{CODE}```", "Fix the bug:"),
    (f"hey, quick one - proofread this pls: {COUNCIL * 2}", "hey, quick one - proofread this pls:"),
    (f"Oversæt til dansk\n\n{COUNCIL * 2}", "Oversæt til dansk"),
    (
        f"I have a question about my lease. The letter is below. I don't understand it. "
        f"Can you explain it?\n\n{LETTER * 2}",
        "I have a question about my lease. The letter is below. I don't understand it. "
        "Can you explain it?",
    ),
    (
        f"# Task\nSummarise.\n\n# Constraints\n- no names\n\n# Minutes\n{COUNCIL * 3}",
        "# Task\nSummarise.\n\n# Constraints\n- no names",
    ),
    (
        f"You are a senior editor.\n\nYour task is to shorten texts.\n\nText:\n\n{COUNCIL * 3}",
        "You are a senior editor.\n\nYour task is to shorten texts.\n\nText:",
    ),
    (
        f"<instructions>\nSummarise.\nUse British spelling.\n</instructions>\n\n{COUNCIL * 3}",
        "Summarise.\nUse British spelling.",
    ),
    (
        f'{{"task": "summarise", "lang": "de"}}\n\n{COUNCIL * 3}',
        '{"task": "summarise", "lang": "de"}',
    ),
    (f"git diff output below\n{DIFF}\nany bugs", "git diff output below"),
    # between
    (f"{LOG}\nWhy is the next one empty?\n\n{LOG}", "Why is the next one empty?"),
    (f"{COUNCIL * 2}\n\nCompare it with the next.\n\n{LETTER * 2}", "Compare it with the next."),
    (f"```\n{LOG}```\n\nAnd the config:\n\n```\n{ROOM}```\n\nWhy?", "And the config:"),
    (
        f"{LIBRARY * 2}\n\nCompare this with the next.\n\n{LIBRARY * 2}",
        "Compare this with the next.",
    ),
    (f"{COUNCIL * 2}Please translate the above. {COUNCIL * 2}", "Please translate the above."),
    # in other languages than the material
    (f"{LETTER}Summarise this in one English sentence.", "Summarise this in one English sentence."),
    (f"{LETTER}\nSummarise this in one sentence.", "Summarise this in one sentence."),
    (f"{LETTER}Fasse das zusammen.", "Fasse das zusammen."),
    (f"{LETTER}\nBitte auf Englisch zusammenfassen", "Bitte auf Englisch zusammenfassen"),
    (f"{COUNCIL}Resume el texto en tres puntos.", "Resume el texto en tres puntos."),
    (f"Peux-tu corriger ce texte ?\n{COUNCIL}", "Peux-tu corriger ce texte ?"),
    (f"{LIBRARY * 3}用一句话总结。", "用一句话总结。"),
    (f"请把下面的内容翻译成英文：\n\n{LIBRARY * 3}", "请把下面的内容翻译成英文："),
    (f"{TOSHOKAN * 3}英語に翻訳してください。", "英語に翻訳してください。"),
    (f"{MEETING * 2}Кратко перескажи это.", "Кратко перескажи это."),
    (f"{COUNCIL_IN_ARABIC * 3}لخّص هذا في جملة واحدة.", "لخّص هذا في جملة واحدة."),
    (f"{COUNCIL * 2}\nBunu Türkçe özetle", "Bunu Türkçe özetle"),
]


def spelled(parts: tuple[Part, ...], *kinds: str) -> list[str]:
    return [part.text for part in parts if part.kind in kinds]


@pytest.mark.parametrize(("text", "ask"), ASKS, ids=[ask.strip()[:30] for _, ask in ASKS])
def test_an_ask_is_whole_beside_its_material(text: str, ask: str) -> None:
    parts = divide(text)
    assert any(ask.strip() in kept for kept in spelled(parts, "ask", "note"))
    material = "".join(spelled(parts, "material"))
    assert len(material) > 0.25 * len(text)


def test_an_ask_at_either_end_is_kept() -> None:
    parts = divide(f"Summarise this.\n\n{COUNCIL * 2}\n\nAnswer in German.")
    assert parts == (
        Part("ask", "Summarise this.\n\n"),
        Part("material", (COUNCIL * 2).strip()),
        Part("ask", " \n\nAnswer in German."),
    )


@pytest.mark.parametrize(
    "text",
    [
        BRIEFING,
        "Translate to French: The cat sat on the mat.",
        "Plan a trip to Rome. We like food. My mother can't walk far. Suggest a hotel nearby.",
        "What is the capital of France?",
    ],
)
def test_a_text_that_is_all_ask_has_no_material(text: str) -> None:
    assert spelled(divide(text), "material") == []


@pytest.mark.parametrize(
    "text", [COUNCIL * 4, LETTER * 4, TALK * 4, LOG * 2, DIFF * 2, CODE * 4, TABLE * 4]
)
def test_material_without_an_ask_is_nearly_all_material(text: str) -> None:
    parts = divide(text)
    assert spelled(parts, "ask") == []
    assert sum(map(len, spelled(parts, "material"))) > 0.85 * len(text)


def test_a_list_of_questions_is_material_when_it_is_what_the_text_is_made_of() -> None:
    interview = "".join(f"What about item {n}?\n\nIt went well, he said. " * 2 for n in range(20))
    parts = divide(f"{interview}\n\nSummarise the interview.")
    assert parts[-1].text.endswith("Summarise the interview.")
    assert sum(map(len, spelled(parts, "material"))) > 0.5 * len(interview)


def test_a_fence_that_nothing_closes_hides_no_ask() -> None:
    parts = divide(f"```py\n{CODE * 3}\nExplain this function.")
    assert spelled(parts, "ask") == ["\n\nExplain this function."]


PIECES = st.sampled_from(
    [
        "Summarise this.",
        COUNCIL,
        "\n",
        "\n\n",
        " ",
        "```\n",
        "- item\n",
        LOG,
        "Why?",
        "请总结。",
        "\t",
        "# A\n",
    ]
)


@given(st.one_of(st.text(max_size=300), st.lists(PIECES, max_size=12).map("".join)))
def test_the_parts_are_the_text(text: str) -> None:
    parts = divide(text)
    assert "".join(part.text for part in parts) == text
    assert all(part.text for part in parts)
    material = spelled(parts, "material")
    assert all(part.strip() and part == part.rstrip() and part[0] != "\n" for part in material)
    assert divide(text) == parts


@pytest.mark.parametrize(
    "hostile",
    [
        "." * 200_000,
        "```x\n" * 40_000,
        "(" * 200_000,
        "please " * 30_000,
        "a:" * 100_000,
        "A: b. " * 40_000,
        "Rules:\n" * 30_000,
        "Show:\n{}\n" * 30_000,
    ],
)
def test_repetition_is_divided_too(hostile: str) -> None:
    """Patterns that took quadratic time would not come back from these."""
    assert "".join(part.text for part in divide(hostile)) == hostile


@given(st.text(max_size=60), st.text(max_size=60))
def test_an_attachment_is_the_material_and_the_rest_is_the_ask(first: str, rest: str) -> None:
    parts = attach(first, rest)
    assert "".join(part.text for part in parts) == first + rest
    assert "".join(spelled(parts, "material")) == first.strip()
