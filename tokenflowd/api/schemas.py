"""What goes in and out, as types: decoding, validation and OpenAPI come from these.

Requests are accepted in snake_case and in camelCase; unknown fields are ignored, and null stands
for the default (`bodies.as_schema`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from tokenflowd.catalog import Task
from tokenflowd.config import Mode, PreserveKind
from tokenflowd.generate import AnswerKind, Attempt
from tokenflowd.route import DEFAULT_CATEGORIES
from tokenflowd.services import ModelRole

MAX_CATEGORIES = 256
MAX_CATEGORY_CHARS = 200
MAX_EMBEDDED = 2048  # OpenAI's limit for one request
MAX_FORCE_TOKENS = 100  # LLMLingua-2's max_force_token

Category = Annotated[str, Meta(min_length=1, max_length=MAX_CATEGORY_CHARS, pattern=r"\S")]
Categories = Annotated[
    tuple[Category, ...],
    Meta(max_length=MAX_CATEGORIES, description="To choose among; none: the default ones"),
]


class Error(Struct, frozen=True):
    """What every answer above 399 says: a short name, and what is wrong and where."""

    error: str
    detail: str


class CompressRequest(Struct, frozen=True):
    text: str
    ratio: Annotated[float, Meta(gt=0, le=1, description="Share of the tokens to keep")] | None = (
        None
    )
    target_token: Annotated[int, Meta(gt=0, description="Tokens to keep")] | None = None
    force_tokens: Annotated[
        list[Annotated[str, Meta(min_length=1)]], Meta(max_length=MAX_FORCE_TOKENS)
    ] = []
    force_reserve_digit: bool = False
    drop_consecutive: bool = False
    question: str = ""
    preserve: list[PreserveKind] | None = None
    mode: Mode | None = None
    return_words: bool = False


class WordOut(Struct, frozen=True):
    text: Annotated[str, Meta(description="The word and the white space after it")]
    keep: bool
    probability: float


class CompressResponse(Struct, frozen=True):
    id: Annotated[str, Meta(description="In the history")] | None
    original_text: str
    compressed_text: str
    original_tokens: int
    compressed_tokens: int
    compression_ratio: Annotated[float, Meta(description="Share of the tokens that was kept")]
    over_budget: Annotated[bool, Meta(description="What had to be kept is more than was asked for")]
    model: str
    tokenizer: str
    latency_ms: float
    words: list[WordOut] | UnsetType = UNSET


class ClassifyRequest(Struct, frozen=True):
    prompt: str
    possible_categories: Categories = DEFAULT_CATEGORIES
    multi_label: bool = False


class ClassifyResponse(Struct, frozen=True):
    id: Annotated[str, Meta(description="In the history")] | None
    top_category: str
    confidence_score: float
    all_categories: dict[str, float]
    recommended_model: str
    model: str
    latency_ms: float


Compress = Annotated[float, Meta(gt=0, le=1)] | Literal["auto"]


class ChatMessage(Struct, frozen=True):
    role: Literal["system", "user", "assistant"]
    content: str


class SelectRequest(Struct, frozen=True):
    prompt: Annotated[str, Meta(description="Said last; may be empty if there are messages")] = ""
    attachment: Annotated[
        str,
        Meta(
            description="What the prompt is about: it is sent before the prompt, in the same "
            "message, and is what `compress` shrinks of that"
        ),
    ] = ""
    messages: Annotated[list[ChatMessage], Meta(description="What was said before")] = []
    system: str = ""
    possible_categories: Categories = DEFAULT_CATEGORIES
    temperature: Annotated[float, Meta(ge=0, le=2)] = 0.7
    top_p: Annotated[float, Meta(ge=0, le=1)] = 0.9
    max_tokens: Annotated[int, Meta(ge=0, description="0: the default")] = 250
    compress: Annotated[
        Compress | None,
        Meta(
            description="Share of the tokens of the material to keep, where what is asked is kept "
            "whole; auto: where it pays"
        ),
    ] = None


class GenerateRequest(SelectRequest, frozen=True, kw_only=True):
    model: Annotated[str, Meta(min_length=1, description="A model's id, or auto")]
    provider: Annotated[str, Meta(description="Ask this one only")] = ""


class PromptCompression(Struct, frozen=True):
    """What became of a request to compress the prompt. The last three fields are there if it was
    compressed."""

    compressed: bool
    reason: str
    original_tokens: int | UnsetType = UNSET
    compressed_tokens: int | UnsetType = UNSET
    compressed_text: Annotated[str | UnsetType, Meta(description="What was sent")] = UNSET


class AnswerMetadata(Struct, frozen=True):
    """Who answers, and why; or who was to answer, before an error."""

    prompt_category: Annotated[str, Meta(description="unknown: the prompt was not classified")]
    confidence_score: float
    all_categories: dict[str, float]
    selected_model: Annotated[
        str,
        Meta(
            description="As it was asked for or is ranked, even if its provider serves a successor "
            "of it; another model's id if that answers instead"
        ),
    ]
    id: Annotated[str, Meta(description="In the history, once the answer is complete")]
    route: Annotated[str, Meta(description="Why this model")]
    served_model: Annotated[
        str | UnsetType, Meta(description="The id by which its provider knows the model")
    ] = UNSET
    wanted_model: Annotated[
        str | UnsetType,
        Meta(description="What was asked for or ranks first, if the served model is another"),
    ] = UNSET
    provider: str | UnsetType = UNSET
    attempts: Annotated[
        tuple[Attempt, ...] | UnsetType, Meta(description="Models that failed before")
    ] = UNSET
    compression: PromptCompression | UnsetType = UNSET


class AnswerUsage(Struct, frozen=True):
    """Figures of a complete answer; null where nobody knows. Times are in ms."""

    id: Annotated[str, Meta(description="In the history")] | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    ttft_ms: Annotated[float | None, Meta(description="Until the first event of the answer")]
    first_word_ms: Annotated[float | None, Meta(description="Until its first word")]
    latency_ms: float | None
    cost_usd: float | None
    finish_reason: str | None
    answer_kind: Annotated[
        AnswerKind, Meta(description="What the model sent; only text comes in `text_chunk` events")
    ]
    tokens_counted_by: Literal["provider", "tokenflow"] | None
    saved_tokens: int
    saved_usd: float | None
    saved_ms: float | None
    refusal: Annotated[str | UnsetType, Meta(description="The model's own words")] = UNSET


class AnswerError(Struct, frozen=True):
    """Why there is no answer, or no more of it."""

    error: str
    detail: str
    type: str
    retryable: bool
    retry_after_s: float | UnsetType = UNSET


class MetadataEvent(Struct, frozen=True, tag_field="event", tag="metadata"):
    data: AnswerMetadata


class TextEvent(Struct, frozen=True, tag_field="event", tag="text_chunk"):
    data: str


class UsageEvent(Struct, frozen=True, tag_field="event", tag="usage"):
    data: AnswerUsage


class EndEvent(Struct, frozen=True, tag_field="event", tag="end_stream"):
    data: Literal["Stream finished"] = "Stream finished"


class ErrorEvent(Struct, frozen=True, tag_field="event", tag="error"):
    data: AnswerError


AnswerEvent = Annotated[
    MetadataEvent | TextEvent | UsageEvent | EndEvent | ErrorEvent,
    Meta(
        description="What the `data:` line of an event holds; its `event:` line has the name, too"
    ),
]


class TokenFlowOptions(Struct, frozen=True):
    """What a chat completion may ask of TokenFlow, in a field that providers never see."""

    compress: Compress | None = None
    possible_categories: Categories = DEFAULT_CATEGORIES
    provider: str = ""


class StreamOptions(Struct, frozen=True):
    include_usage: bool | None = None


class ChatCompletionRequest(Struct, frozen=True):
    """OpenAI's; fields that are not named here are passed on as they are."""

    model: Annotated[str, Meta(min_length=1, description="A model's id, or auto")]
    messages: Annotated[list[dict[str, Any]], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tokenflow: TokenFlowOptions = TokenFlowOptions()


class CompletionRequest(Struct, frozen=True):
    """OpenAI's legacy completions; fields that are not named here are passed on as they are."""

    model: Annotated[str, Meta(min_length=1, description="A model's id, or auto")]
    prompt: str | list[Any] = ""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tokenflow: TokenFlowOptions = TokenFlowOptions()


class EmbeddingsRequest(Struct, frozen=True):
    """OpenAI's; other fields are passed on to a provider as they are."""

    model: Annotated[
        str, Meta(min_length=1, description="tokenflow-embedder, or a provider's model")
    ]
    input: (
        Annotated[str, Meta(min_length=1)]
        | Annotated[list[Any], Meta(min_length=1, max_length=MAX_EMBEDDED)]
    )
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Meta(gt=0)] | None = None


class Embedding(Struct, frozen=True):
    index: int
    embedding: Annotated[
        list[float] | str, Meta(description="base64: of little-endian float32 values")
    ]
    object: Literal["embedding"] = "embedding"


class EmbeddingsUsage(Struct, frozen=True):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Struct, frozen=True):
    data: list[Embedding]
    model: str
    usage: EmbeddingsUsage
    object: Literal["list"] = "list"


class ListedModel(Struct, frozen=True):
    id: str
    owned_by: Annotated[str, Meta(description="The provider")]
    object: Literal["model"] = "model"
    created: int = 0


class ModelList(Struct, frozen=True):
    data: list[ListedModel]
    object: Literal["list"] = "list"


class UseModelRequest(Struct, frozen=True):
    id: Annotated[str, Meta(min_length=1)]


class InstalledModel(Struct, frozen=True):
    id: str
    name: str
    version: str
    task: Task
    role: Annotated[ModelRole, Meta(description="What models of this task do here")]
    active: bool
    shipped: bool
    bytes: int
    licence: str


class UsedModel(Struct, frozen=True):
    id: str
    role: ModelRole
    overruled_by: Annotated[
        str | UnsetType, Meta(description="A variable that names another at the next start")
    ] = UNSET


class ProviderOut(Struct, frozen=True):
    name: str
    base_url: str
    local: Annotated[bool, Meta(description="On this machine")]
    up: bool
    models: list[str]
    problem: str | UnsetType = UNSET
    latency_ms: float | UnsetType = UNSET


class MetricsQuery(Struct, frozen=True):
    days: Annotated[int, Meta(ge=1, le=3650)] = 30


class OpenAIErrorDetail(Struct, frozen=True):
    message: str
    type: str
    code: str | int
    param: str | None = None
    failed_generation: Annotated[
        str | UnsetType, Meta(description="Groq's: the tool call that does not hold")
    ] = UNSET


class OpenAIError(Struct, frozen=True):
    """What every answer of /v1 above 399 says, in OpenAI's shape."""

    error: OpenAIErrorDetail


class RankedModelOut(Struct, frozen=True):
    id: str
    name: str
    primary: bool
    provider: str
    configured: Annotated[bool, Meta(description="Its provider's key is set")]


class RankingOut(Struct, frozen=True):
    title: str
    description: str
    models: list[RankedModelOut]


class HistoryQuery(Struct, frozen=True):
    q: Annotated[
        str, Meta(description="Words, all of which are in the prompt or the result, literally")
    ] = ""
    kind: Literal["", "compress", "classify", "generate", "select", "chat"] = ""
    model: str = ""
    category: str = ""
    since: Annotated[
        str,
        Meta(
            description="ISO 8601 date or time in UTC",
            pattern=r"^(\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?Z?)?)?$",
        ),
    ] = ""
    before: Annotated[str, Meta(description="Continue after this id, back in time")] = ""
    limit: Annotated[int, Meta(ge=1, le=500)] = 50


class HistoryPage(Struct, frozen=True):
    requests: list[dict[str, Any]]
    next_before: Annotated[str, Meta(description="Pass it as `before` for more")] | None


class CorrectionRequest(Struct, frozen=True):
    category: Annotated[Category, Meta(description="What it should have been")]


class Correction(Struct, frozen=True):
    id: str
    corrected_category: str


class Vacuumed(Struct, frozen=True):
    bytes_before: int
    bytes_after: int


class ModelState(Struct, frozen=True):
    id: str
    ready: bool
    problem: str | UnsetType = UNSET


class Health(Struct, frozen=True):
    status: Literal["ok", "degraded"]
    version: str
    uptime_s: float
    models: dict[str, ModelState]
    streams: Annotated[int, Meta(description="Answers under way")]
    history: Literal["ok", "degraded"]
    problem: str | UnsetType = UNSET
