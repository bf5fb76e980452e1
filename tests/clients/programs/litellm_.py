"""litellm, as its `completion` asks an OpenAI-compatible server."""

import json
import sys
from functools import partial
from typing import Any

import litellm
import openai

url, step = sys.argv[1:]
tool = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
complete = partial(litellm.completion, model="openai/m1", api_base=url, api_key="x")


def stream() -> dict[str, Any]:
    chunks = list(
        complete(
            messages=[{"role": "user", "content": "Hi"}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    whole = litellm.stream_chunk_builder(chunks)
    pieces = [choice.delta.content for chunk in chunks for choice in chunk.choices]
    return {
        "pieces": [piece for piece in pieces if piece],
        "usage": whole.usage.completion_tokens,
    }


def tools() -> dict[str, Any]:
    messages: list[Any] = [{"role": "user", "content": "What is the weather in Köln?"}]
    chunks = list(complete(messages=messages, tools=[tool], stream=True))
    message = litellm.stream_chunk_builder(chunks, messages=messages).choices[0].message
    [call] = message.tool_calls
    messages += [
        message.model_dump(),
        {"role": "tool", "tool_call_id": call.id, "content": "7 degrees"},
    ]
    final = complete(messages=messages, tools=[tool])
    return {
        "tool": call.function.name,
        "arguments": json.loads(call.function.arguments),
        "text": final.choices[0].message.content,
    }


def error() -> dict[str, Any]:
    messages = [{"role": "user", "content": "Hi"}]
    try:
        list(complete(messages=messages, stream=True, num_retries=0, max_retries=0))
    except openai.APIError as caught:  # litellm's errors are openai's
        return {
            "error": type(caught).__name__,
            "message": str(caught),
            "status": getattr(caught, "status_code", None),
            "code": caught.code,
            "param": caught.param,
        }
    return {}


def embed() -> dict[str, Any]:
    embedded = litellm.embedding(
        model="openai/tokenflow-embedder", api_base=url, api_key="x", input=["a cat", "a dog"]
    )
    return {"sizes": [len(vector["embedding"]) for vector in embedded.data]}


steps = {"stream": stream, "tools": tools, "error": error, "embed": embed}
print(json.dumps(steps[step]()))
