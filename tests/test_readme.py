"""What the README shows works as it is shown."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.conftest import Daemon, answered_by
from tests.upstream import Upstream, answer
from tokenflowd.cli import main
from tokenflowd.services import Services

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
CURLS = re.findall(r"curl -s localhost:8000(\S+) .*? -d '(.*?)'\n", README, re.DOTALL)
STREAMS = re.findall(r"curl -sN localhost:8000(\S+) .*? -d '(.*?)'\n", README, re.DOTALL)
QUERIES = re.findall(r"```sql\n(.*?)```", README, re.DOTALL)[0].split(";\n")


@pytest.mark.parametrize(("path", "body"), CURLS)
def test_the_curl_examples_are_answered(daemon: Daemon, path: str, body: str) -> None:
    answer = daemon.post(path, json.loads(body))
    assert answer.status == 200
    if path == "/api/compress":
        assert answer.json["compressed_tokens"] <= 0.6 * answer.json["original_tokens"]
        for fact in ("10.0.0.7", "never", "40 minutes", "not finished", "12:45"):
            assert fact in answer.json["compressed_text"]
    else:
        assert answer.json["top_category"] == "function-calling"


def test_there_are_both_curl_examples() -> None:
    assert [path for path, _ in CURLS] == ["/api/compress", "/api/classify"]
    assert [path for path, _ in STREAMS] == ["/api/models/select", "/api/generate"]


@pytest.mark.parametrize(("path", "body"), STREAMS)
def test_the_streaming_examples_are_answered(tmp_path: Path, path: str, body: str) -> None:
    with Upstream(answer("Yes.")) as upstream:
        daemon = Daemon(Services(answered_by(upstream, tmp_path)))
        events = daemon.stream(path, json.loads(body))
        daemon.close()
    names = [event.name for event in events]
    assert names == ["metadata", "text_chunk", "usage", "end_stream"]
    assert set(names) <= set(re.findall(r"^event: (\w+)", README, re.MULTILINE))
    if path == "/api/models/select":
        assert events[0].json["prompt_category"] == "reasoning"


def test_the_openai_example_is_answered(tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    with Upstream(answer("Because.")) as upstream:
        daemon = Daemon(Services(answered_by(upstream, tmp_path)))
        names: dict[str, Any] = {}
        exec(program.replace("localhost:8000", f"localhost:{daemon.port}"), names)  # noqa: S102
        daemon.close()
    assert names["answer"].choices[0].message.content == "Because."


@pytest.mark.parametrize("query", [query for query in QUERIES if query.strip()])
def test_the_queries_run(daemon: Daemon, query: str) -> None:
    daemon.post("/api/compress", {"text": "the backup of db-2"})
    with sqlite3.connect(daemon.services.store.path) as reader:
        reader.execute(query)


def test_the_commands_exist() -> None:
    shown = set(re.findall(r"^(?:.*\| )?tokenflow (\w+)", README, re.MULTILINE))
    assert {"ask", "compress", "classify", "history", "providers", "config", "doctor"} <= shown
    for name in shown:
        assert CliRunner().invoke(main, [name, "--help"]).exit_code == 0


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (Path(__file__).parent.parent / target).exists(), target
