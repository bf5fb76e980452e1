"""tokenflow models, with models of the user's beside the shipped ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.test_models import install
from tests.cli.test_commands import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    shell = Shell(tmp_path)
    install(Path(shell.environment["TOKENFLOW_HOME"]), "mine")
    return shell


def test_a_star_marks_what_is_in_use(shell: Shell) -> None:
    lines = shell.run("tokenflow", "models", "list").stdout.splitlines()
    starred = [line.split()[1] for line in lines if line.startswith("*")]
    assert starred == [
        "tokenflow-classifier",
        "tokenflow-compressor",
        "tokenflow-embedder",
        "tokenflow-multilingual",
    ]
    assert any(line.split()[0] == "mine" for line in lines)


def test_a_switch_outlasts_the_command(shell: Shell) -> None:
    assert shell.run("tokenflow", "models", "use", "mine").stdout == "mine is the compressor now\n"
    done = shell.run("tokenflow", "compress", "--json", stdin="a long and winding text")
    assert json.loads(done.stdout)["model"] == "mine"
    assert "in use" in shell.run("tokenflow", "models", "remove", "mine", ok=False).stderr


def test_a_damaged_model_is_found(shell: Shell) -> None:
    out = shell.run("tokenflow", "models", "verify").stdout
    assert "mine: 2 files as they should be" in out
    model = Path(shell.environment["TOKENFLOW_HOME"], "models", "mine", "model.onnx")
    model.write_bytes(model.read_bytes()[:-1])
    assert (
        "model.onnx is damaged"
        in shell.run("tokenflow", "models", "verify", "mine", ok=False).stderr
    )
    assert (
        "the model in use stays" in shell.run("tokenflow", "models", "use", "mine", ok=False).stderr
    )


def test_show_and_remove(shell: Shell) -> None:
    shown = json.loads(shell.run("tokenflow", "models", "show", "mine").stdout)
    assert shown["task"] == "token-classification"
    shell.run("tokenflow", "models", "remove", "mine")
    assert "no model `mine`" in shell.run("tokenflow", "models", "show", "mine", ok=False).stderr


def test_an_export_without_its_packages_says_what_to_install(tmp_path: Path) -> None:
    # An empty folder is a checkpoint without weights; the import comes before.
    program = """
import sys
sys.modules["optimum"] = sys.modules["optimum.exporters.onnx"] = None
from tokenflowd.cli import main
main(["models", "export", sys.argv[1]])
"""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    config = {"architectures": ["BertForTokenClassification"], "num_labels": 2}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"")
    (folder / "tokenizer.json").write_text(
        '{"version":"1.0","model":{"type":"WordLevel","vocab":{"a":0},"unk_token":"a"},'
        '"added_tokens":[],"pre_tokenizer":{"type":"Whitespace"}}'
    )
    environment = {**os.environ, "TOKENFLOW_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert "pip install 'tokenflow[export]'" in done.stderr
    assert "Traceback" not in done.stderr
