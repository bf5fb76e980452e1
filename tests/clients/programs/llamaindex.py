"""llama-index-llms-openai-like."""

import json
import sys
from typing import Any

import openai
from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike

url, step = sys.argv[1:]


def get_weather(city: str) -> str:
    """The weather in a city."""
    return "7 degrees"


def stream(model: OpenAILike) -> dict[str, Any]:
    options = {"include_usage": True}
    pieces = list(model.stream_chat([ChatMessage("Hi")], stream_options=options))
    usage = pieces[-1].additional_kwargs.get("completion_tokens")
    return {"pieces": [piece.delta for piece in pieces if piece.delta], "usage": usage}


def tools(model: OpenAILike) -> dict[str, Any]:
    weather = FunctionTool.from_defaults(get_weather)
    messages = [ChatMessage("What is the weather in Köln?")]
    *_, response = model.stream_chat_with_tools([weather], chat_history=messages)
    [call] = model.get_tool_calls_from_response(response)
    result = weather(**call.tool_kwargs)
    messages += [
        response.message,
        ChatMessage(
            str(result), role=MessageRole.TOOL, additional_kwargs={"tool_call_id": call.tool_id}
        ),
    ]
    final = model.chat_with_tools([weather], chat_history=messages)
    return {
        "tool": call.tool_name,
        "arguments": call.tool_kwargs,
        "text": final.message.content,
    }


def error(model: OpenAILike) -> dict[str, Any]:
    try:
        list(model.stream_chat([ChatMessage("Hi")]))
    except openai.APIError as caught:
        return {
            "error": type(caught).__name__,
            "message": str(caught),
            "status": getattr(caught, "status_code", None),
            "code": caught.code,
            "param": caught.param,
        }
    return {}


steps = {"stream": stream, "tools": tools, "error": error}
model = OpenAILike(
    model="m1",
    api_base=url,
    api_key="x",
    is_chat_model=True,
    is_function_calling_model=True,
    max_retries=0 if step == "error" else 2,
)
print(json.dumps(steps[step](model)))
