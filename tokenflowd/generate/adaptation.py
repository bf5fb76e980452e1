"""Fields of a request that a provider's model does not take: left out or renamed, and remembered.

Only fields that steer sampling, or are hints, are ever left out; what decides the meaning of an
answer (`tools`, `response_format`, `stop`, `n`, ...) is the client's to change. A schema for the
answer is only written in another way, which constrains it just as much.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tokenflowd.errors import ProviderError
from tokenflowd.generate.providers import Candidate

_OPTIONAL = frozenset(
    "stream_options temperature top_p top_k top_a min_p typical_p tfs_z presence_penalty "
    "frequency_penalty repetition_penalty repeat_penalty mirostat mirostat_tau mirostat_eta seed "
    "logit_bias parallel_tool_calls reasoning_effort reasoning_format include_reasoning "
    "reasoning verbosity user store metadata service_tier prompt_cache_key "
    "prompt_cache_retention safety_identifier".split()
)
_OTHER_NAME = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
}
_REFUSAL = re.compile(
    r"unsupported|un(?:known|recogni[sz]ed|expected)|"
    r"not (?:supported|permitted|allowed|recogni[sz]ed)|"
    r"(?:does not|doesn't|do not|cannot) (?:support|be (?:used|set|specified))|no such|"
    r"extra (?:inputs|fields)|extra_forbidden|property .{0,80} is (?:invalid|not)|"
    r"mutually exclusive|only one of|both (?:be )?(?:specified|set)|deprecated|use .{0,60} instead",
    re.IGNORECASE,
)
# llama-cpp-python's server (0.3) knows no json_schema: it constrains a JSON object by a schema.
_NO_JSON_SCHEMA = re.compile(
    r"response_format.*Input should be 'text' or 'json_object'.*llama_cpp", re.DOTALL
)
# Nor has it messages of an assistant without content, as those are that call a tool: null is no
# string to it, and where the content is missing its Python says no more than the key.
_NO_MISSING_CONTENT = re.compile(
    r"AssistantMessage', 'content'\), 'msg': 'Input should be a valid string'|"
    r"answered 500 'content'$"
)
_NAME = re.compile(r"\w+")
# In a sentence a name stands in quotes or is no word of English.
_NAME_IN_SENTENCE = re.compile(r"(?<=[\"'`])\w+(?=[\"'`])|\b(?:temperature|[a-z]+_\w+)\b")


@dataclass(frozen=True, slots=True)
class Adaptation:
    """What is left out of requests to one model, and what has another name there.

    With `schema_in_json_object`, an OpenAI `json_schema` is asked for as llama-cpp-python reads it;
    with `empty_content`, messages that have no content but tool calls have an empty one.
    """

    left_out: frozenset[str] = frozenset()
    renamed: frozenset[str] = frozenset()
    schema_in_json_object: bool = False
    empty_content: bool = False

    def apply(self, body: Mapping[str, Any]) -> dict[str, Any]:
        adapted = {name: value for name, value in body.items() if name not in self.left_out}
        for name in self.renamed & adapted.keys():
            value = adapted.pop(name)
            adapted.setdefault(_OTHER_NAME[name], value)
        schema = _json_schema(adapted) if self.schema_in_json_object else None
        if schema is not None:
            adapted["response_format"] = {"type": "json_object", "schema": schema}
        if self.empty_content and _has_missing_content(adapted):
            adapted["messages"] = [
                {**message, "content": ""} if _is_content_missing(message) else message
                for message in adapted["messages"]
            ]
        return adapted


class Adaptations:
    """One for each model at each provider that refused a field, for as long as the process runs."""

    def __init__(self) -> None:
        self._by_model: dict[tuple[str, str], Adaptation] = {}

    def of(self, candidate: Candidate) -> Adaptation:
        return self._by_model.get(_key(candidate), Adaptation())

    def learn(self, candidate: Candidate, sent: Mapping[str, Any], error: ProviderError) -> bool:
        """Whether `error` names a field of `sent` that can go or be renamed. From now on it is."""
        known = self.of(candidate)
        refused = _refused_field(sent, error)
        if _json_schema(sent) is not None and _NO_JSON_SCHEMA.search(error.detail):
            adaptation = replace(known, schema_in_json_object=True)
        elif _has_missing_content(sent) and _NO_MISSING_CONTENT.search(error.detail):
            adaptation = replace(known, empty_content=True)
        elif refused is None:
            return False
        elif refused in _OTHER_NAME:
            if _OTHER_NAME[refused] in known.renamed:  # it takes neither
                return False
            adaptation = replace(known, renamed=known.renamed | {refused})
        else:
            adaptation = replace(known, left_out=known.left_out | {refused})
        self._by_model[_key(candidate)] = adaptation
        return True


def _key(candidate: Candidate) -> tuple[str, str]:
    return candidate.provider.name, candidate.model


def _json_schema(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """The schema that an answer is to keep to, where it is asked for as OpenAI has it."""
    match body.get("response_format"):
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return schema
    return None


def _has_missing_content(body: Mapping[str, Any]) -> bool:
    return any(_is_content_missing(message) for message in body.get("messages", ()))


def _is_content_missing(message: Any) -> bool:
    return (
        isinstance(message, dict)
        and message.get("role") == "assistant"
        and message.get("content") is None
        and bool(message.get("tool_calls"))
    )


def _refused_field(sent: Mapping[str, Any], error: ProviderError) -> str | None:
    """The field of `sent` that the provider will not take, if it may go."""
    details = error.provider_details
    said = f"{error.detail} {details.code} {details.type}"
    if error.provider_status not in (400, 422, 500) or not _REFUSAL.search(said):
        return None
    named = [name for name in dict.fromkeys(_named(error)) if _may_go(name, sent)]
    # "temperature and top_p cannot both be specified": the first of them stays.
    are_alternatives = {"temperature", "top_p"} <= set(named)
    return "top_p" if are_alternatives else named[0] if named else None


def _may_go(name: str, sent: Mapping[str, Any]) -> bool:
    if name not in sent:
        return False
    return name in _OPTIONAL or (name in _OTHER_NAME and _OTHER_NAME[name] not in sent)


def _named(error: ProviderError) -> list[str]:
    """Names that the error may mean: first where it says which."""
    param = _NAME.findall(error.provider_details.param or "")
    return [*param, *_NAME_IN_SENTENCE.findall(error.detail)]
