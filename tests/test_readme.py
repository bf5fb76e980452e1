"""What the README shows works as it is shown."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.conftest import Daemon
from tokenflowd.cli import main

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
CURLS = re.findall(r"curl -s localhost:8000(\S+) .*? -d '(.*?)'\n", README, re.DOTALL)
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


@pytest.mark.parametrize("query", [query for query in QUERIES if query.strip()])
def test_the_queries_run(daemon: Daemon, query: str) -> None:
    daemon.post("/api/compress", {"text": "the backup of db-2"})
    with sqlite3.connect(daemon.services.store.path) as reader:
        reader.execute(query)


def test_the_commands_exist() -> None:
    shown = set(re.findall(r"^(?:.*\| )?tokenflow (\w+)", README, re.MULTILINE))
    assert {"compress", "classify", "history", "config", "doctor"} <= shown
    for name in shown:
        assert CliRunner().invoke(main, [name, "--help"]).exit_code == 0


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (Path(__file__).parent.parent / target).exists(), target
