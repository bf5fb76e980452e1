"""openai: the official client."""

import json
import sys
from typing import Any

import openai

url, step = sys.argv[1:]
tool = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def stream(client: openai.OpenAI) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Hi"}]
    with client.chat.completions.stream(
        model="m1", messages=messages, stream_options={"include_usage": True}
    ) as events:
        pieces = [event.delta for event in events if event.type == "content.delta"]
        usage = events.get_final_completion().usage
    return {"pieces": pieces, "usage": usage and usage.completion_tokens}


def tools(client: openai.OpenAI) -> dict[str, Any]:
    messages: list[Any] = [{"role": "user", "content": "What is the weather in Köln?"}]
    asked = {"model": "m1", "tools": [tool]}
    with client.chat.completions.stream(messages=messages, **asked) as events:
        message = events.get_final_completion().choices[0].message
    [call] = message.tool_calls
    messages += [
        message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "7 degrees"},
    ]
    final = client.chat.completions.create(messages=messages, **asked)
    return {
        "tool": call.function.name,
        "arguments": json.loads(call.function.arguments),
        "text": final.choices[0].message.content,
    }


def error(client: openai.OpenAI) -> dict[str, Any]:
    try:
        messages = [{"role": "user", "content": "Hi"}]
        list(client.chat.completions.create(model="m1", messages=messages, stream=True))
    except openai.APIError as caught:
        return {
            "error": type(caught).__name__,
            "message": str(caught),
            "status": getattr(caught, "status_code", None),
            "code": caught.code,
            "param": caught.param,
        }
    return {}


def embed(client: openai.OpenAI) -> dict[str, Any]:
    embedded = client.embeddings.create(model="tokenflow-embedder", input=["a cat", "a dog"])
    return {"sizes": [len(vector.embedding) for vector in embedded.data]}


steps = {"stream": stream, "tools": tools, "error": error, "embed": embed}
retries = 0 if step == "error" else 2
print(json.dumps(steps[step](openai.OpenAI(base_url=url, api_key="x", max_retries=retries))))
