"""tokenflow ask and providers, with a provider at the wire."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_commands import BIN, Shell, served_by
from tests.conftest import KEY
from tests.upstream import (
    DONE,
    Received,
    Upstream,
    Wire,
    answer,
    chunk,
    events,
    failure,
    usage,
)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(answer("Blue", " light\n", " scatters."), models=["m1", "m2"]) as server:
        yield server


@pytest.fixture
def shell(tmp_path: Path, upstream: Upstream) -> Shell:
    shell = served_by(upstream, tmp_path)
    shell.environment["GROQ_API_KEY"] = KEY
    return shell


def test_the_answer_goes_to_the_output_and_nothing_else(shell: Shell) -> None:
    done = shell.run("tokenflow", "ask", "Why is the sky blue?")
    assert done.stdout == "Blue light\n scatters."
    assert done.stderr == ""


def test_the_prompts_category_decides_unless_a_model_is_named(
    shell: Shell, upstream: Upstream
) -> None:
    shell.run("tokenflow", "ask", "-c", "poetry", "Why is the sky blue?")
    shell.run("tokenflow", "ask", "-m", "qwen/qwen3.6-27b", "Why is the sky blue?")
    assert [body["model"] for body in upstream.bodies] == ["openai/gpt-oss-20b", "qwen/qwen3.6-27b"]


def test_options_reach_the_provider(shell: Shell, upstream: Upstream) -> None:
    arguments = ("-s", "Be brief.", "-t", "0", "-n", "9", "-m", "m9", "Why?")
    shell.run("tokenflow", "ask", *arguments)
    (body,) = upstream.bodies
    assert (body["temperature"], body["max_tokens"], body["model"]) == (0, 9, "m9")
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}


def test_what_is_piped_goes_before_the_prompt(shell: Shell, upstream: Upstream) -> None:
    shell.run("tokenflow", "ask", "Summarise this.", stdin="a long report\n")
    assert upstream.bodies[0]["messages"][-1]["content"] == "a long report\n\nSummarise this."


def test_the_prompt_is_compressed_when_asked_for(shell: Shell, upstream: Upstream) -> None:
    report = "Please note that, as you know, the server 10.0.0.7 is never to be restarted. " * 5
    shell.run("tokenflow", "ask", "--compress", "0.5", stdin=report)
    sent = upstream.bodies[0]["messages"][-1]["content"]
    assert len(sent) < 0.8 * len(report)
    assert "10.0.0.7" in sent


@pytest.mark.parametrize("compress", ["0.4", "auto"])
def test_only_what_is_piped_is_compressed(shell: Shell, upstream: Upstream, compress: str) -> None:
    change = "".join(f"-  limit_{n} = {n}\n+  limit_{n} = {n + 1}\n" for n in range(60))
    prompt = "Write a commit message. It is as good as done; mind what we said of the limits"
    shell.run(
        "tokenflow", "ask", "-m", "openai/gpt-oss-20b", "--compress", compress, prompt, stdin=change
    )
    sent = upstream.bodies[0]["messages"][-1]["content"]
    assert sent.endswith(f"\n\n{prompt}")
    assert 0 < len(sent) - len(prompt) < 0.8 * len(change)


def test_a_failure_is_one_sentence(shell: Shell, upstream: Upstream) -> None:
    upstream.scripts[:] = [failure(401, f"the key {KEY} is wrong")]
    done = shell.run("tokenflow", "ask", "Why?", ok=False)
    assert done.stderr == "Error: groq answered 401 the key *** is wrong; check GROQ_API_KEY\n"


@pytest.mark.parametrize(
    ("delta", "reason", "says"),
    [
        (
            {"reasoning": "Hmm."},
            "length",
            "the model sent no answer, only reasoning (finish reason length: more with "
            "--max-tokens)",
        ),
        (
            {"reasoning_content": "Hmm."},
            "stop",
            "the model sent no answer, only reasoning (finish reason stop)",
        ),
        ({"refusal": "I will not."}, "stop", "the model refused to answer: I will not."),
        ({"content": ""}, "stop", "the model sent no answer (finish reason stop)"),
    ],
)
def test_an_answer_without_words_is_a_failure(
    shell: Shell, upstream: Upstream, delta: dict[str, str], reason: str, says: str
) -> None:
    said = chunk(choices=[{"index": 0, "delta": delta}])
    upstream.scripts[:] = [events(said, chunk(finish_reason=reason), usage(), DONE)]
    done = shell.run("tokenflow", "ask", "Why?", ok=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"Error: {says}\n")


def test_text_goes_out_as_it_came(shell: Shell, upstream: Upstream) -> None:
    pieces = ["one\r\n", "two\r", "data: {}\n\n", "汉🙂 " * 2000, "\u2028 end"]
    upstream.scripts[:] = [answer(*pieces)]
    done = shell.run("tokenflow", "ask", "Why?")
    assert done.stdout == "".join(pieces)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "there is no PROMPT"),
        (("-m", "m", "--auto", "Why?"), "not both"),
        (("--compress", "much", "Why?"), "neither a number nor auto"),
        (("--compress", "7", "Why?"), "compress"),
    ],
)
def test_a_wrong_call_is_explained(shell: Shell, arguments: tuple[str, ...], says: str) -> None:
    assert says in shell.run("tokenflow", "ask", *arguments, ok=False).stderr


def test_a_terminal_shows_who_answers_and_what_it_cost(shell: Shell) -> None:
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [str(BIN / "tokenflow"), "ask", "-m", "llama-3.3-70b-versatile", "Why?"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=shell.environment | {"NO_COLOR": "1"},
        cwd=shell.home,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 4096)
        except OSError:  # the other side is closed
            break
    assert done.wait(30) == 0
    text = shown.decode()
    assert "openai/gpt-oss-120b at groq · instead of llama-3.3-70b-versatile" in text
    assert "7 + 3 tokens" in text
    assert "Blue light" in text


def test_an_interrupted_answer_is_kept(shell: Shell, upstream: Upstream) -> None:
    async def endless(wire: Wire, request: Received) -> None:
        await wire.head()
        await wire.send(chunk("Once upon"))
        await wire.until_gone()

    upstream.scripts[:] = [endless]
    process = subprocess.Popen(
        [str(BIN / "tokenflow"), "ask", "Tell me a story"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=shell.environment,
        cwd=shell.home,
        # Whoever runs the tests in the background may have it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout
    assert process.stdout.read(9) == b"Once upon"
    process.send_signal(signal.SIGINT)
    process.wait(10)
    row = json.loads(shell.run("tokenflow", "history", "list", "--json").stdout)[0]
    assert (row["kind"], row["status"], row["partial"]) == ("select", "error", True)
    assert upstream.requests[0].gone.wait(1)


def test_providers_says_who_is_up(shell: Shell) -> None:
    out = shell.run("tokenflow", "providers", "--models").stdout
    lines = {line.split()[1]: line for line in out.splitlines() if line[:2] in ("up", "--")}
    assert lines["groq"].startswith("up")
    assert "2 models" in lines["groq"]
    assert "OPENROUTER_API_KEY is not set" in lines["openrouter"]
    assert lines["ollama"].endswith("cannot be reached: Connection refused")
    assert "m2" in out


def test_providers_as_json(shell: Shell) -> None:
    listed = json.loads(shell.run("tokenflow", "providers", "--json").stdout)
    groq = next(provider for provider in listed if provider["name"] == "groq")
    assert (groq["up"], groq["local"], groq["models"]) == (True, True, ["m1", "m2"])
