"""What others wrote never reaches a terminal raw: it would be obeyed."""

from __future__ import annotations

import json
import logging
import os
import pty
import select
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program import Program
from tests.upstream import Received, Upstream, Wire, answer
from tests.upstream import failure as status
from tokenflowd.logs import SecretsFilter
from tokenflowd.terminal import visible, visible_json

PATIENCE_S = 30.0
# A title, the clipboard, a colour, a way back to the line's start, C1's own CSI and OSC, DEL.
ATTACK = "a\x1b]0;title\x07b\x1b]52;c;aGk=\x07c\x1b[31md\re\x9b31mf\x9d0;x\x9cg\x7fh\x08i\x00j"
OBEYED = ["\x1b]", "\x1b[31", "\x07", "\x9b", "\x9d", "\x9c", "\x7f", "\x08", "\x00"]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with Upstream(models=[f"m1{ATTACK}"]) as upstream:
        program = Program(tmp_path_factory.mktemp("home"), upstream)
        program.start()
        yield program
        program.close()


def on_a_terminal(program: Program, *arguments: str, stdin: bytes = b"") -> str:
    """What a terminal is sent by `tokenflow`, both of its outputs being one."""
    main, terminal = pty.openpty()
    command = str(Path(sysconfig.get_path("scripts"), "tokenflow"))
    environment = {
        "PATH": os.environ["PATH"],
        "TERM": "xterm-256color",
        "TOKENFLOW_HOME": str(program.home),
        "GROQ_API_KEY": "a-key",
        "GROQ_API_BASE_URL": program.upstream.url,
    }
    process = subprocess.Popen(
        [command, *arguments],
        stdin=subprocess.PIPE,
        stdout=terminal,
        stderr=terminal,
        env=environment,
    )
    os.close(terminal)
    assert process.stdin
    process.stdin.write(stdin)
    process.stdin.close()
    sent = bytearray()
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and select.select([main], [], [], PATIENCE_S)[0]:
        try:
            sent += os.read(main, 65536)
        except OSError:  # the last to hold the other end has closed it
            break
    process.wait(PATIENCE_S)
    os.close(main)
    return sent.decode()


def assert_nothing_is_obeyed(sent: str) -> None:
    for sequence in OBEYED:
        assert sequence not in sent, repr(sent)
    assert "\u241b" in sent or "\\u001b" in sent, repr(sent)  # but it is seen


async def refusing(wire: Wire, request: Received) -> None:
    message = {"role": "assistant", "content": None, "refusal": ATTACK}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    await wire.json(200, {"choices": [choice]})


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        pytest.param(answer(ATTACK[:9], ATTACK[9:]), ["ask", "-m", "m1", "Hi"], id="answer"),
        pytest.param(status(400, ATTACK), ["ask", "-m", "m1", "Hi"], id="error"),
        pytest.param(refusing, ["ask", "-m", "m1", "Hi"], id="refusal"),
        pytest.param(answer("ok"), ["ask", "-m", f"m{ATTACK[:-2]}", "Hi"], id="model"),
        pytest.param(answer("ok"), ["compress", "-r", "1"], id="compress"),
        pytest.param(answer("ok"), ["compress", "-r", "1", "--json"], id="compress --json"),
        pytest.param(answer("ok"), ["classify", "-c", f"x{ATTACK[:-2]}", "-c", "y"], id="label"),
        pytest.param(answer("ok"), ["providers", "--models"], id="providers"),
    ],
)
def test_a_command_shows_what_others_wrote(
    program: Program, script: object, arguments: list[str]
) -> None:
    program.upstream.scripts = [script]  # type: ignore[list-item]
    assert_nothing_is_obeyed(on_a_terminal(program, *arguments, stdin=ATTACK.encode()))


@pytest.mark.parametrize("content", [None, b"\xff", b"fine"])
def test_a_files_name_is_shown(program: Program, tmp_path: Path, content: bytes | None) -> None:
    """Of a file that whoever made the folder has named, and the shell has written out."""
    file = tmp_path / f"{ATTACK[:-2].replace('/', '')}.md"
    if content is not None:
        file.write_bytes(content)
    sent = on_a_terminal(program, "compress", str(file))
    for sequence in OBEYED:
        assert sequence not in sent, repr(sent)


@pytest.mark.parametrize("command", [["list"], ["show"], ["export"]])
def test_the_history_shows_what_others_wrote(program: Program, command: list[str]) -> None:
    program.upstream.scripts = [answer(ATTACK)]
    body = {"prompt": ATTACK, "model": "m1", "system": ATTACK}
    events = program.request("POST", "/api/generate", body).body.decode().split("\n")
    request_id = json.loads(events[1].removeprefix("data: "))["data"]["id"]
    arguments = [*command, *[request_id] * (command == ["show"])]
    assert_nothing_is_obeyed(on_a_terminal(program, "history", *arguments))


def test_a_pipe_gets_what_was_said(program: Program) -> None:
    """Programs want the bytes."""
    program.upstream.scripts = [answer(ATTACK)]
    command = str(Path(sysconfig.get_path("scripts"), "tokenflow"))
    environment = {"PATH": os.environ["PATH"], "TOKENFLOW_HOME": str(program.home)}
    done = subprocess.run(
        [command, "ask", "-m", "m1", "Hi"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    assert done.stdout.decode() == ATTACK


def test_the_log_shows_what_others_wrote() -> None:
    record = logging.makeLogRecord({"msg": "it said %s", "args": (ATTACK,)})
    SecretsFilter([]).filter(record)
    assert_nothing_is_obeyed(record.getMessage())


@pytest.mark.parametrize("character", [chr(n) for n in [*range(32), *range(0x7F, 0xA0)]])
def test_every_control_character_is_made_visible(character: str) -> None:
    assert visible(f"a{character}b").isprintable() or character in "\n\t"
    quoted = visible_json(json.dumps(character, ensure_ascii=False))
    assert quoted.isprintable()
    assert json.loads(quoted) == character
