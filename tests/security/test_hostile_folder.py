"""A clone of somebody's repository in which the programs are run: it decides nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import termios
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.conftest import KEY, LOCAL_PROVIDERS, NO_KEYRING, NOWHERE, eventually
from tests.upstream import Upstream, answer
from tokenflowd.config import load_config
from tokenflowd.errors import ExportError, TokenFlowError
from tokenflowd.export import find_checkpoint
from tokenflowd.store import Store
from tokenflowd.store.lock import DirectoryLock, owner_of

BIN = Path(sys.executable).parent
TOKEN = "ghp_canary9d2e"  # of another program, in the environment
DOT_FILE = "export PATH=/opt/bin:$PATH\n"
PATIENCE_S = 30.0
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives a directory to somebody else")


class Victim:
    """A user who runs the programs inside of a clone. Groq is `trusted` for them."""

    def __init__(self, folder: Path, trusted: Upstream, attacker: Upstream) -> None:
        self.trusted = trusted
        self.attacker = attacker
        self.user = folder / "user"
        self.clone = folder / "clone"
        self.clone.mkdir()
        (self.clone / "README.md").write_text("It would be nice, please, to build this.\n" * 20)
        self.home = self.user / ".local" / "share" / "tokenflow"
        self.home.mkdir(parents=True)
        self.settings(self.home, trusted)
        self.dot_file = self.user / ".bashrc"
        self.dot_file.write_text(DOT_FILE)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.user),
            "XDG_DATA_HOME": str(self.user / ".local" / "share"),
            "TERM": "xterm-256color",
            "GITHUB_TOKEN": TOKEN,
            "GROQ_API_KEY": KEY,
            **NO_KEYRING,
        }

    def settings(self, home: Path, groq: Upstream, more: str = "") -> None:
        """Writes a config.toml in which that server is Groq."""
        servers = dict.fromkeys(LOCAL_PROVIDERS, NOWHERE) | {"groq": groq.url}
        tables = [f'[providers.{name}]\nbase_url = "{url}"\n' for name, url in servers.items()]
        (home / "config.toml").write_text("".join([*tables, more]))

    def run(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(BIN / command), *arguments],
            input="",
            capture_output=True,
            text=True,
            cwd=self.clone,
            env=self.environment,
            timeout=PATIENCE_S,
        )
        assert "Traceback" not in done.stderr
        return done

    @contextlib.contextmanager
    def daemon(self, home: Path, *arguments: str) -> Iterator[str]:
        """Its URL, while it runs in the clone with that home."""
        process = subprocess.Popen(
            [str(BIN / "tokenflowd"), "--port", "0", *arguments],
            cwd=self.clone,
            env=self.environment,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield eventually(lambda: (owner := owner_of(home)) and owner.url, PATIENCE_S)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)

    def sent_to_attacker(self) -> list[str]:
        return [f"{request.path} {request.headers}" for request in self.attacker.requests]


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    with Upstream(answer("Blue.")) as trusted, Upstream(answer("Red.")) as attacker:
        yield Victim(tmp_path, trusted, attacker)


@pytest.fixture
def hostile_home(victim: Victim) -> Path:
    """A home in the clone that sends what it gets to the attacker, with the token as the key."""
    home = victim.clone / "home"
    home.mkdir()
    groq = 'key_variable = "GITHUB_TOKEN"\n'
    (home / "config.toml").write_text(
        f'[providers.groq]\nbase_url = "{victim.attacker.url}"\n{groq}'
    )
    return home


def test_an_address_in_a_clones_env_gets_nothing(victim: Victim) -> None:
    (victim.clone / ".env").write_text(f"GROQ_API_BASE_URL={victim.attacker.url}\n")
    done = victim.run("tokenflow", "ask", "-m", "groq/m1", "What is our password?")
    assert victim.sent_to_attacker() == []
    assert done.stdout == "Blue."


def test_an_address_in_a_clones_env_gets_nothing_from_a_daemon(victim: Victim) -> None:
    (victim.clone / ".env").write_text(f"GROQ_API_BASE_URL={victim.attacker.url}\n")
    with victim.daemon(victim.home) as url:
        request = urllib.request.Request(
            f"{url}/api/generate",
            json.dumps({"prompt": "What is our password?", "model": "groq/m1"}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as response:
            assert b"Blue." in response.read()
    assert victim.sent_to_attacker() == []


def test_no_variable_becomes_part_of_an_address(victim: Victim) -> None:
    address = f"{victim.attacker.url}/${{GITHUB_TOKEN}}/${{HOME}}"
    (victim.clone / ".env").write_text(f"GROQ_API_BASE_URL={address}\n")
    victim.run("tokenflow", "ask", "-m", "groq/m1", "Why?")
    assert victim.sent_to_attacker() == []
    shown = victim.run("tokenflow", "config", "show").stdout
    assert TOKEN not in shown
    (victim.clone / ".env").rename(victim.home / ".env")  # nor from the user's own
    done = victim.run("tokenflow", "config", "show")
    assert TOKEN not in done.stdout + done.stderr


def test_a_clones_env_names_no_home(victim: Victim, hostile_home: Path) -> None:
    (victim.clone / ".env").write_text("TOKENFLOW_HOME=./home\n")
    done = victim.run("tokenflow", "ask", "-m", "groq/m1", "Why?")
    assert victim.sent_to_attacker() == []
    assert done.stdout == "Blue."
    assert [file.name for file in hostile_home.iterdir()] == ["config.toml"]


def test_a_home_names_no_other_home(victim: Victim, hostile_home: Path) -> None:
    (victim.home / ".env").write_text(f"TOKENFLOW_HOME={hostile_home}\n")
    assert victim.run("tokenflow", "ask", "-m", "groq/m1", "Why?").stdout == "Blue."
    assert victim.sent_to_attacker() == []


def test_a_config_in_the_folder_is_none_of_ours(victim: Victim) -> None:
    for name in ("config.toml", "tokenflow.toml", ".tokenflow.toml", "pyproject.toml"):
        victim.settings(victim.clone, victim.attacker)
        (victim.clone / "config.toml").rename(victim.clone / name)
    assert victim.run("tokenflow", "ask", "-m", "groq/m1", "Why?").stdout == "Blue."
    assert victim.sent_to_attacker() == []


def test_a_pipe_named_env_holds_nobody_up(victim: Victim) -> None:
    os.mkfifo(victim.clone / ".env")
    assert victim.run("tokenflow", "config", "show").returncode == 0


def put_link(place: Path, target: Path) -> None:
    place.symlink_to(os.path.relpath(target, place.parent))


def put_dangling_link(place: Path, target: Path) -> None:
    place.symlink_to(target.with_name(".bash_login"))


def put_hard_link(place: Path, target: Path) -> None:
    place.hardlink_to(target)


def put_pipe(place: Path, target: Path) -> None:
    os.mkfifo(place)


def put_directory(place: Path, target: Path) -> None:
    place.mkdir()


KINDS = [put_link, put_dangling_link, put_hard_link, put_pipe, put_directory]
Put = Callable[[Path, Path], None]


def test_the_attack_of_the_issue_changes_no_dot_file(victim: Victim, hostile_home: Path) -> None:
    (victim.clone / ".env").write_text("TOKENFLOW_HOME=./home\n")
    put_link(hostile_home / "tokenflow.lock", victim.dot_file)
    assert victim.run("tokenflow", "compress", "README.md").returncode == 0
    assert victim.dot_file.read_text() == DOT_FILE


@pytest.mark.parametrize("put", KINDS)
@pytest.mark.parametrize(
    "name",
    [
        "tokenflow.lock",
        "tokenflow.db",
        "tokenflow.db-wal",
        "tokenflow.db-shm",
        "tokenflow.db-journal",
        "logs/tokenflowd.log",
    ],
)
def test_what_is_written_is_a_file_of_our_own(
    victim: Victim, hostile_home: Path, name: str, put: Put
) -> None:
    """Even if the user names the home of the clone."""
    place = hostile_home / name
    place.parent.mkdir(exist_ok=True)
    put(place, victim.dot_file)
    arguments = ("--data-dir", str(hostile_home), "--port", "0", "--log-file")
    done = victim.run("tokenflowd", *arguments)
    assert done.returncode == 1
    assert str(place) in done.stderr
    assert victim.dot_file.read_text() == DOT_FILE
    assert not victim.dot_file.with_name(".bash_login").exists()


@pytest.mark.parametrize("put", [put_link, put_hard_link])
def test_another_programs_database_is_not_changed(
    victim: Victim, hostile_home: Path, put: Put
) -> None:
    theirs = victim.user / "notes.db"
    with contextlib.closing(sqlite3.connect(theirs)) as notes, notes:
        notes.execute("CREATE TABLE notes (words TEXT)")
    before = theirs.read_bytes()
    put(hostile_home / "tokenflow.db", theirs)
    done = victim.run("tokenflow", "--data-dir", str(hostile_home), "compress", "README.md")
    assert theirs.read_bytes() == before
    assert done.returncode == 1
    assert str(hostile_home / "tokenflow.db") in done.stderr
    assert not theirs.with_name("notes.db-wal").exists()
    victim.run("tokenflow", "--data-dir", str(hostile_home), "doctor")
    victim.run("tokenflow", "--data-dir", str(hostile_home), "history", "backup")
    assert theirs.read_bytes() == before


@pytest.mark.parametrize("name", ["config.toml", ".env"])
@pytest.mark.parametrize("put", [put_link, put_pipe, put_directory])
def test_settings_are_read_from_plain_files(victim: Victim, name: str, put: Put) -> None:
    place = victim.home / name
    place.unlink(missing_ok=True)
    put(place, victim.dot_file)
    done = victim.run("tokenflow", "config", "show")
    assert done.returncode == 1
    assert str(place) in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert DOT_FILE.strip() not in done.stderr


@pytest.mark.parametrize("put", [put_link, put_hard_link, put_dangling_link])
@pytest.mark.parametrize("name", ["config.toml.new", "tokenflow.db.before-m002_corrections"])
def test_a_file_that_we_make_anew_takes_the_place_of_what_was_there(
    victim: Victim, name: str, put: Put
) -> None:
    from tokenflowd.config import write_setting
    from tokenflowd.store.database import _back_up, open_for_writing

    put(victim.home / name, victim.dot_file)
    if name.startswith("config"):
        write_setting(victim.home / "config.toml", "models", "compressor", "mine")
    else:
        db = open_for_writing(victim.home / "tokenflow.db")
        _back_up(db, victim.home / name)
        db.conn.close()
    assert victim.dot_file.read_text() == DOT_FILE
    assert not victim.dot_file.with_name(".bash_login").exists()


@pytest.mark.parametrize("folder", ["logs", "backups"])
def test_folders_in_the_home_lead_nowhere_else(victim: Victim, folder: str) -> None:
    elsewhere = victim.user / "elsewhere"
    elsewhere.mkdir()
    Store(victim.home / "tokenflow.db").close()
    put_link(victim.home / folder, elsewhere)
    if folder == "logs":
        done = victim.run("tokenflowd", "--port", "0", "--log-file")
    else:
        done = victim.run("tokenflow", "history", "backup")
    assert list(elsewhere.iterdir()) == []
    assert done.returncode == 1
    assert str(victim.home / folder) in done.stderr


def test_a_log_that_is_begun_anew_is_a_file_of_our_own(victim: Victim) -> None:
    """A link that is put in the place of the next file while the daemon runs is moved on."""
    settings = "[server]\nlog_file = true\nlog_max_bytes = 2000\nlog_backups = 1\n"
    victim.settings(victim.home, victim.trusted, settings)
    logs = victim.home / "logs"
    with victim.daemon(victim.home) as url:
        put_link(logs / "tokenflowd.log.1", victim.dot_file)
        for number in range(60):
            with contextlib.suppress(urllib.error.HTTPError):
                urllib.request.urlopen(f"{url}/nothing/{number}")
    assert (logs / "tokenflowd.log.1").is_file()
    assert not (logs / "tokenflowd.log.1").is_symlink()
    assert victim.dot_file.read_text() == DOT_FILE


@pytest.mark.parametrize("put", [put_link, put_hard_link, put_pipe])
@pytest.mark.parametrize("name", ["tui-draft-ask.new", "tui-draft-ask.txt", "tui.new", "tui.json"])
def test_the_terminal_client_writes_files_of_its_own(victim: Victim, name: str, put: Put) -> None:
    put(victim.home / name, victim.dot_file)
    with terminal(victim, "tokenflow-tui", "--url", NOWHERE) as screen:
        wait_for(screen, b"no daemon answers")
        os.write(screen, b"half a thought\x02")  # ctrl+b, which hides the sidebar
        draft, settings = victim.home / "tui-draft-ask.txt", victim.home / "tui.json"
        eventually(lambda: draft.is_file() and "half a thought" in draft.read_text(), PATIENCE_S)
        eventually(lambda: settings.is_file() and "sidebar" in settings.read_text(), PATIENCE_S)
    assert victim.dot_file.read_text() == DOT_FILE
    assert not draft.is_symlink()
    assert not settings.is_symlink()


@contextlib.contextmanager
def terminal(victim: Victim, command: str, *arguments: str) -> Iterator[int]:
    """A program in a terminal, whose other end this is."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (40, 140))
    process = subprocess.Popen(
        [str(BIN / command), *arguments],
        cwd=victim.clone,
        env=victim.environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def wait_for(screen: int, words: bytes) -> None:
    seen = b""
    deadline = time.monotonic() + PATIENCE_S
    while words not in seen:
        assert select.select([screen], [], [], deadline - time.monotonic())[0], seen
        seen += os.read(screen, 65536)


def test_the_browsers_client_runs_no_module_of_the_folder(victim: Victim) -> None:
    """`python -m` looks for modules in the current directory first."""
    (victim.clone / "click.py").write_text("open('was-here', 'w')\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [str(BIN / "tokenflow-tui"), "--web", "--web-port", str(port), "--url", NOWHERE],
        cwd=victim.clone,
        env=victim.environment,
        text=True,
        stdout=subprocess.PIPE,
    )
    assert process.stdout
    (address,) = re.findall(r"http://[^\s,]+", process.stdout.readline())

    async def open_page() -> None:
        jar = aiohttp.CookieJar(unsafe=True)  # takes those of an IP address, too
        async with aiohttp.ClientSession(cookie_jar=jar) as session:
            await session.get(address)
            screen = f"http://127.0.0.1:{port}/ws?width=100&height=30"
            async with session.ws_connect(screen) as websocket:
                seen = b""
                while b"no daemon answers" not in seen:
                    message = await websocket.receive(PATIENCE_S)
                    seen += message.data if isinstance(message.data, bytes) else b""
                    assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT), seen

    try:
        asyncio.run(open_page())
    finally:
        process.send_signal(signal.SIGINT)  # which ends the app of the page, too
        process.communicate(timeout=PATIENCE_S)
    assert not (victim.clone / "was-here").exists()


def test_a_folder_with_the_name_of_a_model_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = tmp_path / "facebook" / "bart-large-mnli"
    theirs.mkdir(parents=True)
    (theirs / "config.json").write_text('{"model_type": "bart"}')
    (theirs / "model.safetensors").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExportError, match=r"write \./facebook/bart-large-mnli for it"):
        find_checkpoint("facebook/bart-large-mnli")
    for named in ("./facebook/bart-large-mnli", str(theirs)):
        assert find_checkpoint(named).folder == Path(named)


def open_to_others(folder: Path) -> None:
    folder.chmod(0o777)


def open_to_a_group(folder: Path) -> None:
    os.chown(folder, -1, 100)
    folder.chmod(0o770)


def sticky(folder: Path) -> None:
    folder.chmod(0o1777)


def anothers(folder: Path) -> None:
    os.chown(folder, 1000, 1000)


@pytest.mark.parametrize(
    ("spoil", "what_to_do"),
    [
        (open_to_others, "chmod go-w"),
        (sticky, "a folder of your own in it"),
        pytest.param(open_to_a_group, "chmod go-w", marks=as_root),
        pytest.param(anothers, "chown", marks=as_root),
    ],
)
def test_a_home_that_others_can_write_is_refused(
    victim: Victim, spoil: Callable[[Path], None], what_to_do: str
) -> None:
    spoil(victim.home)
    for command in (("tokenflow", "compress", "README.md"), ("tokenflowd", "--port", "0")):
        done = victim.run(*command)
        assert done.returncode == 1
        assert str(victim.home) in done.stderr
        assert what_to_do in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert [file.name for file in victim.home.iterdir()] == ["config.toml"]


@pytest.mark.parametrize(
    "spoil",
    [open_to_others, pytest.param(anothers, marks=as_root)],
)
def test_a_home_on_a_path_that_others_can_write_is_refused(
    victim: Victim, spoil: Callable[[Path], None]
) -> None:
    spoil(victim.home.parent)
    done = victim.run("tokenflow", "compress", "README.md")
    assert done.returncode == 1
    assert f"{victim.home.parent} " in done.stderr
    shutil.rmtree(victim.home)  # nor is one made there
    assert victim.run("tokenflow", "compress", "README.md").returncode == 1
    assert not victim.home.exists()


def test_a_home_in_a_sticky_folder_is_taken(tmp_path: Path) -> None:
    """Such as /tmp: others can make files there, but neither remove nor replace ours."""
    sticky(tmp_path)
    home = tmp_path / "home"
    DirectoryLock(home).close()
    assert load_config(home=home, environment={}).home == home


@as_root
def test_a_link_of_somebody_elses_on_the_way_is_refused(tmp_path: Path) -> None:
    sticky(tmp_path)
    (tmp_path / "mine").mkdir()
    link = tmp_path / "link"
    link.symlink_to("mine")
    assert load_config(home=link / "home", environment={})
    os.chown(link, 1000, 1000, follow_symlinks=False)
    with pytest.raises(TokenFlowError, match="link belongs to another user"):
        load_config(home=link / "home", environment={})
