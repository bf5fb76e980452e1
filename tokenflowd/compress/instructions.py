"""Tells instructions and questions by their words, in the languages that people write prompts in.

It need not know every verb: what stands at either end of a prompt is kept for its place, too.
"""

from __future__ import annotations

import re

# Of a longer sentence only the beginning is read.
MAX_CHARS = 600

_TASKS = (
    # English
    r"summ?ari[sz]e|sum up|translate|explain|describe|write|re-?write|rephrase|paraphrase|"
    r"proofread|"
    r"edit|correct|fix|improve|review|check|compare|contrast|list|find|extract|classify|"
    r"categori[sz]e|convert|(?:re)?format|answer|tell|give|show|name|identify|analy[sz]e|"
    r"evaluate|"
    r"assess|critique|create|generate|draft|compose|make|turn|outline|shorten|condense|simplify|"
    r"expand|continue|complete|finish|implement|refactor|debug|optimi[sz]e|document|respond|"
    r"reply|"
    r"count|calculate|compute|solve|suggest|propose|recommend|help|decide|determine|choose|pick|"
    r"rank|sort|highlight|point out|figure out|work out|quote|cite|provide|produce|transform|"
    r"annotate|label|verify|validate|estimate|predict|prepare|discuss|define|clarify|elaborate|"
    r"interpret|polish|tl;?dr|eli5|spot|diagnose|reduce|refine|score|rate|judge|map|parse|report|"
    r"port|test|act as|pretend|imagine|assume the role|role ?-?play|you are|you're|"
    r"your (?:task|job|"
    r"goal|role)|say|task|question|instructions?|guess|brainstorm|justify|derive|prove|state|"
    r"add|remove|replace|rename|delete|insert|change|update|migrate|apply|"
    r"plan|design|build|develop|organi[sz]e|arrange|return|output|print|deduplicate|merge|split|trace|search|"
    # German
    r"fass(?:e|en|t)?|übersetz\w*|erklär\w*|erläuter\w*|schreib(?:e|en|t)?|nenn(?:e|en|t)?|gib|"
    r"geben sie|"
    r"mach(?:e|en|t)?|find(?:e|en)|vergleich\w*|korrigier\w*|verbesser\w*|prüf\w*|kürz(?:e|en)|"
    r"antwort(?:e|en)|beantwort\w*|formulier\w*|erstell\w*|beschreib\w*|zeig(?:e|en)?|sag(?:e|"
    r"en)?|"
    r"analysier\w*|liste|bewert\w*|erzähl\w*|du bist|sie sind ein\w*|aufgabe|frage|deine aufgabe|"
    # Spanish and Portuguese
    r"resum[aeií]\w*|resúm\w+|traduc\w+|traduzc\w+|traduz\w*|explic[aá]\w*|explique\w*|escrib\w+|"
    r"escrev\w+|redact\w+|corrig\w+|corrij\w+|haz(?:me)?|haga|faça|dame|dime|dê|diga|enumer\w+|"
    r"compar\w+|encuentr\w+|encontre|extra[eií]\w*|analiz\w+|analis\w+|respond\w+|contesta|"
    r"revis\w+|"
    r"mejor[ae]|genera|crea|crie|eres un\w*|você é|tarea|tarefa|pregunta|pergunta|"
    # French
    r"résum\w+|tradui\w+|expliqu\w+|écri[stv]\w*|rédig\w+|donne\w*|fais|faites|trouve\w*|"
    r"extrai\w*|"
    r"répond\w*|améliore\w*|génère\w*|crée[rz]?|dis-moi|dites|tu es un\w*|vous êtes un\w*|tâche|"
    # Italian, Dutch, Polish, Swedish, Turkish
    r"riassum\w+|traduci|spieg\w+|scriv\w+|elenca|confronta|correggi|sei un\w*|vat|vertaal|"
    r"leg uit|"
    r"schrijf|geef|maak|vergelijk|streść|podsumuj|przetłumacz|wyjaśnij|napisz|wymień|porównaj|"
    r"popraw|"
    r"sammanfatta|översätt|förklara|skriv|lista|özetle\w*|çevir\w*|açıkla\w*|yaz|"
    # Russian and Ukrainian
    r"кратко|переведи\w*|перескаж\w+|объясни\w*|напиши\w*|состав\w+|сделай\w*|найди\w*|"
    r"перечисл\w+|"
    r"сравни\w*|исправ\w+|ответ\w+|выдел\w+|резюмируй\w*|суммируй\w*|обобщи\w*|опиши\w*|дай\w*|"
    r"назови\w*|расскаж\w+|покаж\w+|провер\w+|сократи\w*|подведи\w*|ты —|вы —|переклад\w*|поясни|"
    # Arabic, without its vowel signs; a conjunction may be fused to the verb
    r"[وف]?(?:لخص\w*|ترجم\w*|اشرح\w*|اكتب\w*|أجب|اجب|اذكر|قارن|حلل|صحح|أعد|اعد|استخرج|عدد|وضح|صف|"
    r"أعط\w*|قدم|أنت|اعط\w*)"
)
_QUESTIONS = (
    r"what(?:'s)?|why|how|which|who(?:se|m)?|where|when|"
    r"was|wie|warum|wieso|weshalb|wer|wo|wann|welche[rsmn]?|"
    r"qué|cómo|cuál(?:es)?|quién(?:es)?|dónde|cuándo|por qué|quel(?:le)?s?|comment|pourquoi|"
    r"qui|où|"
    r"quand|qu'est-ce|est-ce|quais|perch[eé]|"
    r"что|как|почему|кто|где|когда|как(?:ой|ая|ие)|сколько|зачем|ما|ماذا|لماذا|كيف|هل|من هو|"
    r"أين|متى"
)
_GUIDANCE = (
    r"use|keep|do not|don['’]t|never|always|only|no|be|avoid|include|exclude|ignore|limit|focus|"
    r"mention|start|end|stick|make sure|ensure|omit|skip|leave|preserve|"
    r"max(?:imum)?|min(?:imum)?|at most|at least|not more than|no more than|"
    r"in (?:one|two|three|\d+|at most)|under|"
    r"think|consider|assume|let|take|note that your|the (?:answer|output|response|summary|"
    r"translation|tone)|thanks|thank you|cheers|"
    r"bitte|danke|kein\w*|nicht|nur|maximal|höchstens|verwende\w*|benutze\w*|"
    r"auf (?:deutsch|englisch)|"
    r"en (?:español|inglés|français|anglais|una|une)|usa|no uses|solo|máximo|gracias|"
    r"utilise\w*|n['’]utilise\w*|ne|sans|maximum|merci|"
    r"не|только|используй\w*|без|спасибо|لا|بدون|استخدم|شكرا|باستخدام"
)
_OPENING = (
    r"(?:(?:please|pls|plz|kindly|now|then|also|next|first|finally|so|and|but|ok(?:ay)?|hi|"
    r"hello|hey|"
    r"dear \w+|hi \w+|hello \w+|hey \w+|there|\w+ly|just|bitte|nun|jetzt|dann|und|por favor|"
    r"ahora|"
    r"luego|y|maintenant|ensuite|et|alors|пожалуйста|теперь|а|и|затем|من فضلك|رجاء|رجاءً|الآن|ثم|"
    r"te rog|proszę|per favore)[,:!.]? +){0,4}"
)
LABEL = re.compile(
    r"(?:\*\*|#{1,6} +)?(?:task|question|q|p\.?s\.?|instructions?|note|important|prompt|goal|tone|"
    r"(?:output |response |answer )?format|output|user|human|system|examples?|"
    r"style|language|length|audience|context|rules?|requirements?|constraints?|aufgabe|frage|"
    r"regeln|"
    r"wichtig|tarea|pregunta|reglas|tâche|question|consigne|règles|задача|задание|вопрос|правила|"
    r"任务|问题|要求|指示|質問|課題|المهمة|السؤال)(?:\*\*)? *[:：] *(?:\*\*)?",
    re.IGNORECASE,
)
_MAX_WORDS_OF_QUESTION = 20
_START = re.compile(rf"\A[\"'“«(¿¡*_]*+{_OPENING}(?:{_TASKS})(?!\w)", re.IGNORECASE)
_AFTER_CLAUSE = re.compile(
    r"(?:based|using|given|according|from|in|with|for|as|after|before|if|without|by|once|when|"
    r"anhand|auf|basierend|mit|in|aus|basándote|según|con|en|à partir|d['’]après|selon|avec)\b"
    rf"[^.!?\n]{{2,150}}?[,:] +{_OPENING}(?:{_TASKS}|{_QUESTIONS})\b|"
    r"in (?:one|two|three|\d+|a few|plain|simple|your own)\b"
    rf"[^.!?,\n]{{0,40}} (?:{_TASKS})\b",
    re.IGNORECASE,
)
_REQUEST = re.compile(
    r"\b(?:summ?ari[sz]e|translate|proof-?read|rephrase|re-?write|paraphrase|shorten|condense) "
    r"(?:this|these|it|the (?:following|text|above))\b|"
    r"\b(?:can|could|would|will) you\b|\byour (?:task|job|goal)\b|"
    r"\b(?:i|we)(?:['’]d| would)? (?:want|need|like) (?:you|this|it) |"
    r"\bi(?:['’]d| would) like\b|\bi (?:want|need) an? |"
    r"\bplease (?!note|find|see|be advised|be aware|keep in mind|remember|bear|feel|allow|"
    r"let me know|do not|don['’]t|never)|"
    r"\b(?:kannst|könntest|können|könnten) (?:du|sie)\b|\bbitte (?!beacht|denk|entschuldig)|"
    r"\b(?:puedes|podrías|você pode)\b|\bpor favor\b|"
    r"\b(?:peux-tu|pouvez-vous|pourrais-tu|pourriez-vous)\b|\bs['’]il (?:te|vous) pla[iî]t\b|"
    r"\b(?:можешь|мог бы|пожалуйста)\b|من فضلك|هل يمكنك|يرجى|\bper favore\b|"
    r"\b(?:zusammenfassen|übersetzen)[.!]*$",
    re.IGNORECASE,
)
_EAST_ASIAN = re.compile(
    # Chinese: where a sentence begins with the task
    r"^(?:[^，。]{0,12}，)?(?:现在|然后)?(?:请(?!勿|不|注意)|請(?!勿|不|注意)|帮|幫|把|将|將|用[^，。]{1,12}(?:总结|總結|概括|"
    r"翻译|翻譯|回答|"
    r"说明|写)|给我|給我|翻译|翻譯|总结|總結|概括|解释|解釋|列出|比较|比較|分析|回答|提取|改写|改寫|润色|写一|写出|"
    r"写个|寫一|根据|根據|你是|您是|简述|归纳|摘要|什么|为什么|怎么|如何|谁|哪)|请你?(?:用|把|将|翻|总|写|列|解|分|回)|"
    # Japanese and Korean: where it ends with it
    r"(?:ください|下さい|くれますか|お願いします|お願いいたします|しなさい|せよ|まとめて|要約して|翻訳して|訳して|説明して|"
    r"教えて|書いて|答えて|要約|翻訳|ですか|ますか|でしょうか|てくれ|てほしい)[。！？!?.]*$|^あなたは|"
    r"(?:주세요|해줘|해 줘|하시오|십시오|인가요|입니까|습니까|하라|세요)[.!?]*$|^(?:요약|번역)|"
    r"(?:कीजिए|करें|करो|लिखें|लिखिए|बताएं|बताइए|दीजिए|दें)[।.!]*$|^कृपया"
)
_WH = re.compile(rf"\A[\"'“«(¿]*+{_OPENING}(?:{_QUESTIONS})(?!\w)", re.IGNORECASE)
_HOW = re.compile(rf"\A[\"'“«(*_]*+{_OPENING}(?:{_GUIDANCE})(?!\w)", re.IGNORECASE)
_SPEAKER = re.compile(
    r"(?:\[[^\]\n]{1,24}\] *)?([^\W\d_][\w.'’-]{0,30}(?: [\w.'’-]{1,30}){0,2}): \S"
)
_CREATE = re.compile(
    rf"\A{_OPENING}(?:write|create|generate|draft|compose|plan|design|develop|brainstorm|invent|suggest)"
    r"(?: \S+){3}",
    re.IGNORECASE,
)
_REFERENCE = re.compile(
    r"\b(?:this|these|that|it|following|below|above|attached|here|the (?:text|article|notes|"
    r"document|change|diff|code|e-?mail|letter|log|report|meeting|talk|transcript)|summary|abstract|commit|"
    r"reply|response|answer|minutes|titles?|headline|review|translation|tests?|caption|changelog)\b",
    re.IGNORECASE,
)
_RULES = re.compile(
    r"\b(?:rules?|requirements?|constraints?|guidelines?|criteria|instructions?|conditions?|"
    r"regeln|anforderungen|vorgaben|bedingungen|reglas|requisitos|condiciones|regras|règles|"
    r"consignes|contraintes|exigences|regole|requisiti|istruzioni|regels|eisen|zasady|wymagania|"
    r"правила|требования|условия)\b|规则|要求|条件|規則|ルール|قواعد|شروط",
    re.IGNORECASE,
)
_MATERIAL = re.compile(
    r"\bthe (?:above|below|following)\b|"
    r"\b(?:this|the) (?:text|article|document|passage|paragraph|transcript)\b|"
    r"\b(?:den|die|das) (?:obige|folgende)n?\b|\b(?:diesen|den) text\b|"
    r"\b(?:el|este|o) texto\b|\b(?:le|ce) texte\b",
    re.IGNORECASE,
)
_VOWEL_SIGNS = re.compile("[\u064b-\u0652\u0640]")
_NOT_TASKS = re.compile(r"\A\w+(?:\(|\.\w|=| = |:=|/)")


def is_self_contained(sentence: str) -> bool:
    """Whether it has something new written and refers to nothing that it is made from, as far as
    that can be told (in English): "Write a blog post about trains", not "Write a summary"."""
    return (
        _CREATE.match(sentence) is not None
        and _REFERENCE.search(sentence) is None
        and sentence[-1] not in ":："
    )


def is_about_material(sentence: str) -> bool:
    """Whether it speaks of the text that it stands in ("translate the above"), as far as that can
    be told (in a few languages)."""
    return _MATERIAL.search(sentence[:MAX_CHARS]) is not None


def introduces_rules(sentence: str) -> bool:
    """Whether a heading, or words before a colon, say that rules follow."""
    return _RULES.search(sentence[:MAX_CHARS]) is not None


def is_spoken(sentence: str) -> bool:
    """Whether it begins with the name of who says it: "Anna: Shall we start?"."""
    speaker = _SPEAKER.match(sentence)
    if not speaker or LABEL.match(sentence) or _START.match(sentence):
        return False
    names = speaker[1].split()
    return len(names) == 1 or not any(name[0].islower() for name in names)


def weight_of(sentence: str, *, spoken: bool = False) -> int:
    """2 for a task or a question, 1 for what says how to do it, 0 for neither: by its first words,
    or by the last ones in languages that put the verb there. What is `spoken` in a conversation
    asks somebody else."""
    sentence = sentence.strip()[:MAX_CHARS]
    labelled = LABEL.match(sentence)
    if labelled:
        rest = sentence[labelled.end() :]
        return max(1, weight_of(rest)) if rest else 1
    if not sentence or _NOT_TASKS.match(sentence):
        return 0
    sentence = _VOWEL_SIGNS.sub("", sentence)
    if _START.match(sentence):
        return 2
    if spoken or is_spoken(sentence):
        return 0
    if sentence[-1] in "?？؟" or sentence[0] == "¿" or _AFTER_CLAUSE.match(sentence):
        return 2
    if not sentence.isascii() and _EAST_ASIAN.search(sentence):
        return 2
    if _REQUEST.search(sentence):
        return 2
    if _WH.match(sentence) and sentence.count(" ") < _MAX_WORDS_OF_QUESTION:
        # "how do I fix this"; with a full stop it may be a clause: "When it rains, it pours."
        return 1 if sentence[-1] in ".。" else 2
    return 1 if _HOW.match(sentence) else 0
