"""langchain-openai."""

import json
import sys
from typing import Any

import openai
from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

url, step = sys.argv[1:]


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return "7 degrees"


def stream(model: ChatOpenAI) -> dict[str, Any]:
    pieces = list(model.stream("Hi"))
    whole = sum(pieces[1:], pieces[0])
    usage = whole.usage_metadata
    return {
        "pieces": [piece.content for piece in pieces if piece.content],
        "usage": usage and usage["output_tokens"],
    }


def tools(model: ChatOpenAI) -> dict[str, Any]:
    bound = model.bind_tools([get_weather])
    messages: list[Any] = [HumanMessage("What is the weather in Köln?")]
    pieces: list[AIMessageChunk] = list(bound.stream(messages))
    message = sum(pieces[1:], pieces[0])
    [call] = message.tool_calls
    messages += [message, get_weather.invoke(call)]
    return {
        "tool": call["name"],
        "arguments": call["args"],
        "text": bound.invoke(messages).content,
    }


def error(model: ChatOpenAI) -> dict[str, Any]:
    try:
        list(model.stream("Hi"))
    except openai.APIError as caught:
        return {
            "error": type(caught).__name__,
            "message": str(caught),
            "status": getattr(caught, "status_code", None),
            "code": caught.code,
            "param": caught.param,
        }
    return {}


def embed(model: ChatOpenAI) -> dict[str, Any]:
    # Otherwise it sends the numbers of OpenAI's own tokens in place of the texts.
    embeddings = OpenAIEmbeddings(
        model="tokenflow-embedder", base_url=url, api_key="x", check_embedding_ctx_length=False
    )
    return {"sizes": [len(vector) for vector in embeddings.embed_documents(["a cat", "a dog"])]}


steps = {"stream": stream, "tools": tools, "error": error, "embed": embed}
retries = 0 if step == "error" else 2
model = ChatOpenAI(
    model="m1", base_url=url, api_key="x", max_retries=retries, stream_usage=step == "stream"
)
print(json.dumps(steps[step](model)))
