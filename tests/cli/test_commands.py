"""The commands as a shell runs them: real processes, a home of their own, no network."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import LOCAL_PROVIDERS, NO_KEYRING, NOWHERE, TEXTS
from tests.upstream import Upstream
from tokenflowd.compress import count_tokens
from tokenflowd.store.lock import owner_of

BIN = Path(sys.executable).parent
SENTENCE = "I would really like to know, please, what the capital of Atlantis is and what is not.\n"


def served_by(upstream: Upstream, home: Path) -> Shell:
    """A shell in which Groq is `upstream`, and no server of this machine has a part."""
    shell = Shell(home)
    settings = Path(shell.environment["TOKENFLOW_HOME"])
    settings.mkdir()
    nowhere = [f'[providers.{name}]\nbase_url = "{NOWHERE}"\n' for name in LOCAL_PROVIDERS]
    (settings / "config.toml").write_text("".join(nowhere))
    shell.environment["GROQ_API_BASE_URL"] = upstream.url
    return shell


class Shell:
    """Runs commands with a home of their own and nothing else from this environment."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {
            "PATH": os.environ["PATH"],
            "TOKENFLOW_HOME": str(home / "tokenflow"),
            **NO_KEYRING,
        }

    def run(
        self, command: str, *arguments: str, stdin: str | bytes = "", ok: bool = True
    ) -> subprocess.CompletedProcess[str]:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            [str(BIN / command), *arguments],
            input=data,
            capture_output=True,
            cwd=self.home,
            env=self.environment,
            timeout=60,
        )
        result = subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )
        assert "Traceback" not in result.stderr
        assert (result.returncode == 0) is ok, result.stderr
        return result

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(BIN / "tokenflowd"), *arguments],
            cwd=self.home,
            env=self.environment,
            stderr=subprocess.PIPE,
        )


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def daemon_url(shell: Shell) -> Iterator[str]:
    process = shell.start("--port", "0")
    yield wait_for_url(shell)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def wait_for_url(shell: Shell) -> str:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        owner = owner_of(Path(shell.environment["TOKENFLOW_HOME"]))
        if owner is not None and owner.url:
            return owner.url
        time.sleep(0.02)
    raise AssertionError("the daemon did not start")


def test_a_file_is_compressed_to_standard_output(shell: Shell) -> None:
    file = TEXTS / "meeting.txt"
    out = shell.run("tokenflow", "compress", str(file), "--ratio", "0.5").stdout
    assert count_tokens(out) == count_tokens(file.read_text()) // 2


def test_standard_input_is_compressed_and_found_again(shell: Shell) -> None:
    out = shell.run("tokenflow", "compress", "-r", "0.5", stdin=SENTENCE).stdout
    assert "Atlantis" in out
    listed = shell.run("tokenflow", "history", "list", "atlantis", "--json").stdout
    row = json.loads(listed)[0]
    assert row["kind"] == "compress"
    shown = json.loads(shell.run("tokenflow", "history", "show", row["id"]).stdout)
    assert shown["input"] == SENTENCE
    assert shown["output"] == out
    database = Path(shell.environment["TOKENFLOW_HOME"]) / "tokenflow.db"
    with sqlite3.connect(database) as by_hand:
        assert by_hand.execute("SELECT output FROM history").fetchone() == (out,)


def test_a_running_daemon_is_used(shell: Shell, daemon_url: str) -> None:
    shell.run("tokenflow", "compress", "-r", "0.5", stdin=SENTENCE)
    with urllib.request.urlopen(f"{daemon_url}/api/history?q=atlantis") as answer:
        row = json.load(answer)["requests"][0]
    assert row["client"].startswith("tokenflow-cli/")


def test_json_has_the_whole_answer(shell: Shell) -> None:
    arguments = ("compress", "--json", "--words", "-t", "8", "-f", "please,")
    answer = json.loads(shell.run("tokenflow", *arguments, stdin=SENTENCE).stdout)
    assert answer["compressed_tokens"] <= 8
    assert "please," in answer["compressed_text"]
    assert "".join(word["text"] for word in answer["words"]) == SENTENCE


def test_a_prompt_is_classified(shell: Shell) -> None:
    arguments = ("classify", "Simmer the onions in butter.", "-c", "sports", "-c", "cooking")
    out = shell.run("tokenflow", *arguments).stdout
    assert out.startswith("cooking")
    assert "recommended model: llama-3.1-8b-instant" in out


def test_history_is_deleted_and_exported(shell: Shell) -> None:
    shell.run("tokenflow", "compress", stdin="to keep")
    shell.run("tokenflow", "compress", stdin="to forget")
    exported = shell.run("tokenflow", "history", "export").stdout
    rows = [json.loads(line) for line in exported.splitlines()]
    gone = next(row["id"] for row in rows if row["input"] == "to forget")
    shell.run("tokenflow", "history", "delete", gone)
    assert "to forget" not in shell.run("tokenflow", "history").stdout
    assert "to keep" in shell.run("tokenflow", "history").stdout
    shell.run("tokenflow", "history", "show", gone, ok=False)


def test_the_history_is_backed_up_while_the_daemon_runs(shell: Shell, daemon_url: str) -> None:
    shell.run("tokenflow", "compress", stdin="to keep twice")
    made = Path(shell.run("tokenflow", "history", "backup").stdout.strip())
    assert made.parent == Path(shell.environment["TOKENFLOW_HOME"]) / "backups"
    assert made.parent.stat().st_mode & 0o777 == 0o700
    elsewhere = shell.home / "elsewhere"
    elsewhere.mkdir()
    made.rename(elsewhere / "tokenflow.db")
    restored = shell.run("tokenflow", "--data-dir", str(elsewhere), "history").stdout
    assert "to keep twice" in restored


def test_the_history_is_backed_up_without_a_daemon_and_never_over_a_file(shell: Shell) -> None:
    shell.run("tokenflow", "compress", stdin="to keep twice")
    shell.run("tokenflow", "history", "backup", "copy.db")
    with contextlib.closing(sqlite3.connect(shell.home / "copy.db")) as copy:
        assert copy.execute("SELECT input FROM history").fetchall() == [("to keep twice",)]
    done = shell.run("tokenflow", "history", "backup", "copy.db", ok=False)
    assert "copy.db exists already; it was left as it is" in done.stderr


def test_space_is_given_back_while_the_daemon_runs(shell: Shell, daemon_url: str) -> None:
    shell.run("tokenflow", "compress", stdin="a long text " * 20_000)
    listed = json.loads(shell.run("tokenflow", "history", "list", "--json").stdout)
    database = Path(shell.environment["TOKENFLOW_HOME"]) / "tokenflow.db"
    shell.run("tokenflow", "history", "delete", listed[0]["id"])
    assert "MB given back" in shell.run("tokenflow", "history", "vacuum").stdout
    assert database.stat().st_size < 200_000


def test_old_requests_are_forgotten_as_the_settings_say(shell: Shell) -> None:
    shell.run("tokenflow", "compress", stdin="an old text")
    home = Path(shell.environment["TOKENFLOW_HOME"])
    with contextlib.closing(sqlite3.connect(home / "tokenflow.db")) as by_hand:
        by_hand.execute("UPDATE requests SET created_at = '2026-01-01T00:00:00.000Z'")
        by_hand.commit()
    assert "an old text" in shell.run("tokenflow", "history").stdout
    (home / "config.toml").write_text("[history]\nkeep_days = 30\n")
    shell.run("tokenflow", "compress", stdin="a new text")
    listed = shell.run("tokenflow", "history").stdout
    assert "an old text" not in listed
    assert "a new text" in listed


def test_a_request_is_relabelled_and_back(shell: Shell, daemon_url: str) -> None:
    classify = ("classify", "Simmer the onions.", "-c", "sports", "-c", "cooking")
    assert shell.run("tokenflow", *classify).stdout.startswith("cooking")
    listed = shell.run("tokenflow", "history", "list", "--json").stdout
    request_id = json.loads(listed)[0]["id"]
    shell.run("tokenflow", "history", "relabel", request_id, "sports")
    assert shell.run("tokenflow", *classify).stdout.startswith("sports")
    assert "→ sports" in shell.run("tokenflow", "history", "list", "-n", "3").stdout
    shell.run("tokenflow", "history", "relabel", request_id, "--undo")
    assert shell.run("tokenflow", *classify).stdout.startswith("cooking")


@pytest.mark.parametrize(
    ("arguments", "stdin", "says"),
    [
        (("compress", "--ratio", "7"), "a", "$.ratio"),
        (("compress", "no-such-file"), "", "no-such-file"),
        (("compress",), b"\xff\xfe", "not UTF-8"),
        (("compress", "-p", "poems"), "a", "$.preserve"),
        (("classify", "a", "-c", ""), "", "possible_categories"),
        (("history", "show", "nothing"), "", "no request"),
        (("history", "relabel", "nothing", "code"), "", "no request"),
        (("history", "relabel", "nothing", "--undo"), "", "no request"),
        (("history", "relabel", "nothing"), "", "--undo"),
        (("history", "relabel", "nothing", "code", "--undo"), "", "--undo"),
        (("history", "list", "--since", "today"), "", "$.since"),
        (("history", "backup"), "", "there is no history to back up"),
    ],
)
def test_a_mistake_is_one_clear_sentence(
    shell: Shell, arguments: tuple[str, ...], stdin: str | bytes, says: str
) -> None:
    done = shell.run("tokenflow", *arguments, stdin=stdin, ok=False)
    assert says in done.stderr
    assert done.stdout == ""


def test_a_mistake_in_the_settings_names_the_file(shell: Shell) -> None:
    home = Path(shell.environment["TOKENFLOW_HOME"])
    home.mkdir()
    (home / "config.toml").write_text("[server]\nprot = 8000\n")
    for command in (("tokenflow", "config", "show"), ("tokenflowd",), ("tokenflow", "doctor")):
        done = shell.run(*command, ok=False)
        assert "config.toml" in done.stderr
        assert "prot" in done.stderr


def test_the_settings_file_is_written_once(shell: Shell) -> None:
    file = Path(shell.run("tokenflow", "config", "init").stdout.strip())
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("[compress]\nratio = 0.25\n")
    assert "left as it is" in shell.run("tokenflow", "config", "init", ok=False).stderr
    assert "ratio = 0.25  # from config.toml" in shell.run("tokenflow", "config", "show").stdout


def test_doctor_is_well_out_of_the_box(shell: Shell) -> None:
    out = shell.run("tokenflow", "doctor").stdout
    for model in ("tokenflow-compressor", "tokenflow-classifier", "tokenflow-embedder"):
        assert model in out
    assert out.count("verified") == 4
    assert "not running" in out


def test_an_export_may_be_cut_short(shell: Shell) -> None:
    for number in range(3):
        shell.run("tokenflow", "compress", stdin=f"{number} " + "a long text " * 20000)
    done = subprocess.run(  # noqa: S602 - the pipe is what is tested
        f"{BIN / 'tokenflow'} history export | head -c 10",
        shell=True,
        capture_output=True,
        cwd=shell.home,
        env=shell.environment,
    )
    assert len(done.stdout) == 10
    assert b"Traceback" not in done.stderr


def test_doctor_finds_a_damaged_history(shell: Shell) -> None:
    shell.run("tokenflow", "compress", stdin="a long text " * 20000)
    database = Path(shell.environment["TOKENFLOW_HOME"]) / "tokenflow.db"
    content = bytearray(database.read_bytes())
    content[4096 * 30 : 4096 * 40] = b"\xff" * 40960
    database.write_bytes(content)
    assert "damaged" in shell.run("tokenflow", "doctor", ok=False).stdout


def test_doctor_says_what_is_missing(shell: Shell) -> None:
    shell.environment["TOKENFLOW_CLASSIFIER"] = "my-model"
    out = shell.run("tokenflow", "doctor", ok=False).stdout
    assert "no model `my-model` is installed" in out


def test_keys_are_never_shown(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "named.env"
    file.write_text("GROQ_API_KEY=canary-7d1f\n")
    for command in (("doctor",), ("config", "show")):
        out = shell.run("tokenflow", "--env-file", str(file), *command).stdout
        assert "canary-7d1f" not in out
    doctor = shell.run("tokenflow", "--env-file", "named.env", "doctor").stdout
    assert "GROQ_API_KEY is set in named.env" in doctor


def test_every_changed_setting_names_its_source(shell: Shell, tmp_path: Path) -> None:
    home = Path(shell.environment["TOKENFLOW_HOME"])
    home.mkdir()
    (home / "config.toml").write_text("[route]\nlocal_model = 'small'\n")
    (home / ".env").write_text("GROQ_API_BASE_URL=http://127.0.0.1:9/v1\n")
    (tmp_path / ".env").write_text("PORT=1\n")
    shell.environment["TOKENFLOW_LOG_LEVEL"] = "info"  # as it is anyway
    shell.environment["TOKENFLOW_HOST"] = "localhost"
    shown = shell.run("tokenflow", "config", "show").stdout
    assert [line for line in shown.splitlines() if " # from " in line] == [
        'host = "localhost"  # from TOKENFLOW_HOST in the environment',
        'local_model = "small"  # from config.toml',
        f'base_url = "http://127.0.0.1:9/v1"  # from GROQ_API_BASE_URL in {home / ".env"}',
    ]
    doctor = shell.run("tokenflow", "doctor").stdout
    assert f"{home}, from TOKENFLOW_HOME in the environment\n" in doctor
    assert "server.host: from TOKENFLOW_HOST in the environment\n" in doctor
    assert "route.local_model: from config.toml\n" in doctor
    assert f"{tmp_path / '.env'}; name it with --env-file" in doctor
    process = shell.start("--listen", "localhost:0", "--offline")
    wait_for_url(shell)
    process.send_signal(signal.SIGTERM)
    log = process.communicate(timeout=10)[1].decode()
    for source in (
        f"the data directory is {home}, from TOKENFLOW_HOME in the environment",
        "server.host, server.port: from --listen",
        "server.offline: from --offline",
        "route.local_model: from config.toml",
        f"providers.groq.base_url: from GROQ_API_BASE_URL in {home / '.env'}",
    ):
        assert f"INFO tokenflowd: {source}\n" in log


def test_a_second_daemon_names_the_first(shell: Shell, daemon_url: str) -> None:
    done = shell.run("tokenflowd", "--port", "0", ok=False)
    assert "another TokenFlow (process" in done.stderr


def test_a_port_in_use_is_said(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = shell.run("tokenflowd", "--port", str(port), ok=False)
    assert f"127.0.0.1:{port}" in done.stderr
    assert "--port" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_daemon_ends_well(shell: Shell, number: signal.Signals) -> None:
    process = shell.start("--port", "0")
    wait_for_url(shell)
    process.send_signal(number)
    assert process.wait(5) == 0
    assert owner_of(Path(shell.environment["TOKENFLOW_HOME"])) is None


def test_the_daemon_ends_within_five_seconds_while_it_works(shell: Shell) -> None:
    process = shell.start("--port", "0")
    url = wait_for_url(shell)
    text = "\n".join(
        f"{n} {line}" for n in range(2500) for line in ("The disk is full again.",) * 4
    )
    body = json.dumps({"text": text}).encode()
    head = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/api/compress", data=body, headers=head)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(urllib.request.urlopen, request)
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        assert isinstance(answer.exception(), OSError)


def test_help_needs_no_heavy_import() -> None:
    program = "import sys, tokenflowd.cli.daemon, tokenflowd.cli; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout
    heavy = {"numpy", "onnxruntime", "aiohttp", "tokenizers", "rich", "keyring"}
    assert not heavy & set(out.split())


def test_the_terminal_client_says_what_it_can(shell: Shell) -> None:
    assert "--url" in shell.run("tokenflow-tui", "--help").stdout
