"""Keys in a real keyring, one of files, and what is said of keyrings that are of no use."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_commands import BIN, Shell, served_by, wait_for_url
from tests.conftest import KEY, eventually
from tests.upstream import Upstream, answer
from tokenflowd.config import load_config
from tokenflowd.keys import Keys

ROOT = Path(__file__).parent.parent.parent
OTHER = "another-key-8a01"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(answer("Blue.")) as server:
        yield server


@pytest.fixture
def shell(tmp_path: Path, upstream: Upstream) -> Shell:
    """A shell with a keyring of its own."""
    shell = served_by(upstream, tmp_path)
    shell.environment |= {
        "HOME": str(tmp_path / "user"),
        "PYTHON_KEYRING_BACKEND": "keyrings.alt.file.PlaintextKeyring",
    }
    return shell


def useless(shell: Shell, backend: str) -> None:
    shell.environment |= {"PYTHONPATH": str(ROOT), "PYTHON_KEYRING_BACKEND": backend}


def keys_sent(upstream: Upstream) -> set[str | None]:
    return {request.headers.get("authorization") for request in upstream.requests}


def test_a_key_of_the_keyring_is_sent_to_its_provider_and_shown_to_nobody(
    shell: Shell, upstream: Upstream
) -> None:
    done = shell.run("tokenflow", "keys", "set", "GROQ_API_KEY", stdin=f"{KEY}\n")
    assert (done.stdout, done.stderr) == ("", "")
    assert shell.run("tokenflow", "ask", "Why is the sky blue?").stdout == "Blue."
    assert keys_sent(upstream) == {f"Bearer {KEY}"}
    listed = shell.run("tokenflow", "keys", "list").stdout
    assert listed.splitlines() == [
        "GROQ_API_KEY         the keyring",
        "OPENROUTER_API_KEY   not set",
    ]
    doctor = shell.run("tokenflow", "doctor").stdout
    assert "GROQ_API_KEY is set in the keyring" in doctor
    assert "OPENROUTER_API_KEY is not set\n" in doctor
    assert KEY not in listed + doctor
    home = Path(shell.environment["TOKENFLOW_HOME"])
    assert not any(KEY.encode() in file.read_bytes() for file in home.rglob("*"))


def test_a_deleted_key_is_gone(shell: Shell) -> None:
    shell.run("tokenflow", "keys", "set", "GROQ_API_KEY", stdin=KEY)
    shell.run("tokenflow", "keys", "set", "GROQ_API_KEY", stdin=OTHER)
    shell.run("tokenflow", "keys", "delete", "GROQ_API_KEY")
    assert "the keyring" not in shell.run("tokenflow", "keys", "list").stdout
    done = shell.run("tokenflow", "keys", "delete", "GROQ_API_KEY", ok=False)
    assert "the keyring has no GROQ_API_KEY" in done.stderr
    done = shell.run("tokenflow", "ask", "-m", "groq/m1", "Why?", ok=False)
    assert "GROQ_API_KEY is not set" in done.stderr


@pytest.mark.parametrize("place", ["the environment", "tokenflow/.env", "named.env"])
def test_the_environment_and_env_files_stand_above_the_keyring(
    shell: Shell, upstream: Upstream, place: str
) -> None:
    options = []
    if place == "the environment":
        shell.environment["GROQ_API_KEY"] = OTHER
    else:
        file = shell.home / place
        file.write_text(f"GROQ_API_KEY={OTHER}\n")
        if place == "named.env":
            options = ["--env-file", str(file)]
        place = str(file)
    done = shell.run("tokenflow", *options, "keys", "set", "GROQ_API_KEY", stdin=KEY)
    assert f"the one in {place} stands above it" in done.stderr
    shell.run("tokenflow", *options, "ask", "Why is the sky blue?")
    assert keys_sent(upstream) == {f"Bearer {OTHER}"}
    assert f"GROQ_API_KEY is set in {place}" in shell.run("tokenflow", *options, "doctor").stdout


def test_a_typed_key_is_not_seen(shell: Shell) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [str(BIN / "tokenflow"), "keys", "set", "GROQ_API_KEY"],
        cwd=shell.home,
        env=shell.environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""
    while b"GROQ_API_KEY:" not in seen:
        seen += os.read(ours, 1000)
    os.write(ours, f"{KEY}\n".encode())
    assert process.wait(20) == 0
    seen += os.read(ours, 1000)
    os.close(ours)
    assert KEY.encode() not in seen
    assert "the keyring" in shell.run("tokenflow", "keys", "list").stdout


@pytest.mark.parametrize(
    ("arguments", "stdin", "says"),
    [
        (("set", "GROQ_KEY"), KEY, "no provider takes its key from GROQ_KEY"),
        (("set", "GROQ_API_KEY"), "\n", "that is no key"),
        (("set", "GROQ_API_KEY"), f"{KEY}\nand more", "that is no key"),
        (("set", "GROQ_API_KEY"), b"\xff\xfe", "that is no key"),
        (("delete", "NOTHING"), "", "the keyring has no NOTHING"),
    ],
)
def test_a_mistake_is_one_clear_sentence(
    shell: Shell, arguments: tuple[str, ...], stdin: str | bytes, says: str
) -> None:
    done = shell.run("tokenflow", "keys", *arguments, stdin=stdin, ok=False)
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert KEY not in done.stderr


@pytest.mark.parametrize(
    ("backend", "says"),
    [
        ("keyring.backends.fail.Keyring", "No recommended backend was available"),
        ("keyring.backends.null.Keyring", "does not have it"),
        ("nowhere.Keyring", "No module named 'nowhere'"),
        ("tests.cli.keyrings.Failing", "*** was not taken"),
    ],
)
def test_a_keyring_that_is_of_no_use_is_one_clear_sentence(
    shell: Shell, backend: str, says: str
) -> None:
    useless(shell, backend)
    done = shell.run("tokenflow", "keys", "set", "GROQ_API_KEY", stdin=KEY, ok=False)
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert KEY not in done.stderr
    assert "GROQ_API_KEY is not set" in shell.run("tokenflow", "doctor").stdout


@pytest.mark.parametrize(
    ("backend", "says"),
    [
        ("nowhere.Keyring", "the keyring cannot be used"),
        ("tests.cli.keyrings.Failing", "the keyring cannot be used: the service went away"),
        ("tests.cli.keyrings.Locked", "the keyring does not answer"),
    ],
)
def test_the_daemon_starts_whatever_the_keyring_does(shell: Shell, backend: str, says: str) -> None:
    useless(shell, backend)
    process = shell.start("--port", "0")
    wait_for_url(shell)
    done = shell.run("tokenflow", "ask", "-m", "groq/m1", "Why?", ok=False)
    assert "GROQ_API_KEY is not set" in done.stderr
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=10)
    assert process.returncode == 0
    assert log.decode().count(says) == 1
    assert b"Traceback" not in log


def test_a_keyring_that_is_unlocked_later_is_used_from_then_on(shell: Shell) -> None:
    useless(shell, "tests.cli.keyrings.Locked")
    process = shell.start("--port", "0")
    url = wait_for_url(shell)

    def configured() -> bool:
        with urllib.request.urlopen(f"{url}/api/model-rankings") as response:
            return bool(json.load(response)["reasoning"]["models"][0]["configured"])

    assert not configured()
    (shell.home / "unlocked").touch()
    eventually(configured)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_a_keyring_that_nobody_needs_is_not_asked(shell: Shell) -> None:
    useless(shell, "nowhere.Keyring")
    shell.environment |= {"GROQ_API_KEY": KEY, "OPENROUTER_API_KEY": KEY}
    assert shell.run("tokenflow", "ask", "Why is the sky blue?").stderr == ""
    del shell.environment["GROQ_API_KEY"]
    assert shell.run("tokenflow", "history").stderr == ""


def test_without_the_extra_all_but_the_keyring_works(tmp_path: Path) -> None:
    """In a process where no module of that name can be found."""
    program = """
import sys
sys.modules["keyring"] = None
from tokenflowd.cli import main
main()
"""
    environment = {"PATH": os.environ["PATH"], "TOKENFLOW_HOME": str(tmp_path)}

    def tokenflow(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program, *arguments],
            input=KEY,
            capture_output=True,
            text=True,
            env=environment,
            cwd=tmp_path,
        )

    assert "OPENROUTER_API_KEY   not set" in tokenflow("keys", "list").stdout
    done = tokenflow("keys", "set", "GROQ_API_KEY")
    assert done.returncode == 1
    assert "pip install 'tokenflow[keyring]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_variable_is_none(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OPENROUTER_API_KEY=  \n")
    config = load_config(home=tmp_path, environment={"GROQ_API_KEY": ""})
    keys = Keys(config)
    assert [keys.source(name) for name in ("GROQ_API_KEY", "OPENROUTER_API_KEY")] == [None, None]


def test_a_key_of_the_keyring_is_masked_in_the_log(shell: Shell) -> None:
    shell.run("tokenflow", "keys", "set", "GROQ_API_KEY", stdin=f"{OTHER}\n")
    process = subprocess.Popen(
        [str(BIN / "tokenflowd"), "--port", "0"],
        cwd=shell.home,
        env=shell.environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{wait_for_url(shell)}/nothing/{OTHER}", timeout=10)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=10)
    assert "GET /nothing/***" in said
    assert OTHER not in said
