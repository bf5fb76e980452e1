"""aider: edits a file of a repository as a model told it to."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.clients.conftest import (
    BAD_REQUEST,
    HOME,
    PATIENCE_S,
    RATE_LIMIT,
    Output,
    needs,
    refuses,
    run_client,
)
from tests.conftest import OpenRelay, Relay
from tests.upstream import answer

pytestmark = [pytest.mark.clients, pytest.mark.timeout(PATIENCE_S + 20), needs("aider")]

BEFORE, AFTER = 'print("Hello")\n', 'print("Hällo")\n'
EDIT = f"""I greet in German.

greet.py
```
<<<<<<< SEARCH
{BEFORE}=======
{AFTER}>>>>>>> REPLACE
```
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "greet.py").write_text(BEFORE)
    for arguments in (
        ["init", "--quiet"],
        ["config", "user.name", "A tester"],
        ["config", "user.email", "tester@example.org"],
        ["add", "."],
        ["commit", "--quiet", "--message", "Start"],
    ):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    return folder


def aider(relay: Relay, repository: Path, model: str = "m1") -> Output:
    options = (
        f"--model openai/{model} --edit-format diff --yes-always --no-check-update --no-analytics"
    )
    options += " --no-show-model-warnings --no-show-release-notes --map-tokens 0 --no-pretty"
    command = [str(HOME / "aider" / "bin" / "aider"), *options.split()]
    environment = {
        "OPENAI_API_BASE": f"http://localhost:{relay.daemon.port}/v1",
        "OPENAI_API_KEY": "x",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    return run_client(
        [*command, "--message", "Greet in German.", "greet.py"],
        repository,
        repository.parent,
        environment,
    )


@pytest.mark.parametrize("model", ["m1", "auto"])
def test_an_edit_is_streamed_and_made(open_relay: OpenRelay, repository: Path, model: str) -> None:
    relay = open_relay(answer(*EDIT.splitlines(keepends=True)))
    output = aider(relay, repository, model)
    assert (repository / "greet.py").read_text() == AFTER, output.everything
    assert "I greet in German." in output.out
    assert relay.upstream.bodies[0]["stream"]


def test_a_refusal_shows_what_the_provider_said(open_relay: OpenRelay, repository: Path) -> None:
    output = aider(open_relay(refuses(400, BAD_REQUEST)), repository)
    assert BAD_REQUEST["message"] in output.words
    assert (repository / "greet.py").read_text() == BEFORE


def test_an_edit_comes_after_a_rate_limit(open_relay: OpenRelay, repository: Path) -> None:
    relay = open_relay(
        refuses(429, RATE_LIMIT, Retry_After="1"), answer(*EDIT.splitlines(keepends=True))
    )
    output = aider(relay, repository)
    assert (repository / "greet.py").read_text() == AFTER, output.everything
    assert [row["status"] for row in relay.rows()][-2:] == ["ok", "error"]  # newest first
